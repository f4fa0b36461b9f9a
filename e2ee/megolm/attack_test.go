package megolm_test

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/tagged"
)

// TestAttackTamperedMessage changes every byte of a message: it is refused and
// changes nothing.
func TestAttackTamperedMessage(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	seal(t, out, "")
	genuine := seal(t, out, "genuine")
	before := in.Encode()
	for i := range genuine {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(genuine)
			bad[i] ^= bit
			m, err := megolm.ParseMessage(bad)
			if err == nil {
				_, err = in.Open(m)
			}
			if err == nil || !bytes.Equal(before, in.Encode()) {
				t.Fatalf("byte %d changed: got %v, want a refusal without a change", i, err)
			}
		}
	}
	opens(t, in, genuine, "genuine")
}

// TestAttackInsiderForgery lets one who has the session key, but not the
// signing key, seal a message: only the signature is wrong.
func TestAttackInsiderForgery(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	state := newOutbound(t, 2).Encode()
	copy(state[2:2+4+128], out.Encode()[2:2+4+128])
	insider := must[*megolm.Outbound](t)(megolm.DecodeOutbound(state))
	if _, err := in.Open(parse(t, seal(t, insider, "forged"))); !errors.Is(err, megolm.ErrBadMAC) {
		t.Errorf("got %v, want ErrBadMAC", err)
	}
}

// TestAttackMalleableSignature adds the group order to S of a message and of a
// session key.
func TestAttackMalleableSignature(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	sessionKey := plusOrder(out.SessionKey())
	if _, err := megolm.NewInbound(sessionKey); !errors.Is(err, megolm.ErrBadSignature) {
		t.Errorf("session key: got %v, want ErrBadSignature", err)
	}
	if _, err := in.Open(parse(t, plusOrder(seal(t, out, "x")))); !errors.Is(err, megolm.ErrBadMAC) {
		t.Errorf("message: got %v, want ErrBadMAC", err)
	}
}

// plusOrder adds the order of the group to the last 32 bytes.
func plusOrder(b []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := b[len(b)-32:]
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	copy(s, sum)
	slices.Reverse(s)
	return b
}

// TestAttackSmallOrderSessionKey offers session keys whose Ed25519 key is of
// small order, so that a signature would prove nothing.
func TestAttackSmallOrderSessionKey(t *testing.T) {
	t.Parallel()
	in := newInbound(t, newOutbound(t, 1))
	b := must[[]byte](t)(in.Export(0))
	clear(b[133:])
	b[133] = 1
	if _, err := megolm.Import(b); !errors.Is(err, megolm.ErrMalformed) {
		t.Errorf("import: got %v, want ErrMalformed", err)
	}
	b = append(b, make([]byte, 64)...)
	b[0] = 2
	b[165] = 1
	if _, err := megolm.NewInbound(b); !errors.Is(err, megolm.ErrMalformed) {
		t.Errorf("session key: got %v, want ErrMalformed", err)
	}
}

// TestAttackSessionKey changes every byte of a session key.
func TestAttackSessionKey(t *testing.T) {
	t.Parallel()
	good := newOutbound(t, 1).SessionKey()
	if len(good) != megolm.SessionKeySize {
		t.Fatalf("got %d bytes, want %d", len(good), megolm.SessionKeySize)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := megolm.NewInbound(bad); err == nil {
			t.Errorf("byte %d changed: got a session, want a refusal", i)
		}
		if _, err := megolm.NewInbound(good[:i]); err == nil {
			t.Errorf("cut at %d: got a session, want a refusal", i)
		}
	}
	if _, err := megolm.NewInbound(append(bytes.Clone(good), 0)); !errors.Is(err, megolm.ErrMalformed) {
		t.Errorf("one byte more: got %v, want ErrMalformed", err)
	}
	// One form is not taken for the other.
	if _, err := megolm.Import(good); !errors.Is(err, megolm.ErrVersion) {
		t.Errorf("import of the signed form: got %v, want ErrVersion", err)
	}
	exported := append([]byte{1}, good[1:megolm.ExportSize]...)
	if _, err := megolm.NewInbound(exported); !errors.Is(err, megolm.ErrVersion) {
		t.Errorf("the unsigned form: got %v, want ErrVersion", err)
	}
	if _, err := megolm.Import(append(exported, 0)); !errors.Is(err, megolm.ErrMalformed) {
		t.Errorf("one byte more: got %v, want ErrMalformed", err)
	}
}

// TestAttackFarIndex takes a genuine message at the last index but one: it is
// opened at once, and earlier ones still are.
func TestAttackFarIndex(t *testing.T) {
	t.Parallel()
	out := newOutbound(t, 1)
	in := newInbound(t, out)
	far := seal(t, at(t, out, 1<<32-2), "far")
	near := seal(t, out, "near")
	opens(t, in, far, "far")
	opens(t, in, near, "near")
	opens(t, in, far, "far")
}

// TestAttackMalformedMessage builds messages by hand.
func TestAttackMalformedMessage(t *testing.T) {
	t.Parallel()
	index := tagged.AppendInt(nil, 0x08, 0)
	ciphertext := tagged.AppendStr(nil, 0x12, make([]byte, 16))
	trailer := make([]byte, 72)
	build := func(parts ...[]byte) []byte { return append([]byte{3}, slices.Concat(parts...)...) }
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"well-formed", build(index, ciphertext, trailer), nil},
		{"another order", build(ciphertext, index, trailer), nil},
		{"unknown fields", build(index, ciphertext, tagged.AppendStr(nil, 0x22, []byte("x")), trailer), nil},
		{"empty", nil, megolm.ErrMalformed},
		{"version alone", []byte{3}, megolm.ErrMalformed},
		{"version 2", append([]byte{2}, build(index, ciphertext, trailer)[1:]...), megolm.ErrVersion},
		{"trailer alone", build(trailer), megolm.ErrMalformed},
		{"short trailer", build(index, ciphertext, trailer[1:]), megolm.ErrMalformed},
		{"long trailer", build(index, ciphertext, trailer, []byte{1}), megolm.ErrMalformed},
		{"index twice", build(index, index, ciphertext, trailer), megolm.ErrMalformed},
		{"ciphertext twice", build(index, ciphertext, ciphertext, trailer), megolm.ErrMalformed},
		{"no index", build(ciphertext, trailer), megolm.ErrMalformed},
		{"no ciphertext", build(index, trailer), megolm.ErrMalformed},
		{"empty ciphertext", build(index, []byte{0x12, 0}, trailer), megolm.ErrMalformed},
		{"half a block", build(index, tagged.AppendStr(nil, 0x12, make([]byte, 24)), trailer), megolm.ErrMalformed},
		{"index of 33 bits", build(tagged.AppendInt(nil, 0x08, 1<<32), ciphertext, trailer), megolm.ErrMalformed},
		{"overlong index", build([]byte{0x08, 0x81, 0x00}, ciphertext, trailer), megolm.ErrMalformed},
		{"huge varint", build(append([]byte{0x08}, bytes.Repeat([]byte{0xff}, 12)...), ciphertext, trailer), megolm.ErrMalformed},
		{"length beyond the end", build(index, []byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x0f}, trailer), megolm.ErrMalformed},
	} {
		m, err := megolm.ParseMessage(c.b)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if err == nil && !bytes.Equal(m.Bytes(), c.b) {
			t.Errorf("%s: got %x, want the same bytes", c.name, m.Bytes())
		}
	}
}
