package schema

// An Entity is how a part of a text is meant to look. Its offset and length count UTF-16 units.
type Entity interface{ entity() }

// The constructors of Entity.
type (
	MessageEntityBankCard struct {
		_              struct{} `tl:"761e6af4"`
		Offset, Length int
	}
	MessageEntityBlockquote struct {
		_              struct{} `tl:"020df5d0"`
		Offset, Length int
	}
	MessageEntityBold struct {
		_              struct{} `tl:"bd610bc9"`
		Offset, Length int
	}
	MessageEntityBotCommand struct {
		_              struct{} `tl:"6cef8ac7"`
		Offset, Length int
	}
	MessageEntityCashtag struct {
		_              struct{} `tl:"4c4e743f"`
		Offset, Length int
	}
	MessageEntityCode struct {
		_              struct{} `tl:"28a20571"`
		Offset, Length int
	}
	MessageEntityCustomEmoji struct {
		_              struct{} `tl:"c8cf05f8"`
		Offset, Length int
		DocumentID     int64
	}
	MessageEntityEmail struct {
		_              struct{} `tl:"64e475c2"`
		Offset, Length int
	}
	MessageEntityHashtag struct {
		_              struct{} `tl:"6f635b0d"`
		Offset, Length int
	}
	MessageEntityItalic struct {
		_              struct{} `tl:"826f8b60"`
		Offset, Length int
	}
	MessageEntityMention struct {
		_              struct{} `tl:"fa04579d"`
		Offset, Length int
	}
	MessageEntityMentionName struct {
		_                      struct{} `tl:"352dca58"`
		Offset, Length, UserID int
	}
	MessageEntityPhone struct {
		_              struct{} `tl:"9b69e34b"`
		Offset, Length int
	}
	MessageEntityPre struct {
		_              struct{} `tl:"73924be0"`
		Offset, Length int
		Language       string
	}
	MessageEntitySpoiler struct {
		_              struct{} `tl:"32ca960f"`
		Offset, Length int
	}
	MessageEntityStrike struct {
		_              struct{} `tl:"bf0693d4"`
		Offset, Length int
	}
	MessageEntityTextURL struct {
		_              struct{} `tl:"76a6d327"`
		Offset, Length int
		URL            string
	}
	MessageEntityURL struct {
		_              struct{} `tl:"6ed02538"`
		Offset, Length int
	}
	MessageEntityUnderline struct {
		_              struct{} `tl:"9c4e7e8b"`
		Offset, Length int
	}
	MessageEntityUnknown struct {
		_              struct{} `tl:"bb92ba95"`
		Offset, Length int
	}
)

func (*MessageEntityBankCard) entity()    {}
func (*MessageEntityBlockquote) entity()  {}
func (*MessageEntityBold) entity()        {}
func (*MessageEntityBotCommand) entity()  {}
func (*MessageEntityCashtag) entity()     {}
func (*MessageEntityCode) entity()        {}
func (*MessageEntityCustomEmoji) entity() {}
func (*MessageEntityEmail) entity()       {}
func (*MessageEntityHashtag) entity()     {}
func (*MessageEntityItalic) entity()      {}
func (*MessageEntityMention) entity()     {}
func (*MessageEntityMentionName) entity() {}
func (*MessageEntityPhone) entity()       {}
func (*MessageEntityPre) entity()         {}
func (*MessageEntitySpoiler) entity()     {}
func (*MessageEntityStrike) entity()      {}
func (*MessageEntityTextURL) entity()     {}
func (*MessageEntityURL) entity()         {}
func (*MessageEntityUnderline) entity()   {}
func (*MessageEntityUnknown) entity()     {}
