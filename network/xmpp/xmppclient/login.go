package xmppclient

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
)

// publishWithin bounds how long a login waits for its device to be published.
const publishWithin = 20 * time.Second

// Login logs a new device in at the XMPP server, finds the key server beside it,
// and publishes the device's keys there. in.Server is a domain or
// xmpp://HOST:PORT, the domain of the user if it is empty; in.User is the bare
// JID.
func (n Network) Login(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	const op = "logging in"
	user, err := jid.Parse(in.User)
	if err != nil || user.Localpart() == "" || user.Resourcepart() != "" || keysrv.CheckJID(quinta.UserID(user.String())) != nil {
		return quinta.Device{}, quinta.E(quinta.KindInvalid, op, "give the user as a JID such as romeo@example.org")
	}
	a := account{Server: strings.TrimSpace(in.Server), User: quinta.UserID(user.String()), Name: in.DeviceName}
	if a.Server == "" {
		a.Server = user.Domainpart()
	}
	if err := checkServer(a.Server); err != nil {
		return quinta.Device{}, err
	}
	secret, err := in.Answer(ctx, client.Question{Kind: client.AskPassword})
	if err != nil {
		return quinta.Device{}, err
	}
	a.Password = secret.Reveal()
	if a.Device, err = n.begin(ctx, st, env, a.User); err != nil {
		return quinta.Device{}, err
	}
	c, _, err := connect(ctx, &a, nil)
	if err != nil {
		return quinta.Device{}, err
	}
	a.Component, err = c.findKeyServer(ctx, env)
	c.close()
	if err != nil {
		return quinta.Device{}, err
	}
	if err := st.Update(ctx, func(tx e2ee.Tx) error { return e2ee.Store(tx, keyAccount, &a) }); err != nil {
		return quinta.Device{}, err
	}
	s, err := newSession(ctx, n, st, env, a)
	if err != nil {
		return quinta.Device{}, err
	}
	within, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	// The login stands whatever becomes of this: what does not get through is
	// in the store, and repeated when the session runs.
	_ = s.runner.Push(within, func(req any) bool {
		kind := req.(keysrv.Req).Kind
		return kind == keysrv.ReqDevice || kind == keysrv.ReqDevices
	})
	return s.Self(), nil
}

// begin makes the device's keys, or takes those of a login that was begun.
func (n Network) begin(ctx context.Context, st client.Store, env e2ee.Env, user quinta.UserID) (id quinta.DeviceID, err error) {
	err = st.Update(ctx, func(tx e2ee.Tx) error {
		if b, err := tx.Get(keyAccount); b != nil || err != nil {
			return errors.Join(err, quinta.E(quinta.KindExists, "logging in", "an account is already logged in here"))
		}
		m := keysrv.New(env, user, n.Policy)
		if d, _, err := m.Self(tx); err == nil {
			id = d.ID
			return nil
		}
		id, err = m.Begin(tx)
		return err
	})
	return id, err
}

// maxComponents bounds the services of a server that are asked what they are.
const maxComponents = 50

// findKeyServer returns the JID of the service of the user's domain that lists
// the feature of a key server.
func (c *connection) findKeyServer(ctx context.Context, env e2ee.Env) (string, error) {
	const op = "looking for the key server"
	to, err := c.find(ctx, env.Rand, func(i *wire.Info) bool { return i.Has(wire.NSKeys) })
	if err != nil {
		return "", err
	}
	if to.Domainpart() != "" {
		return to.String(), nil
	}
	return "", quinta.E(quinta.KindNotFound, op, "the XMPP server lists no key server: its operator sets one up with \"quintad xmpp setup\"")
}
