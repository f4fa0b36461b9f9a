package wire

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"filippo.io/bigmod"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
)

// The two-step password by SRP: neither the password nor anything from which it
// could be guessed crosses the wire at a login. "Two-factor authentication",
// the algorithm SHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow.

// ErrSRP: a value of the password check is out of its range.
var ErrSRP = errors.New("mtproto: a value of the password check is out of range")

const (
	// SRPProofLength is the length of M1 in bytes.
	SRPProofLength = sha256.Size
	srpRounds      = 100_000
	// The lengths of salts that are accepted, in bytes.
	minSalt, maxSalt = 8, 128
)

// An SRP is the group and the salts of one password.
type SRP struct {
	group        *secretchat.Group
	mod          *bigmod.Modulus
	g            []byte // 256 bytes
	salt1, salt2 []byte
}

// NewSRP makes one of a checked group and salts of 8 to 128 bytes.
func NewSRP(group *secretchat.Group, salt1, salt2 []byte) (*SRP, error) {
	if len(salt1) < minSalt || len(salt1) > maxSalt || len(salt2) < minSalt || len(salt2) > maxSalt {
		return nil, ErrSRP
	}
	mod, err := bigmod.NewModulus(group.P())
	if err != nil {
		return nil, ErrSRP
	}
	g := make([]byte, secretchat.Size)
	g[secretchat.Size-1] = byte(group.G())
	return &SRP{group: group, mod: mod, g: g, salt1: salt1, salt2: salt2}, nil
}

// Algo is the object of the algorithm.
func (s *SRP) Algo() *PasswordKdfAlgo {
	return &PasswordKdfAlgo{Salt1: s.salt1, Salt2: s.salt2, G: int32(s.group.G()), P: s.group.P()}
}

func hash(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func salted(data, salt []byte) []byte { return hash(salt, data, salt) }

// secret is PH2 of the password.
func (s *SRP) secret(password []byte) ([]byte, error) {
	ph1 := salted(salted(password, s.salt1), s.salt2)
	slow, err := pbkdf2.Key(sha512.New, string(ph1), s.salt1, srpRounds, 64)
	if err != nil {
		return nil, fmt.Errorf("mtproto: hashing the password: %w", err)
	}
	return salted(slow, s.salt2), nil
}

// nat reads a number below p, shorter than 256 bytes or not.
func (s *SRP) nat(b []byte) (*bigmod.Nat, error) {
	if len(b) > secretchat.Size {
		return nil, ErrSRP
	}
	full := make([]byte, secretchat.Size)
	copy(full[secretchat.Size-len(b):], b)
	n, err := bigmod.NewNat().SetBytes(full, s.mod)
	if err != nil {
		return nil, ErrSRP
	}
	return n, nil
}

// public reads a public value of the other side, in the range that is asked for
// of those of a key exchange, and pads it.
func (s *SRP) public(b []byte) (*bigmod.Nat, []byte, error) {
	if s.group.Check(b) != nil {
		return nil, nil, ErrSRP
	}
	n, err := s.nat(b)
	if err != nil {
		return nil, nil, err
	}
	return n, n.Bytes(s.mod), nil
}

func (s *SRP) exp(base *bigmod.Nat, e []byte) *bigmod.Nat {
	return bigmod.NewNat().Exp(base, e, s.mod)
}

// k is the multiplier H(p | g).
func (s *SRP) k() (*bigmod.Nat, error) { return s.nat(hash(s.group.P(), s.g)) }

// Verifier is what the server keeps of a password: g^x, 256 bytes.
func (s *SRP) Verifier(password []byte) ([]byte, error) {
	x, err := s.secret(password)
	if err != nil {
		return nil, err
	}
	g, err := s.nat(s.g)
	if err != nil {
		return nil, err
	}
	return s.exp(g, x).Bytes(s.mod), nil
}

// CheckVerifier refuses anything that is not a password verifier, with ErrSRP.
func (s *SRP) CheckVerifier(v []byte) error {
	_, _, err := s.public(v)
	return err
}

// Challenge makes the server's secret b and its public value B for a verifier.
func (s *SRP) Challenge(rand io.Reader, verifier []byte) (secret, public []byte, err error) {
	v, err := s.nat(verifier)
	if err != nil {
		return nil, nil, err
	}
	k, err := s.k()
	if err != nil {
		return nil, nil, err
	}
	g, err := s.nat(s.g)
	if err != nil {
		return nil, nil, err
	}
	kv := k.Mul(v, s.mod).Bytes(s.mod)
	for {
		b := make([]byte, secretchat.Size)
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, nil, fmt.Errorf("mtproto: drawing a secret: %w", err)
		}
		add, err := s.nat(kv)
		if err != nil {
			return nil, nil, err
		}
		B := s.exp(g, b).Add(add, s.mod).Bytes(s.mod)
		if s.group.Check(B) == nil {
			return b, B, nil
		}
	}
}

// proof is M1 for padded public values and the shared number.
func (s *SRP) proof(a, b []byte, shared *bigmod.Nat) []byte {
	hp, hg := hash(s.group.P()), hash(s.g)
	subtle.XORBytes(hp, hp, hg)
	return hash(hp, hash(s.salt1), hash(s.salt2), a, b, hash(shared.Bytes(s.mod)))
}

// Prove proves to a server with the public value B that the password is known:
// it returns the client's public value A and M1. ErrSRP says that B is not
// what an honest server sends.
func (s *SRP) Prove(rand io.Reader, password, serverPublic []byte) (a, m1 []byte, err error) {
	_, B, err := s.public(serverPublic)
	if err != nil {
		return nil, nil, err
	}
	x, err := s.secret(password)
	if err != nil {
		return nil, nil, err
	}
	g, err := s.nat(s.g)
	if err != nil {
		return nil, nil, err
	}
	k, err := s.k()
	if err != nil {
		return nil, nil, err
	}
	base, err := s.nat(B)
	if err != nil {
		return nil, nil, err
	}
	base = base.Sub(k.Mul(s.exp(g, x), s.mod), s.mod)
	for {
		secret := make([]byte, secretchat.Size)
		if _, err := io.ReadFull(rand, secret); err != nil {
			return nil, nil, fmt.Errorf("mtproto: drawing a secret: %w", err)
		}
		A := s.exp(g, secret).Bytes(s.mod)
		if s.group.Check(A) != nil {
			continue
		}
		// base^(a + u*x), without a number of changing length.
		shared := s.exp(base, secret).Mul(s.exp(s.exp(base, x), hash(A, B)), s.mod)
		return A, s.proof(A, B, shared), nil
	}
}

// Verify reports whether a client's A and M1 prove the password of a verifier,
// for the server's secret and public value. ErrSRP says that A is out of its
// range.
func (s *SRP) Verify(verifier, secret, serverPublic, a, m1 []byte) (bool, error) {
	base, A, err := s.public(a)
	if err != nil {
		return false, err
	}
	v, err := s.nat(verifier)
	if err != nil {
		return false, err
	}
	shared := s.exp(base.Mul(s.exp(v, hash(A, serverPublic)), s.mod), secret)
	return subtle.ConstantTimeCompare(m1, s.proof(A, serverPublic, shared)) == 1, nil
}
