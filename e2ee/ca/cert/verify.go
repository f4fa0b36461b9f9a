package cert

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Status says whether certificates of one issuer are revoked, from a
// revocation list.
type Status struct {
	issuer  []byte
	this    time.Time
	next    time.Time
	number  string
	revoked map[string]Revoked
}

// MaxAhead is how far a clock may be ahead of another.
const MaxAhead = 5 * time.Minute

// maxRevoked bounds the entries of a revocation list.
const maxRevoked = 1 << 20

// ParseCRL reads a revocation list and checks that issuer signed it.
func ParseCRL(raw []byte, issuer *x509.Certificate) (*Status, error) {
	l, err := x509.ParseRevocationList(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: the revocation list cannot be parsed", ErrMalformed)
	}
	if !bytes.Equal(l.RawIssuer, issuer.RawSubject) || l.CheckSignatureFrom(issuer) != nil {
		return nil, fmt.Errorf("%w: the revocation list is from another issuer", ErrUntrusted)
	}
	if len(l.RevokedCertificateEntries) > maxRevoked {
		return nil, ErrMalformed
	}
	s := &Status{issuer: issuer.RawSubject, this: l.ThisUpdate, next: l.NextUpdate, revoked: map[string]Revoked{}}
	if l.Number != nil {
		s.number = l.Number.String()
	}
	for _, e := range l.RevokedCertificateEntries {
		s.revoked[string(e.SerialNumber.Bytes())] = Revoked{Serial: e.SerialNumber, At: e.RevocationTime, Reason: Reason(e.ReasonCode)}
	}
	return s, nil
}

// Next returns when the validity of the list ends.
func (s *Status) Next() time.Time { return s.next }

// A Verifier judges certificates. It remembers the chains that it has
// verified, so that a certificate seen before costs almost nothing; whether
// it is still valid and not revoked is checked each time.
type Verifier struct {
	roots         *x509.CertPool
	intermediates *x509.CertPool
	issuers       map[string]*x509.Certificate
	// domain, if not empty, is the only domain of users.
	domain string

	mu     sync.Mutex
	status map[string]*Status
	seen   map[string]verified
}

// verified is a certificate whose chain holds from begin to end.
type verified struct {
	id         Identity
	issuer     string
	begin, end time.Time
}

// maxSeen bounds how many certificates a Verifier remembers.
const maxSeen = 10_000

// NewVerifier returns a verifier that trusts the roots and knows the
// intermediates. Users of any other domain are refused; an empty domain
// allows all.
func NewVerifier(roots, intermediates []*x509.Certificate, domain string) *Verifier {
	v := &Verifier{roots: x509.NewCertPool(), intermediates: x509.NewCertPool(), issuers: map[string]*x509.Certificate{}, domain: domain,
		status: map[string]*Status{}, seen: map[string]verified{}}
	for _, c := range roots {
		v.roots.AddCert(c)
	}
	for _, c := range intermediates {
		v.intermediates.AddCert(c)
		v.issuers[string(c.RawSubject)] = c
	}
	return v
}

// SetCRL adds the revocation list of one of the intermediates. A list that is
// older than the known one is refused with ErrReplayed.
func (v *Verifier) SetCRL(raw []byte) error {
	var errs error
	for name, c := range v.issuers {
		s, err := ParseCRL(raw, c)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if old := v.status[name]; old != nil && old.this.After(s.this) {
			return fmt.Errorf("%w: an older revocation list", ErrReplayed)
		}
		v.status[name] = s
		return nil
	}
	if errs == nil {
		errs = ErrUntrusted
	}
	return errs
}

// StatusUntil returns the time until which the revocation status of all
// issuers is known, or the zero time if it is unknown for any of them.
func (v *Verifier) StatusUntil() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	var until time.Time
	for name := range v.issuers {
		s := v.status[name]
		if s == nil {
			return time.Time{}
		}
		if until.IsZero() || s.next.Before(until) {
			until = s.next
		}
	}
	return until
}

// Verify judges a certificate for a use, as of a time at, seen from now: the
// chain must lead to a trusted root and be valid at that time, the name and
// use must be those of a device, and a recent revocation list must show that
// it was not revoked. A certificate that was revoked because its key is
// compromised is refused whatever time is claimed.
func (v *Verifier) Verify(c *x509.Certificate, use Use, at, now time.Time) (Identity, error) {
	known, err := v.known(c, use, at)
	if err != nil {
		return known.id, err
	}
	v.mu.Lock()
	status := v.status[known.issuer]
	v.mu.Unlock()
	if at.Before(known.begin) || at.After(known.end) {
		return known.id, fmt.Errorf("%w: it is valid from %s to %s", ErrExpired, known.begin.UTC().Format(time.RFC3339), known.end.UTC().Format(time.RFC3339))
	}
	return known.id, status.judge(c, at, now)
}

// Vouch reports whether an authority vouches for a certificate for a use, by
// its name, key and chain around the time at; [Verifier.Verify] checks whether
// it was valid at a given time. The key of c is not used.
func (v *Verifier) Vouch(c *x509.Certificate, use Use, at time.Time) error {
	_, err := v.known(c, use, at)
	return err
}

// known returns what is remembered of a certificate, or verifies its chain.
func (v *Verifier) known(c *x509.Certificate, use Use, at time.Time) (verified, error) {
	v.mu.Lock()
	known, ok := v.seen[string(c.Raw)]
	v.mu.Unlock()
	if !ok {
		var err error
		if known, err = v.chain(c, at); err != nil {
			return verified{}, err
		}
		v.mu.Lock()
		if len(v.seen) >= maxSeen {
			clear(v.seen)
		}
		v.seen[string(c.Raw)] = known
		v.mu.Unlock()
	}
	if known.id.Use != use {
		return known, fmt.Errorf("%w: the certificate is for another use", ErrUntrusted)
	}
	return known, nil
}

// judge says whether a certificate was in force at a time.
func (s *Status) judge(c *x509.Certificate, at, now time.Time) error {
	if s == nil || now.After(s.next) {
		return ErrNoStatus
	}
	r, ok := s.revoked[string(c.SerialNumber.Bytes())]
	if !ok {
		return nil
	}
	// The list has whole seconds, and the clock of the user who had a key renewed need
	// not be the authority's.
	slack := time.Second
	if r.Reason == ReasonSuperseded {
		slack = MaxAhead
	}
	if r.Reason == ReasonKeyCompromise || !at.Before(r.At.Add(slack)) {
		return fmt.Errorf("%w: it was revoked on %s", ErrExpired, r.At.UTC().Format(time.RFC3339))
	}
	return nil
}

// chain verifies a certificate that was not seen before.
func (v *Verifier) chain(c *x509.Certificate, at time.Time) (verified, error) {
	id, err := IdentityOf(c)
	if err != nil {
		return verified{}, err
	}
	if err := CheckKey(c.PublicKey); err != nil {
		return verified{}, err
	}
	if v.domain != "" && !bytes.HasSuffix([]byte(id.User), []byte("@"+v.domain)) {
		return verified{}, fmt.Errorf("%w: it belongs to another domain", ErrUntrusted)
	}
	// The time of the certificate itself is judged on each use; here the
	// chain is to hold at some time within it.
	when := at
	if when.Before(c.NotBefore) {
		when = c.NotBefore
	}
	if when.After(c.NotAfter) {
		when = c.NotAfter
	}
	chains, err := c.Verify(x509.VerifyOptions{Roots: v.roots, Intermediates: v.intermediates, CurrentTime: when, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}})
	if err != nil || len(chains[0]) != 3 {
		return verified{}, ErrUntrusted
	}
	k := verified{id: id, issuer: string(chains[0][1].RawSubject), begin: c.NotBefore, end: c.NotAfter}
	for _, up := range chains[0][1:] {
		if up.NotBefore.After(k.begin) {
			k.begin = up.NotBefore
		}
		if up.NotAfter.Before(k.end) {
			k.end = up.NotAfter
		}
	}
	return k, nil
}
