package sessiondata_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/sessiondata"
)

const entry = `{"algorithm":"m.megolm.v1.aes-sha2","room_id":"!r:x","session_id":"S","session_key":"K","sender_key":"C","sender_claimed_keys":{"ed25519":"E"},"forwarding_curve25519_key_chain":["F"]}`

func TestDecode(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string { return strings.Replace(entry, old, new, 1) }
	for _, c := range []struct {
		name, in string
		shared   bool
		want     error
	}{
		{"plain", entry, false, nil},
		{"shared_history", with(`{`, `{"shared_history":true,`), true, nil},
		{"m.shared_history", with(`{`, `{"m.shared_history":true,`), true, nil},
		{"oldest name", with(`{`, `{"org.matrix.msc3061.shared_history":true,`), true, nil},
		{"null chain", with(`["F"]`, `null`), false, nil},
		{"no room", with(`"room_id":"!r:x",`, ``), false, nil},
		{"other algorithm", with(`megolm.v1`, `megolm.v9`), false, sessiondata.ErrAlgorithm},
		{"no key", with(`"session_key":"K",`, ``), false, sessiondata.ErrMalformed},
		{"wrong type", with(`"K"`, `7`), false, sessiondata.ErrMalformed},
		{"array", `[]`, false, sessiondata.ErrMalformed},
		{"nothing", ``, false, sessiondata.ErrMalformed},
	} {
		got, err := sessiondata.Decode([]byte(c.in))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if err == nil && (got.SharedHistory != c.shared || got.SessionKey != "K" || got.SenderClaimedKeys["ed25519"] != "E") {
			t.Errorf("%s: got shared %v, key %q", c.name, got.SharedHistory, got.SessionKey)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	s := sessiondata.Session{RoomID: "!r:x", SessionID: "S", SessionKey: "K", SenderKey: "C", SharedHistory: true}
	const want = `{"algorithm":"m.megolm.v1.aes-sha2","forwarding_curve25519_key_chain":[],"room_id":"!r:x","sender_claimed_keys":{},"sender_key":"C","session_id":"S","session_key":"K","shared_history":true,"m.shared_history":true}`
	if got := s.Encode(); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	raw := make([]byte, 165)
	raw[0], raw[4] = 1, 7
	for i := range 32 {
		raw[133+i] = byte(i)
	}
	id := base64.RawStdEncoding.EncodeToString(raw[133:])
	text := base64.RawStdEncoding.EncodeToString
	v2 := append([]byte{2}, raw[1:]...)
	for _, c := range []struct {
		name, key, id string
		want          error
	}{
		{"good", text(raw), id, nil},
		{"padded", base64.StdEncoding.EncodeToString(raw), id, nil},
		{"other id", text(raw), id[:42] + "A", sessiondata.ErrMismatch},
		{"no id", text(raw), "", sessiondata.ErrMismatch},
		{"short", text(raw[:164]), id, sessiondata.ErrMalformed},
		{"long", text(append(raw[:165:165], 0)), id, sessiondata.ErrMalformed},
		{"sharing format", text(v2), id, sessiondata.ErrMalformed},
		{"not base64", "*" + text(raw)[1:], id, sessiondata.ErrMalformed},
		{"huge", strings.Repeat("A", 1<<20), id, sessiondata.ErrMalformed},
	} {
		got, err := sessiondata.Session{SessionKey: c.key, SessionID: c.id}.Check()
		if !errors.Is(err, c.want) || (err == nil && got != 7) {
			t.Errorf("%s: got index %d, %v, want 7, %v", c.name, got, err, c.want)
		}
	}
}

func TestNeverPrinted(t *testing.T) {
	t.Parallel()
	s := sessiondata.Session{RoomID: "!r:x", SessionKey: "SECRET"}
	asJSON, err := json.Marshal([]any{s, &s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s %q %x", s, s, s, &s, s), string(asJSON)} {
		if !strings.Contains(text, "[redacted]") || strings.Contains(text, "SECRET") {
			t.Errorf("printed: %s", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(entry))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := sessiondata.Decode(raw)
		if err != nil {
			return
		}
		_, _ = s.Check()
		again, err := sessiondata.Decode(s.Encode())
		if s.ForwardingChain == nil {
			s.ForwardingChain = []string{}
		}
		if s.SenderClaimedKeys == nil {
			s.SenderClaimedKeys = map[string]string{}
		}
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%q: got %v, %v", raw, again, err)
		}
	})
}
