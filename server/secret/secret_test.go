package secret_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta/server/secret"
)

func open(t *testing.T, where string) *secret.Keeper {
	t.Helper()
	k, err := secret.Open(t.Context(), where, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets.key")
	a := open(t, "file://"+path)
	if _, err := a.Unseal(t.Context(), []byte("x")); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("without a file: got %v, want ErrOpen", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("opening made a key file")
	}
	sealed, err := a.Seal(t.Context(), []byte("the key of the authority"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("authority")) {
		t.Error("it is not sealed")
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key file: got %v %v, want mode 0600", fi.Mode(), err)
	}
	got, err := open(t, "file://"+path).Unseal(t.Context(), sealed)
	if err != nil || string(got) != "the key of the authority" {
		t.Errorf("after a restart: got %q %v", got, err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := a.Unseal(t.Context(), sealed); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("changed: got %v, want ErrOpen", err)
	}
	other := open(t, "file://"+filepath.Join(t.TempDir(), "secrets.key"))
	if _, err := other.Seal(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Unseal(t.Context(), sealed); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("another key: got %v, want ErrOpen", err)
	}
}

func TestOneKeyFileOfMany(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets.key")
	var sealed [8][]byte
	var wg sync.WaitGroup
	for i := range sealed {
		k := open(t, "file://"+path)
		wg.Go(func() {
			s, err := k.Seal(t.Context(), []byte{byte(i)})
			if err != nil {
				t.Error(err)
			}
			sealed[i] = s
		})
	}
	wg.Wait()
	k := open(t, "file://"+path)
	for i, s := range sealed {
		if got, err := k.Unseal(t.Context(), s); err != nil || got[0] != byte(i) {
			t.Errorf("%d: got %v %v", i, got, err)
		}
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("got %v %v, want the key file alone", list, err)
	}
}

func TestBadKeeper(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"", "file://relative", "awskms://", "awskms:///key?no-such-parameter=1", "gcpkms://x", "base64key://c2VjcmV0", "hashivault://", "::"} {
		_, err := secret.Open(t.Context(), where, rand.Reader)
		if err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: got %v, want an error without the URL", where, err)
		}
	}
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, "file://"+path).Seal(t.Context(), nil); err == nil {
		t.Error("a broken key file was used")
	}
}

// TestVault runs against a server that speaks the transit engine's calls over
// a key of its own.
func TestVault(t *testing.T) {
	var key [32]byte
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q map[string]string
		if r.Header.Get("X-Vault-Token") != "t0ken" || json.NewDecoder(r.Body).Decode(&q) != nil {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		var data any
		switch r.URL.Path {
		case "/v1/transit/encrypt/quinta":
			data = map[string]string{"ciphertext": "vault:v1:" + hex.EncodeToString(gcm.Seal(nil, nil, []byte(q["plaintext"]), nil))}
		case "/v1/transit/decrypt/quinta":
			raw, ok := strings.CutPrefix(q["ciphertext"], "vault:v1:")
			plain, err := gcm.Open(nil, nil, unhex(raw), nil)
			if err != nil || !ok {
				http.Error(w, "no", http.StatusBadRequest)
				return
			}
			data = map[string]string{"plaintext": string(plain)}
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"data": data}); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	t.Setenv("VAULT_SERVER_URL", s.URL)
	t.Setenv("VAULT_SERVER_TOKEN", "t0ken")
	k := open(t, "hashivault://quinta")
	sealed, err := k.Seal(t.Context(), []byte("key"))
	if err != nil || !bytes.HasPrefix(sealed, []byte("vault:v1:")) {
		t.Fatalf("got %q %v", sealed, err)
	}
	if got, err := k.Unseal(t.Context(), sealed); err != nil || string(got) != "key" {
		t.Errorf("got %q %v", got, err)
	}
	if _, err := k.Unseal(t.Context(), []byte("vault:v1:00")); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("another text: got %v, want ErrOpen", err)
	}
	t.Setenv("VAULT_SERVER_TOKEN", "other")
	if _, err := open(t, "hashivault://quinta").Seal(t.Context(), nil); err == nil || strings.Contains(err.Error(), "other") {
		t.Errorf("a wrong token: got %v", err)
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}
