package keybackup_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/sessiondata"
	"github.com/quinta-chat/quinta/key"
)

// person is what testdata/backup.json holds of one person.
type person struct {
	User      quinta.UserID              `json:"user"`
	Device    string                     `json:"device"`
	DeviceKey string                     `json:"device_key"`
	Room      quinta.RoomID              `json:"room"`
	Key       string                     `json:"key"`
	OtherKey  string                     `json:"other_key"`
	Recovery  string                     `json:"recovery"`
	AuthData  json.RawMessage            `json:"auth_data"`
	Entries   map[string]keybackup.Entry `json:"entries"`
	Session   json.RawMessage            `json:"session"`
}

func load(t testing.TB) map[string]person {
	t.Helper()
	raw, err := os.ReadFile("testdata/backup.json")
	if err != nil {
		t.Fatal(err)
	}
	var ps map[string]person
	if err := json.Unmarshal(raw, &ps); err != nil {
		t.Fatal(err)
	}
	if len(ps) != 2 {
		t.Fatal("the test data are not all there")
	}
	return ps
}

func private(t testing.TB, text string) key.BackupPrivate {
	t.Helper()
	k, err := key.ParseAgreementPrivate[key.Backup](text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// only returns the one entry of p and its session id.
func (p person) only(t testing.TB) (string, keybackup.Entry) {
	t.Helper()
	if len(p.Entries) != 1 {
		t.Fatalf("%d entries", len(p.Entries))
	}
	for id, e := range p.Entries {
		return id, e
	}
	panic("no entry")
}

func TestRustCryptoBackup(t *testing.T) {
	t.Parallel()
	for name, p := range load(t) {
		k := private(t, p.Key)
		if got := keybackup.RecoveryKey(k); got != p.Recovery {
			t.Errorf("%s: recovery key: got %q, want %q", name, got, p.Recovery)
		}
		if got, err := keybackup.ParseRecoveryKey(p.Recovery); err != nil || !got.Equal(k) {
			t.Errorf("%s: ParseRecoveryKey: %v", name, err)
		}
		id, e := p.only(t)
		got, err := keybackup.Open(k, p.Room, id, e.SessionData)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := sessiondata.Decode(p.Session)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v, or another key", name, got, want)
		}
		if _, err := keybackup.Open(private(t, p.OtherKey), p.Room, id, e.SessionData); !errors.Is(err, keybackup.ErrOpen) {
			t.Errorf("%s: another key: got %v, want ErrOpen", name, err)
		}
	}
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	p := load(t)["alice"]
	k := private(t, p.Key)
	s, err := sessiondata.Decode(p.Session)
	if err != nil {
		t.Fatal(err)
	}
	rand := bytes.NewReader(bytes.Repeat([]byte{7}, 32))
	e, err := keybackup.Seal(rand, k.Public(), s, true)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Check()
	if err != nil || e.FirstMessageIndex != first || e.ForwardedCount != 0 || !e.IsVerified {
		t.Errorf("got %+v, want index %d, verified", e, first)
	}
	if strings.Contains(e.SessionData.Ciphertext+e.SessionData.MAC, "=") {
		t.Errorf("padded base64: %+v", e)
	}
	got, err := keybackup.Open(k, p.Room, s.SessionID, e.SessionData)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("got %v, %v, want %v", got, err, s)
	}
	if _, err := keybackup.Seal(bytes.NewReader(nil), k.Public(), s, true); err == nil {
		t.Error("sealed without randomness")
	}
	s.SessionID = "other"
	if _, err := keybackup.Seal(bytes.NewReader(make([]byte, 32)), k.Public(), s, true); !errors.Is(err, keybackup.ErrMalformed) {
		t.Errorf("another session id: got %v", err)
	}
}

// sealAny makes an entry of any text with the public key, as the server can.
func sealAny(t *testing.T, to key.BackupPublic, session string) keybackup.SessionData {
	t.Helper()
	d, err := keybackup.SealText(bytes.NewReader(bytes.Repeat([]byte{9}, 32)), to, []byte(session))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAttack08BackupEntryAltered plays a server that writes its own entries:
// the MAC stops nothing, so the checks of the content must.
func TestAttack08BackupEntryAltered(t *testing.T) {
	t.Parallel()
	ps := load(t)
	p := ps["alice"]
	k := private(t, p.Key)
	id, e := p.only(t)
	session := string(p.Session)
	otherID, _ := ps["bob"].only(t)
	other := string(ps["bob"].Session)
	put := func(old, new string) string {
		if !strings.Contains(session, old) {
			t.Fatalf("no %s in the session", old)
		}
		return strings.Replace(session, old, new, 1)
	}
	for _, c := range []struct {
		name, session string
		want          error
	}{
		{"the session itself", session, nil},
		{"another session", other, keybackup.ErrMismatch},
		{"another session under this id", strings.ReplaceAll(other, otherID, id), keybackup.ErrMismatch},
		{"another room inside", put(string(p.Room), "!other:x"), keybackup.ErrMismatch},
		{"another algorithm", put("m.megolm.v1", "m.megolm.v2"), keybackup.ErrOpen},
		{"a cut key", put(`"AQ`, `"Q`), keybackup.ErrOpen},
		{"not JSON", session[1:], keybackup.ErrOpen},
		{"nothing", "", keybackup.ErrOpen},
	} {
		got, err := keybackup.Open(k, p.Room, id, sealAny(t, k.Public(), c.session))
		if !errors.Is(err, c.want) || (err != nil && got.SessionKey != "") {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	if _, err := keybackup.Open(k, "!other:x", id, e.SessionData); !errors.Is(err, keybackup.ErrMismatch) {
		t.Errorf("moved to another room: got %v, want ErrMismatch", err)
	}
	if _, err := keybackup.Open(k, p.Room, otherID, e.SessionData); !errors.Is(err, keybackup.ErrMismatch) {
		t.Errorf("moved to another session: got %v, want ErrMismatch", err)
	}
}

// TestAttack15LowOrderEphemeral gives an entry whose secret would be zero.
func TestAttack15LowOrderEphemeral(t *testing.T) {
	t.Parallel()
	p := load(t)["alice"]
	id, e := p.only(t)
	one := make([]byte, 32)
	one[0] = 1
	for _, b := range [][]byte{make([]byte, 32), one} {
		d := e.SessionData
		d.Ephemeral = base64.RawStdEncoding.EncodeToString(b)
		if _, err := keybackup.Open(private(t, p.Key), p.Room, id, d); !errors.Is(err, keybackup.ErrMalformed) {
			t.Errorf("%x: got %v, want ErrMalformed", b, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	p := load(t)["alice"]
	k := private(t, p.Key)
	id, e := p.only(t)
	for _, c := range []struct {
		name   string
		change func(*keybackup.SessionData)
		want   error
	}{
		{"no ephemeral", func(d *keybackup.SessionData) { d.Ephemeral = "" }, keybackup.ErrMalformed},
		{"ephemeral", func(d *keybackup.SessionData) { d.Ephemeral = "A" + d.Ephemeral[1:] }, keybackup.ErrOpen},
		{"no mac", func(d *keybackup.SessionData) { d.MAC = "" }, keybackup.ErrMalformed},
		{"long mac", func(d *keybackup.SessionData) { d.MAC = "AAAAAAAAAAAA" }, keybackup.ErrMalformed},
		{"mac", func(d *keybackup.SessionData) { d.MAC = "AAAAAAAAAAA" }, keybackup.ErrOpen},
		{"no ciphertext", func(d *keybackup.SessionData) { d.Ciphertext = "" }, keybackup.ErrMalformed},
		{"not base64", func(d *keybackup.SessionData) { d.Ciphertext = "*" }, keybackup.ErrMalformed},
		{"half a block", func(d *keybackup.SessionData) { d.Ciphertext = "AAAA" }, keybackup.ErrMalformed},
		{"padding", func(d *keybackup.SessionData) { d.Ciphertext = "AAAAAAAAAAAAAAAAAAAAAA" }, keybackup.ErrOpen},
		{"too long", func(d *keybackup.SessionData) { d.Ciphertext = strings.Repeat("A", 65<<10) }, keybackup.ErrMalformed},
	} {
		d := e.SessionData
		c.change(&d)
		if _, err := keybackup.Open(k, p.Room, id, d); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestAttack06FakedBackupKey holds a backup key that someone sent against the
// signed auth_data.
func TestAttack06FakedBackupKey(t *testing.T) {
	t.Parallel()
	p := load(t)["alice"]
	a, err := keybackup.ParseAuthData(p.AuthData)
	if err != nil {
		t.Fatal(err)
	}
	device, err := key.ParseSigningPublic[key.Device](p.DeviceKey)
	if err != nil {
		t.Fatal(err)
	}
	keyID := "ed25519:" + p.Device
	if err := a.Verify(p.User, keyID, device.Verify); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if err := a.Matches(private(t, p.Key)); err != nil {
		t.Errorf("Matches: %v", err)
	}
	if err := a.Matches(private(t, p.OtherKey)); err != keybackup.ErrUntrusted {
		t.Errorf("another key: got %v, want ErrUntrusted", err)
	}
	planted, err := canonicaljson.Set(p.AuthData, "public_key", []byte(`"`+private(t, p.OtherKey).Public().String()+`"`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := keybackup.ParseAuthData(planted)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"planted key": b.Verify(p.User, keyID, device.Verify),
		"other user":  a.Verify("@eve:x", keyID, device.Verify),
		"other key":   a.Verify(p.User, "ed25519:EVE", device.Verify),
	} {
		if !errors.Is(err, keybackup.ErrUntrusted) {
			t.Errorf("%s: got %v, want ErrUntrusted", name, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"public_key":7}`, `{"public_key":"AAAA"}`, `{"public_key":"` + strings.Repeat("A", 43) + `"}`} {
		if _, err := keybackup.ParseAuthData([]byte(bad)); !errors.Is(err, keybackup.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", bad, err)
		}
	}
	if c, err := keybackup.ParseAuthData(keybackup.NewAuthData(a.PublicKey)); err != nil || c.PublicKey != a.PublicKey {
		t.Errorf("NewAuthData: got %v, %v", c.PublicKey, err)
	}
}

func TestRecoveryKeyRefused(t *testing.T) {
	t.Parallel()
	if _, err := keybackup.ParseRecoveryKey("EsTc"); err == nil {
		t.Error("a cut recovery key was taken")
	}
}

func FuzzOpen(f *testing.F) {
	p := load(f)["alice"]
	k := private(f, p.Key)
	id, e := p.only(f)
	f.Add(e.SessionData.Ephemeral, e.SessionData.Ciphertext, e.SessionData.MAC)
	f.Fuzz(func(t *testing.T, ephemeral, ciphertext, mac string) {
		s, err := keybackup.Open(k, p.Room, id, keybackup.SessionData{Ephemeral: ephemeral, Ciphertext: ciphertext, MAC: mac})
		if err == nil && s.SessionID != id {
			t.Errorf("got session %s", s.SessionID)
		}
	})
}

// TestAttack08BackupOracle alters every byte of the last two blocks of a
// ciphertext in all ways that change its padding, with the right MAC and with
// a wrong one: the error is always the same, down to its text.
func TestAttack08BackupOracle(t *testing.T) {
	t.Parallel()
	p := load(t)["alice"]
	k := private(t, p.Key)
	s, err := sessiondata.Decode(p.Session)
	if err != nil {
		t.Fatal(err)
	}
	e, err := keybackup.Seal(bytes.NewReader(bytes.Repeat([]byte{7}, 32)), k.Public(), s, true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.RawStdEncoding.DecodeString(e.SessionData.Ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, mac := range []string{e.SessionData.MAC, "AAAAAAAAAAA"} {
		for at := len(text) - 32; at < len(text); at++ {
			for change := 1; change < 256; change += 3 {
				altered := bytes.Clone(text)
				altered[at] ^= byte(change)
				d := e.SessionData
				d.MAC, d.Ciphertext = mac, base64.RawStdEncoding.EncodeToString(altered)
				_, err := keybackup.Open(k, p.Room, s.SessionID, d)
				if err != nil && err != keybackup.ErrOpen {
					t.Fatalf("byte %d, change %d: got %v, want ErrOpen itself", at, change, err)
				}
				if err == nil && mac != e.SessionData.MAC {
					t.Fatalf("byte %d, change %d: opened with a wrong MAC", at, change)
				}
				if err != nil {
					refused++
				}
			}
		}
	}
	// Some alterations of a name inside still are a session: that is the weakness
	// of this MAC.
	if all := 2 * 32 * 85; refused < all*9/10 {
		t.Errorf("%d of %d alterations were refused", refused, all)
	}
}
