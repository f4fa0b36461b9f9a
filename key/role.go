package key

// A SigningRole is what an Ed25519 key is for: one of [Device], [Master],
// [SelfSigning], [UserSigning], [MegolmSession].
type SigningRole interface{ signingRole() string }

// An AgreementRole is what an X25519 key is for: one of [Identity],
// [OneTime], [Fallback], [Base], [Ratchet], [Backup], [Verification].
type AgreementRole interface{ agreementRole() string }

// A SymmetricRole is what a symmetric key is for: one of [SecretStorage],
// [Attachment], [Dehydration], [Conversation].
type SymmetricRole interface{ symmetricRole() string }

// Roles of Ed25519 keys.
type (
	// Device signs for one device; its public part is the device's fingerprint.
	Device struct{}
	// Master signs a user's other cross-signing keys.
	Master struct{}
	// SelfSigning signs a user's own devices.
	SelfSigning struct{}
	// UserSigning signs other users' master keys.
	UserSigning struct{}
	// MegolmSession signs the messages of one Megolm session; its public part
	// is the session's id.
	MegolmSession struct{}
)

func (Device) signingRole() string        { return "device signing key" }
func (Master) signingRole() string        { return "master key" }
func (SelfSigning) signingRole() string   { return "self-signing key" }
func (UserSigning) signingRole() string   { return "user-signing key" }
func (MegolmSession) signingRole() string { return "megolm session key" }

// Roles of X25519 keys.
type (
	// Identity is the long-lived Curve25519 key of one device.
	Identity struct{}
	// OneTime sets up one Olm session and is dropped. As a public key it is
	// what a claim returns, a [Fallback] key or not.
	OneTime struct{}
	// Fallback sets up Olm sessions while there is no one-time key.
	Fallback struct{}
	// Base is the initiator's single-use key of one Olm session.
	Base struct{}
	// Ratchet is one step of the Diffie-Hellman ratchet of an Olm session.
	Ratchet struct{}
	// Backup opens the entries of a key backup.
	Backup struct{}
	// Verification is the short-lived key of one verification by short
	// authentication string.
	Verification struct{}
)

func (Identity) agreementRole() string     { return "identity key" }
func (OneTime) agreementRole() string      { return "one-time key" }
func (Fallback) agreementRole() string     { return "fallback key" }
func (Base) agreementRole() string         { return "base key" }
func (Ratchet) agreementRole() string      { return "ratchet key" }
func (Backup) agreementRole() string       { return "backup key" }
func (Verification) agreementRole() string { return "verification key" }

// Roles of symmetric keys.
type (
	// SecretStorage seals the secrets that a user stores on the server.
	SecretStorage struct{}
	// Attachment seals one encrypted file.
	Attachment struct{}
	// Dehydration seals the private state of a dehydrated device.
	Dehydration struct{}
	// Conversation seals messages under one key object of a key server.
	Conversation struct{}
)

func (SecretStorage) symmetricRole() string { return "secret storage key" }
func (Attachment) symmetricRole() string    { return "attachment key" }
func (Dehydration) symmetricRole() string   { return "dehydration key" }
func (Conversation) symmetricRole() string  { return "conversation key" }

// Short names for the key pairs.
type (
	DeviceSigningPrivate = SigningPrivate[Device]
	DeviceSigningPublic  = SigningPublic[Device]
	MasterPrivate        = SigningPrivate[Master]
	MasterPublic         = SigningPublic[Master]
	SelfSigningPrivate   = SigningPrivate[SelfSigning]
	SelfSigningPublic    = SigningPublic[SelfSigning]
	UserSigningPrivate   = SigningPrivate[UserSigning]
	UserSigningPublic    = SigningPublic[UserSigning]
	MegolmSessionPrivate = SigningPrivate[MegolmSession]
	MegolmSessionPublic  = SigningPublic[MegolmSession]

	IdentityPrivate     = AgreementPrivate[Identity]
	IdentityPublic      = AgreementPublic[Identity]
	OneTimePrivate      = AgreementPrivate[OneTime]
	OneTimePublic       = AgreementPublic[OneTime]
	FallbackPrivate     = AgreementPrivate[Fallback]
	FallbackPublic      = AgreementPublic[Fallback]
	BasePrivate         = AgreementPrivate[Base]
	BasePublic          = AgreementPublic[Base]
	RatchetPrivate      = AgreementPrivate[Ratchet]
	RatchetPublic       = AgreementPublic[Ratchet]
	BackupPrivate       = AgreementPrivate[Backup]
	BackupPublic        = AgreementPublic[Backup]
	VerificationPrivate = AgreementPrivate[Verification]
	VerificationPublic  = AgreementPublic[Verification]

	SecretStorageKey = Symmetric[SecretStorage]
	AttachmentKey    = Symmetric[Attachment]
	DehydrationKey   = Symmetric[Dehydration]
	ConversationKey  = Symmetric[Conversation]
)
