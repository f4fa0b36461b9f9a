package sqlite_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/client/store/sqlite"
)

// FuzzParseKey: a key that is read has 32 bytes, and neither it nor the error
// repeats the text.
func FuzzParseKey(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString(make([]byte, sqlite.KeySize)) + "\n")
	f.Add("short")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := sqlite.ParseKey(text)
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Errorf("the error repeats the text: %v", err)
			}
			return
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(raw) != sqlite.KeySize {
			t.Errorf("got a key of %d bytes, %v", len(raw), err)
		}
		if s := k.String(); strings.Contains(s, strings.TrimSpace(text)) {
			t.Errorf("it prints as %q", s)
		}
	})
}
