package xmppclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

var _ client.Doctor = (*Session)(nil)

// Examine implements client.Doctor: the connection, what the XMPP server offers,
// the key server, the clock, and the device's approval.
func (s *Session) Examine(ctx context.Context) ([]client.Finding, error) {
	live, release, err := s.runner.Connect(ctx)
	if err != nil {
		return []client.Finding{{Name: "connection", Text: err.Error(), Remedy: "check the network and the XMPP server"}}, nil
	}
	defer release()
	c, err := s.link.current()
	if err != nil {
		return nil, err
	}
	out := []client.Finding{{Name: "connection", OK: true, Text: "logged in at the XMPP server"}}
	out = append(out, s.offers(live, c)...)
	out = append(out, s.keyServer(live, c)...)
	approved := false
	var waits int
	if err := s.look(ctx, "examining the device", func(tx e2ee.Tx) (err error) {
		if _, approved, err = s.machine.Self(tx); err != nil {
			return err
		}
		waits, err = s.machine.Pending(tx)
		return err
	}); err != nil {
		return nil, err
	}
	f := client.Finding{Name: "approval", OK: approved, Text: "the device is the first of its user, or approved"}
	if !approved {
		f.Text, f.Remedy = "the device is not approved: it gets no keys and sends nothing", "on another device of the account: quinta approve "+string(s.account.Device)
	}
	out = append(out, f)
	f = client.Finding{Name: "waiting", OK: waits == 0, Text: fmt.Sprintf("%d messages wait for their keys", waits)}
	if waits > 0 {
		f.Remedy = "let another device of the account or of the peer run for a while: it makes the copies"
	}
	return append(out, f), nil
}

// offers looks at what the XMPP server has for the account.
func (s *Session) offers(ctx context.Context, c *connection) []client.Finding {
	var own, server wire.Info
	errOwn := c.askWith(ctx, s.env.Rand, c.self.Bare(), stanza.GetIQ, &wire.Info{}, &own)
	errServer := c.askWith(ctx, s.env.Rand, c.self.Domain(), stanza.GetIQ, &wire.Info{}, &server)
	archive := client.Finding{Name: "archive", OK: errOwn == nil && own.Has(wire.NSArchive), Text: "the server keeps an archive of the account"}
	if !archive.OK {
		archive.Text, archive.Remedy = "the server keeps no archive of the account: a device that was away for a long time misses messages", "ask the operator to switch message archiving (XEP-0313) on"
	}
	carbons := client.Finding{Name: "carbons", OK: errServer == nil && server.Has(wire.NSCarbons), Text: "devices of the account immediately see what the others send"}
	if !carbons.OK {
		carbons.Text, carbons.Remedy = "the server sends no carbons: devices of the account see what the others send only when they connect again", "ask the operator to switch carbons (XEP-0280) on"
	}
	return []client.Finding{archive, carbons}
}

// clockSkew is how far the clocks may differ: a key is made with the time of
// this device.
const clockSkew = 2 * time.Minute

// keyServer looks at the key server and compares the clocks.
func (s *Session) keyServer(ctx context.Context, c *connection) []client.Finding {
	to, err := jid.Parse(s.account.Component)
	if err == nil {
		err = c.askWith(ctx, s.env.Rand, to, stanza.GetIQ, &wire.Info{}, &wire.Info{})
	}
	f := client.Finding{Name: "component", OK: err == nil, Text: "the key server " + s.account.Component + " answers"}
	if err != nil {
		f.Text, f.Remedy = "the key server "+s.account.Component+" does not answer through the XMPP server", "ask its operator: quintad shows whether its component is connected"
		if _, refused := errors.AsType[stanza.Error](err); !refused {
			f.Text = err.Error()
		}
		return []client.Finding{f}
	}
	if _, _, _, err = s.link.keys.session(ctx, c, s.account.Component); err != nil {
		return []client.Finding{f, {Name: "token", Text: err.Error(), Remedy: "ask the operator of the key server"}}
	}
	skew := s.link.keys.skew()
	clock := client.Finding{Name: "clock", OK: skew.Abs() < clockSkew, Text: "the clock agrees with the key server's"}
	if !clock.OK {
		clock.Text, clock.Remedy = fmt.Sprintf("the clock differs from the key server's by %s", skew.Truncate(time.Second)), "set the clock of this machine"
	}
	return []client.Finding{f, {Name: "token", OK: true, Text: "the key server gives tokens"}, clock}
}
