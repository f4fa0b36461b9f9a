package sas_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/sas"
)

func testEnv() e2ee.Env {
	return e2ee.Env{Now: func() time.Time { return time.UnixMilli(1_700_000_000_000) }, Rand: rand.NewChaCha8([32]byte{3})}
}

// seeded returns a flow for one side of s with its own random stream.
func seeded(t *testing.T, s *stage, side int, seed byte) *sas.Flow {
	t.Helper()
	env := testEnv()
	env.Rand = rand.NewChaCha8([32]byte{seed})
	other := s.id[1-side]
	f, err := sas.New(env, sas.Config{
		ID: "txn", Own: s.id[side], TrustsMaster: true, OtherUser: other.User, Methods: allMethods,
		Device: func(d quinta.DeviceID) (sas.Identity, bool) { return other, d == other.Device },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// FuzzReceive gives a flow in every state any message.
func FuzzReceive(f *testing.F) {
	f.Add(byte(0), sas.TypeRequest, []byte(`{"from_device":"ALICE","methods":["m.sas.v1"],"timestamp":1700000000000,"transaction_id":"txn"}`))
	f.Add(byte(2), sas.TypeStart, []byte(`{"from_device":"ALICE","method":"m.sas.v1","key_agreement_protocols":["curve25519-hkdf-sha256"],"hashes":["sha256"],"message_authentication_codes":["hkdf-hmac-sha256.v2"],"short_authentication_string":["decimal","emoji"],"transaction_id":"txn"}`))
	f.Add(byte(3), sas.TypeMAC, []byte(`{"mac":{"ed25519:ALICE":"AAAA"},"keys":"AAAA"}`))
	f.Fuzz(func(t *testing.T, depth byte, typ string, raw []byte) {
		s := newStage(t, "@alice:x", "@bob:x", nil)
		if depth > 0 {
			s.do(0, s.flow[0].Request)
		}
		if depth > 1 {
			s.do(1, s.flow[1].Accept)
		}
		if depth > 2 {
			s.do(0, s.flow[0].StartSAS)
		}
		if depth > 3 {
			s.do(1, s.flow[1].Confirm)
		}
		for _, flow := range s.flow {
			flow.Receive("@alice:x", typ, raw)
			if flow.Verified() != (sas.Verified{}) {
				t.Errorf("%s %q verified a key", typ, raw)
			}
		}
	})
}
