package matrix_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
)

const benchDevices = 1000

// crowd is Alice in a room with a thousand devices, five to a user.
func crowd(b *testing.B) (*stage, *client, []*forger) {
	b.Helper()
	s := newStage(b)
	alice := s.login("@alice:x", "ALICE")
	members := []quinta.UserID{"@alice:x"}
	var fs []*forger
	for i := range benchDevices {
		u := quinta.UserID(fmt.Sprintf("@u%d:x", i/5))
		if i%5 == 0 {
			members = append(members, u)
		}
		fs = append(fs, s.forgeWithKeys(u, quinta.DeviceID(fmt.Sprintf("D%d", i))))
	}
	s.hs.create("!r:x", members...)
	turn(alice)
	alice.see = func(r matrix.Req) bool { return r.Kind == matrix.ReqMembers }
	alice.send("!r:x", "hello")
	alice.pump()
	alice.see = nil
	return s, alice, fs
}

// BenchmarkShareNew gives a room key to a thousand devices with which there
// is no session yet; BenchmarkShareNewRaw is its raw cryptography: the check of
// the signatures, the sessions, the messages. The bar is 3 to 1.
func BenchmarkShareNew(b *testing.B) {
	s, alice, _ := crowd(b)
	claims := alice.find(matrix.ReqKeysClaim)
	answers := make([]matrix.Ans, len(claims))
	for i, r := range claims {
		answers[i] = s.hs.handle(alice.user, alice.device, r)
	}
	start := alice.mem
	for b.Loop() {
		b.StopTimer()
		alice.mem = start.clone()
		b.StartTimer()
		for i, r := range claims {
			alice.done(r, answers[i])
		}
		if got := alice.find(matrix.ReqToDevice); len(got) != benchDevices/100 {
			b.Fatalf("got %d requests", len(got))
		}
	}
}

// BenchmarkShareAgain gives a new room key to a thousand devices with which
// there are sessions.
func BenchmarkShareAgain(b *testing.B) {
	_, alice, _ := crowd(b)
	alice.pump()
	alice.send("!r:x", "again")
	alice.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, alice.m.Rotate(tx, "!r:x") })
	start := alice.mem
	for b.Loop() {
		b.StopTimer()
		alice.mem = start.clone()
		b.StartTimer()
		if got := alice.find(matrix.ReqToDevice); len(got) != benchDevices/100 {
			b.Fatalf("got %d requests", len(got))
		}
	}
}

// BenchmarkSendAgain sends one more message to a thousand devices that have
// the key.
func BenchmarkSendAgain(b *testing.B) {
	_, alice, _ := crowd(b)
	alice.pump()
	alice.send("!r:x", "again")
	start := alice.mem
	for b.Loop() {
		b.StopTimer()
		alice.mem = start.clone()
		b.StartTimer()
		if got := alice.find(matrix.ReqRoomSend); len(got) != 1 {
			b.Fatalf("got %d requests", len(got))
		}
	}
}

// raw is the cryptography of one share, without any store or JSON of ours.
func raw(b *testing.B, sessions bool) {
	s, alice, fs := crowd(b)
	acc, err := olm.NewAccount(s.env().Rand)
	if err != nil {
		b.Fatal(err)
	}
	rand := s.env().Rand
	payload := fs[0].payload(alice, "m.room_key", fs[0].session("!r:x").key(), nil)
	var made []*olm.Session
	for b.Loop() {
		for i, f := range fs {
			if sessions && len(made) == len(fs) {
				if _, err := made[i].Seal(rand, payload); err != nil {
					b.Fatal(err)
				}
				continue
			}
			k := s.hs.users[f.user].devices[f.device].oneTime[0].key
			if err := canonicaljson.Verify(k, string(f.user), "ed25519:"+string(f.device), f.acc.Signing().Verify); err != nil {
				b.Fatal(err)
			}
			var o struct{ Key string }
			if err := json.Unmarshal(k, &o); err != nil {
				b.Fatal(err)
			}
			otk, err := key.ParseAgreementPublic[key.OneTime](o.Key)
			if err != nil {
				b.Fatal(err)
			}
			out, err := acc.NewOutbound(rand, f.acc.Identity(), otk)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := out.Seal(rand, payload); err != nil {
				b.Fatal(err)
			}
			made = append(made, out)
		}
	}
}

// BenchmarkShareNewRaw is the raw cryptography of BenchmarkShareNew.
func BenchmarkShareNewRaw(b *testing.B) { raw(b, false) }

// BenchmarkShareAgainRaw is the raw cryptography of BenchmarkShareAgain.
func BenchmarkShareAgainRaw(b *testing.B) { raw(b, true) }
