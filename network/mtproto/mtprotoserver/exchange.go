package mtprotoserver

import (
	"context"
	"crypto/aes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"slices"
	"time"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/ige"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// rateExchange bounds key exchanges per address: each costs a private RSA
// operation and two exponentiations.
var rateExchange = server.Rate{Every: time.Second, Burst: 30}

// errExchange is the one failure of a key exchange. A client learns nothing of
// why, since the server would else decrypt for it.
var errExchange = errors.New("mtproto: the key exchange failed")

// An exchange is a key exchange that is under way on one connection. "Creating
// an Authorization Key".
type exchange struct {
	nonce, server [16]byte
	pq            []byte
	newNonce      [32]byte
	secret        *secretchat.Secret
	key           [32]byte
	iv            ige.Chain
	// life is how long the key is to be good, 0 for a permanent one.
	life time.Duration
}

// exchange answers one unencrypted message.
func (c *conn) exchange(ctx context.Context, body []byte) (any, error) {
	req, err := wire.Schema.Unmarshal(body)
	if err != nil {
		return nil, errExchange
	}
	switch r := req.(type) {
	case *wire.ReqPqMulti:
		return c.beginExchange(ctx, r.Nonce)
	case *wire.ReqPq:
		return c.beginExchange(ctx, r.Nonce)
	case *wire.ReqDHParams:
		if c.exch != nil && c.exch.secret == nil {
			return c.dhParams(ctx, r)
		}
	case *wire.SetClientDHParams:
		if c.exch != nil && c.exch.secret != nil {
			return c.finishExchange(ctx, r)
		}
	case *wire.MsgsAck:
		return nil, nil // some clients acknowledge in clear
	}
	return nil, errExchange
}

func (c *conn) beginExchange(ctx context.Context, nonce [16]byte) (any, error) {
	if c.s.Limits.Allow("mtproto exchange", server.ByAddr(c.addr), rateExchange, 1) > 0 {
		return nil, errExchange
	}
	sec, err := c.s.secrets(ctx)
	if err != nil {
		return nil, err
	}
	e := &exchange{nonce: nonce}
	if _, err := io.ReadFull(c.s.Rand, e.server[:]); err != nil {
		return nil, err
	}
	if e.pq, err = newPQ(c.s.Rand); err != nil {
		return nil, err
	}
	c.exch = e
	return &wire.ResPQ{Nonce: nonce, ServerNonce: e.server, PQ: e.pq, Fingerprints: sec.fingerprints()}, nil
}

// newPQ is the product of two random primes of 31 bits.
func newPQ(rand io.Reader) ([]byte, error) {
	prime := func() (*big.Int, error) {
		var b [4]byte
		for {
			if _, err := io.ReadFull(rand, b[:]); err != nil {
				return nil, err
			}
			n := new(big.Int).SetUint64(uint64(binary.LittleEndian.Uint32(b[:])&0x3fffffff | 0x40000001))
			if n.ProbablyPrime(10) {
				return n, nil
			}
		}
	}
	p, err := prime()
	if err != nil {
		return nil, err
	}
	for {
		q, err := prime()
		if err != nil {
			return nil, err
		}
		if q.Cmp(p) != 0 {
			return q.Mul(q, p).Bytes(), nil
		}
	}
}

// rsaPlain opens RSA_PAD. Whatever is wrong, it does the same work; ok is 1 if
// nothing is.
func rsaPlain(k *rsaKey, data []byte) (plain []byte, ok int) {
	b := k.decrypt(data)
	temp := make([]byte, 32)
	h := sha256.Sum256(b[32:])
	subtle.XORBytes(temp, b[:32], h[:])
	block, err := aes.NewCipher(temp)
	if err != nil {
		return make([]byte, 192), 0
	}
	var zero ige.Chain
	inner := make([]byte, 224)
	ige.Decrypt(block, &zero, inner, b[32:])
	plain = inner[:192]
	slices.Reverse(plain)
	sum := sha256.New()
	sum.Write(temp)
	sum.Write(plain)
	ok = subtle.ConstantTimeCompare(sum.Sum(nil), inner[192:])
	return plain, ok & subtle.ConstantTimeEq(int32(len(data)), 256)
}

// dhParams checks the client's proof of work, and sends this side's g_a. The
// work is the same whether the checks hold or not.
func (c *conn) dhParams(ctx context.Context, r *wire.ReqDHParams) (any, error) {
	sec, err := c.s.secrets(ctx)
	if err != nil {
		return nil, err
	}
	e := c.exch
	k, known := sec.named(r.Fingerprint)
	plain, ok := rsaPlain(k, r.EncryptedData)
	inner, life := innerData(plain)
	ok &= subtle.ConstantTimeCompare(r.Nonce[:], e.nonce[:]) & subtle.ConstantTimeCompare(r.ServerNonce[:], e.server[:])
	ok &= subtle.ConstantTimeCompare(inner.Nonce[:], e.nonce[:]) & subtle.ConstantTimeCompare(inner.ServerNonce[:], e.server[:])
	ok &= subtle.ConstantTimeCompare(inner.PQ, e.pq)
	product := new(big.Int).Mul(new(big.Int).SetBytes(inner.P), new(big.Int).SetBytes(inner.Q))
	ok &= subtle.ConstantTimeCompare(product.Bytes(), e.pq)
	ok &= known
	if life < 0 || life > maxTempLife {
		ok = 0
	}
	e.newNonce, e.life = inner.NewNonce, life
	secret, err := secretchat.NewSecret(c.s.Rand, nil)
	if err != nil {
		return nil, err
	}
	ga, err := secret.Public(c.s.group)
	if err != nil {
		return nil, err
	}
	e.secret = secret
	e.key, e.iv = tempKeys(e.newNonce, e.server)
	answer, err := wire.Schema.Marshal(&wire.ServerDHInnerData{Nonce: e.nonce, ServerNonce: e.server, G: int32(c.s.group.G()), DHPrime: c.s.group.P(), GA: ga, ServerTime: int32(c.s.Now().Unix())})
	if err != nil {
		return nil, err
	}
	sealed, err := e.seal(c.s.Rand, answer)
	if err != nil {
		return nil, err
	}
	if ok != 1 {
		return nil, errExchange
	}
	return &wire.ServerDHParamsOk{Nonce: e.nonce, ServerNonce: e.server, EncryptedAnswer: sealed}, nil
}

// innerData reads p_q_inner_data_dc, or p_q_inner_data_temp_dc with the life of
// the key; anything else gives an empty one, whose checks fail like any other.
func innerData(plain []byte) (*wire.PQInnerDataDC, time.Duration) {
	o, _, err := wire.Schema.Read(plain)
	d, ok := o.(*wire.PQInnerDataDC)
	var life time.Duration
	if t, temp := o.(*wire.PQInnerDataTempDC); temp {
		d, ok = &wire.PQInnerDataDC{PQ: t.PQ, P: t.P, Q: t.Q, Nonce: t.Nonce, ServerNonce: t.ServerNonce, NewNonce: t.NewNonce, DC: t.DC}, true
		if life = time.Duration(t.ExpiresIn) * time.Second; life == 0 {
			life = -1
		}
	}
	if err == nil && ok && len(d.P) <= 8 && len(d.Q) <= 8 {
		return d, life
	}
	return &wire.PQInnerDataDC{}, 0
}

// tempKeys are tmp_aes_key and tmp_aes_iv.
func tempKeys(newNonce [32]byte, server [16]byte) (key [32]byte, iv ige.Chain) {
	sum := func(a, b []byte) [20]byte { return sha1.Sum(append(slices.Clone(a), b...)) }
	ns, sn, nn := sum(newNonce[:], server[:]), sum(server[:], newNonce[:]), sum(newNonce[:], newNonce[:])
	copy(key[:], ns[:])
	copy(key[20:], sn[:12])
	copy(iv[:], sn[12:])
	copy(iv[8:], nn[:])
	copy(iv[28:], newNonce[:4])
	return key, iv
}

// seal encrypts SHA-1, answer and padding.
func (e *exchange) seal(rand io.Reader, answer []byte) ([]byte, error) {
	h := sha1.Sum(answer)
	b := append(h[:], answer...)
	n := len(b)
	b = append(b, make([]byte, (16-n%16)%16)...)
	if _, err := io.ReadFull(rand, b[n:]); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(e.key[:])
	if err != nil {
		return nil, err
	}
	chain := e.iv
	ige.Encrypt(block, &chain, b, b)
	return b, nil
}

// maxInner bounds the encrypted answer of a client.
const maxInner = 512

// open is the reverse of seal.
func (e *exchange) open(b []byte) (*wire.ClientDHInnerData, bool) {
	block, err := aes.NewCipher(e.key[:])
	if err != nil || len(b)%16 != 0 || len(b) < 32 || len(b) > maxInner {
		return nil, false
	}
	plain := make([]byte, len(b))
	chain := e.iv
	ige.Decrypt(block, &chain, plain, b)
	o, rest, err := wire.Schema.Read(plain[20:])
	d, ok := o.(*wire.ClientDHInnerData)
	if err != nil || !ok || len(rest) > 15 {
		return nil, false
	}
	h := sha1.Sum(plain[20 : len(plain)-len(rest)])
	return d, subtle.ConstantTimeCompare(h[:], plain[:20]) == 1
}

// finishExchange makes the authorization key and keeps it before the client
// learns of it.
func (c *conn) finishExchange(ctx context.Context, r *wire.SetClientDHParams) (any, error) {
	e := c.exch
	c.exch = nil
	defer e.secret.Wipe()
	d, ok := e.open(r.EncryptedData)
	if !ok || r.Nonce != e.nonce || r.ServerNonce != e.server || d.Nonce != e.nonce || d.ServerNonce != e.server {
		return nil, errExchange
	}
	key, err := e.secret.Agree(c.s.group, d.GB)
	if err != nil {
		return nil, errExchange
	}
	sec, err := c.s.secrets(ctx)
	if err != nil {
		return nil, err
	}
	id := key.Fingerprint()
	sealed, err := sec.seal(c.s.Rand, id, key.Bytes())
	if err != nil {
		return nil, err
	}
	if err := c.s.Update(ctx, func(tx *db.Tx) error { return keepKey(tx, id, sealed, e.life) }); err != nil {
		return nil, err
	}
	c.s.first.put(id, firstSalt(e.newNonce, e.server), c.s.Now())
	aux := sha1.Sum(key.Bytes())
	hash := sha1.Sum(append(append(slices.Clone(e.newNonce[:]), 1), aux[:8]...))
	return &wire.DHGenOk{Nonce: e.nonce, ServerNonce: e.server, NewNonceHash1: [16]byte(hash[4:])}, nil
}
