package caserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// crlLife is for how long a revocation list is good; a new one is made when
	// half of that has passed, or when something was revoked.
	crlLife = 24 * time.Hour
	// ocspLife is for how long an OCSP answer is good.
	ocspLife = time.Hour
	// maxOCSP bounds an OCSP request in bytes.
	maxOCSP = 4 << 10
)

func (s *caServer) crlCalls() {
	s.at(http.MethodGet, wire.PathCRL, endpoint{open: true, rate: ratePublic, handle: (*call).getCRL})
	s.at(http.MethodPost, wire.PathOCSP, endpoint{open: true, rate: ratePublic, body: maxOCSP, handle: (*call).postOCSP})
}

// staleCRL notes that the next list differs.
func staleCRL(tx *db.Tx) error {
	_, err := tx.Exec(`UPDATE ca_crl SET stale = TRUE WHERE id = 'current'`)
	return err
}

func (c *call) getCRL() (any, error) {
	raw, err := c.crl(c.ctx())
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Cache-Control", "max-age=60")
	return c.send(wire.DERCRL, raw)
}

// crl returns the revocation list that is in force, and makes a new one when
// it is due.
func (s *caServer) crl(ctx context.Context) ([]byte, error) {
	var raw []byte
	var due bool
	read := func(tx *db.Tx) error {
		var made int64
		var stale bool
		err := tx.Row(`SELECT raw, made, stale FROM ca_crl WHERE id = 'current'`).Scan(&raw, &made, &stale)
		if errors.Is(err, db.ErrNoRows) {
			due = true
			return nil
		}
		age := tx.Millis() - made
		due = stale || age < 0 || age > crlLife.Milliseconds()/2
		return err
	}
	if err := s.View(ctx, read); err != nil || !due {
		return raw, err
	}
	issuer, err := s.authority.get(ctx)
	if err != nil {
		return nil, err
	}
	// The list is signed inside of the transaction: what it says and its number
	// must be of one moment, and it is made seldom.
	err = s.Update(ctx, func(tx *db.Tx) error {
		if err := read(tx); err != nil || !due {
			return err
		}
		list, err := revokedList(tx)
		if err != nil {
			return err
		}
		var number int64
		if err := tx.Row(`SELECT COALESCE(MAX(number), 0) FROM ca_crl`).Scan(&number); err != nil {
			return err
		}
		number++
		now := tx.Now()
		if raw, err = issuer.NewCRL(number, list, now, now.Add(crlLife)); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO ca_crl (id, number, raw, made, until, stale) VALUES ('current', $1, $2, $3, $4, FALSE)
			ON CONFLICT (id) DO UPDATE SET number = excluded.number, raw = excluded.raw, made = excluded.made, until = excluded.until, stale = FALSE`,
			number, raw, tx.Millis(), now.Add(crlLife).UnixMilli())
		if err != nil {
			return err
		}
		return audit(tx, record{Action: "crl", Detail: fmt.Sprintf("number %d with %d certificates", number, len(list))})
	})
	return raw, err
}

// revokedList returns the certificates that are out of force and whose time is
// not over. One that was renewed and has retired counts as superseded.
func revokedList(tx *db.Tx) ([]cert.Revoked, error) {
	keys, err := keysOf(tx, `cert IS NOT NULL AND expires > $1 AND (revoked IS NOT NULL OR retired IS NOT NULL)`, tx.Millis())
	if err != nil {
		return nil, err
	}
	list := make([]cert.Revoked, 0, len(keys))
	for _, k := range keys {
		serial, ok := new(big.Int).SetString(*k.Serial, 16)
		if !ok {
			return nil, errors.New("ca: a serial number in the store is malformed")
		}
		at, reason := k.outOfForce()
		list = append(list, cert.Revoked{Serial: serial, At: utc(at), Reason: reason})
	}
	return list, nil
}

// outOfForce returns since when and why a certificate is out of force; zero if
// it is not.
func (k *key) outOfForce() (int64, cert.Reason) {
	switch {
	case k.Revoked != nil:
		return *k.Revoked, cert.Reason(*k.Reason)
	case k.Retired != nil:
		return *k.Retired, cert.ReasonSuperseded
	}
	return 0, 0
}

// postOCSP answers for one certificate (RFC 6960).
func (c *call) postOCSP() (any, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	q, err := ocsp.ParseRequest(body)
	if err != nil {
		return c.send(wire.DEROCSPResponse, ocsp.MalformedRequestErrorResponse)
	}
	issuer, err := c.authority.get(c.ctx())
	if err != nil {
		c.Log.Warn("ca: an OCSP request cannot be answered", "err", err)
		return c.send(wire.DEROCSPResponse, ocsp.TryLaterErrorResponse)
	}
	if !isIssuer(q, issuer.Cert) {
		return c.send(wire.DEROCSPResponse, ocsp.UnauthorizedErrorResponse)
	}
	t := ocsp.Response{Status: ocsp.Unknown, SerialNumber: q.SerialNumber, ThisUpdate: c.Now().Truncate(time.Minute), NextUpdate: c.Now().Add(ocspLife), IssuerHash: q.HashAlgorithm}
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		keys, err := keysOf(tx, `serial = $1`, q.SerialNumber.Text(16))
		if err != nil || len(keys) == 0 {
			return err
		}
		t.Status = ocsp.Good
		if at, reason := keys[0].outOfForce(); at != 0 {
			t.Status, t.RevokedAt, t.RevocationReason = ocsp.Revoked, utc(at), int(reason)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	raw, err := ocsp.CreateResponse(issuer.Cert, issuer.Cert, t, issuer.Key)
	if err != nil {
		return nil, fmt.Errorf("making an OCSP answer: %w", err)
	}
	return c.send(wire.DEROCSPResponse, raw)
}

// isIssuer reports whether a request asks for certificates of an issuer.
func isIssuer(q *ocsp.Request, issuer *x509.Certificate) bool {
	if q.HashAlgorithm != crypto.SHA1 && q.HashAlgorithm != crypto.SHA256 || q.SerialNumber == nil || q.SerialNumber.Sign() <= 0 {
		return false
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return false
	}
	h := q.HashAlgorithm.New()
	h.Write(issuer.RawSubject)
	name := h.Sum(nil)
	h.Reset()
	h.Write(spki.Key.RightAlign())
	return bytes.Equal(name, q.IssuerNameHash) && bytes.Equal(h.Sum(nil), q.IssuerKeyHash)
}
