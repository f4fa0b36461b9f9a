package rocketchatclient

import (
	"context"
	"net/url"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

var _ client.PushOpener = (*Session)(nil)

// OpenPush implements client.PushOpener. The sender and room in the payload are
// claims of the gateway and the server; the host in it is never contacted.
func (s *Session) OpenPush(ctx context.Context, payload []byte) (e2ee.Event, error) {
	const op = "opening a push"
	p, err := wire.ParsePush(payload)
	if err != nil {
		return e2ee.Event{}, errorOf(op, err)
	}
	m := p.Message()
	if p.Kind == wire.PushID {
		var a struct {
			Data struct {
				Message *rocketchat.Message `json:"message"`
			} `json:"data"`
		}
		if err := s.link.get(ctx, op, "push.get", url.Values{"id": {string(p.MessageID)}}, &a); err != nil {
			return e2ee.Event{}, err
		}
		if a.Data.Message == nil || a.Data.Message.ID != p.MessageID {
			return e2ee.Event{}, quinta.E(quinta.KindUnavailable, op, "the server returned a different message from the one that was requested")
		}
		m = *a.Data.Message
	}
	var out e2ee.Event
	err = s.change(ctx, op, func(tx e2ee.Tx) (err error) {
		out, err = s.machine.Preview(tx, m)
		return err
	})
	return out, err
}
