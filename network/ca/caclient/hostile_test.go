package caclient_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/bot"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// rewrite changes the JSON of type T in answers below a path.
func rewrite[T any](t *testing.T, part string, fn func(v *T)) func(*http.Request, int, []byte) (int, []byte) {
	return changeOf(part, func(b []byte) []byte {
		var v T
		if json.Unmarshal(b, &v) != nil {
			return b
		}
		fn(&v)
		out, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
			return b
		}
		return out
	})
}

// A mallory is an authority of the attacker's own, for the same domain.
type mallory struct {
	issuer *cert.Issuer
	list   []byte
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newMallory(t *testing.T) *mallory {
	t.Helper()
	now := time.Now()
	rootKey, key := p256(t), p256(t)
	root, err := cert.NewRoot(rand.Reader, "hs1", rootKey, now)
	if err != nil {
		t.Fatal(err)
	}
	mid, err := cert.NewIntermediate(rand.Reader, "hs1", key, root, rootKey, now)
	if err != nil {
		t.Fatal(err)
	}
	m := &mallory{issuer: &cert.Issuer{Root: root, Cert: mid, Key: key, Rand: rand.Reader}}
	if m.list, err = m.issuer.NewCRL(1, nil, now, now.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	return m
}

// certify makes a key info for a key that only the attacker has.
func (m *mallory) certify(t *testing.T, user quinta.UserID, dev quinta.DeviceID, use cert.Use) wire.KeyInfo {
	t.Helper()
	id := cert.Identity{User: user, Device: dev, Use: use}
	key := p256(t)
	csr, err := cert.NewRequest(rand.Reader, id, key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := cert.ParseRequest(csr, id)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.issuer.Issue(r, time.Now(), cert.Validity)
	if err != nil {
		t.Fatal(err)
	}
	return wire.KeyInfo{User: user, Device: dev, ID: cert.KeyID(c), Fingerprint: cert.KeyID(c), PublicKey: c.RawSubjectPublicKeyInfo, Use: string(use), Profile: wire.ProfileSecure,
		NotBefore: c.NotBefore, Expires: c.NotAfter, State: wire.StateActive, Cert: c.Raw}
}

// sealedFor reports whether something was sealed for one of the keys.
func sealedFor(t *testing.T, p *middle.Proxy, keys []wire.KeyInfo) bool {
	t.Helper()
	for _, r := range p.Seen() {
		for _, k := range keys {
			c, err := x509.ParseCertificate(k.Cert)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(r.Body), string(k.ID)) || strings.Contains(r.Path, "/messages/") && bytes.Contains(r.Body, c.SerialNumber.Bytes()) {
				return true
			}
		}
	}
	return false
}

// TestServerSwapsKeys: a server that lists keys of an unknown authority for a
// user, in the place of his own or beside them, is not believed.
func TestServerSwapsKeys(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	m := newMallory(t)
	swapped := []wire.KeyInfo{m.certify(t, "bob@hs1", bob.device(), cert.UseSign), m.certify(t, "bob@hs1", bob.device(), cert.UseEncrypt)}
	beside := []wire.KeyInfo{m.certify(t, "bob@hs1", "SPY", cert.UseSign), m.certify(t, "bob@hs1", "SPY", cert.UseEncrypt)}
	p.Answers(rewrite(t, "/users/bob@hs1/keys", func(v *wire.KeyList) { v.Keys = append(swapped, beside...) }))
	room := alice.talks(bob)
	alice.puts(room, client.Text("secret for bob"))
	alice.sees("refused key", func(e e2ee.Event) bool { return e.Kind == e2ee.EventTrouble && strings.Contains(e.Detail, "refused") })
	if sealedFor(t, p, append(swapped, beside...)) {
		t.Error("a message was sealed for a key of an unknown authority")
	}
	never(t, p, "secret for bob")
}

// TestServerSwapsAuthority: a server that comes with another root later is not
// believed, and the user is told loudly.
func TestServerSwapsAuthority(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	p := middle.Start(t, url)
	m := newMallory(t)
	alice, bob := meets(t, p.URL, "alice"), meets(t, url, "bob").runs()
	room := alice.talks(bob)
	alice.catchesUp()
	spy := []wire.KeyInfo{m.certify(t, "bob@hs1", bob.device(), cert.UseSign), m.certify(t, "bob@hs1", bob.device(), cert.UseEncrypt)}
	p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		for _, fn := range []func(*http.Request, int, []byte) (int, []byte){
			rewrite(t, "/roots", func(v *wire.Roots) {
				v.Roots, v.Intermediates = [][]byte{m.issuer.Root.Raw}, [][]byte{m.issuer.Cert.Raw}
			}),
			changeOf("/crl", func([]byte) []byte { return m.list }),
			rewrite(t, "/users/bob@hs1/keys", func(v *wire.KeyList) { v.Keys = spy }),
		} {
			status, b = fn(r, status, b)
		}
		return status, b
	})
	alice.puts(room, client.Text("secret under the root that was pinned"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := alice.s.Flush(ctx, alice.on); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if sealedFor(t, p, spy) {
		t.Error("a message was sealed for a key of another authority")
	}
	never(t, p, "secret under")
	p.Answers(nil)
	alice.runs()
	bob.reads("secret under the root that was pinned")
}

// TestServerDropsRecipients: someone who stands between a client and the
// server and hides the devices of the recipient keeps the message from
// leaving, and cannot make it readable for others.
func TestServerDropsRecipients(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice"), meets(t, p.URL, "bob").runs()
	hide := rewrite(t, "/users/bob@hs1/keys", func(v *wire.KeyList) { v.Keys = nil })
	p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/messages/") && status != http.StatusConflict {
			t.Errorf("a message that is sealed for no one was answered %d", status)
		}
		return hide(r, status, b)
	})
	room := alice.talks(bob)
	alice.puts(room, client.Text("secret for a hidden device"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := alice.s.Flush(ctx, alice.on); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if n := alice.count(e2ee.EventSent); n != 0 || bob.saw("secret for a hidden device") != 0 {
		t.Error("the message was sent without a key")
	}
	never(t, p, "secret for")
}

// TestServerReplays: a message that the server delivers twice, under another
// id, in another conversation or as another sender's is not shown again.
func TestServerReplays(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	p := middle.Start(t, url)
	alice, bob, carol := meets(t, url, "alice").runs(), meets(t, p.URL, "bob").runs(), meets(t, url, "carol").runs()
	room, other := alice.talks(bob), carol.talks(bob)
	carol.sends(other, "from carol")
	bob.reads("from carol")
	var kept *wire.Item
	for name, c := range map[string]struct {
		change func(it *wire.Item)
		reason quinta.Reason
	}{
		"again":            {func(*wire.Item) {}, quinta.ReasonReplayed},
		"under another id": {func(it *wire.Item) { it.ID = "another" }, ""},
		"elsewhere":        {func(it *wire.Item) { it.Conv = other }, quinta.ReasonSenderMismatch},
		"as carol's":       {func(it *wire.Item) { it.Conv, it.From, it.Device = other, "carol@hs1", carol.device() }, quinta.ReasonSenderMismatch},
		"changed":          {func(it *wire.Item) { it.Body = append([]byte(nil), it.Body...); it.Body[len(it.Body)-1] ^= 1 }, quinta.ReasonTampered},
		"no message":       {func(it *wire.Item) { it.Body = []byte("no message") }, quinta.ReasonMalformed},
	} {
		once := "once only: " + name
		p.Answers(rewrite(t, "/mailbox", func(v *wire.Mailbox) {
			for i := range v.Items {
				if it := v.Items[i]; it.Kind == wire.KindMessage && it.From == "alice@hs1" && kept == nil {
					kept = &it
				}
			}
		}))
		alice.sends(room, once)
		bob.reads(once)
		before := len(bob.details(e2ee.EventUndecryptable))
		p.Answers(rewrite(t, "/mailbox", func(v *wire.Mailbox) {
			for i := range v.Items {
				if v.Items[i].From == "carol@hs1" && kept != nil {
					pos := v.Items[i].Pos
					v.Items[i] = *kept
					v.Items[i].Pos = pos
					c.change(&v.Items[i])
				}
			}
		}))
		carol.sends(other, "carries "+name)
		skip := before
		e := bob.sees("refusal: "+name, func(e e2ee.Event) bool {
			if e.Kind == e2ee.EventUndecryptable {
				skip--
			}
			return skip < 0
		})
		if c.reason != "" && e.Reason != c.reason {
			t.Errorf("%s: got %+v, want %s", name, e, c.reason)
		}
		p.Answers(nil)
		if n := bob.saw(once); n != 1 {
			t.Errorf("%s: got the message %d times, want once", name, n)
		}
		kept = nil
	}
}

// TestBot: the short way to a program works on this network as on others, also
// after it was started again.
func TestBot(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	meets(t, url, "robot")
	alice := meets(t, url, "alice").runs()
	dir := t.TempDir()
	// The bot's device is there before it is asked.
	first, err := bot.Open(t.Context(), caclient.Network{}, bot.Config{Server: url, User: "robot", Password: password.Reveal(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, question := range []string{"first question", "second question"} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- bot.Run(ctx, caclient.Network{}, bot.Config{Server: url, User: "robot", Password: password.Reveal(), Dir: dir},
				func(m bot.Message) error { return m.Reply("answer to " + m.Text) })
		}()
		room := alice.creates(client.NewRoom{Direct: true, Invite: []quinta.UserID{"robot@hs1"}})
		asked := alice.sends(room, question)
		got := alice.reads("answer to " + question)
		if got.Kind != quinta.MessageNotice || got.Relation.To != asked.ID {
			t.Errorf("got %+v, want a notice that answers", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v, want the bot to end without error", err)
		}
	}
}

// TestLegacyByChoice: the legacy profile is used only after both chose it, in
// a conversation of its own, and what comes in it is marked as weak.
func TestLegacyByChoice(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	secure := alice.talks(bob)
	weak, err := bob.s.Legacy(t.Context(), alice.id())
	if err != nil || weak == secure {
		t.Fatalf("got %s %v, want a conversation of its own", weak, err)
	}
	bob.puts(weak, client.Text("before both chose it"))
	alice.sends(secure, "meanwhile")
	bob.reads("meanwhile")
	if n := bob.count(e2ee.EventSent) + alice.saw("before both chose it"); n != 0 {
		t.Error("a message left in the legacy profile before both chose it")
	}
	if same, err := alice.s.Legacy(t.Context(), bob.id()); err != nil || same != weak {
		t.Fatalf("got %s %v, want the same conversation", same, err)
	}
	alice.sends(weak, "in the weak one")
	if m := bob.reads("in the weak one"); m.Weakness != quinta.WeakLegacy || m.Room != weak {
		t.Errorf("got %+v, want it marked as weak", m)
	}
	alice.sends(secure, "in the secure one")
	if m := bob.reads("in the secure one"); m.Weakness != "" {
		t.Errorf("got weakness %q, want none", m.Weakness)
	}
	_, err = alice.s.Legacy(t.Context(), alice.id())
	if err == nil {
		t.Error("got no error for the legacy profile with oneself")
	}
}

// TestSmallPackets: session mode by choice, for one conversation: the second
// message is a small packet, and both are read.
func TestSmallPackets(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.talks(bob)
	if err := alice.s.SetSessionMode(t.Context(), room, true); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"carries the offer", "small", "small again"} {
		alice.sends(room, text)
		bob.reads(text)
	}
	forms := map[wire.Form]int{}
	for _, r := range p.Seen() {
		var d wire.Deliver
		if r.Method == http.MethodPut && strings.Contains(r.Path, "/messages/") && json.Unmarshal(r.Body, &d) == nil {
			forms[d.Form]++
		}
	}
	if forms[wire.FormSession] != 2 || forms[wire.FormCMS] != 1 {
		t.Errorf("got %v, want one message and two packets", forms)
	}
	if err := alice.s.SetSessionMode(t.Context(), room, false); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "a whole message")
	bob.reads("a whole message")
	wantKind(t, alice.s.SetSessionMode(t.Context(), "g_aaaaaaaaaaaaaaaaaaaaaa", true), quinta.KindNotFound)
	never(t, p, "small again", "carries the offer")
}

// TestHistory: a device reads what was said before it was there as far as it
// has keys, and says why not for the rest.
func TestHistory(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.talks(bob)
	for _, text := range three {
		alice.sends(room, text)
		bob.reads(text)
	}
	for more, err := true, error(nil); more; {
		if more, err = bob.s.History(t.Context(), room, 2); err != nil {
			t.Fatal(err)
		}
	}
	if got := bob.shown(room); len(got) != 3 || got[0] != "alice@hs1: "+three[0] {
		t.Errorf("got %q, want the three", got)
	}
	for _, text := range three {
		if n := bob.saw(text); n != 1 {
			t.Errorf("got %q %d times, want once", text, n)
		}
	}
	_, err := bob.s.History(t.Context(), "g_aaaaaaaaaaaaaaaaaaaaaa", 2)
	wantKind(t, err, quinta.KindNotFound)
	items := bob.shown(room)
	if err := bob.s.MarkRead(t.Context(), room, "no such message"); err == nil || len(items) != 3 {
		t.Error("got no error for a message that is not here")
	}
}

// TestCanary: the password, the token and what was said are in no error, no
// event, no address and no file in clear.
func TestCanary(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := enters(t, p.URL, "alice", caclient.Network{}, memory.New(), env, true).runs()
	dir, st := diskIn(t)
	bob := enters(t, p.URL, "bob", caclient.Network{}, st, env, true).runs()
	room := alice.talks(bob)
	alice.sends(room, "canary-text")
	bob.reads("canary-text")
	p.Answers(func(r *http.Request, _ int, _ []byte) (int, []byte) {
		return http.StatusInternalServerError, []byte("no")
	})
	alice.puts(room, client.Text("canary-text again"))
	alice.sees("trouble", func(e e2ee.Event) bool { return e.Kind == e2ee.EventTrouble })
	_, err := alice.s.Keys(t.Context())
	secrets := []string{password.Reveal(), "canary-text"}
	for _, r := range p.Seen() {
		if a, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			secrets = append(secrets, a)
		}
	}
	said := []string{err.Error()}
	for _, who := range []*person{alice, bob} {
		who.mu.Lock()
		for _, e := range who.events {
			said = append(said, e.Detail)
		}
		who.mu.Unlock()
	}
	bob.stop()
	files := readDir(t, dir)
	for _, s := range secrets {
		for _, text := range said {
			if strings.Contains(text, s) {
				t.Errorf("%q shows a secret", text)
			}
		}
		for name, b := range files {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("the file %s holds a secret in clear", name)
			}
		}
		for _, r := range p.Seen() {
			inBody := strings.Contains(string(r.Body), s) && !(s == password.Reveal() && strings.HasSuffix(r.Path, "/register"))
			if strings.Contains(r.Path+r.Query, s) || inBody {
				t.Errorf("%s %s shows a secret", r.Method, r.Path)
			}
		}
	}
	if len(files) < 2 || len(secrets) < 4 {
		t.Errorf("looked at %d files and for %d secrets", len(files), len(secrets))
	}
}
