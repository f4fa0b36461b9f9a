package schema

import "github.com/quinta-chat/quinta/internal/tl"

// An Attribute says what a document is.
type Attribute interface{ attribute() }

// The constructors of Attribute.
type (
	DocumentAttributeAnimated struct {
		_ struct{} `tl:"11b58939"`
	}
	DocumentAttributeAudio struct {
		_         struct{} `tl:"9852f9c6"`
		Flags     tl.Flags
		Voice     bool `tl:"?10"`
		Duration  int
		Title     string `tl:"?0"`
		Performer string `tl:"?1"`
		Waveform  []byte `tl:"?2"`
	}
	DocumentAttributeAudio23 struct {
		_        struct{} `tl:"051448e5"`
		Duration int
	}
	DocumentAttributeAudio45 struct {
		_                struct{} `tl:"ded218e0"`
		Duration         int
		Title, Performer string
	}
	DocumentAttributeFilename struct {
		_        struct{} `tl:"15590068"`
		FileName string
	}
	DocumentAttributeImageSize struct {
		_    struct{} `tl:"6c37c15c"`
		W, H int
	}
	DocumentAttributeSticker struct {
		_          struct{} `tl:"3a556302"`
		Alt        string
		Stickerset StickerSet
	}
	DocumentAttributeSticker23 struct {
		_ struct{} `tl:"fb0a5727"`
	}
	DocumentAttributeVideo struct {
		_              struct{} `tl:"0ef02ce6"`
		Flags          tl.Flags
		RoundMessage   bool `tl:"?0"`
		Duration, W, H int
	}
	DocumentAttributeVideo23 struct {
		_              struct{} `tl:"5910cccb"`
		Duration, W, H int
	}
)

func (*DocumentAttributeAnimated) attribute()  {}
func (*DocumentAttributeAudio) attribute()     {}
func (*DocumentAttributeAudio23) attribute()   {}
func (*DocumentAttributeAudio45) attribute()   {}
func (*DocumentAttributeFilename) attribute()  {}
func (*DocumentAttributeImageSize) attribute() {}
func (*DocumentAttributeSticker) attribute()   {}
func (*DocumentAttributeSticker23) attribute() {}
func (*DocumentAttributeVideo) attribute()     {}
func (*DocumentAttributeVideo23) attribute()   {}

// A StickerSet is where a sticker is from.
type StickerSet interface{ stickerSet() }

// The constructors of StickerSet.
type (
	InputStickerSetEmpty struct {
		_ struct{} `tl:"ffb62b95"`
	}
	InputStickerSetShortName struct {
		_         struct{} `tl:"861cc8a0"`
		ShortName string
	}
)

func (*InputStickerSetEmpty) stickerSet()     {}
func (*InputStickerSetShortName) stickerSet() {}
