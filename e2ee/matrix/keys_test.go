package matrix_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// fresh makes a device that has sent nothing yet.
func fresh(s *stage) *client {
	s.hs.login("@alice:x", "ALICE")
	c := &client{s: s, mem: newMemory(), user: "@alice:x", device: "ALICE"}
	c.m = matrix.New(s.env(), c.user, c.device)
	return c
}

// uploaded is the body of keys/upload.
type uploaded struct {
	DeviceKeys json.RawMessage            `json:"device_keys"`
	OneTime    map[string]json.RawMessage `json:"one_time_keys"`
	Fallback   map[string]json.RawMessage `json:"fallback_keys"`
}

func parseUpload(t *testing.T, r matrix.Req) uploaded {
	t.Helper()
	var u uploaded
	if err := json.Unmarshal(r.Body, &u); err != nil || r.Kind != matrix.ReqKeysUpload {
		t.Fatalf("got %s %s, %v", r.Kind, r.Body, err)
	}
	return u
}

// TestKeysArePersistedBeforeUpload checks that the first request holds all
// keys, and that after a crash the very same bytes are uploaded.
func TestKeysArePersistedBeforeUpload(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := fresh(s)
	reqs := c.outgoing()
	if len(reqs) != 1 {
		t.Fatalf("got %v, want the upload alone", kinds(reqs))
	}
	u := parseUpload(t, reqs[0])
	if u.DeviceKeys == nil || len(u.OneTime) != 50 || len(u.Fallback) != 1 {
		t.Errorf("got device keys %s, %d one-time and %d fallback keys", u.DeviceKeys, len(u.OneTime), len(u.Fallback))
	}
	for name, raw := range u.Fallback {
		if !strings.HasPrefix(name, "signed_curve25519:") || !strings.Contains(string(raw), `"fallback":true`) {
			t.Errorf("fallback key %s: %s", name, raw)
		}
	}
	s.hs.handle(c.user, c.device, reqs[0]) // the answer is lost
	again := &client{s: s, m: matrix.New(s.env(), c.user, c.device), mem: c.mem, user: c.user, device: c.device}
	repeat := again.outgoing()
	if len(repeat) != 1 || repeat[0].ID != reqs[0].ID || string(repeat[0].Body) != string(reqs[0].Body) {
		t.Fatalf("after a crash: got %v, want the same upload", kinds(repeat))
	}
	again.pump()
	if n := len(s.hs.users[c.user].devices[c.device].oneTime); n != 50 {
		t.Errorf("got %d one-time keys on the server, want 50", n)
	}
}

// TestUploadRefused has the server hold other keys under the ids.
func TestUploadRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := fresh(s)
	first := parseUpload(t, c.outgoing()[0])
	dev := s.hs.users[c.user].devices[c.device]
	for name := range first.OneTime {
		dev.all[name] = json.RawMessage(`{"key":"of a lost store"}`)
	}
	c.pump()
	if len(dev.oneTime) != 50 || dev.keys == nil {
		t.Fatalf("got %d one-time keys, device keys %s", len(dev.oneTime), dev.keys)
	}
	for _, k := range dev.oneTime {
		if _, reused := first.OneTime[k.name]; reused {
			t.Errorf("the id %s was used again", k.name)
		}
	}
	refused := 0
	s.hs.refuse = func(r matrix.Req) string { refused++; return "M_FORBIDDEN" }
	d := fresh(s)
	d.pump()
	if refused > 3 {
		t.Errorf("a server that refuses was asked %d times at once", refused)
	}
	s.hs.refuse = nil
	s.wait(2 * time.Minute)
	d.pump()
	if n := len(s.hs.users[c.user].devices[c.device].oneTime); n != 50 {
		t.Errorf("later: got %d one-time keys, want 50", n)
	}
}

func TestOneTimeKeysAreToppedUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := s.login("@alice:x", "ALICE")
	dev := s.hs.users[c.user].devices[c.device]
	for _, left := range []int{25, 24, 0} {
		dev.oneTime = dev.oneTime[:left]
		c.sync()
		c.pump()
		want := 50
		if left == 25 {
			want = 25
		}
		if got := len(dev.oneTime); got != want {
			t.Errorf("%d left: got %d after the sync, want %d", left, got, want)
		}
	}
	if got := len(slices.Collect(maps.Keys(dev.all))); got != 50+26+50 {
		t.Errorf("got %d keys in all", got)
	}
}

// TestFallbackKeyIsReplaced uses the fallback key, and looks when it goes.
func TestFallbackKeyIsReplaced(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	dev := s.hs.users["@bob:x"].devices["BOB"]
	first := dev.fallback.name
	dev.oneTime = nil
	s.wait(10 * time.Minute)
	alice.says("!r:x", "to the fallback key")
	if !dev.used {
		t.Fatal("the fallback key was not used")
	}
	turn(bob)
	bob.wantReads("@alice: to the fallback key")
	if dev.fallback.name == first || dev.used {
		t.Error("the used fallback key was not replaced")
	}
}

// TestStoreOfAnotherDevice opens a store with the wrong name.
func TestStoreOfAnotherDevice(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := s.login("@alice:x", "ALICE")
	for _, m := range []*matrix.Machine{matrix.New(s.env(), "@alice:x", "OTHER"), matrix.New(s.env(), "@bob:x", "ALICE")} {
		c.m = m
		if err := c.try(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, err := m.Outgoing(tx); return nil, err }); err != matrix.ErrOtherDevice {
			t.Errorf("got %v, want ErrOtherDevice", err)
		}
	}
}

// TestOneTimeKeyOutlivesBadMessages spoils the first message of a session: the
// key must still open the right one.
func TestOneTimeKeyOutlivesBadMessages(t *testing.T) {
	t.Parallel()
	s, alice, bob := pair(t)
	alice.says("!r:x", "hello")
	dev := s.hs.users["@bob:x"].devices["BOB"]
	good := dev.inbox[len(dev.inbox)-1]
	bad := stamped{good.pos, spoil(t, good.raw)}
	dev.inbox = append(dev.inbox[:len(dev.inbox)-1], bad)
	bob.sync()
	bob.wantReads("! no-key-yet")
	s.hs.users["@bob:x"].devices["BOB"].inbox = []stamped{{s.hs.next(), good.raw}}
	bob.sync()
	bob.wantReads("@alice: hello")
}

// spoil flips the last bits of the Olm body of an event.
func spoil(t *testing.T, raw json.RawMessage) json.RawMessage {
	t.Helper()
	i := strings.Index(string(raw), `"body":"`) + len(`"body":"`)
	n := strings.IndexByte(string(raw[i:]), '"')
	out := slices.Clone(raw)
	at := i + n - 6
	if out[at] == 'A' {
		out[at] = 'B'
	} else {
		out[at] = 'A'
	}
	return out
}
