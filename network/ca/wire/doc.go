// Package wire defines the wire format of the CA network: the paths, the JSON
// structs and the errors that the server half and the client half share.
//
// All calls are JSON over HTTP under [Base], with a bearer token from
// [LoginRequest] except where a path says otherwise. Byte strings are padded
// standard base64, times RFC 3339 in UTC, positions whole numbers that only
// grow. A request with an unknown member is refused; a client ignores unknown
// members of an answer. Errors are [Error].
package wire

// Base is the prefix of all paths.
const Base = "/ca/v1"

// The paths below Base, with their methods.
const (
	// PathLogin, POST, no token: LoginRequest -> LoginAnswer.
	PathLogin = "/login"
	// PathRegister, POST, no token: RegisterRequest -> 201 LoginAnswer.
	// CodeForbidden if clients cannot create accounts, or the invitation is
	// not valid.
	PathRegister = "/register"
	// PathLogout, POST: LogoutRequest -> Empty.
	PathLogout = "/logout"
	// PathDevices, GET: -> DeviceList, the caller's own devices.
	PathDevices = "/devices"
	// PathDevice, DELETE: RemoveRequest -> Empty. The device is one of the
	// caller's others.
	PathDevice = "/devices/{device}"
	// PathRoots, GET, no token: -> Roots.
	PathRoots = "/roots"
	// PathCRL, GET, no token: -> the revocation list in DER.
	PathCRL = "/crl"
	// PathOCSP, POST, no token: an OCSP request in DER -> the answer in DER.
	PathOCSP = "/ocsp"

	// PathKeys, POST: EnrolRequest -> 201 KeyInfo; 200 if it is already
	// enrolled in the same way.
	PathKeys = "/keys"
	// PathKey, GET: -> KeyInfo; DELETE: -> KeyInfo, retires a key that is in
	// grace, CodeUndelivered while messages for it wait.
	PathKey = "/keys/{key}"
	// PathUserKeys, GET: ?at=time, ?state=State -> KeyList.
	PathUserKeys = "/users/{user}/keys"
	// PathNonce, POST: -> Nonce, for one renewal of the secure profile.
	PathNonce = "/keys/{key}/nonce"
	// PathRenew, POST: RenewRequest -> KeyInfo of the new key.
	PathRenew = "/keys/{key}/renew"
	// PathRevoke, POST: RevokeRequest -> KeyInfo.
	PathRevoke = "/keys/{key}/revoke"
	// PathApproval, PUT: ApprovalRequest -> Empty: another device of the
	// caller approves the enrolment of the named key.
	PathApproval = "/keys/{key}/approval"

	// PathConversations, GET: -> ConversationList.
	PathConversations = "/conversations"
	// PathConversation, PUT: ConversationRequest -> 201 or 200 Conversation;
	// GET: -> Conversation; DELETE: -> Empty, the caller leaves.
	PathConversation = "/conversations/{conv}"
	// PathMembers, POST: MembersRequest -> Conversation.
	PathMembers = "/conversations/{conv}/members"
	// PathHistory, GET: ?before=Pos, ?limit=n -> History.
	PathHistory = "/conversations/{conv}/messages"
	// PathMessage, PUT: Deliver -> Delivered. Repeating it is safe.
	PathMessage = "/conversations/{conv}/messages/{id}"
	// PathMailbox, GET: ?after=Pos, ?limit=n, ?timeout=milliseconds -> Mailbox.
	PathMailbox = "/mailbox"
	// PathAck, POST: AckRequest -> Empty.
	PathAck = "/mailbox/ack"

	// PathFiles, POST: the sealed bytes -> 201 FileInfo.
	PathFiles = "/files"
	// PathFile, GET: -> the sealed bytes; ranges are served.
	PathFile = "/files/{file}"
	// PathBackup, GET: -> Backup; PUT: Backup -> Backup; DELETE: -> Empty.
	PathBackup = "/backup"
)

// The paths of EST (RFC 7030), outside of Base. A label between est and the
// operation, "sign.DEVICE" or "encrypt.DEVICE", says which device and use a
// request without alternative names is for.
const (
	ESTBase         = "/.well-known/est"
	ESTCACerts      = "cacerts"
	ESTEnroll       = "simpleenroll"
	ESTReenroll     = "simplereenroll"
	ESTRequestType  = "application/pkcs10"
	ESTCertsOnly    = "application/pkcs7-mime; smime-type=certs-only"
	DERCRL          = "application/pkix-crl"
	DEROCSPRequest  = "application/ocsp-request"
	DEROCSPResponse = "application/ocsp-response"
)

// Empty is an answer that only says that the call succeeded.
type Empty struct{}
