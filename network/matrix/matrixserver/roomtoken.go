package matrixserver

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// token writes a position as it stands in next_batch, prev_batch, start, end,
// from, to, since and at. It is the place right after the event at pos.
func token(pos quinta.Pos) string { return "s" + strconv.FormatInt(int64(pos), 10) }

// A place is where a sync has come to: everything up to pos, but of the
// messages to the device only those up to box.
type place struct{ pos, box quinta.Pos }

// String writes a place as the token of a sync, which is the token of its
// position with the mailbox's behind it where that is another one.
func (p place) String() string {
	if p.box == p.pos {
		return token(p.pos)
	}
	return token(p.pos) + "_" + strconv.FormatInt(int64(p.box), 10)
}

// maxToken is how long a token can be, in bytes.
const maxToken = 48

// parsePlace reads what String wrote.
func parsePlace(s string) (place, error) {
	bad := wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a token that the server gave")
	digits, ok := strings.CutPrefix(s, "s")
	if !ok || len(s) > maxToken {
		return place{}, bad
	}
	digits, tail, split := strings.Cut(digits, "_")
	pos, err := strconv.ParseUint(digits, 10, 62)
	if err != nil {
		return place{}, bad
	}
	p := place{quinta.Pos(pos), quinta.Pos(pos)}
	if split {
		box, err := strconv.ParseUint(tail, 10, 62)
		if err != nil || box > pos {
			return place{}, bad
		}
		p.box = quinta.Pos(box)
	}
	return p, nil
}

// parseToken reads the position of what token wrote, or of a sync's token.
func parseToken(s string) (quinta.Pos, error) {
	p, err := parsePlace(s)
	return p.pos, err
}

// paramToken reads a token from a query parameter, def if it is absent.
func (c *call) paramToken(name string, def quinta.Pos) (quinta.Pos, error) {
	s := c.param(name)
	if s == "" {
		return def, nil
	}
	return parseToken(s)
}
