package recoverykey_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/recoverykey"
)

// The recovery key of Alice in the crypto test data of matrix-js-sdk (commit
// 8fec0cb, Apache License 2.0).
const (
	aliceKey  = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
	aliceText = "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, k := range [][32]byte{{}, {31: 1}, {0: 1, 5: 9}, [32]byte([]byte(strings.Repeat("\xff", 32)))} {
		text := recoverykey.Encode(k)
		if len(text) != 48+11 || text[4] != ' ' || !strings.HasPrefix(text, "Es") {
			t.Errorf("got %q, want twelve groups of four that begin with Es", text)
		}
		for _, s := range []string{text, strings.ReplaceAll(text, " ", ""), "\n " + strings.ReplaceAll(text, " ", " \t\u00a0") + "\r\n"} {
			if got, err := recoverykey.Decode(s); err != nil || got != k {
				t.Errorf("%q: got %x, %v, want %x", s, got, err, k)
			}
		}
	}
}

// TestKnown holds the form against the crypto test data of matrix-js-sdk.
func TestKnown(t *testing.T) {
	t.Parallel()
	raw, err := base64.StdEncoding.DecodeString(aliceKey)
	if err != nil {
		t.Fatal(err)
	}
	if got := recoverykey.Encode([32]byte(raw)); got != aliceText {
		t.Errorf("got %q, want %q", got, aliceText)
	}
	if got, err := recoverykey.Decode(aliceText); err != nil || string(got[:]) != string(raw) {
		t.Errorf("got %x, %v, want %x", got, err, raw)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	good := strings.ReplaceAll(aliceText, " ", "")
	for i := range good { // one wrong letter anywhere
		c := byte('2')
		if good[i] == c {
			c = '3'
		}
		bad := good[:i] + string(c) + good[i+1:]
		if _, err := recoverykey.Decode(bad); !errors.Is(err, recoverykey.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", bad, err)
		}
	}
	for _, bad := range []string{"", " ", good[1:], good + "1", "1" + good, "0" + good[1:], "é" + good[1:], strings.Repeat("z", 48), strings.Repeat(" ", 2000)} {
		if _, err := recoverykey.Decode(bad); !errors.Is(err, recoverykey.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", bad, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(aliceText)
	f.Fuzz(func(t *testing.T, s string) {
		k, err := recoverykey.Decode(s)
		if err != nil {
			return
		}
		if again, err := recoverykey.Decode(recoverykey.Encode(k)); err != nil || again != k {
			t.Errorf("%q: got %x, %v, want %x", s, again, err, k)
		}
	})
}
