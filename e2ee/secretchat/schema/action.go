package schema

// An Action is what a service message asks for or tells.
type Action interface{ action() }

// The constructors of Action.
type (
	DecryptedMessageActionAbortKey struct {
		_          struct{} `tl:"dd05ec6b"`
		ExchangeID int64
	}
	DecryptedMessageActionAcceptKey struct {
		_              struct{} `tl:"6fe1735b"`
		ExchangeID     int64
		GB             []byte
		KeyFingerprint int64
	}
	DecryptedMessageActionCommitKey struct {
		_                          struct{} `tl:"ec2e0b9b"`
		ExchangeID, KeyFingerprint int64
	}
	DecryptedMessageActionDeleteMessages struct {
		_         struct{} `tl:"65614304"`
		RandomIDs []int64
	}
	DecryptedMessageActionFlushHistory struct {
		_ struct{} `tl:"6719e45c"`
	}
	DecryptedMessageActionNoop struct {
		_ struct{} `tl:"a82fdd63"`
	}
	DecryptedMessageActionNotifyLayer struct {
		_     struct{} `tl:"f3048883"`
		Layer int
	}
	DecryptedMessageActionReadMessages struct {
		_         struct{} `tl:"0c4f40be"`
		RandomIDs []int64
	}
	DecryptedMessageActionRequestKey struct {
		_          struct{} `tl:"f3c9611b"`
		ExchangeID int64
		GA         []byte
	}
	DecryptedMessageActionResend struct {
		_                    struct{} `tl:"511110b0"`
		StartSeqNo, EndSeqNo int
	}
	DecryptedMessageActionScreenshotMessages struct {
		_         struct{} `tl:"8ac1f475"`
		RandomIDs []int64
	}
	DecryptedMessageActionSetMessageTTL struct {
		_          struct{} `tl:"a1733aec"`
		TTLSeconds int
	}
	DecryptedMessageActionTyping struct {
		_      struct{} `tl:"ccb27641"`
		Action Activity
	}
)

func (*DecryptedMessageActionAbortKey) action()           {}
func (*DecryptedMessageActionAcceptKey) action()          {}
func (*DecryptedMessageActionCommitKey) action()          {}
func (*DecryptedMessageActionDeleteMessages) action()     {}
func (*DecryptedMessageActionFlushHistory) action()       {}
func (*DecryptedMessageActionNoop) action()               {}
func (*DecryptedMessageActionNotifyLayer) action()        {}
func (*DecryptedMessageActionReadMessages) action()       {}
func (*DecryptedMessageActionRequestKey) action()         {}
func (*DecryptedMessageActionResend) action()             {}
func (*DecryptedMessageActionScreenshotMessages) action() {}
func (*DecryptedMessageActionSetMessageTTL) action()      {}
func (*DecryptedMessageActionTyping) action()             {}

// An Activity is what the other side is doing.
type Activity interface{ activity() }

// The constructors of Activity.
type (
	SendMessageCancelAction struct {
		_ struct{} `tl:"fd5ec8f5"`
	}
	SendMessageChooseContactAction struct {
		_ struct{} `tl:"628cbc6f"`
	}
	SendMessageGeoLocationAction struct {
		_ struct{} `tl:"176f8ba1"`
	}
	SendMessageRecordAudioAction struct {
		_ struct{} `tl:"d52f73f7"`
	}
	SendMessageRecordRoundAction struct {
		_ struct{} `tl:"88f27fbc"`
	}
	SendMessageRecordVideoAction struct {
		_ struct{} `tl:"a187d66f"`
	}
	SendMessageTypingAction struct {
		_ struct{} `tl:"16bf744e"`
	}
	SendMessageUploadAudioAction struct {
		_ struct{} `tl:"e6ac8a6f"`
	}
	SendMessageUploadDocumentAction struct {
		_ struct{} `tl:"8faee98e"`
	}
	SendMessageUploadPhotoAction struct {
		_ struct{} `tl:"990a3c1a"`
	}
	SendMessageUploadRoundAction struct {
		_ struct{} `tl:"bb718624"`
	}
	SendMessageUploadVideoAction struct {
		_ struct{} `tl:"92042ff7"`
	}
)

func (*SendMessageCancelAction) activity()         {}
func (*SendMessageChooseContactAction) activity()  {}
func (*SendMessageGeoLocationAction) activity()    {}
func (*SendMessageRecordAudioAction) activity()    {}
func (*SendMessageRecordRoundAction) activity()    {}
func (*SendMessageRecordVideoAction) activity()    {}
func (*SendMessageTypingAction) activity()         {}
func (*SendMessageUploadAudioAction) activity()    {}
func (*SendMessageUploadDocumentAction) activity() {}
func (*SendMessageUploadPhotoAction) activity()    {}
func (*SendMessageUploadRoundAction) activity()    {}
func (*SendMessageUploadVideoAction) activity()    {}
