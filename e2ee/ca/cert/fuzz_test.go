package cert_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/foreign"
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
			t.Error("a signature that no one made")
		}
		r := cert.Renewal{Statement: raw, OldSignature: sig, NewSignature: sig}
		if _, err := r.Check(cert.RenewalStatement{}, k.Public(), k.Public(), now); err == nil {
			t.Error("a signature that no one made")
		}
	})
}

// FuzzCRL reads any bytes as a revocation list: only one that the authority
// signed is taken, and what was known before stays known.
func FuzzCRL(f *testing.F) {
	w := town.New(f)
	raw := must(w.Issuer.NewCRL(7, []cert.Revoked{{Serial: w.Person("a@hs1", "A").Sign.SerialNumber, At: now, Reason: cert.ReasonKeyCompromise}}, now, now.Add(time.Hour)))
	f.Add(raw)
	until := w.Verifier.StatusUntil()
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Equal(b, raw) {
			return
		}
		// The signature covers all but the wrapping: what differs only there
		// says the same.
		if err := w.Verifier.SetCRL(b); err == nil && !bytes.Contains(b, raw[4:200]) {
			t.Error("a list was taken that no one signed")
		}
		if got := w.Verifier.StatusUntil(); got.Before(until) {
			t.Errorf("the status is good until %s, was until %s", got, until)
		}
	})
}

// FuzzCertificate gives a verifier any certificate: it vouches for none but
// those that its authority issued.
func FuzzCertificate(f *testing.F) {
	w, other := town.New(f), town.New(f)
	a, b := w.Person("a@hs1", "A"), other.Person("a@hs1", "A")
	f.Add(a.Sign.Raw)
	f.Add(a.Encrypt.Raw)
	f.Add(b.Sign.Raw)
	f.Add(w.Issuer.Cert.Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := foreign.Certificate(raw)
		if err != nil {
			return
		}
		id, err := w.Verifier.Verify(c, cert.UseSign, now, now)
		if err == nil && (!bytes.Equal(c.RawTBSCertificate, a.Sign.RawTBSCertificate) || id.User != "a@hs1") {
			t.Errorf("it vouches for %v", id)
		}
	})
}
