package sync

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// Token writes a position as next_batch, prev_batch, start, end,
// from, to, since and at. It is the place right after the event at pos.
func Token(pos quinta.Pos) string { return "s" + strconv.FormatInt(int64(pos), 10) }

// A Place is the point that a sync has reached: everything up to pos, but the
// messages to the device only up to box.
type Place struct{ Pos, Box quinta.Pos }

// String writes a place as the token of a sync, which is the token of its
// position with the mailbox's behind it where that is another one.
func (p Place) String() string {
	if p.Box == p.Pos {
		return Token(p.Pos)
	}
	return Token(p.Pos) + "_" + strconv.FormatInt(int64(p.Box), 10)
}

// maxToken is how long a token can be, in bytes.
const maxToken = 48

// ParsePlace reads what String wrote.
func ParsePlace(s string) (Place, error) {
	bad := wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a token that the server issued")
	digits, ok := strings.CutPrefix(s, "s")
	if !ok || len(s) > maxToken {
		return Place{}, bad
	}
	digits, tail, split := strings.Cut(digits, "_")
	pos, err := strconv.ParseUint(digits, 10, 62)
	if err != nil {
		return Place{}, bad
	}
	p := Place{quinta.Pos(pos), quinta.Pos(pos)}
	if split {
		box, err := strconv.ParseUint(tail, 10, 62)
		if err != nil || box > pos {
			return Place{}, bad
		}
		p.Box = quinta.Pos(box)
	}
	return p, nil
}

// ParseToken reads the position of what Token wrote, or of a sync's token.
func ParseToken(s string) (quinta.Pos, error) {
	p, err := ParsePlace(s)
	return p.Pos, err
}
