package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/quinta-chat/quinta/internal/foreign"
)

// How long certificates are valid.
const (
	// Validity is how long a device's certificate is valid.
	Validity = 30 * 24 * time.Hour
	// MaxValidity is the longest validity that an issuer grants.
	MaxValidity          = 90 * 24 * time.Hour
	rootValidity         = 20 * 365 * 24 * time.Hour
	intermediateValidity = 5 * 365 * 24 * time.Hour
	// backdate lets clocks that are a little late accept a new certificate.
	backdate = 5 * time.Minute
)

// An Issuer is a certificate authority with its key: the intermediate that
// signs devices' certificates, and the root above it.
type Issuer struct {
	Root *x509.Certificate
	Cert *x509.Certificate
	Key  crypto.Signer
	Rand io.Reader
	// CRL and OCSP, if not empty, are the addresses that certificates contain.
	CRL, OCSP string
}

// NewSerial returns a random positive serial number of 127 bits.
func NewSerial(rand io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, fmt.Errorf("ca: making a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and always of the same length
	return new(big.Int).SetBytes(b[:]), nil
}

// NewRoot makes the self-signed certificate of a root.
func NewRoot(rand io.Reader, name string, key crypto.Signer, now time.Time) (*x509.Certificate, error) {
	t, err := authority(rand, name+" root", now, rootValidity, 1)
	if err != nil {
		return nil, err
	}
	return create(rand, t, t, key.Public(), key)
}

// NewIntermediate makes the certificate of an intermediate under a root.
func NewIntermediate(rand io.Reader, name string, key crypto.Signer, root *x509.Certificate, rootKey crypto.Signer, now time.Time) (*x509.Certificate, error) {
	t, err := authority(rand, name+" intermediate", now, intermediateValidity, 0)
	if err != nil {
		return nil, err
	}
	return create(rand, t, root, key.Public(), rootKey)
}

func authority(rand io.Reader, name string, now time.Time, life time.Duration, depth int) (*x509.Certificate, error) {
	serial, err := NewSerial(rand)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Quinta CA"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
		MaxPathLen: depth, MaxPathLenZero: depth == 0,
	}, nil
}

// Issue makes the certificate of a checked request. The caller must have
// checked that the request came from the user and device that it names.
func (i *Issuer) Issue(r *Request, now time.Time, life time.Duration) (*x509.Certificate, error) {
	if err := r.Identity.Check(); err != nil {
		return nil, err
	}
	if err := CheckKey(r.Key); err != nil {
		return nil, err
	}
	if life <= 0 || life > MaxValidity {
		return nil, fmt.Errorf("%w: a certificate is valid for at most 90 days", ErrMalformed)
	}
	serial, err := NewSerial(i.Rand)
	if err != nil {
		return nil, err
	}
	san, err := r.Identity.san()
	if err != nil {
		return nil, err
	}
	usage := x509.KeyUsageDigitalSignature
	if r.Identity.Use == UseEncrypt {
		usage = x509.KeyUsageKeyAgreement
		if _, ok := r.Key.(*rsa.PublicKey); ok {
			usage = x509.KeyUsageKeyEncipherment
		}
	}
	id := sha256.Sum256(r.SPKI)
	t := &x509.Certificate{
		SerialNumber: serial, Subject: r.Identity.subject(), NotBefore: now.Add(-backdate), NotAfter: now.Add(life),
		KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}, BasicConstraintsValid: true,
		ExtraExtensions: []pkix.Extension{san}, SubjectKeyId: id[:20],
	}
	if i.CRL != "" {
		t.CRLDistributionPoints = []string{i.CRL}
	}
	if i.OCSP != "" {
		t.OCSPServer = []string{i.OCSP}
	}
	return create(i.Rand, t, i.Cert, r.Key, i.Key)
}

func create(rand io.Reader, t, parent *x509.Certificate, pub any, key crypto.Signer) (*x509.Certificate, error) {
	t.SignatureAlgorithm = x509.ECDSAWithSHA256
	switch key.Public().(type) {
	case *rsa.PublicKey:
		t.SignatureAlgorithm = x509.SHA256WithRSA
	case *ecdsa.PublicKey:
	default:
		return nil, fmt.Errorf("%w: the key of an authority is RSA or P-256", ErrUnsupported)
	}
	raw, err := x509.CreateCertificate(rand, t, parent, pub, key)
	if err != nil {
		return nil, fmt.Errorf("ca: making a certificate: %w", err)
	}
	return foreign.Certificate(raw)
}

// A Revoked is one revoked certificate.
type Revoked struct {
	Serial *big.Int
	At     time.Time
	Reason Reason
}

// A Reason is a CRLReason (RFC 5280, section 5.3.1).
type Reason int

// The reasons that this authority gives.
const (
	ReasonUnspecified   Reason = 0
	ReasonKeyCompromise Reason = 1
	ReasonSuperseded    Reason = 4
	ReasonCessation     Reason = 5
)

// Reasons are the names of the reasons.
var Reasons = map[string]Reason{"unspecified": ReasonUnspecified, "key-compromise": ReasonKeyCompromise, "superseded": ReasonSuperseded, "cessation": ReasonCessation}

// NewCRL makes a certificate revocation list (DER) that is valid until next.
func (i *Issuer) NewCRL(number int64, list []Revoked, now, next time.Time) ([]byte, error) {
	t := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: now, NextUpdate: next}
	for _, r := range list {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.Serial, RevocationTime: r.At, ReasonCode: int(r.Reason)})
	}
	raw, err := x509.CreateRevocationList(i.Rand, t, i.Cert, i.Key)
	if err != nil {
		return nil, fmt.Errorf("ca: making a revocation list: %w", err)
	}
	return raw, nil
}
