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

// parseToken reads what token wrote.
func parseToken(s string) (quinta.Pos, error) {
	digits, ok := strings.CutPrefix(s, "s")
	n, err := strconv.ParseUint(digits, 10, 62)
	if !ok || err != nil {
		return 0, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this is not a token that the server gave")
	}
	return quinta.Pos(n), nil
}

// paramToken reads a token from a query parameter, def if it is absent.
func (c *call) paramToken(name string, def quinta.Pos) (quinta.Pos, error) {
	s := c.param(name)
	if s == "" {
		return def, nil
	}
	return parseToken(s)
}
