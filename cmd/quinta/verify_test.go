package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
)

// TestCodeGoesByText prints the content of a code and reads it back, as the
// two sides of a verification do, and takes nothing else for one.
func TestCodeGoesByText(t *testing.T) {
	t.Parallel()
	code := append([]byte("MATRIX\x02\x00"), 0xff, 0x00, '\n')
	var out, notes bytes.Buffer
	a := &app{out: &out, err: &notes}
	if err := a.showCode(&account{User: "@alice:hs1"}, code); err != nil {
		t.Fatal(err)
	}
	b := &app{in: strings.NewReader(out.String()), err: &notes}
	if got, err := b.scanCode(); err != nil || !bytes.Equal(got, code) {
		t.Errorf("got %q, %v, want %q", got, err, code)
	}
	out.Reset()
	a.opt.json = true
	if err := a.showCode(&account{User: "@alice:hs1"}, code); err != nil {
		t.Fatal(err)
	}
	var l codeLine
	if err := json.Unmarshal(out.Bytes(), &l); err != nil || l.Type != "code" || l.Account != quinta.UserID("@alice:hs1") || l.Code != base64.StdEncoding.EncodeToString(code) {
		t.Errorf("got %s, %v, want one object with the code", out.Bytes(), err)
	}
	for name, in := range map[string]string{"nothing": "", "an empty line": "\n", "not base64": "MATRIX?\n"} {
		b := &app{in: strings.NewReader(in), err: &notes}
		if got, err := b.scanCode(); err == nil {
			t.Errorf("%s: got %d bytes and %v, want an error", name, len(got), err)
		}
	}
}
