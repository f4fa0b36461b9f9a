package secretstorage_test

import (
	"encoding/json"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/key"
)

// FuzzDescription checks a key against any description: one with a check value
// that another key made does not pass.
func FuzzDescription(f *testing.F) {
	mine, err := key.NewSymmetric[key.SecretStorage](make([]byte, key.Size))
	if err != nil {
		f.Fatal(err)
	}
	raw := make([]byte, key.Size)
	raw[0] = 1
	other, err := key.NewSymmetric[key.SecretStorage](raw)
	if err != nil {
		f.Fatal(err)
	}
	for _, k := range []key.SecretStorageKey{mine, other} {
		d, err := secretstorage.Describe(zeros{}, k, "name", nil)
		if err != nil {
			f.Fatal(err)
		}
		if raw, err = json.Marshal(d); err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"algorithm":"m.secret_storage.v1.aes-hmac-sha2","passphrase":{"algorithm":"m.pbkdf2","salt":"s","iterations":1e300,"bits":-1}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := secretstorage.ParseDescription(raw)
		if err != nil {
			return
		}
		if d.Check(mine) == nil && d.Check(other) == nil && (d.IV != "" || d.MAC != "") {
			t.Errorf("two keys pass for %q", raw)
		}
	})
}

// zeros is a source of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
