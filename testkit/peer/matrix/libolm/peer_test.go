//go:build peers

package libolm_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/libolm"
)

// start starts the peer; that it cannot be built is a failure.
func start(t *testing.T) *libolm.Peer {
	t.Helper()
	p, err := libolm.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// noise is randomness that both sides of a comparison can have.
type noise struct {
	*rand.ChaCha8
	used int
}

func newNoise(seed uint64) *noise {
	return &noise{ChaCha8: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})}
}

func (n *noise) Read(b []byte) (int, error) {
	n.used += len(b)
	return n.ChaCha8.Read(b)
}

func (n *noise) take(t *testing.T, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if _, err := io.ReadFull(n, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// An end is one end of a conversation, of either make. Bodies are base64.
type end interface {
	encrypt(t *testing.T, random, plaintext []byte) (typ int, body string)
	decrypt(t *testing.T, typ int, body string) ([]byte, error)
	id(t *testing.T) string
}

type theirs struct {
	p *libolm.Peer
	s int
}

func (e theirs) encrypt(t *testing.T, random, plaintext []byte) (int, string) {
	t.Helper()
	typ, body, _, err := e.p.Encrypt(e.s, random, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return typ, body
}

func (e theirs) decrypt(t *testing.T, typ int, body string) ([]byte, error) {
	return e.p.Decrypt(e.s, typ, body)
}

func (e theirs) id(t *testing.T) string { return must[string](t)(e.p.ID(e.s)) }

type ours struct{ s *olm.Session }

func (e ours) encrypt(t *testing.T, random, plaintext []byte) (int, string) {
	t.Helper()
	m := must[olm.Sealed](t)(e.s.Seal(fixed(random), plaintext))
	return int(m.Type), base64text.Encode(m.Body)
}

func (e ours) decrypt(t *testing.T, typ int, body string) ([]byte, error) {
	t.Helper()
	b, err := base64text.Decode(body)
	if err != nil {
		return nil, err
	}
	if olm.Type(typ) == olm.TypePreKey {
		m, err := olm.ParsePreKeyMessage(b)
		if err != nil {
			return nil, err
		}
		return e.s.Open(&m.Message)
	}
	m, err := olm.ParseMessage(b)
	if err != nil {
		return nil, err
	}
	return e.s.Open(m)
}

func (e ours) id(*testing.T) string { return string(e.s.ID()) }

// fixed gives b and then fails.
func fixed(b []byte) io.Reader { return &limited{b} }

type limited struct{ b []byte }

func (l *limited) Read(p []byte) (int, error) {
	if len(l.b) == 0 {
		return 0, fmt.Errorf("more randomness was asked for than libolm uses: %w", io.ErrUnexpectedEOF)
	}
	n := copy(p, l.b)
	l.b = l.b[n:]
	return n, nil
}

func identityKey(t *testing.T, text string) key.IdentityPublic {
	t.Helper()
	return must[key.IdentityPublic](t)(key.ParseAgreementPublic[key.Identity](text))
}

func oneTimeKey(t *testing.T, text string) key.OneTimePublic {
	t.Helper()
	return must[key.OneTimePublic](t)(key.ParseAgreementPublic[key.OneTime](text))
}

func preKey(t *testing.T, body string) *olm.PreKeyMessage {
	t.Helper()
	return must[*olm.PreKeyMessage](t)(olm.ParsePreKeyMessage(must[[]byte](t)(base64text.Decode(body))))
}
