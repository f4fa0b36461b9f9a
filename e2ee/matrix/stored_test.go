package matrix

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/key"
)

// TestStoredForm: keys are stored as unpadded base64, and those that are not
// there are left out, as any version of the store has them.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	msk, err := key.GenerateSigning[key.Master](strings.NewReader(strings.Repeat("m", 64)))
	if err != nil {
		t.Fatal(err)
	}
	dev, err := key.GenerateSigning[key.Device](strings.NewReader(strings.Repeat("d", 64)))
	if err != nil {
		t.Fatal(err)
	}
	curve, err := key.NewAgreementPublic[key.Identity]([]byte(strings.Repeat("c", 32)))
	if err != nil {
		t.Fatal(err)
	}
	const c = "Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M"
	m, d := msk.Public().String(), dev.Public().String()
	for want, v := range map[string]any{
		`{}`: &userRecord{},
		`{"pinned":"` + m + `","master":"` + m + `"}`: &userRecord{Pinned: msk.Public(), Master: msk.Public()},
		`{"curve":"` + c + `","ed25519":"` + d + `"}`: &deviceRecord{Curve: curve, Ed25519: dev.Public()},
		`{"u":"@a:x","d":"A"}`:                        target{User: "@a:x", Device: "A"},
		`{"u":"@a:x","d":"A","c":"` + c + `"}`:        target{"@a:x", "A", curve},
		`{"given":{"@a:x":{"A":"` + c + `"}}}`:        &shareRecord{Given: map[quinta.UserID]map[quinta.DeviceID]key.IdentityPublic{"@a:x": {"A": curve}}},
	} {
		if got := string(e2ee.JSON(v)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for _, bad := range []string{`{"curve":"short","ed25519":"` + d + `"}`, `{"curve":"` + c + `","ed25519":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`} {
		if json.Unmarshal([]byte(bad), new(deviceRecord)) == nil {
			t.Errorf("%s was read: a key that is none, or a weak one", bad)
		}
	}
}
