package mtprotoserver

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"

	"filippo.io/bigmod"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// secrets are what the server itself keeps secret.
type secrets struct {
	// master seals authorization keys, and makes salts and access hashes.
	master []byte
	// rsa are the keys with which the server proves itself, at least one.
	rsa  []rsaKey
	aead cipher.AEAD
}

// An rsaKey is a key of the server with what its use needs.
type rsaKey struct {
	*rsa.PrivateKey
	fingerprint int64
	n           *bigmod.Modulus
	d           []byte
}

var errNoSecrets = quinta.E(quinta.KindUnavailable, "mtproto", "the server has no key that seals its secrets; see the setting secrets")

// secrets returns the secrets, and makes them when they are first needed.
func (s *mtprotoServer) secrets(ctx context.Context) (*secrets, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept != nil {
		return s.kept, nil
	}
	if s.Secrets == nil {
		return nil, errNoSecrets
	}
	master, err := s.keep(ctx, "master", func() ([]byte, error) {
		b := make([]byte, 32)
		_, err := io.ReadFull(s.Rand, b)
		return b, err
	})
	if err != nil {
		return nil, err
	}
	out := &secrets{master: master}
	if out.rsa, err = s.rsaKeys(ctx); err != nil {
		return nil, err
	}
	b, err := aes.NewCipher(out.derive("seal", nil))
	if err != nil {
		return nil, err
	}
	if out.aead, err = cipher.NewGCM(b); err != nil {
		return nil, err
	}
	s.kept = out
	return out, nil
}

// rsaKeys are the keys of the setting, or one that is made when it is first
// needed.
func (s *mtprotoServer) rsaKeys(ctx context.Context) ([]rsaKey, error) {
	keys, err := readKeys(s.Setting(settingKey))
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		der, err := s.keep(ctx, "rsa", func() ([]byte, error) {
			k, err := rsa.GenerateKey(s.Rand, wire.RSABits)
			if err != nil {
				return nil, err
			}
			return x509.MarshalPKCS1PrivateKey(k), nil
		})
		if err != nil {
			return nil, err
		}
		k, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return nil, fmt.Errorf("mtproto: the server's key is damaged")
		}
		keys = append(keys, k)
	}
	var out []rsaKey
	for _, k := range keys {
		one, err := newRSAKey(k)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// named returns the key of a fingerprint; ok is 0 if there is none, and the
// first key has to do the same work.
func (s *secrets) named(fingerprint int64) (k *rsaKey, ok int) {
	for i := range s.rsa {
		if s.rsa[i].fingerprint == fingerprint {
			return &s.rsa[i], 1
		}
	}
	return &s.rsa[0], 0
}

// fingerprints are those of all keys.
func (s *secrets) fingerprints() (out []int64) {
	for _, k := range s.rsa {
		out = append(out, k.fingerprint)
	}
	return out
}

// keep returns a secret of the store, or makes it. Of two nodes that make one
// at the same time the first wins.
func (s *mtprotoServer) keep(ctx context.Context, id string, create func() ([]byte, error)) ([]byte, error) {
	load := func(tx *db.Tx) (sealed []byte, err error) {
		err = tx.Row(`SELECT sealed FROM mtproto_secret WHERE id = $1`, id).Scan(&sealed)
		if errors.Is(err, db.ErrNoRows) {
			err = nil
		}
		return sealed, err
	}
	var sealed []byte
	if err := s.View(ctx, func(tx *db.Tx) (err error) { sealed, err = load(tx); return err }); err != nil {
		return nil, err
	}
	if sealed == nil {
		plain, err := create()
		if err != nil {
			return nil, fmt.Errorf("mtproto: making a secret: %w", err)
		}
		made, err := s.Secrets.Seal(ctx, plain)
		if err != nil {
			return nil, err
		}
		if err := s.Update(ctx, func(tx *db.Tx) (err error) {
			if _, err = tx.Exec(`INSERT INTO mtproto_secret (id, sealed) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, id, made); err != nil {
				return err
			}
			sealed, err = load(tx)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return s.Secrets.Unseal(ctx, sealed)
}

func newRSAKey(k *rsa.PrivateKey) (rsaKey, error) {
	n, err := bigmod.NewModulus(k.N.Bytes())
	if err != nil {
		return rsaKey{}, err
	}
	return rsaKey{PrivateKey: k, fingerprint: wire.RSAFingerprint(&k.PublicKey), n: n, d: k.D.FillBytes(make([]byte, 256))}, nil
}

// decrypt is raw RSA, in constant time: all 256 bytes of the exponent are
// worked through. A number that is not below the modulus gives zeros.
func (k *rsaKey) decrypt(data []byte) []byte {
	full := make([]byte, 256)
	if len(data) <= len(full) {
		new(big.Int).SetBytes(data).FillBytes(full)
	}
	x, err := bigmod.NewNat().SetBytes(full, k.n)
	if err != nil {
		x, err = bigmod.NewNat().SetBytes(make([]byte, 256), k.n)
		if err != nil {
			panic("mtproto: internal error: zero is not below the modulus")
		}
	}
	return bigmod.NewNat().Exp(x, k.d, k.n).Bytes(k.n)
}

// derive makes 32 bytes for a use out of the master secret.
func (s *secrets) derive(use string, of []byte) []byte {
	h := hmac.New(sha256.New, s.master)
	h.Write([]byte(use))
	h.Write([]byte{0})
	h.Write(of)
	return h.Sum(nil)
}

// number makes a number that only the server can make, such as an access hash,
// of some numbers.
func (s *secrets) number(use string, of ...int64) int64 {
	var b []byte
	for _, n := range of {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return int64(binary.LittleEndian.Uint64(s.derive(use, b)))
}

// seal seals an authorization key for the store.
func (s *secrets) seal(rand io.Reader, id int64, key []byte) ([]byte, error) {
	return s.sealFor(rand, binary.LittleEndian.AppendUint64(nil, uint64(id)), key)
}

// open opens what seal made.
func (s *secrets) open(id int64, sealed []byte) ([]byte, error) {
	return s.openFor(binary.LittleEndian.AppendUint64(nil, uint64(id)), sealed)
}

// sealText seals something else; use says what it is for, in more than eight
// bytes.
func (s *secrets) sealText(rand io.Reader, use string, text []byte) ([]byte, error) {
	return s.sealFor(rand, []byte("text, "+use), text)
}

// openText opens what sealText made.
func (s *secrets) openText(use string, sealed []byte) ([]byte, error) {
	return s.openFor([]byte("text, "+use), sealed)
}

func (s *secrets) sealFor(rand io.Reader, use, plain []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, plain, use), nil
}

var errDamaged = errors.New("mtproto: a secret in the store is damaged")

func (s *secrets) openFor(use, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, errDamaged
	}
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], use)
	if err != nil {
		return nil, errDamaged
	}
	return plain, nil
}
