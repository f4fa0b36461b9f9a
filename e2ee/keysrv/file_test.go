package keysrv_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

// TestAttack16FileElsewhere: a reference names a file on the key server and
// nothing else, and does not print its key.
func TestAttack16FileElsewhere(t *testing.T) {
	t.Parallel()
	k, err := key.NewSymmetric[key.Attachment]([]byte(strings.Repeat("k", key.Size)))
	if err != nil {
		t.Fatal(err)
	}
	ref := keysrv.FileRef{ID: "abc", Key: k}
	raw := ref.Encode()
	got, err := keysrv.ParseFileRef(raw)
	if err != nil || got.ID != "abc" || !got.Key.Equal(k) {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, url := range []string{"https://10.0.0.1/x", "http://localhost/", "urn:quinta:keysrv:file:", "urn:quinta:keysrv:file:../keys", "urn:quinta:keysrv:file:a/b", "urn:quinta:ca:file:abc", ""} {
		bad := strings.Replace(string(raw), "urn:quinta:keysrv:file:abc", url, 1)
		if _, err := keysrv.ParseFileRef([]byte(bad)); !errors.Is(err, keysrv.ErrUnsupported) {
			t.Errorf("%q: got %v, want unsupported", url, err)
		}
	}
	for _, bad := range []string{"", "{", `{"url":"urn:quinta:keysrv:file:abc","key":"AAAA"}`, strings.Repeat(" ", 2000)} {
		if _, err := keysrv.ParseFileRef([]byte(bad)); err == nil {
			t.Errorf("%.40q was read", bad)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, ref); strings.Contains(text, "kkk") || strings.Contains(text, "a2tr") {
			t.Errorf("%s shows the key: %s", verb, text)
		}
	}
}
