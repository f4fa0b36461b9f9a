package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/testkit/town"
)

const ringConv quinta.RoomID = "d_0123456789abcdef"

// ringSessions makes n sessions of which the newest is somewhere in the middle.
func ringSessions(n int) []*sessionRecord {
	list := make([]*sessionRecord, n)
	for i := range list {
		at := int64((i*7 + 3) % n)
		list[i] = &sessionRecord{Time: at, Session: seal.Session{Conv: ringConv, Peer: "bob@hs1", Began: at, Offer: seal.Offer{KID: fmt.Sprint(at)}}}
	}
	return list
}

// TestKeyringKeepsTheNewest: where there is no room for all, a keyring holds the
// newest sessions and the newest keys.
func TestKeyringKeepsTheNewest(t *testing.T) {
	t.Parallel()
	const n = 500 // no multiple of 7, and more than there is room for
	r := newKeyring(nil, ringSessions(n))
	if len(r.Sessions) == 0 || len(r.Sessions) == n {
		t.Fatalf("got %d of %d sessions, want some", len(r.Sessions), n)
	}
	for i, s := range r.Sessions {
		if want := int64(n - 1 - i); s.Began != want {
			t.Fatalf("session %d: got the one of time %d, want %d", i, s.Began, want)
		}
	}
	var keys []*ownKey
	for i := range 100 {
		keys = append(keys, &ownKey{Profile: cert.ProfileSecure, Use: cert.UseEncrypt, Cert: []byte{byte(i)}, Private: make([]byte, 1000)})
	}
	keys = append(keys, &ownKey{Profile: cert.ProfileSecure, Use: cert.UseSign, Cert: []byte{200}}, &ownKey{Profile: cert.ProfileLegacy, Cert: []byte{201}},
		&ownKey{Profile: cert.ProfileSecure, Use: cert.UseEncrypt})
	r = newKeyring(keys, nil)
	if len(r.Keys) == 0 || len(r.Keys) == 100 {
		t.Fatalf("got %d of 100 keys, want some", len(r.Keys))
	}
	for i, k := range r.Keys {
		if want := byte(99 - i); k.Cert[0] != want {
			t.Fatalf("key %d: got %d, want %d: the newest to encrypt to, and nothing else", i, k.Cert[0], want)
		}
	}
}

// TestKeyringSum: what a keyring holds has one name, whatever its order.
func TestKeyringSum(t *testing.T) {
	t.Parallel()
	a := newKeyring(nil, ringSessions(20))
	list := ringSessions(20)
	list[0], list[9] = list[9], list[0]
	if got, want := newKeyring(nil, list).sum(), a.sum(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if newKeyring(nil, list[1:]).sum() == a.sum() {
		t.Error("another keyring has the same name")
	}
}

// TestKeyringIsChecked: what is no keyring of this version, and what is too
// large, is refused.
func TestKeyringIsChecked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		`{"v":1,"keys":[]}`: nil, `{"v":2,"keys":[]}`: cert.ErrUnsupported, `[`: cert.ErrMalformed,
		`{"v":1,"keys":[` + strings.Repeat("{},", maxRingKeys) + `{}]}`: cert.ErrMalformed,
	} {
		if _, err := parseRing([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.30s: got %v, want %v", text, err, want)
		}
	}
}

// TestKeyOfKeyring: a pair is taken if it is the user's, to encrypt to, and fits
// together.
func TestKeyOfKeyring(t *testing.T) {
	t.Parallel()
	w := town.New(t)
	alice, bob := w.Person("alice@hs1", "A"), w.Person("bob@hs1", "B")
	pair := func(c *x509.Certificate, key any) ringKey {
		raw, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return ringKey{Cert: c.Raw, Private: raw}
	}
	for name, c := range map[string]struct {
		k  ringKey
		ok bool
	}{
		"good":          {pair(alice.Encrypt, alice.EncryptKey), true},
		"to sign with":  {pair(alice.Sign, alice.SignKey), false},
		"of another":    {pair(bob.Encrypt, bob.EncryptKey), false},
		"does not fit":  {pair(alice.Encrypt, bob.EncryptKey), false},
		"no key":        {ringKey{Cert: alice.Encrypt.Raw}, false},
		"nothing":       {ringKey{}, false},
		"certificate x": {ringKey{Cert: []byte("x"), Private: []byte("x")}, false},
	} {
		own, ok := c.k.own("alice@hs1")
		if ok != c.ok || ok && (own.State != ownRestored || own.ID != cert.KeyID(alice.Encrypt)) {
			t.Errorf("%s: got %v, want %v", name, ok, c.ok)
		}
	}
}

// TestSessionOfKeyringIsReadOnly: nothing is ever written in a session out of a
// keyring, since this device may have counted in it before. The mark alone keeps
// it so, as the rest of the record may come to look like a usable one.
func TestSessionOfKeyringIsReadOnly(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	offer, err := seal.NewOffer(strings.NewReader(strings.Repeat("x", 48)))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := ringSession{Offer: offer, Conv: ringConv, Peer: "bob@hs1", Began: now.UnixMilli()}.session("alice@hs1", "A")
	if !ok || !s.ReadOnly {
		t.Fatalf("got %v, read only %v", ok, s.ReadOnly)
	}
	keys := []cert.Fingerprint{"k1", "k2"}
	s.Keys = keys
	if usable([]*sessionRecord{s}, keys, now) != nil {
		t.Error("a session that is read only is written in")
	}
	s.ReadOnly = false
	if usable([]*sessionRecord{s}, keys, now) != s {
		t.Error("without the mark it is not usable either: the test shows nothing")
	}
	for name, change := range map[string]func(*sessionRecord){
		"for other keys": func(s *sessionRecord) { s.Keys = keys[:1] },
		"not durable":    func(s *sessionRecord) { s.Ready = false },
		"full":           func(s *sessionRecord) { s.Session.Sent = seal.SessionMessages },
		"too old":        func(s *sessionRecord) { s.Session.Began = now.Add(-seal.SessionLife).UnixMilli() },
		"of the future":  func(s *sessionRecord) { s.Session.Began = now.Add(time.Millisecond).UnixMilli() },
	} {
		bad := *s
		change(&bad)
		if usable([]*sessionRecord{&bad}, keys, now) != nil {
			t.Errorf("%s: it is written in", name)
		}
	}
	newer := *s
	newer.Session.Began--
	if usable([]*sessionRecord{&newer, s}, keys, now) != s {
		t.Error("the newest is not the one that is used")
	}
	if _, ok := (ringSession{Offer: offer, Conv: "?", Peer: "bob@hs1"}).session("alice@hs1", "A"); ok {
		t.Error("a session of no conversation was taken")
	}
	if _, ok := (ringSession{Offer: offer, Conv: ringConv, Peer: "alice@hs1"}).session("alice@hs1", "A"); ok {
		t.Error("a session with oneself was taken")
	}
}
