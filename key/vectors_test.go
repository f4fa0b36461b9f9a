package key_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/quinta-chat/quinta/key"
)

// A pair is a key pair that another implementation made, in base64.
type pair struct{ Private, Public string }

func publicOf(t *testing.T, role, text string) fmt.Stringer {
	t.Helper()
	var p fmt.Stringer
	var err error
	switch role {
	case "master":
		var k key.MasterPrivate
		if k, err = key.ParseSigningPrivate[key.Master](text); err == nil {
			p = k.Public()
		}
	case "self":
		var k key.SelfSigningPrivate
		if k, err = key.ParseSigningPrivate[key.SelfSigning](text); err == nil {
			p = k.Public()
		}
	case "user":
		var k key.UserSigningPrivate
		if k, err = key.ParseSigningPrivate[key.UserSigning](text); err == nil {
			p = k.Public()
		}
	case "backup":
		var k key.BackupPrivate
		if k, err = key.ParseAgreementPrivate[key.Backup](text); err == nil {
			p = k.Public()
		}
	}
	if err != nil || p == nil {
		t.Fatalf("%s: got %v, %v", role, p, err)
	}
	return p
}

func TestForeignKeyPairs(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var users map[string]struct {
		Master, Self, User, Backup pair
		Device                     string
	}
	if err := json.Unmarshal(b, &users); err != nil || len(users) != 2 {
		t.Fatalf("got %d users, %v, want 2", len(users), err)
	}
	for name, u := range users {
		for role, want := range map[string]pair{"master": u.Master, "self": u.Self, "user": u.User, "backup": u.Backup} {
			if got := publicOf(t, role, want.Private).String(); got != want.Public {
				t.Errorf("%s, %s: got %s, want %s", name, role, got, want.Public)
			}
		}
		if p, err := key.ParseSigningPublic[key.Device](u.Device); err != nil || p.String() != u.Device {
			t.Errorf("%s: got device key %v, %v, want %s", name, p, err, u.Device)
		}
	}
}

// FuzzPublic offers any bytes as public keys: what is taken is not weak, and
// has one text.
func FuzzPublic(f *testing.F) {
	f.Add(seed)
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := key.NewSigningPublic[key.Device](b); err == nil {
			if again, err := key.ParseSigningPublic[key.Device](p.String()); err != nil || again != p || p.IsZero() {
				t.Errorf("got %v, %v, want %v", again, err, p)
			}
			p.Verify(b, make([]byte, key.SignatureSize))
		}
		if p, err := key.NewAgreementPublic[key.Identity](b); err == nil {
			if again, err := key.ParseAgreementPublic[key.Identity](p.String()); err != nil || again != p || p.IsZero() {
				t.Errorf("got %v, %v, want %v", again, err, p)
			}
		}
	})
}
