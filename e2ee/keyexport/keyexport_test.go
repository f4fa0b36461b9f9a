package keyexport_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/keyexport"
)

const passphrase = "Ünïcode pass phrase"

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// want are the sessions of testdata/sessions.json.
func want(t testing.TB) []keyexport.Session {
	t.Helper()
	var list []struct {
		RoomID            string            `json:"room_id"`
		SessionID         string            `json:"session_id"`
		SessionKey        string            `json:"session_key"`
		SenderKey         string            `json:"sender_key"`
		SenderClaimedKeys map[string]string `json:"sender_claimed_keys"`
		Chain             []string          `json:"forwarding_curve25519_key_chain"`
		SharedHistory     bool              `json:"m.shared_history"`
	}
	if err := json.Unmarshal([]byte(read(t, "sessions.json")), &list); err != nil {
		t.Fatal(err)
	}
	var out []keyexport.Session
	for _, s := range list {
		out = append(out, keyexport.Session{
			RoomID: s.RoomID, SessionID: s.SessionID, SessionKey: s.SessionKey, SenderKey: s.SenderKey,
			SenderClaimedKeys: s.SenderClaimedKeys, ForwardingChain: s.Chain, SharedHistory: s.SharedHistory,
		})
	}
	if len(out) == 0 {
		t.Fatal("no sessions")
	}
	return out
}

// body returns the base64 of a file without marks and line breaks.
func body(file string) string {
	lines := strings.Split(strings.TrimSpace(file), "\n")
	return strings.Join(lines[1:len(lines)-1], "")
}

const (
	begin = "-----BEGIN MEGOLM SESSION DATA-----"
	end   = "-----END MEGOLM SESSION DATA-----"
)

// TestOpenForms reads every form that real programs write. The file was made
// by OpenSSL and has bit 63 of the IV set, which must not matter.
func TestOpenForms(t *testing.T) {
	t.Parallel()
	file := read(t, "openssl.txt")
	b64 := body(file)
	bare := strings.TrimRight(b64, "=")
	for _, c := range []struct{ name, file string }{
		{"element", file},
		{"no final newline", strings.TrimSuffix(file, "\n")},
		{"cr lf", strings.ReplaceAll(file, "\n", "\r\n")},
		{"one line", begin + "\n" + b64 + "\n" + end + "\n"},
		{"one line, unpadded, no final newline", begin + "\n" + bare + "\n" + end},
		{"unpadded, cr lf", begin + "\r\n" + bare + "\r\n" + end + "\r\n"},
		{"lines of 76", begin + "\n" + b64[:76] + "\n" + b64[76:] + "\n" + end},
		{"no newline before the end", begin + "\n" + b64 + end},
		{"byte order mark", "\uFEFF" + file},
		{"text around it", "My keys:\n\n" + file + "\nkeep them safe\n"},
		{"spaces and empty lines", "\n  " + begin + " \n\n" + b64[:300] + " \n\t" + b64[300:] + "\n\n" + end + "\n\n"},
	} {
		got, skipped, err := keyexport.Open([]byte(c.file), passphrase)
		if err != nil || skipped != 0 || !reflect.DeepEqual(got, want(t)) {
			t.Errorf("%s: got %d sessions, %d skipped, %v", c.name, len(got), skipped, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	file := read(t, "openssl.txt")
	b64 := body(file)
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(b []byte) []byte) string {
		return begin + "\n" + base64.StdEncoding.EncodeToString(f(bytes.Clone(raw))) + "\n" + end + "\n"
	}
	rounds := func(n uint32) string {
		return change(func(b []byte) []byte { binary.BigEndian.PutUint32(b[33:], n); return b })
	}
	for _, c := range []struct {
		name, file, pass string
		want             error
	}{
		{"wrong passphrase", file, "wrong", keyexport.ErrPassphrase},
		{"no passphrase", file, "", keyexport.ErrPassphrase},
		{"empty", "", passphrase, keyexport.ErrFormat},
		{"no begin", b64 + "\n" + end, passphrase, keyexport.ErrFormat},
		{"no end", begin + "\n" + b64, passphrase, keyexport.ErrFormat},
		{"not base64", begin + "\n*" + b64 + "\n" + end, passphrase, keyexport.ErrFormat},
		{"nothing inside", begin + "\n" + end, passphrase, keyexport.ErrFormat},
		{"too short", change(func(b []byte) []byte { return b[:68] }), passphrase, keyexport.ErrFormat},
		{"other version", change(func(b []byte) []byte { b[0] = 2; return b }), passphrase, keyexport.ErrFormat},
		{"no rounds", rounds(0), passphrase, keyexport.ErrFormat},
		{"too many rounds", rounds(keyexport.MaxRounds + 1), passphrase, keyexport.ErrTooLarge},
		{"most rounds", rounds(1<<32 - 1), passphrase, keyexport.ErrTooLarge},
		{"few rounds", rounds(keyexport.MinOpenRounds - 1), passphrase, keyexport.ErrWeak},
		{"other rounds", rounds(keyexport.MinOpenRounds + 1), passphrase, keyexport.ErrPassphrase},
		{"salt", change(func(b []byte) []byte { b[1] ^= 1; return b }), passphrase, keyexport.ErrPassphrase},
		{"iv", change(func(b []byte) []byte { b[17] ^= 1; return b }), passphrase, keyexport.ErrPassphrase},
		{"text", change(func(b []byte) []byte { b[40] ^= 1; return b }), passphrase, keyexport.ErrPassphrase},
		{"mac", change(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), passphrase, keyexport.ErrPassphrase},
		{"cut", change(func(b []byte) []byte { return b[:len(b)-1] }), passphrase, keyexport.ErrPassphrase},
		{"too large", file + strings.Repeat(" ", keyexport.MaxSize), passphrase, keyexport.ErrTooLarge},
	} {
		got, _, err := keyexport.Open([]byte(c.file), c.pass)
		if !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: got %d sessions, %v, want %v", c.name, len(got), err, c.want)
		}
	}
}

func counting(n int) io.Reader {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(0xf0 + i)
	}
	return bytes.NewReader(b)
}

func TestSeal(t *testing.T) {
	t.Parallel()
	file, err := keyexport.Seal(counting(32), want(t), passphrase, keyexport.MinRounds)
	if err != nil {
		t.Fatal(err)
	}
	got, skipped, err := keyexport.Open(file, passphrase)
	if err != nil || skipped != 0 || !reflect.DeepEqual(got, want(t)) {
		t.Errorf("got %d sessions, %d skipped, %v", len(got), skipped, err)
	}
	lines := strings.Split(string(file), "\n")
	if n := len(lines); lines[0] != begin || lines[n-2] != end || lines[n-1] != "" {
		t.Errorf("the marks are not on lines of their own")
	}
	for _, l := range lines[1 : len(lines)-3] {
		if len(l) != 96 {
			t.Errorf("line of %d characters, want 96", len(l))
		}
	}
	raw, err := base64.StdEncoding.DecodeString(body(string(file)))
	if err != nil {
		t.Fatalf("the base64 is not padded: %v", err)
	}
	if raw[0] != 1 || raw[17+8]&0x80 != 0 || binary.BigEndian.Uint32(raw[33:]) != keyexport.MinRounds {
		t.Errorf("head: got %x", raw[:37])
	}
	if empty, err := keyexport.Seal(counting(32), nil, passphrase, keyexport.MinRounds); err != nil {
		t.Errorf("no sessions: %v", err)
	} else if got, _, err := keyexport.Open(empty, passphrase); err != nil || len(got) != 0 {
		t.Errorf("no sessions: got %d, %v", len(got), err)
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		rand     io.Reader
		sessions []keyexport.Session
		pass     string
		rounds   int
		want     error
	}{
		{"no passphrase", counting(32), nil, "", keyexport.MinRounds, keyexport.ErrWeak},
		{"few rounds", counting(32), nil, "x", keyexport.MinRounds - 1, keyexport.ErrWeak},
		{"many rounds", counting(32), nil, "x", keyexport.MaxRounds + 1, keyexport.ErrTooLarge},
		{"many sessions", counting(32), make([]keyexport.Session, keyexport.MaxSessions+1), "x", keyexport.MinRounds, keyexport.ErrTooLarge},
		{"little randomness", counting(31), nil, "x", keyexport.MinRounds, io.ErrUnexpectedEOF},
		{"no key", counting(32), []keyexport.Session{{RoomID: "!r:x", SessionID: "s"}}, "x", keyexport.MinRounds, keyexport.ErrFormat},
	} {
		if got, err := keyexport.Seal(c.rand, c.sessions, c.pass, c.rounds); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: got %d bytes, %v, want %v", c.name, len(got), err, c.want)
		}
	}
}

func TestNeverPrinted(t *testing.T) {
	t.Parallel()
	s := want(t)
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q", s[0], s[0], s[0], &s[0]), string(asJSON)} {
		if !strings.Contains(text, "[redacted]") || strings.Contains(text, s[0].SessionKey) {
			t.Errorf("printed: %s", text)
		}
	}
}
