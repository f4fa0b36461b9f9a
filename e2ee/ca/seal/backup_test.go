package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

func TestBackup(t *testing.T) {
	t.Parallel()
	var k [32]byte
	if _, err := rand.Read(k[:]); err != nil {
		t.Fatal(err)
	}
	pass := must(seal.FromPassphrase("a long passphrase"))
	for name, c := range map[string]struct{ right, wrong *seal.BackupSecret }{
		"recovery key": {seal.FromRecovery(k), seal.FromRecovery([32]byte{1})},
		"passphrase":   {pass, must(seal.FromPassphrase("another passphrase"))},
	} {
		raw := must(seal.SealBackup(rand.Reader, []byte("the keys"), c.right))
		if bytes.Contains(raw, []byte("the keys")) {
			t.Fatalf("%s: it is not sealed", name)
		}
		if got, err := seal.OpenBackup(raw, c.right); err != nil || string(got) != "the keys" {
			t.Errorf("%s: got %q %v", name, got, err)
		}
		if _, err := seal.OpenBackup(raw, c.wrong); !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%s, wrong: got %v", name, err)
		}
		if by, err := seal.BackupByPassphrase(raw); err != nil || by != (name == "passphrase") {
			t.Errorf("%s: got %v %v", name, by, err)
		}
	}
	raw := must(seal.SealBackup(rand.Reader, []byte("the keys"), seal.FromRecovery(k)))
	if _, err := seal.OpenBackup(raw, pass); !errors.Is(err, cert.ErrUnsupported) {
		t.Errorf("the other kind: got %v", err)
	}
	for _, change := range [][2]string{{`"v":1`, `"v":2`}, {`"kdf":"recovery"`, `"kdf":"argon2id"`}, {`"kdf":"recovery"`, `"kdf":"argon2id","memory":4000000000,"threads":4,"time":3`},
		{`"kdf":"recovery"`, `"kdf":"argon2id","memory":8,"threads":1,"time":1`}, {`"salt":"`, `"salt":"A`}} {
		bad := bytes.Replace(raw, []byte(change[0]), []byte(change[1]), 1)
		if _, err := seal.OpenBackup(bad, seal.FromRecovery(k)); err == nil {
			t.Errorf("%s: opened", change[1])
		}
	}
	if _, err := seal.FromPassphrase("short"); err == nil {
		t.Error("a short passphrase passed")
	}
}

func FuzzBackup(f *testing.F) {
	s := seal.FromRecovery([32]byte{7})
	f.Add(must(seal.SealBackup(rand.Reader, []byte("x"), s)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if plain, err := seal.OpenBackup(raw, s); err != nil && plain != nil {
			t.Error("a text beside an error")
		}
	})
}
