package caserver

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/foreign"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// The kinds of key that an authority may have.
const (
	keyP256 = "p256"
	keyRSA  = "rsa-3072"
)

// An authority is the certificate authority of the server. It is created when
// it is first needed, or by an operator before that; its private keys are
// kept in the store, sealed by the server's keeper of secrets.
type authority struct {
	s *caServer

	mu     sync.Mutex
	issuer *cert.Issuer
}

// certificates are the public half of the authority.
type certificates struct {
	root, cert *x509.Certificate
	key        []byte // sealed
	created    int64
}

// Errors of an authority.
var (
	errNoAuthority = quinta.E(quinta.KindNotFound, "ca", "there is no authority yet: it is created when the first client needs it, or by \"ca init\"")
	errAuthority   = quinta.E(quinta.KindExists, "ca", "there is already an authority, and the certificates that it has issued depend on it")
	errNoKeeper    = quinta.E(quinta.KindUnavailable, "ca", "no key is configured to seal the key of the authority: set secrets")
)

// read returns the certificates from the store.
func (a *authority) read(ctx context.Context) (*certificates, error) {
	var root, mid []byte
	k := &certificates{}
	err := a.s.View(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT root, cert, cert_key, created FROM ca_authority WHERE id = 'current'`).Scan(&root, &mid, &k.key, &k.created)
	})
	if errors.Is(err, db.ErrNoRows) {
		return nil, errNoAuthority
	}
	if err != nil {
		return nil, err
	}
	if k.root, err = foreign.Certificate(root); err != nil {
		return nil, fmt.Errorf("reading the root: %w", err)
	}
	if k.cert, err = foreign.Certificate(mid); err != nil {
		return nil, fmt.Errorf("reading the intermediate: %w", err)
	}
	return k, nil
}

// public returns the certificates, and makes the authority if there is none.
func (a *authority) public(ctx context.Context) (*certificates, error) {
	k, err := a.read(ctx)
	if !errors.Is(err, errNoAuthority) {
		return k, err
	}
	if err := a.create(ctx, keyP256); err != nil && !errors.Is(err, errAuthority) {
		return nil, err
	}
	return a.read(ctx)
}

// get returns the authority with its key. Where the key cannot be opened, it
// fails with KindUnavailable: everything that needs no key still works.
func (a *authority) get(ctx context.Context) (*cert.Issuer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.issuer != nil {
		return a.issuer, nil
	}
	k, err := a.public(ctx)
	if err != nil {
		return nil, err
	}
	if a.s.Secrets == nil {
		return nil, errNoKeeper
	}
	raw, err := a.s.Secrets.Unseal(ctx, k.key)
	if err != nil {
		a.s.Log.Error("ca: the key of the authority cannot be opened: nothing can be certified or revoked until the key file, or the key that secrets names, is restored", "err", err)
		return nil, quinta.E(quinta.KindUnavailable, "ca", "the authority cannot use its key now: the operator must restore the key of the server's secrets")
	}
	key, err := x509.ParsePKCS8PrivateKey(raw)
	clear(raw)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("ca: the stored key of the authority is not a key")
	}
	i := &cert.Issuer{Root: k.root, Cert: k.cert, Key: signer, Rand: a.s.Rand}
	if u := strings.TrimSuffix(a.s.PublicURL, "/"); u != "" {
		i.CRL, i.OCSP = u+wire.Base+wire.PathCRL, u+wire.Base+wire.PathOCSP
	}
	a.issuer = i
	return i, nil
}

// create makes the authority: a root, an intermediate, and their keys.
func (a *authority) create(ctx context.Context, kind string) error {
	if a.s.Secrets == nil {
		return errNoKeeper
	}
	if a.s.domain == "" {
		return quinta.E(quinta.KindUnavailable, "ca", "the name of the server contains no domain for user names")
	}
	now := a.s.Now()
	rootKey, err := newAuthorityKey(a.s.Rand, kind)
	if err != nil {
		return err
	}
	key, err := newAuthorityKey(a.s.Rand, kind)
	if err != nil {
		return err
	}
	root, err := cert.NewRoot(a.s.Rand, a.s.domain, rootKey, now)
	if err != nil {
		return err
	}
	mid, err := cert.NewIntermediate(a.s.Rand, a.s.domain, key, root, rootKey, now)
	if err != nil {
		return err
	}
	sealedRoot, err := a.seal(ctx, rootKey)
	if err != nil {
		return err
	}
	sealed, err := a.seal(ctx, key)
	if err != nil {
		return err
	}
	err = a.s.Update(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`INSERT INTO ca_authority (id, root, root_key, cert, cert_key, created) VALUES ('current', $1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
			root.Raw, sealedRoot, mid.Raw, sealed, tx.Millis())
		if err == nil && n == 0 {
			return errAuthority
		}
		if err != nil {
			return err
		}
		for _, c := range []*x509.Certificate{root, mid} {
			if err := audit(tx, record{Action: "authority", KeyID: cert.KeyID(c), Serial: serialText(c), Detail: c.Subject.CommonName}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		a.s.Log.Info("ca: an authority was created", "domain", a.s.domain, "key", kind, "root", cert.KeyID(root))
	}
	return err
}

func (a *authority) seal(ctx context.Context, k crypto.Signer) ([]byte, error) {
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	return a.s.Secrets.Seal(ctx, raw)
}

func newAuthorityKey(rand io.Reader, kind string) (crypto.Signer, error) {
	switch kind {
	case keyP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand)
	case keyRSA:
		return rsa.GenerateKey(rand, 3072)
	}
	return nil, quinta.E(quinta.KindInvalid, "ca", "a key of an authority is "+keyP256+" or "+keyRSA)
}

// serialText writes a serial number as it is kept and shown.
func serialText(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

func (s *caServer) rootCalls() {
	s.at(http.MethodGet, wire.PathRoots, endpoint{open: true, rate: ratePublic, handle: (*call).getRoots})
}

func (c *call) getRoots() (any, error) {
	k, err := c.authority.public(c.ctx())
	if err != nil {
		return nil, err
	}
	return wire.Roots{
		Anchors:    wire.Anchors{Domain: c.domain, Roots: [][]byte{k.root.Raw}, Intermediates: [][]byte{k.cert.Raw}, Grace: int64(grace.Seconds())},
		MaxMessage: wire.MaxMessage, MaxFile: c.MaxUpload,
	}, nil
}
