package secret_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/server/secret"
)

// TestAWS runs against a server that speaks the two calls of the key
// management service over keys of its own, and looks who signed them.
func TestAWS(t *testing.T) {
	keys := map[string]cipher.AEAD{}
	for i, name := range []string{"alias/quinta", "arn:aws:kms:eu-central-1:1:key/2"} {
		block, err := aes.NewCipher(append(make([]byte, 31), byte(i)))
		if err != nil {
			t.Fatal(err)
		}
		if keys[name], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			t.Fatal(err)
		}
	}
	refuse := func(w http.ResponseWriter, typ string) {
		w.Header().Set("X-Amzn-ErrorType", typ)
		w.WriteHeader(http.StatusBadRequest)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			KeyID          string `json:"KeyId"`
			Plaintext      []byte
			CiphertextBlob []byte
		}
		if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDQUINTA/") || json.NewDecoder(r.Body).Decode(&q) != nil {
			refuse(w, "AccessDeniedException")
			return
		}
		answer := map[string][]byte{}
		switch r.Header.Get("X-Amz-Target") {
		case "TrentService.Encrypt":
			k := keys[q.KeyID]
			if k == nil {
				refuse(w, "NotFoundException")
				return
			}
			answer["CiphertextBlob"] = append([]byte(q.KeyID+"\x00"), k.Seal(nil, nil, q.Plaintext, nil)...)
		case "TrentService.Decrypt":
			name, sealed, _ := strings.Cut(string(q.CiphertextBlob), "\x00")
			k := keys[name]
			if k == nil {
				refuse(w, "InvalidCiphertextException")
				return
			}
			plain, err := k.Open(nil, nil, []byte(sealed), nil)
			if err != nil {
				refuse(w, "InvalidCiphertextException")
				return
			}
			answer["Plaintext"] = plain
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDQUINTA")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-account")
	t.Setenv("AWS_ENDPOINT_URL_KMS", s.URL)
	for _, where := range []string{"awskms:///alias/quinta?region=eu-central-1", "awskms:///arn:aws:kms:eu-central-1:1:key/2?region=eu-central-1"} {
		k := open(t, where)
		sealed, err := k.Seal(t.Context(), []byte("key"))
		if err != nil || strings.Contains(string(sealed), "key\x00key") {
			t.Fatalf("%s: got %q %v", where, sealed, err)
		}
		if got, err := k.Unseal(t.Context(), sealed); err != nil || string(got) != "key" {
			t.Errorf("%s: got %q %v", where, got, err)
		}
		sealed[len(sealed)-1] ^= 1
		if _, err := k.Unseal(t.Context(), sealed); !errors.Is(err, secret.ErrOpen) {
			t.Errorf("%s, changed: got %v, want ErrOpen", where, err)
		}
	}
	if _, err := open(t, "awskms:///alias/other?region=eu-central-1").Seal(t.Context(), nil); err == nil {
		t.Error("a key that is not there sealed")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDMALLORY")
	if _, err := open(t, "awskms:///alias/quinta?region=eu-central-1").Seal(t.Context(), nil); err == nil || strings.Contains(err.Error(), "the-secret") {
		t.Errorf("a wrong account: got %v", err)
	}
}
