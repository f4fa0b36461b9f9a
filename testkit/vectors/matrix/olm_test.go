package matrix

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/tagged"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

func (m *maker) olm() {
	m.olmForms()
	m.olmSessions()
	m.olmFallback()
}

const (
	parse   = "a reader takes each field once, at its size, and nothing behind the end"
	version = "only version 3 of the form is read"
)

// olmForms builds messages by hand, bare and inside a pre-key message.
func (m *maker) olmForms() {
	ratchet := tagged.AppendStr(nil, 0x0a, bytes.Repeat([]byte{9}, 32))
	index := tagged.AppendInt(nil, 0x10, 0)
	text := tagged.AppendStr(nil, 0x22, make([]byte, 16))
	mac := make([]byte, 8)
	build := func(parts ...[]byte) []byte { return append([]byte{3}, slices.Concat(parts...)...) }
	for _, c := range []struct {
		name, what, expect string
		b                  []byte
	}{
		{"plain", "each field once", vectors.Success, build(ratchet, index, text, mac)},
		{"order", "the fields in another order", vectors.Success, build(text, index, ratchet, mac)},
		{"unknown", "fields that are not known", vectors.Success, build(ratchet, index, text, tagged.AppendInt(nil, 0x30, 7), mac)},
		{"empty", "no byte at all", "malformed", nil},
		{"version-alone", "the version byte alone", "malformed", []byte{3}},
		{"version-2", "version 2", "version", append([]byte{2}, build(ratchet, index, text, mac)[1:]...)},
		{"version-4", "version 4", "version", append([]byte{4}, build(ratchet, index, text, mac)[1:]...)},
		{"mac-short", "a MAC of 7 bytes", "malformed", build(ratchet, index, text, mac[1:])},
		{"mac-long", "a byte behind the MAC", "malformed", build(ratchet, index, text, mac, []byte{1})},
		{"ratchet-twice", "two ratchet keys", "malformed", build(ratchet, ratchet, index, text, mac)},
		{"index-twice", "two indexes", "malformed", build(ratchet, index, index, text, mac)},
		{"text-twice", "two ciphertexts", "malformed", build(ratchet, index, text, text, mac)},
		{"no-ratchet", "no ratchet key", "malformed", build(index, text, mac)},
		{"no-index", "no index", "malformed", build(ratchet, text, mac)},
		{"no-text", "no ciphertext", "malformed", build(ratchet, index, mac)},
		{"text-empty", "an empty ciphertext", "malformed", build(ratchet, index, []byte{0x22, 0}, mac)},
		{"half-block", "a ciphertext of half a block", "malformed", build(ratchet, index, tagged.AppendStr(nil, 0x22, make([]byte, 8)), mac)},
		{"key-31", "a ratchet key of 31 bytes", "malformed", build(tagged.AppendStr(nil, 0x0a, make([]byte, 31)), index, text, mac)},
		{"key-33", "a ratchet key of 33 bytes", "malformed", build(tagged.AppendStr(nil, 0x0a, make([]byte, 33)), index, text, mac)},
		{"key-zero", "a ratchet key of zeros", "malformed", build(tagged.AppendStr(nil, 0x0a, make([]byte, 32)), index, text, mac)},
		{"index-33-bits", "an index of 33 bits", "malformed", build(ratchet, tagged.AppendInt(nil, 0x10, 1<<32), text, mac)},
		{"index-overlong", "an index in more bytes than it needs", "malformed", build(ratchet, []byte{0x10, 0x80, 0}, text, mac)},
		{"varint-huge", "an index that does not end", "malformed", build(ratchet, append([]byte{0x10}, bytes.Repeat([]byte{0xff}, 12)...), text, mac)},
		{"length-beyond", "a length beyond the end", "malformed", build(ratchet, index, []byte{0x22, 0xff, 0xff, 0xff, 0xff, 0x0f}, mac)},
		{"fixed-width", "a field of fixed width", "malformed", build(ratchet, index, text, []byte{0x0d, 1, 2, 3, 4}, mac)},
	} {
		why := parse
		if c.expect == "version" {
			why = version
		}
		m.add("olm-message", c.name, c.what, c.expect, why, c.b, nil)
		pre := tagged.AppendStr(nil, 0x0a, bytes.Repeat([]byte{1}, 32))
		pre = tagged.AppendStr(pre, 0x12, bytes.Repeat([]byte{2}, 32))
		pre = tagged.AppendStr(pre, 0x1a, bytes.Repeat([]byte{3}, 32))
		m.add("olm-prekey-message", c.name, "a message inside with "+c.what, c.expect, why, build(tagged.AppendStr(pre, 0x22, c.b)), nil)
		if c.name != "plain" {
			continue
		}
		pre = tagged.AppendStr(pre, 0x22, c.b)
		m.add("olm-prekey-message", "base-twice", "two base keys", "malformed", parse, build(pre, tagged.AppendStr(nil, 0x12, bytes.Repeat([]byte{2}, 32))), nil)
		m.add("olm-prekey-message", "behind", "a byte behind the end", "malformed", parse, build(pre, []byte{0}), nil)
	}
}

// A receiver is an account whose private keys a vector holds.
type receiver struct {
	*olm.Account
	heads heads
}

// receive returns an account with a one-time key or, if fallback, that.
func (m *maker) receive(fallback bool) (receiver, olm.PublicKey) {
	own, one := m.bytes(64), m.agreement()
	a := must[*olm.Account](m.t)(olm.NewAccount(bytes.NewReader(own)))
	if fallback {
		if err := a.GenerateFallbackKey(bytes.NewReader(one)); err != nil {
			m.t.Fatal(err)
		}
		k, _ := a.FallbackKey()
		return receiver{a, heads{"account": b64(own), "fallback": b64(one)}}, k
	}
	if err := a.GenerateOneTimeKeys(bytes.NewReader(one), 1); err != nil {
		m.t.Fatal(err)
	}
	return receiver{a, heads{"account": b64(own), "one-time": b64(one)}}, a.Unpublished()[0]
}

func (m *maker) sealed(s *olm.Session, text string) olm.Sealed {
	return must[olm.Sealed](m.t)(s.Seal(m.rand, []byte(text)))
}

func before(list ...olm.Sealed) string {
	var b bytes.Buffer
	for i, s := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d:%s", s.Type, b64(s.Body))
	}
	return b.String()
}

// olmSessions tampers with, repeats and misdirects genuine messages.
func (m *maker) olmSessions() {
	bob, one := m.receive(false)
	alice := must[*olm.Account](m.t)(olm.NewAccount(m.rand))
	s := must[*olm.Session](m.t)(alice.NewOutbound(m.rand, bob.Identity(), one.Key))
	other := must[*olm.Session](m.t)(alice.NewOutbound(m.rand, bob.Identity(), one.Key))
	base := heads{"sender": b64(alice.Identity().Bytes()), "type": "0", "plain": b64([]byte("genuine"))}
	add := func(name, what, expect, why string, body []byte, over ...heads) {
		m.add("olm-open", name, what, expect, why, body, bob.heads, append([]heads{base}, over...)...)
	}
	first := m.sealed(s, "genuine")
	body := first.Body
	const authentic = "what is not authentic is not opened, and costs no one-time key"
	add("first", "a pre-key message to a one-time key", vectors.Success, "it is genuine", body)
	// The fields are one-time key, base key, identity key, each of 34 bytes,
	// then the message inside with its ratchet key.
	add("one-time-flipped", "a bit of the one-time key is changed", "unknown one-time key", "no other key may be tried in its place", flip(body, 3))
	add("base-flipped", "a bit of the base key is changed", "bad mac", authentic, flip(body, 1+34+4))
	add("identity-flipped", "a bit of the identity key is changed", "sender mismatch", "the key inside is that of the sender's device", flip(body, 1+68+4))
	add("text-flipped", "a bit of the ciphertext is changed", "bad mac", authentic, flip(body, -12))
	add("mac-flipped", "a bit of the MAC is changed", "bad mac", authentic, flip(body, -1))
	add("ratchet-flipped", "a bit of the ratchet key is changed", "bad mac", authentic, flip(body, 1+102+2+1+2+5))
	add("version-flipped", "a bit of the version is changed", "version", version, flip(body, 0))
	add("cut", "the last byte is missing", "malformed", "the lengths inside no longer fit", body[:len(body)-1])
	add("behind", "a byte stands behind", "malformed", parse, append(bytes.Clone(body), 0))
	add("sender", "it came from another identity key than it holds", "sender mismatch", "a server could show one user's message as another's", body,
		heads{"sender": b64(bob.Identity().Bytes())})
	weak := bytes.Clone(body)
	copy(weak[1+34+2:], low)
	add("base-weak", "a base key of small order", "weak key", "the agreement would be known to everybody", weak)
	weak = bytes.Clone(body)
	copy(weak[1+68+2:], low)
	add("identity-weak", "an identity key of small order, which the sender published too", "weak key", "the agreement would be known to everybody", weak, heads{"sender": b64(low)})
	add("one-time-again", "a second session to a one-time key", "unknown one-time key", "a one-time key serves one session", m.sealed(other, "x").Body, heads{"before": before(first)})
	add("again", "the first message again, its session known", "no message key", "a message key is used once", body, heads{"before": before(first)})
	add("again-forgotten", "the first message again, its session forgotten", "unknown one-time key", "a one-time key serves one session", body,
		heads{"before": before(first) + " forget"})

	normal := func(text string) olm.Sealed {
		p := must[*olm.PreKeyMessage](m.t)(olm.ParsePreKeyMessage(m.sealed(s, text).Body))
		return olm.Sealed{Type: olm.TypeNormal, Body: p.Message.Bytes()}
	}
	known := heads{"before": before(first), "type": "1"}
	second, third := normal("second"), normal("genuine")
	add("normal", "a message of the session", vectors.Success, "it is genuine", third.Body, known)
	add("skipped", "a message that was jumped over", vectors.Success, "it is genuine: its key was kept", second.Body,
		heads{"before": before(first, third), "type": "1", "plain": b64([]byte("second"))})
	add("normal-again", "a message that was opened", "no message key", "a message key is used once", third.Body, heads{"before": before(first, third), "type": "1"})
	add("skipped-again", "a message that was jumped over and then opened", "no message key", "a message key is used once", second.Body,
		heads{"before": before(first, third, second), "type": "1"})
	add("normal-text", "a bit of the ciphertext is changed", "bad mac", "what is not authentic is not opened", flip(third.Body, -12), known)
	add("normal-mac", "a bit of the MAC is changed", "bad mac", "what is not authentic is not opened", flip(third.Body, -8), known)
	add("normal-index", "another index", "bad mac", "the index is authenticated", flip(third.Body, 1+34+1), known)
	add("normal-ratchet", "another ratchet key", "bad mac", "the ratchet key is authenticated", flip(third.Body, 5), known)
	weak = bytes.Clone(third.Body)
	copy(weak[3:], low)
	add("normal-weak", "a ratchet key of small order, before this side has sent anything", "bad mac", "no chain has this key, and no new one can begin before this side has answered", weak, known)
	for range olm.MaxSkip {
		normal("x")
	}
	add("far", fmt.Sprintf("a message more than %d ahead", olm.MaxSkip), "too far ahead", "one message may not cost its reader unbounded work", normal("far").Body, known)
}

// olmFallback repeats messages to a key that serves many sessions.
func (m *maker) olmFallback() {
	bob, k := m.receive(true)
	alice := must[*olm.Account](m.t)(olm.NewAccount(m.rand))
	s := must[*olm.Session](m.t)(alice.NewOutbound(m.rand, bob.Identity(), k.Key))
	first, second := m.sealed(s, "genuine"), m.sealed(s, "x")
	base := heads{"sender": b64(alice.Identity().Bytes()), "type": "0", "plain": b64([]byte("genuine"))}
	m.add("olm-open", "fallback", "a pre-key message to a fallback key", vectors.Success, "it is genuine", first.Body, bob.heads, base)
	for name, again := range map[string][]byte{"fallback-again": first.Body, "fallback-second": second.Body} {
		m.add("olm-open", name, "a message of a session that a fallback key made before and that was forgotten", "replayed", "a server could have old messages shown again",
			again, bob.heads, base, heads{"before": before(first) + " forget"})
	}
}
