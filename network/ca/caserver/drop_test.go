package caserver_test

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/stores"
)

const group = quinta.RoomID("a-group-of-three")

// TestGroup: several recipients in one conversation; who is added reads from
// then on, who leaves gets nothing more.
func TestGroup(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.person("alice"), s.person("bob"), s.person("carol")
		path := "/conversations/" + string(group)
		q := wire.ConversationRequest{Profile: "secure", Members: []quinta.UserID{bob.ID}}
		alice.put(path, q).want(201)
		alice.put(path, q).want(200)
		carol.put(path, q).fails(409, wire.CodeConflict)
		carol.get(path).fails(404, wire.CodeNotFound)
		carol.deliver(group, "m0", carol.seal(group, "m0", "let me in", alice)).fails(404, wire.CodeNotFound)
		alice.says(group, "m1", "before", bob)
		var c wire.Conversation
		bob.post(path+"/members", wire.MembersRequest{Add: []quinta.UserID{carol.ID}}).into(200, &c)
		if !slices.Equal(c.Members, []quinta.UserID{alice.ID, bob.ID, carol.ID}) {
			t.Errorf("got %v", c.Members)
		}
		if e := alice.deliver(group, "m2", alice.seal(group, "m2", "all", bob)).fails(409, wire.CodeStaleKeys); !slices.Equal(e.Missing, []cert.Fingerprint{carol.enc.id()}) {
			t.Errorf("got %v, want carol's key", e.Missing)
		}
		alice.says(group, "m2", "all", bob, carol)
		var h wire.History
		carol.get(path+"/messages").into(200, &h)
		if len(h.Items) != 1 || h.Items[0].ID != "m2" {
			t.Errorf("carol reads %+v, want m2 alone", h.Items)
		}
		items, _ := carol.mail(0)
		if got, err := carol.open(items[0]); got != "all" || err != nil {
			t.Errorf("got %q %v", got, err)
		}
		bob.delete(path, nil).want(200)
		alice.deliver(group, "m3", alice.seal(group, "m3", "x", bob, carol)).fails(409, wire.CodeStaleKeys)
		alice.says(group, "m3", "without bob", carol)
		bob.get(path+"/messages").fails(404, wire.CodeNotFound)
		var l wire.ConversationList
		carol.get(wire.PathConversations).into(200, &l)
		if len(l.Conversations) != 1 || len(l.Conversations[0].Members) != 2 {
			t.Errorf("got %+v", l)
		}
	})
}

func TestHistoryPages(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		for _, id := range []quinta.MessageID{"m1", "m2", "m3", "m4", "m5"} {
			alice.says(conv, id, "x", bob)
		}
		var got []string
		before := ""
		for {
			var h wire.History
			bob.get("/conversations/"+string(conv)+"/messages?limit=2"+before).into(200, &h)
			for _, m := range h.Items {
				got = append(got, string(m.ID))
			}
			if h.Before == 0 {
				break
			}
			before = "&before=" + text(h.Before)
		}
		if strings.Join(got, " ") != "m5 m4 m3 m2 m1" {
			t.Errorf("got %v", got)
		}
		var m wire.Mailbox
		bob.get(wire.PathMailbox+"?limit=2").into(200, &m)
		if !m.More || len(m.Items) != 2 {
			t.Errorf("got %d items, more %v", len(m.Items), m.More)
		}
	})
}

func TestBadDeliveries(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice, bob := s.person("alice"), s.person("bob")
	conv := alice.talk(bob)
	good := alice.seal(conv, "m", "x", bob)
	for name, c := range map[string]struct {
		change func(*wire.Deliver)
		status int
		code   wire.Code
	}{
		"no body":        {func(d *wire.Deliver) { d.Body = nil }, 400, wire.CodeInvalid},
		"cut":            {func(d *wire.Deliver) { d.Body = d.Body[:len(d.Body)-1] }, 400, wire.CodeInvalid},
		"bytes behind":   {func(d *wire.Deliver) { d.Body = append(bytes.Clone(d.Body), 0) }, 400, wire.CodeInvalid},
		"text":           {func(d *wire.Deliver) { d.Body = []byte("hello in clear") }, 400, wire.CodeInvalid},
		"too few keys":   {func(d *wire.Deliver) { d.Keys = nil }, 400, wire.CodeInvalid},
		"a key twice":    {func(d *wire.Deliver) { d.Keys = []cert.Fingerprint{d.Keys[0], d.Keys[0]} }, 400, wire.CodeInvalid},
		"many keys":      {func(d *wire.Deliver) { d.Keys = make([]cert.Fingerprint, 3000) }, 413, wire.CodeTooLarge},
		"no kind":        {func(d *wire.Deliver) { d.Kind = "" }, 400, wire.CodeUnsupported},
		"the server's":   {func(d *wire.Deliver) { d.Kind = wire.KindKeys }, 400, wire.CodeUnsupported},
		"no form":        {func(d *wire.Deliver) { d.Form = "" }, 400, wire.CodeUnsupported},
		"only some":      {func(d *wire.Deliver) { d.Only = []wire.Target{{User: bob.ID, Device: bob.Device}} }, 400, wire.CodeInvalid},
		"notice to none": {func(d *wire.Deliver) { d.Kind, d.Only = wire.KindNotice, []wire.Target{{User: bob.ID, Device: "X"}} }, 400, wire.CodeInvalid},
		"huge":           {func(d *wire.Deliver) { d.Body = make([]byte, wire.MaxMessage+1) }, 413, wire.CodeTooLarge},
	} {
		d := good
		c.change(&d)
		t.Run(name, func(t *testing.T) { alice.deliver(conv, "m", d).fails(c.status, c.code) })
	}
	alice.deliver(conv, quinta.MessageID(strings.Repeat("x", 200)), good).fails(400, wire.CodeInvalid)
	if items, _ := bob.mail(0); len(items) != 0 {
		t.Errorf("got %d messages, want none", len(items))
	}
	alice.deliver(conv, "m", good).want(200)
}

func TestFilesAndBackup(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		sealed := bytes.Repeat([]byte("sealed bytes "), 10_000)
		var f wire.FileInfo
		alice.post(wire.PathFiles, sealed).into(201, &f)
		sum := sha256.Sum256(sealed)
		if f.Size != int64(len(sealed)) || !bytes.Equal(f.SHA256, sum[:]) {
			t.Errorf("got %+v", f)
		}
		if got := bob.get("/files/" + f.File).want(200); !bytes.Equal(got.Raw, sealed) || got.Header.Get("Content-Disposition") != "attachment" {
			t.Errorf("got %d bytes", len(got.Raw))
		}
		s.nobody().get("/files/"+f.File).fails(401, wire.CodeUnauthenticated)

		var b, again wire.Backup
		alice.put(wire.PathBackup, wire.Backup{Sealed: []byte(`{"v":1}`)}).into(200, &b)
		alice.put(wire.PathBackup, wire.Backup{Sealed: []byte(`{"v":2}`)}).fails(409, wire.CodeConflict)
		alice.put(wire.PathBackup, wire.Backup{Sealed: []byte(`{"v":1}`)}).want(200)
		alice.put(wire.PathBackup, wire.Backup{Sealed: []byte(`{"v":2}`), Tag: b.Tag}).want(200)
		s.login("alice", "NEW").get(wire.PathBackup).into(200, &again)
		if string(again.Sealed) != `{"v":2}` || again.Tag == b.Tag {
			t.Errorf("got %s", again.Sealed)
		}
		bob.get(wire.PathBackup).fails(404, wire.CodeNotFound)
		laptop := s.login("alice", "X")
		laptop.delete(wire.PathBackup, nil).want(200)
		laptop.get(wire.PathBackup).fails(404, wire.CodeNotFound)
	})
}

// TestCommands: what an operator can do.
func TestCommands(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		run := func(name string, in server.CommandInput) (string, error) {
			return s.Core.RunCommand(t.Context(), name, in)
		}
		if _, err := run("ca show", server.CommandInput{}); quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("before there is an authority: got %v", err)
		}
		if _, err := run("ca init", server.CommandInput{Flags: map[string]string{"key": "rsa-512"}}); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("a weak key: got %v", err)
		}
		out, err := run("ca init", server.CommandInput{})
		if err != nil || !strings.Contains(out, "BEGIN CERTIFICATE") || !strings.Contains(out, "domain        hs1") {
			t.Errorf("got %s %v", out, err)
		}
		if _, err := run("ca init", server.CommandInput{}); quinta.KindOf(err) != quinta.KindExists {
			t.Errorf("twice: got %v", err)
		}
		alice := s.person("alice")
		if out, err := run("ca revoke", server.CommandInput{Args: []string{string(alice.enc.id())}, Flags: map[string]string{"reason": "key-compromise"}}); err != nil || !strings.Contains(out, "alice@hs1") {
			t.Errorf("got %s %v", out, err)
		}
		if got := alice.state(alice.enc.id()); got != wire.StateRevoked {
			t.Errorf("got %s, want revoked", got)
		}
		if out, err := run("ca crl", server.CommandInput{}); err != nil || !strings.Contains(out, "BEGIN X509 CRL") {
			t.Errorf("got %s %v", out, err)
		}
		out, err = run("ca show", server.CommandInput{})
		for _, want := range []string{"authority", "enrolled", "revoked", "crl", "keys          2, 1 of them revoked", string(alice.sign.id())} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%q is not in %s (%v)", want, out, err)
			}
		}
		for _, in := range []server.CommandInput{{Args: []string{"a", "b"}}, {Args: []string{string(alice.sign.id())}, Flags: map[string]string{"x": "y"}}, {Args: []string{string(alice.sign.id())}, Flags: map[string]string{"reason": "y"}}} {
			if _, err := run("ca revoke", in); quinta.KindOf(err) != quinta.KindInvalid {
				t.Errorf("%+v: got %v", in, err)
			}
		}
		if _, err := run("ca revoke", server.CommandInput{Args: []string{"none"}}); quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("no such key: got %v", err)
		}
		if _, err := run("ca dance", server.CommandInput{}); quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("no such command: got %v", err)
		}
	})
}

// TestKeyAtRest: someone who has the store alone has no key of the authority;
// without the key file nothing is certified, and everything else continues.
func TestKeyAtRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := stores.Config(t, "sqlite")
	cfg.Path = filepath.Join(dir, "quinta.db")
	opts := []quintatest.Option{quintatest.Database(cfg)}
	s := newStage(t, opts...)
	alice, bob := s.person("alice"), s.person("bob")
	conv := alice.talk(bob)
	s.Stop()
	secrets := filepath.Join(dir, "secrets.key")
	text, err := os.ReadFile(secrets)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"quinta.db", "quinta.db-wal"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		// The head of a private key in PKCS #8 for P-256.
		if bytes.Contains(raw, []byte{0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20}) || bytes.Contains(raw, bytes.TrimSpace(text)) {
			t.Errorf("%s holds a private key", name)
		}
	}
	if err := os.Rename(secrets, secrets+".away"); err != nil {
		t.Fatal(err)
	}
	quiet := quintatest.Configure(func(c *server.Config) { c.Log = slog.New(slog.DiscardHandler) })
	s = again(t, s, append(opts, quiet)...)
	alice.s, bob.s = s, s
	alice.says(conv, "m1", "still here", bob)
	s.register("carol").post(wire.PathKeys, wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: alice.csr("sign", p256(t))}).fails(403, wire.CodeForbidden)
	dave := s.register("dave")
	dave.post(wire.PathKeys, wire.EnrolRequest{Profile: "secure", Use: "sign", Pop: dave.csr("sign", p256(t))}).fails(503, wire.CodeUnavailable)
	if _, err := os.Stat(secrets); err == nil {
		t.Error("another key file was made")
	}
	s.Stop()
	if err := os.Rename(secrets+".away", secrets); err != nil {
		t.Fatal(err)
	}
	s = again(t, s, opts...)
	s.person("erin")
}

// again starts the server of a stage again, with the same clock.
func again(t *testing.T, old *stage, opts ...quintatest.Option) *stage {
	t.Helper()
	return &stage{Server: quintatest.Start(t, append([]quintatest.Option{quintatest.Clock(old.clock.Now)}, opts...)...), t: t, clock: old.clock}
}
