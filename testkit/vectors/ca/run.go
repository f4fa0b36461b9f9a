// Package ca runs the vectors of both profiles of the CA network: each is given to
// the reader of its kind, which accepts or refuses it as the file says. The
// packages that own the forms run them in their tests.
package ca

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/internal/foreign"
	"github.com/quinta-chat/quinta/testkit/town"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// Suite is how the vectors of this folder are run.
var Suite = vectors.Suite{Inputs: inputs, Refusals: refusals, Kinds: kinds}

// begin is when everything of the vectors begins.
var begin = town.Now

// inputs are the head lines of all kinds.
var inputs = []string{"plain", "received", "at", "from", "self", "conv", "root", "intermediate", "crl", "certificate", "key", "sender-key", "padding",
	"issuer", "user", "device", "use", "old-key", "new-key", "old-key-id", "new-key-id", "expires", "signature", "recovery", "passphrase", "secret", "kid", "before"}

// refusals are the names of refusals, with the errors that they stand for.
var refusals = map[string][]error{
	"malformed":       {cert.ErrMalformed, cms.ErrMalformed},
	"unsupported":     {cert.ErrUnsupported, cms.ErrUnsupported},
	"untrusted":       {cert.ErrUntrusted},
	"expired":         {cert.ErrExpired},
	"no status":       {cert.ErrNoStatus},
	"mismatch":        {cert.ErrMismatch},
	"possession":      {cert.ErrPossession},
	"replayed":        {cert.ErrReplayed},
	"tampered":        {seal.ErrTampered},
	"not a recipient": {seal.ErrNotRecipient, cms.ErrNotRecipient},
	"bad signature":   {cms.ErrSignature},
	"cannot open":     {cms.ErrOpen},
}

// kinds are the readers: each gets a vector and returns what comes out.
var kinds = map[string]vectors.Reader{
	"secure":      openSecure,
	"legacy":      openLegacy,
	"cms-sealed":  openSealed,
	"cms-signed":  verifySigned,
	"certificate": verifyCertificate,
	"request": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := cert.ParseRequest(f.Body, identity(f))
		return nil, err
	},
	"crl": func(t *testing.T, f *vectors.File) ([]byte, error) {
		_, err := cert.ParseCRL(f.Body, certificate(t, f, "issuer"))
		return nil, err
	},
	"renewal":  renewal,
	"approval": approval,
	"legacy-key": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		_, err := cert.ParseLegacyKey(f.Body)
		return nil, err
	},
	"legacy-renewal": func(t *testing.T, f *vectors.File) ([]byte, error) {
		old, err := cert.ParseLegacyKey(vectors.Input(t, f, "old-key"))
		if err != nil {
			return nil, err
		}
		return nil, cert.CheckLegacyRenewal(f.Body, vectors.Input(t, f, "signature"), old)
	},
	"backup":  backup,
	"session": session,
	"name": func(_ *testing.T, f *vectors.File) ([]byte, error) {
		return nil, cert.Identity{User: quinta.UserID(f.Body), Device: "D", Use: cert.UseSign}.Check()
	},
}

func certificate(t *testing.T, f *vectors.File, name string) *x509.Certificate {
	t.Helper()
	return must[*x509.Certificate](t)(x509.ParseCertificate(vectors.Input(t, f, name)))
}

func at(t *testing.T, f *vectors.File, name string) time.Time {
	t.Helper()
	if f.Inputs[name] == "" {
		return time.Time{}
	}
	return must[time.Time](t)(time.Parse(time.RFC3339, f.Inputs[name]))
}

func identity(f *vectors.File) cert.Identity {
	return cert.Identity{User: quinta.UserID(f.Inputs["user"]), Device: quinta.DeviceID(f.Inputs["device"]), Use: cert.Use(f.Inputs["use"])}
}

func verifier(t *testing.T, f *vectors.File) *cert.Verifier {
	t.Helper()
	v := cert.NewVerifier([]*x509.Certificate{certificate(t, f, "root")}, []*x509.Certificate{certificate(t, f, "intermediate")}, "hs1")
	if f.Inputs["crl"] != "" {
		if err := v.SetCRL(vectors.Input(t, f, "crl")); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func openSecure(t *testing.T, f *vectors.File) ([]byte, error) {
	k := must[any](t)(x509.ParsePKCS8PrivateKey(vectors.Input(t, f, "key")))
	self := &seal.Self{Encrypt: certificate(t, f, "certificate"), EncryptKey: k.(crypto.Signer)}
	o, err := seal.Open(f.Body, self, verifier(t, f), seal.Expect{From: quinta.UserID(f.Inputs["from"]), Conv: quinta.RoomID(f.Inputs["conv"]),
		Self: quinta.UserID(f.Inputs["self"]), Now: f.Clock, Received: at(t, f, "received")})
	if err != nil {
		return nil, err
	}
	return o.Content.Body, nil
}

func openLegacy(t *testing.T, f *vectors.File) ([]byte, error) {
	own := must[any](t)(x509.ParsePKCS8PrivateKey(vectors.Input(t, f, "key"))).(*rsa.PrivateKey)
	spki := must[[]byte](t)(cert.LegacySPKI(&own.PublicKey))
	sender := must[*rsa.PublicKey](t)(cert.ParseLegacyKey(vectors.Input(t, f, "sender-key")))
	m, err := seal.ParseLegacyMessage(f.Body)
	if err != nil {
		return nil, err
	}
	r := &seal.LegacyReader{Self: quinta.UserID(f.Inputs["self"]), Own: map[cert.Fingerprint]*rsa.PrivateKey{cert.FingerprintOf(spki): own}, Padding: seal.LegacyPadding(f.Inputs["padding"])}
	rec := &seal.LegacyRecord{Username: quinta.UserID(f.Inputs["from"]), KeyID: cert.FingerprintOf(vectors.Input(t, f, "sender-key")), Key: sender,
		NotBefore: begin, Expires: begin.Add(30 * 24 * time.Hour)}
	plain, _, err := r.Open(m, quinta.UserID(f.Inputs["from"]), rec, f.Clock)
	return plain, err
}

func openSealed(t *testing.T, f *vectors.File) ([]byte, error) {
	k := must[any](t)(x509.ParsePKCS8PrivateKey(vectors.Input(t, f, "key"))).(*ecdsa.PrivateKey)
	return cms.Open(f.Body, certificate(t, f, "certificate"), must[*ecdh.PrivateKey](t)(k.ECDH()))
}

func verifySigned(t *testing.T, f *vectors.File) ([]byte, error) {
	s, err := cms.Parse(f.Body)
	if err != nil {
		return nil, err
	}
	who, err := s.Signer()
	if err != nil {
		return nil, err
	}
	if err := who.CheckSignatureFrom(certificate(t, f, "issuer")); err != nil {
		return nil, cert.ErrUntrusted
	}
	return s.Verify(who)
}

func verifyCertificate(t *testing.T, f *vectors.File) ([]byte, error) {
	c, err := foreign.Certificate(f.Body)
	if err != nil {
		return nil, cert.ErrMalformed
	}
	id, err := verifier(t, f).Verify(c, cert.Use(f.Inputs["use"]), at(t, f, "at"), f.Clock)
	return []byte(id.User), err
}

func public(t *testing.T, f *vectors.File, name string) any {
	t.Helper()
	return must[any](t)(x509.ParsePKIXPublicKey(vectors.Input(t, f, name)))
}

func renewal(t *testing.T, f *vectors.File) ([]byte, error) {
	var r cert.Renewal
	if err := json.Unmarshal(f.Body, &r); err != nil {
		return nil, cert.ErrMalformed
	}
	expires := must[int64](t)(strconv.ParseInt(f.Inputs["expires"], 10, 64))
	nonce, err := r.Check(cert.RenewalStatement{Username: quinta.UserID(f.Inputs["user"]), Device: quinta.DeviceID(f.Inputs["device"]), Expires: expires,
		OldKeyID: cert.Fingerprint(f.Inputs["old-key-id"]), NewKey: cert.Fingerprint(f.Inputs["new-key-id"])}, public(t, f, "old-key"), public(t, f, "new-key"), f.Clock)
	return []byte(nonce), err
}

func approval(t *testing.T, f *vectors.File) ([]byte, error) {
	var a cert.Approval
	if err := json.Unmarshal(f.Body, &a); err != nil {
		return nil, cert.ErrMalformed
	}
	return nil, a.Check(cert.ApprovalStatement{Username: quinta.UserID(f.Inputs["user"]), Device: quinta.DeviceID(f.Inputs["device"]),
		KeyID: cert.Fingerprint(f.Inputs["new-key-id"]), By: cert.Fingerprint(f.Inputs["old-key-id"])}, public(t, f, "old-key"), f.Clock)
}

func backup(t *testing.T, f *vectors.File) ([]byte, error) {
	if p := f.Inputs["passphrase"]; p != "" {
		return seal.OpenBackup(f.Body, must[*seal.BackupSecret](t)(seal.FromPassphrase(p)))
	}
	return seal.OpenBackup(f.Body, seal.FromRecovery([32]byte(vectors.Input(t, f, "recovery"))))
}

func session(t *testing.T, f *vectors.File) ([]byte, error) {
	o := seal.Offer{KID: f.Inputs["kid"], Secret: vectors.Input(t, f, "secret")}
	s := must[*seal.Session](t)(seal.NewSession(o, quinta.RoomID(f.Inputs["conv"]), quinta.UserID(f.Inputs["self"]), "B", "alice@hs1", begin))
	open := func(raw []byte) (*seal.Small, error) {
		return s.Open(raw, quinta.UserID(f.Inputs["from"]), quinta.DeviceID(f.Inputs["device"]), at(t, f, "received"))
	}
	for text := range strings.FieldsSeq(f.Inputs["before"]) {
		if _, err := open(must[[]byte](t)(base64.StdEncoding.DecodeString(text))); err != nil {
			t.Fatalf("a packet before: %v", err)
		}
	}
	m, err := open(f.Body)
	if err != nil {
		return nil, err
	}
	return m.Body, nil
}

// must returns v, or ends the test.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
