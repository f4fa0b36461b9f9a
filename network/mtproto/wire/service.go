package wire

import "github.com/quinta-chat/quinta/internal/tl"

// The objects of the session layer, named as in "Service Messages about
// Messages" and "Creating an Authorization Key".
type (
	// ReqPqMulti begins a key exchange; ReqPq is its older form.
	ReqPqMulti struct {
		_     struct{} `tl:"be7e8ef1"`
		Nonce [16]byte
	}
	ReqPq struct {
		_     struct{} `tl:"60469778"`
		Nonce [16]byte
	}
	ResPQ struct {
		_            struct{} `tl:"05162463"`
		Nonce        [16]byte
		ServerNonce  [16]byte
		PQ           []byte
		Fingerprints []int64
	}
	ReqDHParams struct {
		_             struct{} `tl:"d712e4be"`
		Nonce         [16]byte
		ServerNonce   [16]byte
		P, Q          []byte
		Fingerprint   int64
		EncryptedData []byte
	}
	PQInnerDataDC struct {
		_           struct{} `tl:"a9f55f95"`
		PQ, P, Q    []byte
		Nonce       [16]byte
		ServerNonce [16]byte
		NewNonce    [32]byte
		DC          int32
	}
	PQInnerDataTempDC struct {
		_           struct{} `tl:"56fddf88"`
		PQ, P, Q    []byte
		Nonce       [16]byte
		ServerNonce [16]byte
		NewNonce    [32]byte
		DC          int32
		ExpiresIn   int32
	}
	// BindTempAuthKey binds a temporary key; BindAuthKeyInner is what its
	// EncryptedMessage holds.
	BindTempAuthKey struct {
		_                struct{} `tl:"cdd42a05"`
		PermAuthKeyID    int64
		Nonce            int64
		ExpiresAt        int32
		EncryptedMessage []byte
	}
	BindAuthKeyInner struct {
		_             struct{} `tl:"75a3f765"`
		Nonce         int64
		TempAuthKeyID int64
		PermAuthKeyID int64
		TempSessionID int64
		ExpiresAt     int32
	}
	ServerDHParamsOk struct {
		_               struct{} `tl:"d0e8075c"`
		Nonce           [16]byte
		ServerNonce     [16]byte
		EncryptedAnswer []byte
	}
	ServerDHInnerData struct {
		_           struct{} `tl:"b5890dba"`
		Nonce       [16]byte
		ServerNonce [16]byte
		G           int32
		DHPrime     []byte
		GA          []byte
		ServerTime  int32
	}
	SetClientDHParams struct {
		_             struct{} `tl:"f5045f1f"`
		Nonce         [16]byte
		ServerNonce   [16]byte
		EncryptedData []byte
	}
	ClientDHInnerData struct {
		_           struct{} `tl:"6643b654"`
		Nonce       [16]byte
		ServerNonce [16]byte
		RetryID     int64
		GB          []byte
	}
	DHGenOk struct {
		_             struct{} `tl:"3bcbf734"`
		Nonce         [16]byte
		ServerNonce   [16]byte
		NewNonceHash1 [16]byte
	}

	MsgsAck struct {
		_      struct{} `tl:"62d6b459"`
		MsgIDs []int64
	}
	BadServerSalt struct {
		_             struct{} `tl:"edab447b"`
		BadMsgID      int64
		BadMsgSeqNo   int32
		ErrorCode     int32
		NewServerSalt int64
	}
	BadMsgNotification struct {
		_           struct{} `tl:"a7eff811"`
		BadMsgID    int64
		BadMsgSeqNo int32
		ErrorCode   int32
	}
	NewSessionCreated struct {
		_          struct{} `tl:"9ec20908"`
		FirstMsgID int64
		UniqueID   int64
		ServerSalt int64
	}
	RPCResult struct {
		_        struct{} `tl:"f35c6d01"`
		ReqMsgID int64
		Result   tl.Rest
	}
	RPCError struct {
		_       struct{} `tl:"2144ca19"`
		Code    int32
		Message string
	}
	Ping struct {
		_      struct{} `tl:"7abe77ec"`
		PingID int64
	}
	PingDelayDisconnect struct {
		_               struct{} `tl:"f3427b8c"`
		PingID          int64
		DisconnectDelay int32
	}
	Pong struct {
		_      struct{} `tl:"347773c5"`
		MsgID  int64
		PingID int64
	}
	GetFutureSalts struct {
		_   struct{} `tl:"b921bd04"`
		Num int32
	}
	DestroySession struct {
		_         struct{} `tl:"e7512126"`
		SessionID int64
	}
	DestroySessionOk struct {
		_         struct{} `tl:"e22045fc"`
		SessionID int64
	}
	MsgsStateReq struct {
		_      struct{} `tl:"da69fb52"`
		MsgIDs []int64
	}
	MsgsStateInfo struct {
		_        struct{} `tl:"04deb57d"`
		ReqMsgID int64
		Info     []byte
	}
	MsgResendReq struct {
		_      struct{} `tl:"7d861a08"`
		MsgIDs []int64
	}
	RPCDropAnswer struct {
		_        struct{} `tl:"58e4a740"`
		ReqMsgID int64
	}
	RPCAnswerUnknown struct {
		_ struct{} `tl:"5e2ad36e"`
	}
	HTTPWait struct {
		_         struct{} `tl:"9299359f"`
		MaxDelay  int32
		WaitAfter int32
		MaxWait   int32
	}
	GzipPacked struct {
		_    struct{} `tl:"3072cfa1"`
		Data []byte
	}

	// The wrappers of calls; Query is the call.
	InvokeWithLayer struct {
		_     struct{} `tl:"da9b0d0d"`
		Layer int32
		Query tl.Rest
	}
	InvokeWithoutUpdates struct {
		_     struct{} `tl:"bf9459b7"`
		Query tl.Rest
	}
	InvokeAfterMsg struct {
		_     struct{} `tl:"cb9f372d"`
		MsgID int64
		Query tl.Rest
	}
	InvokeAfterMsgs struct {
		_      struct{} `tl:"3dc4b4f0"`
		MsgIDs []int64
		Query  tl.Rest
	}
	InitConnection struct {
		_              struct{} `tl:"c1cd5ea9"`
		Flags          tl.Flags
		APIID          int32
		DeviceModel    string
		SystemVersion  string
		AppVersion     string
		SystemLangCode string
		LangPack       string
		LangCode       string
		Proxy          any `tl:"?0"`
		Params         any `tl:"?1"`
		Query          tl.Rest
	}
	InputClientProxy struct {
		_       struct{} `tl:"75588b3f"`
		Address string
		Port    int32
	}
	JSONNull struct {
		_ struct{} `tl:"3f6d7b68"`
	}
	JSONBool struct {
		_     struct{} `tl:"c7345e6a"`
		Value bool
	}
	JSONNumber struct {
		_     struct{} `tl:"2be0dfa4"`
		Value float64
	}
	JSONString struct {
		_     struct{} `tl:"b71e767a"`
		Value string
	}
	JSONArray struct {
		_     struct{} `tl:"f7444763"`
		Value []any
	}
	JSONObject struct {
		_     struct{} `tl:"99c1d49d"`
		Value []any
	}
	JSONObjectValue struct {
		_     struct{} `tl:"c0de1bd9"`
		Key   string
		Value any
	}
)

// The numbers of the objects whose form is not that of a struct.
const (
	ContainerID   = 0x73f1f8dc
	FutureSaltsID = 0xae500895
)

var serviceObjects = []any{
	ReqPqMulti{}, ReqPq{}, ResPQ{}, ReqDHParams{}, PQInnerDataDC{}, PQInnerDataTempDC{}, BindTempAuthKey{}, BindAuthKeyInner{}, ServerDHParamsOk{}, ServerDHInnerData{}, SetClientDHParams{}, ClientDHInnerData{}, DHGenOk{},
	MsgsAck{}, BadServerSalt{}, BadMsgNotification{}, NewSessionCreated{}, RPCResult{}, RPCError{}, Ping{}, PingDelayDisconnect{}, Pong{}, GetFutureSalts{},
	DestroySession{}, DestroySessionOk{}, MsgsStateReq{}, MsgsStateInfo{}, MsgResendReq{}, RPCDropAnswer{}, RPCAnswerUnknown{}, HTTPWait{}, GzipPacked{},
	InvokeWithLayer{}, InvokeWithoutUpdates{}, InvokeAfterMsg{}, InvokeAfterMsgs{}, InitConnection{}, InputClientProxy{},
	JSONNull{}, JSONBool{}, JSONNumber{}, JSONString{}, JSONArray{}, JSONObject{}, JSONObjectValue{},
}
