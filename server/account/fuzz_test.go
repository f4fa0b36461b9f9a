package account

import (
	"strings"
	"testing"
)

// FuzzName: a name that is taken is short, of the characters that are allowed,
// and what was given.
func FuzzName(f *testing.F) {
	for _, s := range []string{"alice", "Alice", "a\n", "", "é", strings.Repeat("a", MaxName+1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if string(n) != s || len(s) == 0 || len(s) > MaxName || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._=/+-") != "" {
			t.Errorf("got %q of %q", n, s)
		}
	})
}

// FuzzPasswordHash reads any text as a stored hash: what is taken costs no more
// than a hash may.
func FuzzPasswordHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHRzYWx0c2E$c3VtLXN1bS1zdW0tc3VtLXN1bS1zdW0tc3VtLXN1bS0")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$AA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, phc string) {
		a, ok := PasswordHash{phc: phc}.parse()
		if ok && (a.memory > 1<<20 || a.time == 0 || a.time > 16 || a.threads == 0 || len(a.sum) < 16 || len(a.sum) > 64) {
			t.Errorf("%q: got %+v", phc, a)
		}
	})
}
