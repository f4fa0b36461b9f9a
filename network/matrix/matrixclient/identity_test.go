package matrixclient_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// identity returns the state of a person's identity.
func (p *person) identity() client.IdentityInfo {
	p.t.Helper()
	id, err := p.s.Identity(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// creates gives a person's account an identity.
func (p *person) creates() *person {
	p.t.Helper()
	if err := p.s.CreateIdentity(p.t.Context(), password); err != nil {
		p.t.Fatal(err)
	}
	return p
}

func TestCreateIdentity(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice") // works also while nothing runs
	if id := alice.identity(); id.Exists || id.SignsThis || id.Complete {
		t.Fatalf("got %+v of a fresh account, want none", id)
	}
	alice.creates()
	id := alice.identity()
	if !id.Exists || !id.Trusted || id.Changed || !id.SignsThis || !id.Complete || len(id.Fingerprint) != 43+10 {
		t.Errorf("got %+v, want an identity that is all here and signed this device", id)
	}
	wantKind(t, alice.s.CreateIdentity(t.Context(), password), quinta.KindExists)
	laptop := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	wantKind(t, laptop.s.CreateIdentity(t.Context(), password), quinta.KindExists)
	if got := laptop.identity(); !got.Exists || got.Trusted || got.SignsThis || got.Complete || got.Fingerprint != id.Fingerprint {
		t.Errorf("got %+v on a new device, want an identity that it has nothing of", got)
	}
	bob := meets(t, url, "bob").runs()
	if a, b := bob.trustOf(alice.s.Self()), bob.trustOf(laptop.s.Self()); a != quinta.TrustSigned || b != quinta.TrustPinned {
		t.Errorf("got trust %v and %v in the two devices, want signed and pinned", a, b)
	}
}

func TestResetIdentity(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs().creates()
	bob := meets(t, p.URL, "bob").runs().creates()
	room := alice.invites(bob)
	before := alice.identity()
	// Without the password or with a wrong one nothing changes.
	wantKind(t, alice.s.ResetIdentity(t.Context(), client.Secret{}), quinta.KindUnauthenticated)
	wantKind(t, alice.s.ResetIdentity(t.Context(), client.NewSecret("wrong")), quinta.KindUnauthenticated)
	if id := alice.identity(); id != before {
		t.Errorf("got %+v after a refusal, want %+v", id, before)
	}
	if err := alice.s.ResetIdentity(t.Context(), password); err != nil {
		t.Fatal(err)
	}
	id := alice.identity()
	if id.Fingerprint == before.Fingerprint || !id.Trusted || !id.SignsThis || !id.Complete {
		t.Errorf("got %+v, want a new identity that signed this device", id)
	}
	bob.sees("change of the identity", func(e e2ee.Event) bool { return e.Kind == e2ee.EventKeyChanged && e.User == "@alice:hs1" })
	if f := bob.finding("contacts"); f.OK || !strings.Contains(f.Text, "@alice:hs1") {
		t.Errorf("got %+v, want that the contact changed", f)
	}
	if err := bob.s.Acknowledge(t.Context(), "@alice:hs1"); err != nil {
		t.Fatal(err)
	}
	if f := bob.finding("contacts"); !f.OK {
		t.Errorf("got %+v, want it well after the change was acknowledged", f)
	}
	bob.sends(room, "to the new identity")
	alice.reads("to the new identity")
}

// finding returns one finding of the doctor.
func (p *person) finding(name string) client.Finding {
	p.t.Helper()
	found, err := p.s.Examine(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range found {
		if f.Name == name {
			return f
		}
	}
	p.t.Fatalf("nothing was said about %s: %+v", name, found)
	return client.Finding{}
}

// TestIdentityInterrupted loses the answer to the upload of the keys, and the
// program with it: the same keys are uploaded again and count.
func TestIdentityInterrupted(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	st := memory.New()
	alice := enters(t, p.URL, "alice", matrixclient.Network{}, st, true)
	ctx, kill := context.WithCancel(t.Context())
	p.Answers(func(r *http.Request, status int, b []byte) (int, []byte) {
		if strings.Contains(r.URL.Path, "/device_signing/upload") {
			kill()
			return http.StatusBadGateway, nil
		}
		return status, b
	})
	if err := alice.s.CreateIdentity(ctx, password); err == nil {
		t.Fatal("got no error when the program ended in between")
	}
	p.Answers(nil)
	master := func() string {
		var keys struct {
			Master map[string]struct{ Keys map[string]string } `json:"master_keys"`
		}
		alice.posts(p.URL, "/_matrix/client/v3/keys/query", map[string]any{"device_keys": map[string][]string{"@alice:hs1": {}}}, &keys)
		return fmt.Sprint(keys.Master["@alice:hs1"].Keys)
	}
	was := master()
	if !strings.Contains(was, "ed25519:") {
		t.Fatalf("got %s, want that the server took the keys", was)
	}
	again := resumes(t, matrixclient.Network{}, st).runs()
	again.eventually("the device signed", func() bool { id := again.identity(); return id.SignsThis && id.Complete && id.Trusted })
	if now := master(); now != was {
		t.Errorf("got master key %s after the interruption, want %s", now, was)
	}
}

// eventually looks again after each thing that comes to pass.
func (p *person) eventually(what string, holds func() bool) {
	p.t.Helper()
	for range 100 {
		if holds() {
			return
		}
	}
	p.t.Fatalf("%s: not %s", p.s.Self().User, what)
}

// TestIdentityWithoutServer makes no identity where the server has none of it.
func TestIdentityWithoutServer(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	var asked atomic.Int32
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/device_signing/") {
			return false
		}
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errcode":"M_UNRECOGNIZED","error":"unknown"}`))
		return true
	})
	alice := meets(t, p.URL, "alice").runs()
	wantKind(t, alice.s.CreateIdentity(t.Context(), password), quinta.KindNotFound)
	if id := alice.identity(); id.Exists || id.Complete || asked.Load() != 1 {
		t.Errorf("got %+v after %d requests, want none, asked once", id, asked.Load())
	}
	room := alice.invites()
	alice.sends(room, "it goes on")
}

// TestUnlockIdentity has a new device take the identity with the recovery key:
// it is signed and has the private keys, and others trust it.
func TestUnlockIdentity(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]client.NewBackup{"recovery key": {}, "passphrase": {Passphrase: client.NewSecret("two little ducks")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := middle.Start(t, quintatest.Start(t).URL)
			alice := meets(t, p.URL, "alice").runs().creates()
			bob := meets(t, p.URL, "bob").runs()
			room := alice.invites(bob)
			alice.sends(room, "old one")
			recovery, err := alice.s.CreateBackupBy(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			typed := recovery
			if !in.Passphrase.Empty() {
				typed = in.Passphrase
			}
			laptop := enters(t, p.URL, "alice", matrixclient.Network{}, memory.New(), false).runs()
			laptop.sees("room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom })
			bob.sends(room, "not for the new device")
			alice.reads("not for the new device")
			if n, err := laptop.s.UnlockBackup(t.Context(), typed, nil); err != nil || n < 1 {
				t.Fatalf("got %d, %v, want the keys", n, err)
			}
			if id := laptop.identity(); !id.Trusted || !id.SignsThis || !id.Complete {
				t.Errorf("got %+v, want the whole identity", id)
			}
			if got := bob.trustOf(laptop.s.Self()); got != quinta.TrustSigned {
				t.Errorf("got trust %v in the new device, want signed", got)
			}
			bob.sends(room, "for all")
			laptop.reads("for all")
			never(t, p, recovery.Reveal(), strings.ReplaceAll(recovery.Reveal(), " ", ""), "two little ducks")
		})
	}
}

// TestRecoveryKeyAnew gives a backup a new recovery key: the old one opens
// nothing any more, and nothing that this device does not have is lost unless
// the user says so.
func TestRecoveryKeyAnew(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs().creates()
	room := alice.invites()
	alice.sends(room, "old one")
	alice.sends(room, "old two")
	first, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var was, is struct{ Version string }
	alice.gets(url, "/_matrix/client/v3/room_keys/version", &was)
	second, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if alice.gets(url, "/_matrix/client/v3/room_keys/version", &is); is != was || first.Reveal() == second.Reveal() {
		t.Errorf("got backup %v after %v, want the same one under another recovery key", is, was)
	}
	late := newDevice(t, url, room)
	_, err = late.s.UnlockBackup(t.Context(), first, nil)
	wantKind(t, err, quinta.KindUnauthenticated)
	_, err = late.s.CreateBackup(t.Context())
	wantKind(t, err, quinta.KindExists)
	if _, err := late.s.UnlockBackup(t.Context(), second, nil); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, late, room)
	// A device that has nothing gives all up, by a word of its user only.
	last := newDevice(t, url, room)
	if _, err := last.s.CreateBackupBy(t.Context(), client.NewBackup{Reset: true}); err != nil {
		t.Fatal(err)
	}
	if alice.gets(url, "/_matrix/client/v3/room_keys/version", &is); is == was {
		t.Error("got the old backup after a reset")
	}
}

// TestRecoveryInterrupted loses each write of secret storage in turn: what was
// there before still opens, or the next try makes all again.
func TestRecoveryInterrupted(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs().creates()
	room := alice.invites()
	alice.sends(room, "old one")
	alice.sends(room, "old two")
	first, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for lost := range 9 {
		var n atomic.Int32
		p.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/account_data/") || n.Add(1) != int32(lost+1) {
				return false
			}
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"errcode":"M_FORBIDDEN","error":"not now"}`))
			return true
		})
		_, err := alice.s.CreateBackup(t.Context())
		wantKind(t, err, quinta.KindForbidden)
		p.Before(nil)
		if lost > 5 {
			continue // the new key is the default one by then
		}
		late := enters(t, p.URL, "alice", matrixclient.Network{}, memory.New(), false)
		if _, err := late.s.UnlockBackup(t.Context(), first, nil); err != nil {
			t.Fatalf("write %d lost: got %v with the recovery key from before", lost, err)
		}
	}
	last, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := newDevice(t, p.URL, room)
	if _, err := late.s.UnlockBackup(t.Context(), last, nil); err != nil || !late.identity().Complete {
		t.Errorf("got %v with the recovery key of the whole storage", err)
	}
}

// TestBackupLocked says of old messages that the backup has their key, and
// that this device cannot open it.
func TestBackupLocked(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs().creates()
	room := alice.invites()
	alice.sends(room, "old one")
	alice.sends(room, "old two")
	reasons := func(p *person) string {
		p.t.Helper()
		if err := p.s.Flush(p.t.Context(), nil); err != nil {
			p.t.Fatal(err)
		}
		var out []string
		for _, it := range p.items(room) {
			out = append(out, string(it.Reason))
		}
		return strings.Join(out, " ")
	}
	early := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false)
	if got := reasons(early); got != "before-this-device before-this-device" {
		t.Errorf("got reasons %q without a backup", got)
	}
	recovery, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false)
	if got := reasons(late); got != "backup-locked backup-locked" {
		t.Errorf("got reasons %q with a backup that is locked", got)
	}
	if f := late.finding("backup"); f.OK || !strings.Contains(f.Text, "cannot open") {
		t.Errorf("got %+v, want that the backup is locked", f)
	}
	if f := late.finding("device-signature"); f.OK {
		t.Errorf("got %+v, want that the device is not signed", f)
	}
	if _, err := late.s.UnlockBackup(t.Context(), recovery, nil); err != nil {
		t.Fatal(err)
	}
	if got := reasons(late); got != " " {
		t.Errorf("got reasons %q after it was unlocked", got)
	}
	for _, name := range []string{"backup", "device-signature", "identity"} {
		if f := late.finding(name); !f.OK {
			t.Errorf("got %+v, want it well", f)
		}
	}
}

// TestKeyOnDemand fetches the key of a message from the backup when the
// message comes.
func TestKeyOnDemand(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs().creates()
	recovery, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	laptop := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false)
	if _, err := laptop.s.UnlockBackup(t.Context(), recovery, nil); err != nil {
		t.Fatal(err)
	}
	// The laptop sleeps while alice, who does not trust it, writes.
	if err := alice.s.Judge(t.Context(), "", laptop.s.Self().ID, quinta.TrustRejected); err != nil {
		t.Fatal(err)
	}
	room := alice.invites()
	alice.sends(room, "while you were away")
	if _, err := alice.s.CreateBackup(t.Context()); err != nil { // saves all keys
		t.Fatal(err)
	}
	laptop.runs()
	laptop.reads("while you were away")
}

func TestKickAndRotate(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob, carol := meets(t, url, "alice").runs(), meets(t, url, "bob").runs(), meets(t, url, "carol").runs()
	room := alice.invites(bob, carol)
	session := func(m quinta.Message) string {
		t.Helper()
		var e struct {
			Content struct {
				SessionID string `json:"session_id"`
			}
		}
		alice.gets(url, "/_matrix/client/v3/rooms/"+string(room)+"/event/"+string(m.ID), &e)
		return e.Content.SessionID
	}
	one := session(alice.sends(room, "one"))
	if two := session(alice.sends(room, "two")); two != one || one == "" {
		t.Fatalf("got sessions %q and %q, want the same", one, two)
	}
	if err := alice.s.RotateKey(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	three := session(alice.sends(room, "three"))
	if three == one {
		t.Error("got the same session after the key was changed")
	}
	bob.reads("three")
	carol.reads("three")
	wantKind(t, alice.s.RotateKey(t.Context(), "!nosuch:hs1"), quinta.KindNotFound)
	wantKind(t, bob.s.Kick(t.Context(), room, "@alice:hs1", ""), quinta.KindForbidden)
	wantKind(t, alice.s.Kick(t.Context(), room, "carol", ""), quinta.KindInvalid)
	if err := alice.s.Kick(t.Context(), room, "@carol:hs1", "too loud"); err != nil {
		t.Fatal(err)
	}
	if four := session(alice.sends(room, "without carol")); four == three {
		t.Error("got the same session after someone was put out")
	}
	bob.reads("without carol")
	if carol.saw("without carol") != 0 {
		t.Error("who was put out reads on")
	}
}
