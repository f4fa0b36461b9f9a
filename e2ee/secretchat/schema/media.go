package schema

// Media are what a message comes with.
type Media interface{ media() }

// The constructors of Media.
type (
	DecryptedMessageMediaAudio struct {
		_        struct{} `tl:"57e0a9cb"`
		Duration int
		MimeType string
		Size     int
		Key, IV  []byte
	}
	DecryptedMessageMediaAudio8 struct {
		_              struct{} `tl:"6080758f"`
		Duration, Size int
		Key, IV        []byte
	}
	DecryptedMessageMediaContact struct {
		_                                struct{} `tl:"588a0a97"`
		PhoneNumber, FirstName, LastName string
		UserID                           int
	}
	DecryptedMessageMediaDocument struct {
		_              struct{} `tl:"6abd9782"`
		Thumb          []byte
		ThumbW, ThumbH int
		MimeType       string
		Size           int64
		Key, IV        []byte
		Attributes     []Attribute
		Caption        string
	}
	DecryptedMessageMediaDocument46 struct {
		_              struct{} `tl:"7afe8ae2"`
		Thumb          []byte
		ThumbW, ThumbH int
		MimeType       string
		Size           int
		Key, IV        []byte
		Attributes     []Attribute
		Caption        string
	}
	DecryptedMessageMediaDocument8 struct {
		_                  struct{} `tl:"b095434b"`
		Thumb              []byte
		ThumbW, ThumbH     int
		FileName, MimeType string
		Size               int
		Key, IV            []byte
	}
	DecryptedMessageMediaEmpty struct {
		_ struct{} `tl:"089f5c4a"`
	}
	DecryptedMessageMediaExternalDocument struct {
		_              struct{} `tl:"fa95b0dd"`
		ID, AccessHash int64
		Date           int
		MimeType       string
		Size           int
		Thumb          Thumb
		DCID           int
		Attributes     []Attribute
	}
	DecryptedMessageMediaGeoPoint struct {
		_         struct{} `tl:"35480a59"`
		Lat, Long float64
	}
	DecryptedMessageMediaPhoto struct {
		_                          struct{} `tl:"f1fa8d78"`
		Thumb                      []byte
		ThumbW, ThumbH, W, H, Size int
		Key, IV                    []byte
		Caption                    string
	}
	DecryptedMessageMediaPhoto8 struct {
		_                          struct{} `tl:"32798a8c"`
		Thumb                      []byte
		ThumbW, ThumbH, W, H, Size int
		Key, IV                    []byte
	}
	DecryptedMessageMediaVenue struct {
		_                                 struct{} `tl:"8a0df56f"`
		Lat, Long                         float64
		Title, Address, Provider, VenueID string
	}
	DecryptedMessageMediaVideo struct {
		_                        struct{} `tl:"970c8c0e"`
		Thumb                    []byte
		ThumbW, ThumbH, Duration int
		MimeType                 string
		W, H, Size               int
		Key, IV                  []byte
		Caption                  string
	}
	DecryptedMessageMediaVideo23 struct {
		_                        struct{} `tl:"524a415d"`
		Thumb                    []byte
		ThumbW, ThumbH, Duration int
		MimeType                 string
		W, H, Size               int
		Key, IV                  []byte
	}
	DecryptedMessageMediaVideo8 struct {
		_                                    struct{} `tl:"4cee6ef3"`
		Thumb                                []byte
		ThumbW, ThumbH, Duration, W, H, Size int
		Key, IV                              []byte
	}
	DecryptedMessageMediaWebPage struct {
		_   struct{} `tl:"e50511d8"`
		URL string
	}
)

func (*DecryptedMessageMediaAudio) media()            {}
func (*DecryptedMessageMediaAudio8) media()           {}
func (*DecryptedMessageMediaContact) media()          {}
func (*DecryptedMessageMediaDocument) media()         {}
func (*DecryptedMessageMediaDocument46) media()       {}
func (*DecryptedMessageMediaDocument8) media()        {}
func (*DecryptedMessageMediaEmpty) media()            {}
func (*DecryptedMessageMediaExternalDocument) media() {}
func (*DecryptedMessageMediaGeoPoint) media()         {}
func (*DecryptedMessageMediaPhoto) media()            {}
func (*DecryptedMessageMediaPhoto8) media()           {}
func (*DecryptedMessageMediaVenue) media()            {}
func (*DecryptedMessageMediaVideo) media()            {}
func (*DecryptedMessageMediaVideo23) media()          {}
func (*DecryptedMessageMediaVideo8) media()           {}
func (*DecryptedMessageMediaWebPage) media()          {}

// A Thumb is a small picture of a document, or where one is.
type Thumb interface{ thumb() }

// The constructors of Thumb.
type (
	PhotoCachedSize struct {
		_        struct{} `tl:"e9a734fa"`
		Type     string
		Location Place
		W, H     int
		Bytes    []byte
	}
	PhotoSize struct {
		_          struct{} `tl:"77bfb61b"`
		Type       string
		Location   Place
		W, H, Size int
	}
	PhotoSizeEmpty struct {
		_    struct{} `tl:"0e17e23c"`
		Type string
	}
)

func (*PhotoCachedSize) thumb() {}
func (*PhotoSize) thumb()       {}
func (*PhotoSizeEmpty) thumb()  {}

// A Place is where a server keeps a picture.
type Place interface{ place() }

// The constructors of Place.
type (
	FileLocation struct {
		_        struct{} `tl:"53d69076"`
		DCID     int
		VolumeID int64
		LocalID  int
		Secret   int64
	}
	FileLocationUnavailable struct {
		_        struct{} `tl:"7c596b46"`
		VolumeID int64
		LocalID  int
		Secret   int64
	}
)

func (*FileLocation) place()            {}
func (*FileLocationUnavailable) place() {}
