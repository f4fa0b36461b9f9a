package wire

import "github.com/quinta-chat/quinta/internal/tl"

// The objects of the API. A field of the type any is an object of the schema.
type (
	GetConfig struct {
		_ struct{} `tl:"c4f9186b"`
	}
	Config struct {
		_                       struct{} `tl:"cc1a241e"`
		Flags                   tl.Flags
		Date, Expires           int32
		TestMode                bool
		ThisDC                  int32
		DCOptions               []any
		DCTxtDomainName         string
		ChatSizeMax             int32
		MegagroupSizeMax        int32
		ForwardedCountMax       int32
		OnlineUpdatePeriodMs    int32
		OfflineBlurTimeoutMs    int32
		OfflineIdleTimeoutMs    int32
		OnlineCloudTimeoutMs    int32
		NotifyCloudDelayMs      int32
		NotifyDefaultDelayMs    int32
		PushChatPeriodMs        int32
		PushChatLimit           int32
		EditTimeLimit           int32
		RevokeTimeLimit         int32
		RevokePmTimeLimit       int32
		RatingEDecay            int32
		StickersRecentLimit     int32
		ChannelsReadMediaPeriod int32
		CallReceiveTimeoutMs    int32
		CallRingTimeoutMs       int32
		CallConnectTimeoutMs    int32
		CallPacketTimeoutMs     int32
		MeURLPrefix             string
		CaptionLengthMax        int32
		MessageLengthMax        int32
		WebfileDCID             int32
	}
	DCOption struct {
		_            struct{} `tl:"18b7a10d"`
		Flags        tl.Flags
		IPv6         bool `tl:"?0"`
		ThisPortOnly bool `tl:"?5"`
		ID           int32
		IPAddress    string
		Port         int32
	}

	SendCode struct {
		_           struct{} `tl:"a677244f"`
		PhoneNumber string
		APIID       int32
		APIHash     string
		Settings    any
	}
	CodeSettings struct {
		_     struct{} `tl:"ad253d78"`
		Flags tl.Flags
		// The bits that a client sets say which ways of delivery it knows.
		AllowFlashcall  bool     `tl:"?0"`
		CurrentNumber   bool     `tl:"?1"`
		AllowAppHash    bool     `tl:"?4"`
		AllowMissedCall bool     `tl:"?5"`
		AllowFirebase   bool     `tl:"?7"`
		UnknownNumber   bool     `tl:"?9"`
		LogoutTokens    [][]byte `tl:"?6"`
		Token           string   `tl:"?8"`
		AppSandbox      any      `tl:"?8"`
	}
	SentCode struct {
		_             struct{} `tl:"5e002502"`
		Flags         tl.Flags
		Type          any
		PhoneCodeHash string
	}
	SentCodeTypeSms struct {
		_      struct{} `tl:"c000bba2"`
		Length int32
	}
	SignIn struct {
		_             struct{} `tl:"8d52a951"`
		Flags         tl.Flags
		PhoneNumber   string
		PhoneCodeHash string
		PhoneCode     string `tl:"?0"`
	}
	Authorization struct {
		_     struct{} `tl:"2ea2c0d4"`
		Flags tl.Flags
		User  any
	}
	LogOut struct {
		_ struct{} `tl:"3e72ba19"`
	}
	LoggedOut struct {
		_     struct{} `tl:"c3a2835f"`
		Flags tl.Flags
	}

	User struct {
		_          struct{} `tl:"b1b8cc83"`
		Flags      tl.Flags
		Self       bool `tl:"?10"`
		Flags2     tl.Flags
		ID         int64
		AccessHash int64  `tl:"?0"`
		FirstName  string `tl:"?1"`
		LastName   string `tl:"?2"`
		Username   string `tl:"?3"`
		Phone      string `tl:"?4"`
		Status     any    `tl:"?6"`
	}
	ResendCode struct {
		_             struct{} `tl:"cae47523"`
		Flags         tl.Flags
		PhoneNumber   string
		PhoneCodeHash string
		Reason        string `tl:"?0"`
	}
	UpdateServiceNotification struct {
		_         struct{} `tl:"ebe46819"`
		Flags     tl.Flags
		Popup     bool  `tl:"?0"`
		InboxDate int32 `tl:"?1"`
		Type      string
		Message   string
		Media     any
		Entities  []any
	}
	MessageMediaEmpty struct {
		_ struct{} `tl:"3ded6320"`
	}
	// The two-step password.
	GetPassword struct {
		_ struct{} `tl:"548a30f5"`
	}
	AccountPassword struct {
		_                       struct{} `tl:"957b50fb"`
		Flags                   tl.Flags
		HasPassword             bool   `tl:"?2"`
		CurrentAlgo             any    `tl:"?2"`
		SRPB                    []byte `tl:"?2"`
		SRPID                   int64  `tl:"?2"`
		Hint                    string `tl:"?3"`
		EmailUnconfirmedPattern string `tl:"?4"`
		NewAlgo                 any
		NewSecureAlgo           any
		SecureRandom            []byte
		PendingResetDate        int32  `tl:"?5"`
		LoginEmailPattern       string `tl:"?6"`
	}
	PasswordKdfAlgo struct {
		_     struct{} `tl:"3a912d4a"`
		Salt1 []byte
		Salt2 []byte
		G     int32
		P     []byte
	}
	PasswordKdfAlgoUnknown struct {
		_ struct{} `tl:"d45ab096"`
	}
	SecurePasswordKdfAlgoUnknown struct {
		_ struct{} `tl:"4a8537"`
	}
	CheckPassword struct {
		_        struct{} `tl:"d18b4d16"`
		Password any
	}
	InputCheckPasswordEmpty struct {
		_ struct{} `tl:"9880f658"`
	}
	InputCheckPasswordSRP struct {
		_     struct{} `tl:"d27ff082"`
		SRPID int64
		A     []byte
		M1    []byte
	}
	UpdatePasswordSettings struct {
		_           struct{} `tl:"a59b102f"`
		Password    any
		NewSettings any
	}
	PasswordInputSettings struct {
		_               struct{} `tl:"c23727c9"`
		Flags           tl.Flags
		NewAlgo         any    `tl:"?0"`
		NewPasswordHash []byte `tl:"?0"`
		Hint            string `tl:"?0"`
		Email           string `tl:"?1"`
	}
	// The sessions of an account.
	GetAuthorizations struct {
		_ struct{} `tl:"e320c158"`
	}
	AccountAuthorizations struct {
		_              struct{} `tl:"4bff8ea0"`
		TTLDays        int32
		Authorizations []any
	}
	AccountAuthorization struct {
		_               struct{} `tl:"ad01d61d"`
		Flags           tl.Flags
		Current         bool `tl:"?0"`
		PasswordPending bool `tl:"?2"`
		Hash            int64
		DeviceModel     string
		Platform        string
		SystemVersion   string
		APIID           int32
		AppName         string
		AppVersion      string
		DateCreated     int32
		DateActive      int32
		IP              string
		Country         string
		Region          string
	}
	ResetAuthorization struct {
		_    struct{} `tl:"df77f3bc"`
		Hash int64
	}
	ResetAuthorizations struct {
		_ struct{} `tl:"9fab0d1a"`
	}
	// User227 is User as clients up to layer 227 know it.
	User227 struct {
		_          struct{} `tl:"31774388"`
		Flags      tl.Flags
		Self       bool `tl:"?10"`
		Flags2     tl.Flags
		ID         int64
		AccessHash int64  `tl:"?0"`
		FirstName  string `tl:"?1"`
		LastName   string `tl:"?2"`
		Username   string `tl:"?3"`
		Phone      string `tl:"?4"`
		Status     any    `tl:"?6"`
	}
	UserStatusRecently struct {
		_     struct{} `tl:"7b197dc8"`
		Flags tl.Flags
	}
	InputUserSelf struct {
		_ struct{} `tl:"f7c1b13f"`
	}
	InputUser struct {
		_          struct{} `tl:"f21158c6"`
		UserID     int64
		AccessHash int64
	}
	ResolvePhone struct {
		_     struct{} `tl:"8af94344"`
		Phone string
	}
	ResolveUsername struct {
		_        struct{} `tl:"725afbbc"`
		Flags    tl.Flags
		Username string
		Referer  string `tl:"?0"`
	}
	ResolvedPeer struct {
		_     struct{} `tl:"7f077ad9"`
		Peer  any
		Chats []any
		Users []any
	}
	PeerUser struct {
		_      struct{} `tl:"59511722"`
		UserID int64
	}
	GetUsers struct {
		_  struct{} `tl:"d91a548"`
		ID []any
	}
	GetFullUser struct {
		_  struct{} `tl:"b60f5918"`
		ID any
	}
	UsersUserFull struct {
		_        struct{} `tl:"3b6d152e"`
		FullUser any
		Chats    []any
		Users    []any
	}
	UserFull struct {
		_                struct{} `tl:"6cbe645"`
		Flags            tl.Flags
		Flags2           tl.Flags
		ID               int64
		Settings         any
		NotifySettings   any
		CommonChatsCount int32
	}
	PeerSettings struct {
		_     struct{} `tl:"f47741f7"`
		Flags tl.Flags
	}
	PeerNotifySettings struct {
		_     struct{} `tl:"99622c0c"`
		Flags tl.Flags
	}
	UpdateStatus struct {
		_       struct{} `tl:"6628562c"`
		Offline bool
	}

	GetDHConfig struct {
		_            struct{} `tl:"26cf8950"`
		Version      int32
		RandomLength int32
	}
	DHConfig struct {
		_       struct{} `tl:"2c221edd"`
		G       int32
		P       []byte
		Version int32
		Random  []byte
	}
	DHConfigNotModified struct {
		_      struct{} `tl:"c0e24635"`
		Random []byte
	}
	RequestEncryption struct {
		_        struct{} `tl:"f64daf43"`
		UserID   any
		RandomID int32
		GA       []byte
	}
	AcceptEncryption struct {
		_              struct{} `tl:"3dbc0415"`
		Peer           any
		GB             []byte
		KeyFingerprint int64
	}
	DiscardEncryption struct {
		_             struct{} `tl:"f393aea0"`
		Flags         tl.Flags
		DeleteHistory bool `tl:"?0"`
		ChatID        int32
	}
	SendEncrypted struct {
		_        struct{} `tl:"44fa7a15"`
		Flags    tl.Flags
		Silent   bool `tl:"?0"`
		Peer     any
		RandomID int64
		Data     []byte
	}
	SendEncryptedFile struct {
		_        struct{} `tl:"5559481d"`
		Flags    tl.Flags
		Silent   bool `tl:"?0"`
		Peer     any
		RandomID int64
		Data     []byte
		File     any
	}
	SendEncryptedService struct {
		_        struct{} `tl:"32d439a4"`
		Peer     any
		RandomID int64
		Data     []byte
	}
	SentEncryptedMessage struct {
		_    struct{} `tl:"560f8935"`
		Date int32
	}
	SentEncryptedFile struct {
		_    struct{} `tl:"9493ff32"`
		Date int32
		File any
	}
	SetEncryptedTyping struct {
		_      struct{} `tl:"791451ed"`
		Peer   any
		Typing bool
	}
	ReadEncryptedHistory struct {
		_       struct{} `tl:"7f4b690a"`
		Peer    any
		MaxDate int32
	}
	ReceivedQueue struct {
		_      struct{} `tl:"55a5bb66"`
		MaxQts int32
	}
	InputEncryptedChat struct {
		_          struct{} `tl:"f141b5e1"`
		ChatID     int32
		AccessHash int64
	}
	EncryptedChatDiscarded struct {
		_              struct{} `tl:"1e1c7c45"`
		Flags          tl.Flags
		HistoryDeleted bool `tl:"?0"`
		ID             int32
	}
	EncryptedChatWaiting struct {
		_             struct{} `tl:"66b25953"`
		ID            int32
		AccessHash    int64
		Date          int32
		AdminID       int64
		ParticipantID int64
	}
	EncryptedChatRequested struct {
		_             struct{} `tl:"48f1d94c"`
		Flags         tl.Flags
		FolderID      int32 `tl:"?0"`
		ID            int32
		AccessHash    int64
		Date          int32
		AdminID       int64
		ParticipantID int64
		GA            []byte
	}
	EncryptedChat struct {
		_              struct{} `tl:"61f0d4c7"`
		ID             int32
		AccessHash     int64
		Date           int32
		AdminID        int64
		ParticipantID  int64
		GAOrB          []byte
		KeyFingerprint int64
	}
	EncryptedFileEmpty struct {
		_ struct{} `tl:"c21f497e"`
	}
	EncryptedFile struct {
		_              struct{} `tl:"a8008cd8"`
		ID             int64
		AccessHash     int64
		Size           int64
		DCID           int32
		KeyFingerprint int32
	}
	InputEncryptedFileEmpty struct {
		_ struct{} `tl:"1837c364"`
	}
	InputEncryptedFile struct {
		_          struct{} `tl:"5a17b5e5"`
		ID         int64
		AccessHash int64
	}
	InputEncryptedFileUploaded struct {
		_              struct{} `tl:"64bd0306"`
		ID             int64
		Parts          int32
		MD5Checksum    string
		KeyFingerprint int32
	}
	InputEncryptedFileBigUploaded struct {
		_              struct{} `tl:"2dc173c8"`
		ID             int64
		Parts          int32
		KeyFingerprint int32
	}
	EncryptedMessage struct {
		_        struct{} `tl:"ed18c118"`
		RandomID int64
		ChatID   int32
		Date     int32
		Bytes    []byte
		File     any
	}
	EncryptedMessageService struct {
		_        struct{} `tl:"23734b06"`
		RandomID int64
		ChatID   int32
		Date     int32
		Bytes    []byte
	}
	UpdateNewEncryptedMessage struct {
		_       struct{} `tl:"12bcbd9a"`
		Message any
		Qts     int32
	}
	UpdateEncryptedChatTyping struct {
		_      struct{} `tl:"1710f156"`
		ChatID int32
	}
	UpdateEncryption struct {
		_    struct{} `tl:"b4a2e88d"`
		Chat any
		Date int32
	}
	UpdateEncryptedMessagesRead struct {
		_       struct{} `tl:"38fe25b7"`
		ChatID  int32
		MaxDate int32
		Date    int32
	}
	Updates struct {
		_       struct{} `tl:"74ae4240"`
		Updates []any
		Users   []any
		Chats   []any
		Date    int32
		Seq     int32
	}
	GetState struct {
		_ struct{} `tl:"edd4882a"`
	}
	State struct {
		_           struct{} `tl:"a56c2a3e"`
		Pts         int32
		Qts         int32
		Date        int32
		Seq         int32
		UnreadCount int32
	}
	GetDifference struct {
		_             struct{} `tl:"19c2f763"`
		Flags         tl.Flags
		Pts           int32
		PtsLimit      int32 `tl:"?1"`
		PtsTotalLimit int32 `tl:"?0"`
		Date          int32
		Qts           int32
		QtsLimit      int32 `tl:"?2"`
	}
	DifferenceEmpty struct {
		_    struct{} `tl:"5d75a138"`
		Date int32
		Seq  int32
	}
	Difference struct {
		_                    struct{} `tl:"f49ca0"`
		NewMessages          []any
		NewEncryptedMessages []any
		OtherUpdates         []any
		Chats                []any
		Users                []any
		State                any
	}
	DifferenceSlice struct {
		_                    struct{} `tl:"a8fb1981"`
		NewMessages          []any
		NewEncryptedMessages []any
		OtherUpdates         []any
		Chats                []any
		Users                []any
		IntermediateState    any
	}

	SaveFilePart struct {
		_        struct{} `tl:"b304a621"`
		FileID   int64
		FilePart int32
		Bytes    []byte
	}
	SaveBigFilePart struct {
		_              struct{} `tl:"de7b673d"`
		FileID         int64
		FilePart       int32
		FileTotalParts int32
		Bytes          []byte
	}
	GetFile struct {
		_            struct{} `tl:"be5335be"`
		Flags        tl.Flags
		Precise      bool `tl:"?0"`
		CDNSupported bool `tl:"?1"`
		Location     any
		Offset       int64
		Limit        int32
	}
	InputEncryptedFileLocation struct {
		_          struct{} `tl:"f5235d55"`
		ID         int64
		AccessHash int64
	}
	StorageFilePartial struct {
		_ struct{} `tl:"40bc6f52"`
	}
	UploadFile struct {
		_     struct{} `tl:"96a18d5"`
		Type  any
		Mtime int32
		Bytes []byte
	}
)

var apiObjects = []any{
	GetConfig{}, Config{}, DCOption{}, SendCode{}, CodeSettings{}, SentCode{}, SentCodeTypeSms{}, SignIn{}, Authorization{}, LogOut{}, LoggedOut{},
	GetAuthorizations{}, AccountAuthorizations{}, AccountAuthorization{}, ResetAuthorization{}, ResetAuthorizations{},
	GetPassword{}, AccountPassword{}, PasswordKdfAlgo{}, PasswordKdfAlgoUnknown{}, SecurePasswordKdfAlgoUnknown{}, CheckPassword{}, InputCheckPasswordEmpty{}, InputCheckPasswordSRP{}, UpdatePasswordSettings{}, PasswordInputSettings{},
	ResendCode{}, UpdateServiceNotification{}, MessageMediaEmpty{}, User{}, User227{}, UserStatusRecently{}, InputUserSelf{}, InputUser{}, ResolvePhone{}, ResolveUsername{}, ResolvedPeer{}, PeerUser{}, GetUsers{}, GetFullUser{}, UsersUserFull{}, UserFull{}, PeerSettings{}, PeerNotifySettings{}, UpdateStatus{},
	GetDHConfig{}, DHConfig{}, DHConfigNotModified{}, RequestEncryption{}, AcceptEncryption{}, DiscardEncryption{}, SendEncrypted{}, SendEncryptedFile{}, SendEncryptedService{}, SentEncryptedMessage{}, SentEncryptedFile{},
	SetEncryptedTyping{}, ReadEncryptedHistory{}, ReceivedQueue{}, InputEncryptedChat{}, EncryptedChatDiscarded{}, EncryptedChatWaiting{}, EncryptedChatRequested{}, EncryptedChat{},
	EncryptedFileEmpty{}, EncryptedFile{}, InputEncryptedFileEmpty{}, InputEncryptedFile{}, InputEncryptedFileUploaded{}, InputEncryptedFileBigUploaded{}, EncryptedMessage{}, EncryptedMessageService{},
	UpdateNewEncryptedMessage{}, UpdateEncryptedChatTyping{}, UpdateEncryption{}, UpdateEncryptedMessagesRead{}, Updates{}, GetState{}, State{}, GetDifference{}, DifferenceEmpty{}, Difference{}, DifferenceSlice{},
	SaveFilePart{}, SaveBigFilePart{}, GetFile{}, InputEncryptedFileLocation{}, StorageFilePartial{}, UploadFile{},
}
