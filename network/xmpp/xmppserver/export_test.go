package xmppserver

import (
	"context"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"mellium.im/xmpp/jid"
)

// Mint makes a token as the component does.
func Mint(ctx context.Context, core *server.Core, user quinta.UserID, thumbprint string) (string, error) {
	s, err := newServer(core)
	if err != nil {
		return "", err
	}
	token, _, err := s.mint(ctx, user, thumbprint)
	return token, err
}

// TokenByIQ answers a request for a token from a full JID.
func TokenByIQ(ctx context.Context, core *server.Core, from, thumbprint string) (*wire.Token, error) {
	s, err := newServer(core)
	if err != nil {
		return nil, err
	}
	return s.tokenByIQ(ctx, jid.MustParse(from), &wire.Token{Thumbprint: thumbprint})
}

// Component is the parsed setting.
func Component(v string) (string, error) {
	c, err := parseComponent(v)
	return strings.Trim(c.name+" "+c.addr, " "), err
}

// ApplyRoom stores what a room says of itself.
func ApplyRoom(ctx context.Context, core *server.Core, room quinta.RoomID, at time.Time, frozen string, members []quinta.UserID) error {
	return core.Update(ctx, func(tx *db.Tx) error {
		return applyRoom(tx, room, at, &roomState{frozen: frozen, members: members}, func(hint) {})
	})
}
