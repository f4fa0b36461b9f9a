package secretstorage_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/key"
)

func counting(first, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(first + i)
	}
	return b
}

func storageKey(t testing.TB, first int) key.SecretStorageKey {
	t.Helper()
	k, err := key.NewSymmetric[key.SecretStorage](counting(first, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var known = secretstorage.Encrypted{IV: knownIV, Ciphertext: knownCiphertext, MAC: knownMAC}

func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	k := storageKey(t, 0)
	unpadded := secretstorage.Encrypted{IV: strings.TrimRight(knownIV, "="), Ciphertext: strings.TrimRight(knownCiphertext, "="), MAC: strings.TrimRight(knownMAC, "=")}
	for _, e := range []secretstorage.Encrypted{known, unpadded} {
		got, err := secretstorage.Open(k, secretstorage.NameBackup, e)
		if err != nil || string(got) != knownSecret {
			t.Errorf("%+v: got %v", e, err)
		}
	}
	d := secretstorage.Description{Algorithm: secretstorage.Algorithm, IV: knownIV, MAC: knownCheckMAC}
	if err := d.Check(k); err != nil {
		t.Errorf("Check: %v", err)
	}
	p := secretstorage.Passphrase{Algorithm: "m.pbkdf2", Salt: "salt of text", Iterations: secretstorage.MinIterations}
	got, err := p.Key("pässphrase")
	if err != nil || hex.EncodeToString(got.Secret()) != knownPassphraseKey {
		t.Errorf("passphrase: another key, %v", err)
	}
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	k := storageKey(t, 0)
	e, err := secretstorage.Seal(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)), k, "m.example", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	iv, err := base64.RawStdEncoding.DecodeString(e.IV)
	if err != nil || iv[8] != 0x7f {
		t.Errorf("iv: got %x, %v, want bit 63 zero and no padding", iv, err)
	}
	if got, err := secretstorage.Open(k, "m.example", e); err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := secretstorage.Open(k, "m.other", e); err != secretstorage.ErrOpen {
		t.Errorf("under another name: got %v, want ErrOpen", err)
	}
	if _, err := secretstorage.Open(storageKey(t, 1), "m.example", e); err != secretstorage.ErrOpen {
		t.Errorf("another key: got %v, want ErrOpen", err)
	}
	if _, err := secretstorage.Seal(bytes.NewReader(nil), k, "m.example", []byte("text")); err == nil {
		t.Error("sealed without randomness")
	}
	content := secretstorage.SecretContent("KEY", e)
	if got, err := secretstorage.ParseSecret(content, "KEY"); err != nil || got != e {
		t.Errorf("ParseSecret: got %+v, %v", got, err)
	}
	if _, err := secretstorage.ParseSecret(content, "OTHER"); err != secretstorage.ErrNotStored {
		t.Errorf("another key id: got %v, want ErrNotStored", err)
	}
	for _, bad := range []string{``, `[]`, `{"encrypted":[]}`, `{"encrypted":{"KEY":7}}`} {
		if _, err := secretstorage.ParseSecret([]byte(bad), "KEY"); !errors.Is(err, secretstorage.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", bad, err)
		}
	}
}

// TestAttack07SecretTampered flips every bit of iv, ciphertext and mac: none
// gives an accepted value. The IV is outside the MAC, so there the public key
// decides.
func TestAttack07SecretTampered(t *testing.T) {
	t.Parallel()
	k := storageKey(t, 0)
	backup, err := key.NewAgreementPrivate[key.Backup](counting(32, 32))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := secretstorage.OpenBackup(k, known, backup.Public()); err != nil || !got.Equal(backup) {
		t.Fatalf("unaltered: %v", err)
	}
	flip := func(text string, bit int) string {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		b[bit/8] ^= 1 << (bit % 8)
		return base64.StdEncoding.EncodeToString(b)
	}
	for bit := range 16 * 8 {
		e := known
		e.IV = flip(known.IV, bit)
		if _, err := secretstorage.OpenBackup(k, e, backup.Public()); err != secretstorage.ErrMismatch {
			t.Errorf("iv bit %d: got %v, want ErrMismatch", bit, err)
		}
	}
	for bit := range 32 * 8 {
		e := known
		e.MAC = flip(known.MAC, bit)
		if _, err := secretstorage.OpenBackup(k, e, backup.Public()); err != secretstorage.ErrOpen {
			t.Errorf("mac bit %d: got %v, want ErrOpen", bit, err)
		}
		e = known
		e.Ciphertext = flip(known.Ciphertext, bit)
		if _, err := secretstorage.OpenBackup(k, e, backup.Public()); err != secretstorage.ErrOpen {
			t.Errorf("ciphertext bit %d: got %v, want ErrOpen", bit, err)
		}
	}
}

func TestOpenSigning(t *testing.T) {
	t.Parallel()
	k := storageKey(t, 0)
	master, err := key.NewSigningPrivate[key.Master](counting(1, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := key.NewSigningPrivate[key.Master](counting(2, 32))
	if err != nil {
		t.Fatal(err)
	}
	seal := func(secret []byte) secretstorage.Encrypted {
		e, err := secretstorage.Seal(bytes.NewReader(make([]byte, 16)), k, secretstorage.NameMaster, secret)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := seal(secretstorage.Text(master.Secret()))
	if got, err := secretstorage.OpenSigning(k, secretstorage.NameMaster, e, master.Public()); err != nil || !got.Equal(master) {
		t.Errorf("got %v", err)
	}
	if _, err := secretstorage.OpenSigning(k, secretstorage.NameMaster, e, other.Public()); err != secretstorage.ErrMismatch {
		t.Errorf("another public key: got %v, want ErrMismatch", err)
	}
	if _, err := secretstorage.OpenSigning(k, secretstorage.NameMaster, seal([]byte("not a key")), master.Public()); err != secretstorage.ErrMismatch {
		t.Errorf("not a key: got %v, want ErrMismatch", err)
	}
	if _, err := secretstorage.OpenSigning(k, secretstorage.NameSelfSigning, e, master.Public()); err != secretstorage.ErrOpen {
		t.Errorf("another name: got %v, want ErrOpen", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	k := storageKey(t, 0)
	for name, e := range map[string]secretstorage.Encrypted{
		"no iv":         {Ciphertext: knownCiphertext, MAC: knownMAC},
		"short iv":      {IV: knownIV[4:], Ciphertext: knownCiphertext, MAC: knownMAC},
		"no mac":        {IV: knownIV, Ciphertext: knownCiphertext},
		"long mac":      {IV: knownIV, Ciphertext: knownCiphertext, MAC: "AAAA" + knownMAC},
		"no ciphertext": {IV: knownIV, MAC: knownMAC},
		"not base64":    {IV: knownIV, Ciphertext: "*", MAC: knownMAC},
		"too long":      {IV: knownIV, Ciphertext: strings.Repeat("A", 65<<10), MAC: knownMAC},
	} {
		if _, err := secretstorage.Open(k, secretstorage.NameBackup, e); !errors.Is(err, secretstorage.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
		if _, err := secretstorage.OpenBackup(k, e, key.BackupPublic{}); !errors.Is(err, secretstorage.ErrMalformed) {
			t.Errorf("%s: OpenBackup: got %v, want ErrMalformed", name, err)
		}
	}
}

func TestDescription(t *testing.T) {
	t.Parallel()
	k := storageKey(t, 0)
	p, err := secretstorage.NewPassphrase(bytes.NewReader(counting(0, 24)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := secretstorage.Describe(bytes.NewReader(counting(0, 16)), k, "mine", &p)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := secretstorage.ParseDescription(raw)
	if err != nil || got.Name != "mine" || *got.Passphrase != p || got.Check(k) != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := got.Check(storageKey(t, 1)); err != secretstorage.ErrOpen {
		t.Errorf("another key: got %v, want ErrOpen", err)
	}
	for _, c := range []struct {
		content string
		parse   error
		check   error
	}{
		{`{"algorithm":"m.secret_storage.v1.aes-hmac-sha2"}`, nil, nil},
		{`{"algorithm":"m.secret_storage.v1.aes-hmac-sha2","iv":"AAAA"}`, nil, secretstorage.ErrMalformed},
		{`{"algorithm":"m.secret_storage.v1.aes-hmac-sha2","mac":"` + knownCheckMAC + `"}`, nil, secretstorage.ErrMalformed},
		{`{"algorithm":"m.secret_storage.v9"}`, secretstorage.ErrUnsupported, secretstorage.ErrUnsupported},
		{`{}`, secretstorage.ErrUnsupported, secretstorage.ErrUnsupported},
		{`[]`, secretstorage.ErrMalformed, secretstorage.ErrUnsupported},
	} {
		d, err := secretstorage.ParseDescription([]byte(c.content))
		if !errors.Is(err, c.parse) || !errors.Is(d.Check(k), c.check) {
			t.Errorf("%s: got %v and %v, want %v and %v", c.content, err, d.Check(k), c.parse, c.check)
		}
	}
	if _, err := secretstorage.Describe(bytes.NewReader(nil), k, "", nil); err == nil {
		t.Error("described without randomness")
	}
	if _, err := secretstorage.NewPassphrase(bytes.NewReader(nil)); err == nil {
		t.Error("a passphrase without randomness")
	}
}

func TestPassphraseRefuses(t *testing.T) {
	t.Parallel()
	good := secretstorage.Passphrase{Algorithm: "m.pbkdf2", Salt: "s", Iterations: secretstorage.MinIterations, Bits: 256}
	if _, err := good.Key("x"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		change     func(*secretstorage.Passphrase)
		passphrase string
		want       error
	}{
		{"algorithm", func(p *secretstorage.Passphrase) { p.Algorithm = "m.md5" }, "x", secretstorage.ErrUnsupported},
		{"bits", func(p *secretstorage.Passphrase) { p.Bits = 128 }, "x", secretstorage.ErrUnsupported},
		{"few iterations", func(p *secretstorage.Passphrase) { p.Iterations = secretstorage.MinIterations - 1 }, "x", secretstorage.ErrWeak},
		{"many iterations", func(p *secretstorage.Passphrase) { p.Iterations = secretstorage.MaxIterations + 1 }, "x", secretstorage.ErrUnsupported},
		{"negative iterations", func(p *secretstorage.Passphrase) { p.Iterations = -1 }, "x", secretstorage.ErrWeak},
		{"no salt", func(p *secretstorage.Passphrase) { p.Salt = "" }, "x", secretstorage.ErrMalformed},
		{"long salt", func(p *secretstorage.Passphrase) { p.Salt = strings.Repeat("s", 2000) }, "x", secretstorage.ErrMalformed},
		{"no passphrase", func(*secretstorage.Passphrase) {}, "", secretstorage.ErrOpen},
	} {
		p := good
		c.change(&p)
		if _, err := p.Key(c.passphrase); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestRecoveryKey(t *testing.T) {
	t.Parallel()
	k := storageKey(t, 7)
	text := secretstorage.RecoveryKey(k)
	if got, err := secretstorage.ParseKey(text); err != nil || !got.Equal(k) {
		t.Errorf("got %v", err)
	}
	_, err := secretstorage.ParseKey(text[1:])
	if err == nil || strings.Contains(fmt.Sprint(err), text[1:]) {
		t.Errorf("a cut key: got %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	k := storageKey(f, 0)
	f.Add([]byte(`{"encrypted":{"K":{"iv":"`+knownIV+`","ciphertext":"`+knownCiphertext+`","mac":"`+knownMAC+`"}}}`), secretstorage.NameBackup)
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		e, err := secretstorage.ParseSecret(content, "K")
		if err != nil {
			return
		}
		if got, err := secretstorage.Open(k, name, e); err == nil && len(got) == 0 {
			t.Error("an empty secret opened")
		}
	})
}
