package mtprotoserver_test

import (
	"crypto/rand"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotd/td/crypto"
	"github.com/gotd/td/exchange"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
)

// temporary makes a temporary key, with another make's client, on a new
// connection.
func temporary(t *testing.T, s *quintatest.Server, life int) *peer {
	t.Helper()
	f := plain(t, s, 2)
	r, err := exchange.NewExchanger(f, 2).WithRand(rand.Reader).WithTempMode(life).Client([]exchange.PublicKey{{RSA: serverKey(t, s)}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k, err := secretchat.ParseKey(r.AuthKey.Value[:])
	if err != nil {
		t.Fatal(err)
	}
	return &peer{t: t, f: f, key: k, session: 21}
}

// binding is the call that binds p to a permanent key, sealed by another make.
func (p *peer) binding(perm *secretchat.Key, expires time.Time) *wire.BindTempAuthKey {
	p.t.Helper()
	inner := &crypto.BindAuthKeyInner{Nonce: 5, TempAuthKeyID: p.key.Fingerprint(), PermAuthKeyID: perm.Fingerprint(), TempSessionID: p.session, ExpiresAt: int(expires.Unix())}
	sealed, err := crypto.EncryptBindMessage(rand.Reader, crypto.Key(perm.Bytes()).WithID(), time.Now().Unix()<<32, inner)
	if err != nil {
		p.t.Fatal(err)
	}
	return &wire.BindTempAuthKey{PermAuthKeyID: perm.Fingerprint(), Nonce: 5, ExpiresAt: int32(expires.Unix()), EncryptedMessage: sealed}
}

// TestTemporaryKeys: a temporary key speaks for no one until the permanent key
// of a device has sealed its binding; then it is that device, until it expires;
// the next one takes its place.
func TestTemporaryKeys(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := start(t, quintatest.Clock(now))
	device := logged(t, s, "alice")
	other := logged(t, s, "bob")
	p := temporary(t, s, 3600)
	p.now = now
	ask[*wire.Config](p, &wire.GetConfig{})
	p.refused(&wire.GetState{}, 401, "AUTH_KEY_PERM_EMPTY")
	p.refused(&wire.SendCode{PhoneNumber: "+88800000001", Settings: &wire.CodeSettings{}}, 401, "AUTH_KEY_PERM_EMPTY")

	const refused = "ENCRYPTED_MESSAGE_INVALID"
	good := p.binding(device.key, time.Now().Add(time.Hour))
	for name, change := range map[string]func(b *wire.BindTempAuthKey){
		"a changed bit":        func(b *wire.BindTempAuthKey) { b.EncryptedMessage[40] ^= 1 },
		"cut":                  func(b *wire.BindTempAuthKey) { b.EncryptedMessage = b.EncryptedMessage[:88] },
		"another nonce":        func(b *wire.BindTempAuthKey) { b.Nonce++ },
		"another expiry":       func(b *wire.BindTempAuthKey) { b.ExpiresAt++ },
		"a foreign device":     func(b *wire.BindTempAuthKey) { b.PermAuthKeyID = other.key.Fingerprint() },
		"a device of nobody":   func(b *wire.BindTempAuthKey) { b.PermAuthKeyID = 77 },
		"the temporary itself": func(b *wire.BindTempAuthKey) { *b = *p.binding(p.key, time.Now().Add(time.Hour)) },
		"expired":              func(b *wire.BindTempAuthKey) { *b = *p.binding(device.key, time.Now().Add(-time.Minute)) },
		"another session": func(b *wire.BindTempAuthKey) {
			q := *p
			q.session++
			*b = *q.binding(device.key, time.Now().Add(time.Hour))
		},
		"another temporary key": func(b *wire.BindTempAuthKey) {
			q := *p
			q.key = other.key
			*b = *q.binding(device.key, time.Now().Add(time.Hour))
		},
	} {
		b := *good
		b.EncryptedMessage = slices.Clone(b.EncryptedMessage)
		change(&b)
		if e, ok := p.do(&b).(*wire.RPCError); !ok || e.Message != refused {
			t.Errorf("%s: got %+v, want %s", name, e, refused)
		}
	}
	device.refused(good, 400, "TEMP_AUTH_KEY_EMPTY")
	ask[bool](p, good)
	ask[bool](p, good) // a repetition
	p.refused(p.binding(other.key, time.Now().Add(time.Hour)), 400, refused)
	ask[*wire.State](p, &wire.GetState{})
	ask[*wire.EncryptedChatWaiting](p, &wire.RequestEncryption{UserID: p.finds("bob"), RandomID: 5, GA: public(t)})
	// The chat is the device's, by whichever key it speaks.
	r := chatOf[*wire.EncryptedChatRequested](other)
	ask[*wire.EncryptedChat](other, &wire.AcceptEncryption{Peer: &wire.InputEncryptedChat{ChatID: r.ID, AccessHash: r.AccessHash}, GB: public(t), KeyFingerprint: 5})
	if c := chatOf[*wire.EncryptedChat](device); c.ID != r.ID {
		t.Errorf("got %+v, want the chat %d", c, r.ID)
	}

	// It expires on its connection and on any other.
	ahead.Store(int64(time.Hour))
	if got := p.do(&wire.GetState{}); got != int32(-404) {
		t.Errorf("an expired key: got %+v, want -404", got)
	}
	late := &peer{t: t, f: plain(t, s, 2), key: p.key, session: 22, now: now}
	if got := late.do(&wire.GetState{}); got != int32(-404) {
		t.Errorf("an expired key on a new connection: got %+v, want -404", got)
	}
	next := temporary(t, s, 3600)
	next.now = now
	ask[*wire.Config](next, &wire.GetConfig{})
	ask[bool](next, next.binding(device.key, now().Add(time.Hour)))
	ask[*wire.State](next, &wire.GetState{})
	for _, k := range []int{-5, 1 << 30} {
		f := plain(t, s, 2)
		if _, err := exchange.NewExchanger(f, 2).WithRand(rand.Reader).WithTempMode(k).Client([]exchange.PublicKey{{RSA: serverKey(t, s)}}).Run(t.Context()); err == nil {
			t.Errorf("a key for %d seconds was made", k)
		}
	}
}
