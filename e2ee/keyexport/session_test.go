package keyexport

import (
	"errors"
	"strings"
	"testing"
)

const entry = `{"algorithm":"m.megolm.v1.aes-sha2","room_id":"!r:x","session_id":"S","session_key":"K","sender_key":"C","sender_claimed_keys":{"ed25519":"E"},"forwarding_curve25519_key_chain":["F"]}`

func TestDecodeSessions(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string { return strings.Replace(entry, old, new, 1) }
	for _, c := range []struct {
		name, in      string
		want, skipped int
		ok            bool
	}{
		{"array", `[` + entry + `]`, 1, 0, true},
		{"object", ` {"sessions":[` + entry + `,` + entry + `]}`, 2, 0, true},
		{"empty array", `[]`, 0, 0, true},
		{"other algorithm", `[` + with(`megolm.v1`, `megolm.v9`) + `,` + entry + `]`, 1, 1, true},
		{"no key", `[` + with(`"session_key":"K",`, ``) + `]`, 0, 0, false},
		{"no id", `[` + with(`"session_id":"S",`, ``) + `]`, 0, 0, false},
		{"no room", `[` + with(`"room_id":"!r:x",`, ``) + `]`, 0, 0, false},
		{"wrong type", `[` + with(`"K"`, `7`) + `]`, 0, 0, false},
		{"cut array", `[` + entry, 0, 0, false},
		{"cut entry", `[` + entry[:20], 0, 0, false},
		{"object without list", `{"x":1}`, 0, 0, false},
		{"object with another list", `{"sessions":{}}`, 0, 0, false},
		{"text", `"x"`, 0, 0, false},
		{"nothing", ``, 0, 0, false},
		{"not UTF-8", "[\"\xff\"]", 0, 0, false},
	} {
		got, skipped, err := decodeSessions([]byte(c.in))
		if (err == nil) != c.ok || len(got) != c.want || skipped != c.skipped {
			t.Errorf("%s: got %d sessions, %d skipped, %v", c.name, len(got), skipped, err)
		}
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got error %v, want ErrFormat", c.name, err)
		}
	}
	many := "[" + strings.Repeat("{},", MaxSessions) + "{}]"
	if _, _, err := decodeSessions([]byte(many)); err != ErrTooLarge {
		t.Errorf("too many: got %v, want ErrTooLarge", err)
	}
}

func FuzzUnarmour(f *testing.F) {
	f.Add(header + "\nAQ==\n" + trailer + "\n")
	f.Add(header + "\r\nAQ" + trailer)
	f.Fuzz(func(t *testing.T, s string) {
		raw, err := unarmour(s)
		if err != nil {
			return
		}
		again, err := unarmour(string(armour(raw)))
		if err != nil || string(again) != string(raw) {
			t.Errorf("%q: got %x, %v, want %x", s, again, err, raw)
		}
	})
}

func FuzzDecodeSessions(f *testing.F) {
	f.Add([]byte(`[` + entry + `]`))
	f.Add([]byte(`{"sessions":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, _, err := decodeSessions(raw)
		if err != nil {
			return
		}
		b, err := encodeSessions(got)
		if err != nil {
			t.Fatal(err)
		}
		again, skipped, err := decodeSessions(b)
		if err != nil || skipped != 0 || len(again) != len(got) {
			t.Errorf("%q: got %d sessions, %d skipped, %v", raw, len(again), skipped, err)
		}
	})
}
