package matrix

import (
	"bytes"
	"math/big"
	"slices"

	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/tagged"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

func (m *maker) megolm() {
	m.megolmForms()
	m.megolmKeys()
	m.megolmMessages()
}

func (m *maker) megolmForms() {
	index := tagged.AppendInt(nil, 0x08, 0)
	text := tagged.AppendStr(nil, 0x12, make([]byte, 16))
	tail := make([]byte, 72)
	build := func(parts ...[]byte) []byte { return append([]byte{3}, slices.Concat(parts...)...) }
	for _, c := range []struct {
		name, what, expect string
		b                  []byte
	}{
		{"plain", "each field once", vectors.Success, build(index, text, tail)},
		{"order", "the fields in another order", vectors.Success, build(text, index, tail)},
		{"unknown", "a field that is not known", vectors.Success, build(index, text, tagged.AppendStr(nil, 0x22, []byte("x")), tail)},
		{"empty", "no byte at all", "malformed", nil},
		{"version-alone", "the version byte alone", "malformed", []byte{3}},
		{"version-2", "version 2", "version", append([]byte{2}, build(index, text, tail)[1:]...)},
		{"tail-alone", "MAC and signature alone", "malformed", build(tail)},
		{"tail-short", "a signature of 63 bytes", "malformed", build(index, text, tail[1:])},
		{"tail-long", "a byte behind the signature", "malformed", build(index, text, tail, []byte{1})},
		{"index-twice", "two indexes", "malformed", build(index, index, text, tail)},
		{"text-twice", "two ciphertexts", "malformed", build(index, text, text, tail)},
		{"no-index", "no index", "malformed", build(text, tail)},
		{"no-text", "no ciphertext", "malformed", build(index, tail)},
		{"text-empty", "an empty ciphertext", "malformed", build(index, []byte{0x12, 0}, tail)},
		{"half-block", "a ciphertext of a block and a half", "malformed", build(index, tagged.AppendStr(nil, 0x12, make([]byte, 24)), tail)},
		{"index-33-bits", "an index of 33 bits", "malformed", build(tagged.AppendInt(nil, 0x08, 1<<32), text, tail)},
		{"index-overlong", "an index in more bytes than it needs", "malformed", build([]byte{0x08, 0x81, 0}, text, tail)},
		{"varint-huge", "an index that does not end", "malformed", build(append([]byte{0x08}, bytes.Repeat([]byte{0xff}, 12)...), text, tail)},
		{"length-beyond", "a length beyond the end", "malformed", build(index, []byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x0f}, tail)},
	} {
		why := parse
		if c.expect == "version" {
			why = version
		}
		m.add("megolm-message", c.name, c.what, c.expect, why, c.b, nil)
	}
}

// plusOrder adds the order of the group to S of a signature at the end of b.
func plusOrder(b []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	b = bytes.Clone(b)
	s := b[len(b)-32:]
	slices.Reverse(s)
	copy(s, new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32)))
	slices.Reverse(s)
	return b
}

func (m *maker) megolmKeys() {
	good := must[*megolm.Outbound](m.t)(megolm.NewOutbound(m.rand)).SessionKey()
	const signed = "a session key is signed by its own session"
	add := func(name, what, expect, why string, b []byte) {
		m.add("megolm-session-key", name, what, expect, why, b, nil)
	}
	add("plain", "a session key", vectors.Success, "it is genuine", good)
	add("index", "another index", "bad signature", signed, flip(good, 4))
	add("ratchet", "a bit of the ratchet is changed", "bad signature", signed, flip(good, 50))
	add("signature", "a bit of the signature is changed", "bad signature", signed, flip(good, -40))
	add("malleable", "the group's order is added to S of the signature", "bad signature", "there is one signature, not two", plusOrder(good))
	add("version", "version 3", "version", "the forms are told apart by their versions", flip(good, 0))
	add("cut", "the last byte is missing", "malformed", "the form has one length", good[:len(good)-1])
	add("behind", "a byte stands behind", "malformed", "the form has one length", append(bytes.Clone(good), 0))
	add("empty", "no byte at all", "malformed", "the form has one length", nil)
	weak := bytes.Clone(good)
	clear(weak[133:])
	weak[133], weak[165] = 1, 1
	add("weak", "a signing key of small order", "malformed", "its signatures would prove nothing", weak)

	export := append([]byte{1}, good[1:megolm.ExportSize]...)
	add("unsigned", "the unsigned form", "version", "an export is no session key", export)
	add = func(name, what, expect, why string, b []byte) {
		m.add("megolm-export", name, what, expect, why, b, nil)
	}
	add("plain", "an export", vectors.Success, "it is genuine", export)
	add("signed", "the signed form", "version", "a session key is no export", good)
	add("cut", "the last byte is missing", "malformed", "the form has one length", export[:len(export)-1])
	add("behind", "a byte stands behind", "malformed", "the form has one length", append(bytes.Clone(export), 0))
	weak = bytes.Clone(weak[:megolm.ExportSize])
	weak[0] = 1
	add("weak", "a signing key of small order", "malformed", "its signatures would prove nothing", weak)
}

func (m *maker) megolmMessages() {
	out := must[*megolm.Outbound](m.t)(megolm.NewOutbound(m.rand))
	early := must[[]byte](m.t)(out.Seal([]byte("early")))
	base := heads{"session-key": b64(out.SessionKey()), "plain": b64([]byte("genuine"))}
	add := func(name, what, expect, why string, b []byte) {
		m.add("megolm-open", name, what, expect, why, b, base)
	}
	state := must[*megolm.Outbound](m.t)(megolm.NewOutbound(m.rand)).Encode()
	copy(state[2:2+4+128], out.Encode()[2:2+4+128])
	must[[]byte](m.t)(out.Seal([]byte("between")))
	insider := must[*megolm.Outbound](m.t)(megolm.DecodeOutbound(state))
	stranger := must[*megolm.Outbound](m.t)(megolm.NewOutbound(m.rand))
	for range 2 {
		must[[]byte](m.t)(stranger.Seal([]byte("before")))
	}
	good := must[[]byte](m.t)(out.Seal([]byte("genuine")))
	const authentic = "what is not authentic is not opened, and there is one error for it"
	add("plain", "a message", vectors.Success, "it is genuine", good)
	add("early", "a message before the session key", "unknown index", "the ratchet does not run back", early)
	add("index", "another index", "bad mac", authentic, flip(good, 2))
	add("text", "a bit of the ciphertext is changed", "bad mac", authentic, flip(good, 8))
	add("mac", "a bit of the MAC is changed", "bad mac", authentic, flip(good, -70))
	add("signature", "a bit of the signature is changed", "bad mac", authentic, flip(good, -40))
	add("malleable", "the group's order is added to S of the signature", "bad mac", "there is one signature, not two", plusOrder(good))
	add("insider", "sealed by a member who has the session key and another signing key", "bad mac", "members read a session, only its owner writes", must[[]byte](m.t)(insider.Seal([]byte("forged"))))
	add("stranger", "a message of another session", "bad mac", authentic, must[[]byte](m.t)(stranger.Seal([]byte("x"))))
	add("cut", "the last byte is missing", "malformed", "the fields end where the MAC and the signature, the last 72 bytes, begin", good[:len(good)-1])
}
