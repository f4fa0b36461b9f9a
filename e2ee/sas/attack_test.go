package sas_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/key"
)

// TestAttack03IdentifierConfusion gives Bob a device whose id is a
// cross-signing key, so that a MAC over it would verify that key.
func TestAttack03IdentifierConfusion(t *testing.T) {
	t.Parallel()
	alice, bob := identity(t, "@alice:x", "ALICE", 1), identity(t, "@bob:x", "BOB", 2)
	for name, device := range map[string]quinta.DeviceID{
		"his master key": quinta.DeviceID(bob.Master.String()),
		"my master key":  quinta.DeviceID(alice.Master.String()),
	} {
		s := newStage(t, "@alice:x", "@bob:x", func(i int, c *sas.Config) {
			if i == 0 {
				evil := bob
				evil.Device = device
				c.Device = func(d quinta.DeviceID) (sas.Identity, bool) { return evil, d == device }
			}
		})
		s.tamper = func(from int, m sas.Message) sas.Message {
			if from == 1 {
				m = field(t, m, "from_device", device)
			}
			return m
		}
		s.do(0, s.flow[0].Request)
		ms, err := s.flow[1].Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.carry(1, ms)
		if code, _ := s.flow[0].Cancelled(); code != sas.CodeKeyMismatch {
			t.Errorf("%s: got %q", name, code)
		}
	}
	for name, change := range map[string]func(*sas.Config){
		"own device named as own master key": func(c *sas.Config) { c.Own.Device = quinta.DeviceID(c.Own.Master.String()) },
		"no own key":                         func(c *sas.Config) { c.Own.DeviceKey = key.DeviceSigningPublic{} },
		"no id":                              func(c *sas.Config) { c.ID = "" },
	} {
		cfg := sas.Config{ID: "txn", Own: alice, OtherUser: "@bob:x", Device: func(quinta.DeviceID) (sas.Identity, bool) { return bob, true }}
		change(&cfg)
		if _, err := sas.New(testEnv(), cfg); err != sas.ErrIdentity {
			t.Errorf("%s: got %v, want ErrIdentity", name, err)
		}
	}
}

// TestAttack03KeysFixed changes the other device's keys after the flow began.
func TestAttack03KeysFixed(t *testing.T) {
	t.Parallel()
	calls := 0
	s := newStage(t, "@alice:x", "@bob:x", func(i int, c *sas.Config) {
		if i == 0 {
			lookup := c.Device
			evil := identity(t, "@bob:x", "BOB", 66)
			c.Device = func(d quinta.DeviceID) (sas.Identity, bool) {
				if calls++; calls > 1 {
					return evil, true
				}
				return lookup(d)
			}
		}
	})
	s.ready()
	s.do(1, s.flow[1].StartSAS)
	s.do(0, s.flow[0].Confirm)
	s.do(1, s.flow[1].Confirm)
	s.state(sas.StateDone, sas.StateDone)
	s.verified(0, sas.Verified{Device: s.id[1].DeviceKey, Master: s.id[1].Master})
	if calls != 1 {
		t.Errorf("the device was looked up %d times, want once", calls)
	}
}

// TestAttack20SAS alters one message each.
func TestAttack20SAS(t *testing.T) {
	t.Parallel()
	macOf := func(m sas.Message) map[string]string {
		var c struct{ MAC map[string]string }
		if err := json.Unmarshal(m.Content, &c); err != nil {
			t.Fatal(err)
		}
		return c.MAC
	}
	eve := identity(t, "@eve:x", "EVE", 66)
	for _, c := range []struct {
		name, typ string
		from      int
		change    func(sas.Message) sas.Message
		by        int
		code      string
	}{
		{"another commitment", sas.TypeAccept, 1, func(m sas.Message) sas.Message {
			return field(t, m, "commitment", strings.Repeat("A", 43))
		}, 0, sas.CodeCommitment},
		{"no commitment", sas.TypeAccept, 1, func(m sas.Message) sas.Message { return field(t, m, "commitment", "") }, 0, sas.CodeInvalidMessage},
		{"a start changed on its way", sas.TypeStart, 0, func(m sas.Message) sas.Message {
			return field(t, m, "hashes", []string{"sha256", "md5"})
		}, 0, sas.CodeCommitment},
		{"a start with one more field", sas.TypeStart, 0, func(m sas.Message) sas.Message { return field(t, m, "extra", 1) }, 0, sas.CodeCommitment},
		{"downgrade of the agreement in start", sas.TypeStart, 0, func(m sas.Message) sas.Message {
			return field(t, m, "key_agreement_protocols", []string{"curve25519"})
		}, 1, sas.CodeUnknownMethod},
		{"downgrade of the MAC in start", sas.TypeStart, 0, func(m sas.Message) sas.Message {
			return field(t, m, "message_authentication_codes", []string{"hkdf-hmac-sha256"})
		}, 1, sas.CodeUnknownMethod},
		{"unknown hash in start", sas.TypeStart, 0, func(m sas.Message) sas.Message { return field(t, m, "hashes", []string{"md5"}) }, 1, sas.CodeUnknownMethod},
		{"unknown method in start", sas.TypeStart, 0, func(m sas.Message) sas.Message { return field(t, m, "method", "m.other") }, 1, sas.CodeUnknownMethod},
		{"another device in start", sas.TypeStart, 0, func(m sas.Message) sas.Message { return field(t, m, "from_device", "OTHER") }, 1, sas.CodeUserMismatch},
		{"no decimal in start", sas.TypeStart, 0, func(m sas.Message) sas.Message {
			return field(t, m, "short_authentication_string", []string{"emoji"})
		}, 1, sas.CodeUnknownMethod},
		{"downgrade of the agreement in accept", sas.TypeAccept, 1, func(m sas.Message) sas.Message {
			return field(t, m, "key_agreement_protocol", "curve25519")
		}, 0, sas.CodeUnknownMethod},
		{"downgrade of the MAC in accept", sas.TypeAccept, 1, func(m sas.Message) sas.Message {
			return field(t, m, "message_authentication_code", "hkdf-hmac-sha256")
		}, 0, sas.CodeUnknownMethod},
		{"unknown string in accept", sas.TypeAccept, 1, func(m sas.Message) sas.Message {
			return field(t, m, "short_authentication_string", []string{"colour"})
		}, 0, sas.CodeUnknownMethod},
		{"another key of the accepter", sas.TypeKey, 1, func(m sas.Message) sas.Message { return field(t, m, "key", knownAlice) }, 0, sas.CodeCommitment},
		{"zero key", sas.TypeKey, 0, func(m sas.Message) sas.Message { return field(t, m, "key", strings.Repeat("A", 43)) }, 1, sas.CodeInvalidMessage},
		{"low-order key", sas.TypeKey, 0, func(m sas.Message) sas.Message { return field(t, m, "key", "AQ"+strings.Repeat("A", 41)) }, 1, sas.CodeInvalidMessage},
		{"MAC of an extra key id", sas.TypeMAC, 0, func(m sas.Message) sas.Message {
			mac := macOf(m)
			mac["ed25519:"+eve.Master.String()] = strings.Repeat("A", 43)
			return field(t, m, "mac", mac)
		}, 1, sas.CodeKeyMismatch},
		{"a key id left out", sas.TypeMAC, 0, func(m sas.Message) sas.Message {
			mac := macOf(m)
			delete(mac, "ed25519:"+identity(t, "@alice:x", "ALICE", 1).Master.String())
			return field(t, m, "mac", mac)
		}, 1, sas.CodeKeyMismatch},
		{"no keys", sas.TypeMAC, 0, func(m sas.Message) sas.Message { return field(t, m, "mac", map[string]string{}) }, 1, sas.CodeKeyMismatch},
		{"altered MAC of the list", sas.TypeMAC, 0, func(m sas.Message) sas.Message { return field(t, m, "keys", strings.Repeat("A", 43)) }, 1, sas.CodeKeyMismatch},
		{"altered MAC of a key", sas.TypeMAC, 0, func(m sas.Message) sas.Message {
			mac := macOf(m)
			mac["ed25519:ALICE"] = strings.Repeat("A", 43)
			return field(t, m, "mac", mac)
		}, 1, sas.CodeKeyMismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, "@alice:x", "@bob:x", nil).ready()
			hit := false
			s.tamper = func(from int, m sas.Message) sas.Message {
				if from == c.from && m.Type == c.typ {
					hit = true
					return c.change(m)
				}
				return m
			}
			s.do(0, s.flow[0].StartSAS)
			if s.flow[0].State() == sas.StateCompare {
				s.do(0, s.flow[0].Confirm)
			}
			if !hit {
				t.Fatal("nothing was altered")
			}
			s.cancelled(c.by, c.code)
		})
	}
}

// TestAttack20OtherKeys holds a MAC over other keys of the peer than those
// that are known here.
func TestAttack20OtherKeys(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", func(i int, c *sas.Config) {
		if i == 1 { // Bob was given other keys of Alice
			evil := identity(t, "@alice:x", "ALICE", 66)
			c.Device = func(d quinta.DeviceID) (sas.Identity, bool) { return evil, true }
		}
	}).ready()
	s.do(0, s.flow[0].StartSAS)
	s.do(0, s.flow[0].Confirm)
	s.cancelled(1, sas.CodeKeyMismatch)
}

// TestAttack20ManInTheMiddle runs one flow with each side: the strings differ.
func TestAttack20ManInTheMiddle(t *testing.T) {
	t.Parallel()
	left, right := newStage(t, "@alice:x", "@bob:x", nil).ready(), newStage(t, "@alice:x", "@bob:x", nil)
	right.now = left.now.Add(1) // another random stream is not needed: the keys differ below
	right.flow[0], right.flow[1] = seeded(t, right, 0, 70), seeded(t, right, 1, 71)
	right.ready()
	left.do(0, left.flow[0].StartSAS)
	right.do(0, right.flow[0].StartSAS)
	a, _ := left.flow[0].Emojis()
	b, _ := right.flow[1].Emojis()
	if a == b || left.flow[0].Decimals() == right.flow[1].Decimals() {
		t.Error("the man in the middle is not seen")
	}
}

// TestAttack20StartGlare has both sides start at once.
func TestAttack20StartGlare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b quinta.UserID }{{"@alice:x", "@bob:x"}, {"@bob:x", "@alice:x"}, {"@alice:x", "@alice:x"}} {
		s := newStage(t, c.a, c.b, nil).ready()
		first, err := s.flow[0].StartSAS()
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.flow[1].StartSAS()
		if err != nil {
			t.Fatal(err)
		}
		// Both are on their way before either arrives.
		a := s.flow[0].Receive(c.b, sas.TypeStart, second[0].Content)
		b := s.flow[1].Receive(c.a, sas.TypeStart, first[0].Content)
		s.carry(0, a)
		s.carry(1, b)
		s.state(sas.StateCompare, sas.StateCompare)
		if s.flow[0].Decimals() != s.flow[1].Decimals() {
			t.Errorf("%s, %s: the strings differ", c.a, c.b)
		}
		want := "1.accept" // the start of the smaller name counts
		if c.a > c.b {
			want = "0.accept"
		}
		if got := strings.Join(s.sent, " "); strings.Count(got, ".accept") != 1 || !strings.Contains(got, want) {
			t.Errorf("%s, %s: got %s, want one %s", c.a, c.b, got, want)
		}
	}
	s := newStage(t, "@alice:x", "@bob:x", nil).ready()
	code, err := s.flow[0].ShowQR()
	if err != nil {
		t.Fatal(err)
	}
	start, err := s.flow[0].StartSAS()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.flow[1].ScanQR(code); err != nil {
		t.Fatal(err)
	}
	s.carry(0, start)
	s.cancelled(1, sas.CodeUnexpectedMessage)
}

// TestAttack21CodeOfUntrustedMaster has a device that does not know its own
// master key to be the right one: by a code it vouches for it to no one else,
// neither by showing nor by scanning.
func TestAttack21CodeOfUntrustedMaster(t *testing.T) {
	t.Parallel()
	untrusting := func(side int) *stage {
		return newStage(t, "@alice:x", "@bob:x", func(i int, c *sas.Config) {
			if i == side {
				c.TrustsMaster = false
			}
		}).ready()
	}
	if _, err := untrusting(0).flow[0].ShowQR(); !errors.Is(err, sas.ErrIdentity) {
		t.Errorf("showing: got %v, want ErrIdentity", err)
	}
	s := untrusting(1)
	code, err := s.flow[0].ShowQR()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.flow[1].ScanQR(code)
	if !errors.Is(err, sas.ErrMismatch) {
		t.Fatalf("scanning: got %v, want ErrMismatch", err)
	}
	s.carry(1, out)
	s.cancelled(1, sas.CodeKeyMismatch)
}
