package keysrv

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/form"
)

// The bounds of names.
const (
	// maxPart bounds each part of a JID in bytes (RFC 7622, section 3.1).
	maxPart = 1023
	// maxStanzaID bounds the id of a stanza in bytes.
	maxStanzaID = 255
)

// CheckJID reports whether a name has the form of a bare JID with a local part
// (RFC 7622): "local@domain". The XMPP server has normalized it; here, only
// ambiguous names are refused.
func CheckJID(u quinta.UserID) error {
	local, domain, ok := strings.Cut(string(u), "@")
	bad := func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`"&'/:<>`, r)
	}
	switch {
	case !ok || local == "" || domain == "" || len(local) > maxPart || len(domain) > maxPart || !utf8.ValidString(string(u)):
	case strings.ContainsFunc(local, bad):
	case strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`"&'/<>@`, r) }):
	default:
		return nil
	}
	return fmt.Errorf("%w: a bare JID is local@domain", ErrMalformed)
}

// CheckObjectID reports whether a text is the id of a key object: 1 to 64
// letters, digits, "_" and "-".
func CheckObjectID(id string) error {
	if !form.Is(id, form.ID, 1, 64) {
		return fmt.Errorf("%w: the id of a key object", ErrMalformed)
	}
	return nil
}

// checkStanzaID bounds the id of a stanza.
func checkStanzaID(id quinta.MessageID) error {
	if id == "" || len(id) > maxStanzaID || !utf8.ValidString(string(id)) {
		return fmt.Errorf("%w: the id of a stanza", ErrMalformed)
	}
	return nil
}

// The prefixes of the ids of conversations.
const (
	directPrefix = "d_"
	roomPrefix   = "r_"
)

// DirectID returns the id of the conversation of two users, the same for both:
// "d_" and base64url of a hash of the two names. Server and clients compute it,
// so a key object cannot be moved to another conversation.
func DirectID(a, b quinta.UserID) string {
	if b < a {
		a, b = b, a
	}
	return directPrefix + nameHash("quinta-keysrv-direct/1", string(a), string(b))
}

// RoomID returns the conversation id of a room, derived from its bare JID.
func RoomID(room quinta.RoomID) string {
	return roomPrefix + nameHash("quinta-keysrv-room/1", string(room))
}

// CheckConversation reports whether a text is the id of a conversation.
func CheckConversation(id string) error {
	at := min(len(directPrefix), len(id))
	prefix, hash := id[:at], id[at:]
	if prefix != directPrefix && prefix != roomPrefix || !form.Is(hash, form.ID, 32, 32) {
		return fmt.Errorf("%w: the id of a conversation", ErrMalformed)
	}
	return nil
}

func nameHash(context string, names ...string) string {
	sum := sha256.Sum256(fields(context, names...))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// fields is the unambiguous binary form over which this package hashes, signs
// and authenticates: each text behind its length in four bytes, big-endian.
func fields(context string, texts ...string) []byte {
	n := 4 + len(context)
	for _, t := range texts {
		n += 4 + len(t)
	}
	out := make([]byte, 0, n)
	out = appendField(out, context)
	for _, t := range texts {
		out = appendField(out, t)
	}
	return out
}

func appendField(dst []byte, text string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...)
}
