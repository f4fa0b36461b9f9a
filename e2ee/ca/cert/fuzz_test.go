package cert_test

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/town"
)

func FuzzRequest(f *testing.F) {
	id := cert.Identity{User: "alice@hs1", Device: "A", Use: cert.UseSign}
	f.Add(must(cert.NewRequest(rand.Reader, id, town.Key(f))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := cert.ParseRequest(raw, id); err == nil && (r.Identity != id || cert.CheckKey(r.Key) != nil) {
			t.Errorf("passed: %+v", r.Identity)
		}
	})
}

func FuzzParseLegacyKey(f *testing.F) {
	f.Add(town.NewPal(f, "a@hs1").SPKI)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if k, err := cert.ParseLegacyKey(raw); err == nil && !bytes.Equal(must(cert.LegacySPKI(k)), raw) {
			t.Error("it has two encodings")
		}
	})
}

func FuzzStatements(f *testing.F) {
	k := town.Key(f)
	st := cert.ApprovalStatement{Username: "a@hs1", Device: "A", KeyID: "k", By: "b", Time: now.UnixMilli()}
	f.Add([]byte(must(cert.NewApproval(rand.Reader, st, k)).Statement), []byte("x"))
	f.Fuzz(func(t *testing.T, raw, sig []byte) {
		a := cert.Approval{Statement: raw, Signature: sig}
		if a.Check(st, k.Public(), now) == nil {
			t.Error("a signature that nobody made")
		}
		r := cert.Renewal{Statement: raw, OldSignature: sig, NewSignature: sig}
		if _, err := r.Check(cert.RenewalStatement{}, k.Public(), k.Public(), now); err == nil {
			t.Error("a signature that nobody made")
		}
	})
}
