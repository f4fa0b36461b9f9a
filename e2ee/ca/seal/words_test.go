package seal_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

func TestRecoveryWords(t *testing.T) {
	t.Parallel()
	var k [32]byte
	if _, err := rand.Read(k[:]); err != nil {
		t.Fatal(err)
	}
	text := seal.RecoveryText(k)
	if n := len(strings.Fields(text)); n != 24 {
		t.Errorf("got %d words, want 24", n)
	}
	got, err := seal.ParseRecovery("  " + strings.ToUpper(strings.ReplaceAll(text, " ", "\n")) + " ")
	if err != nil || got != k {
		t.Errorf("read back: %v", err)
	}
	list := strings.Fields(text)
	wrong := 0
	for i := range list {
		bad := append([]string{}, list...)
		bad[i] = "baba"
		if bad[i] == list[i] {
			continue
		}
		if _, err := seal.ParseRecovery(strings.Join(bad, " ")); err == nil {
			wrong++
		}
	}
	if wrong > 2 {
		t.Errorf("%d of 24 wrong words passed the checksum", wrong)
	}
	for _, bad := range []string{"", "baba", text + " baba", strings.Replace(text, list[0], "quux", 1)} {
		if _, err := seal.ParseRecovery(bad); err == nil || len(bad) > 10 && strings.Contains(err.Error(), bad) {
			t.Errorf("%.20q: got %v", bad, err)
		}
	}
	a, b := seal.SafetyWords("x", "y"), seal.SafetyWords("y", "x")
	if len(a) != 12 || strings.Join(a, " ") != strings.Join(b, " ") || strings.Join(a, " ") == strings.Join(seal.SafetyWords("x", "z"), " ") {
		t.Errorf("safety words: %q and %q", a, b)
	}
}
