package matrixclient_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// newDevice is a device of alice's that comes after messages were sent, and
// has looked at them in vain.
func newDevice(t *testing.T, url string, room quinta.RoomID) *person {
	t.Helper()
	late := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	late.sees("room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom })
	if got := late.shown(room); len(got) != 2 || !strings.Contains(got[0], "[") {
		t.Fatalf("got %q, want two messages that cannot be read yet", got)
	}
	return late
}

func wantOpen(t *testing.T, p *person, room quinta.RoomID) {
	t.Helper()
	if got := fmt.Sprint(p.shown(room)); got != "[@alice:hs1: old one @alice:hs1: old two]" {
		t.Errorf("got %s, want both messages open", got)
	}
	for _, it := range p.items(room) {
		if it.Message.Weakness != quinta.WeakKeySource {
			t.Errorf("got weakness %q, want that the source of the key proves no owner", it.Message.Weakness)
		}
	}
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	room := alice.invites()
	alice.sends(room, "old one")
	alice.sends(room, "old two")
	late := newDevice(t, url, room)
	var file bytes.Buffer
	n, err := alice.s.ExportKeys(t.Context(), &file, client.NewSecret("a passphrase"))
	if err != nil || n != 1 || !strings.HasPrefix(file.String(), "-----BEGIN MEGOLM SESSION DATA-----\n") {
		t.Fatalf("got %d, %v, want one key in a file of the known form", n, err)
	}
	_, err = late.s.ImportKeys(t.Context(), bytes.NewReader(file.Bytes()), client.NewSecret("another"), nil)
	wantKind(t, err, quinta.KindInvalid)
	_, err = late.s.ImportKeys(t.Context(), strings.NewReader("no such file"), client.NewSecret("a passphrase"), nil)
	wantKind(t, err, quinta.KindInvalid)
	var steps []int
	n, err = late.s.ImportKeys(t.Context(), bytes.NewReader(file.Bytes()), client.NewSecret("a passphrase"), func(done, all int) { steps = append(steps, done, all) })
	if err != nil || n != 1 || fmt.Sprint(steps) != "[1 1]" {
		t.Fatalf("got %d, %v, steps %v, want one key", n, err, steps)
	}
	late.reads("old one")
	wantOpen(t, late, room)
	_, err = alice.s.ExportKeys(t.Context(), &file, client.Secret{})
	wantKind(t, err, quinta.KindInvalid)
}

func TestBackup(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	room := alice.invites()
	alice.sends(room, "old one")
	if b, err := alice.s.Backup(t.Context()); err != nil || b.Exists {
		t.Fatalf("got %+v, %v, want no backup", b, err)
	}
	_, err := alice.s.UnlockBackup(t.Context(), client.NewSecret("EsTx"), nil)
	wantKind(t, err, quinta.KindNotFound)
	recovery, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "old two")
	b, err := alice.s.Backup(t.Context())
	if err != nil || !b.Exists || !b.Unlocked || b.Keys != 1 {
		t.Fatalf("got %+v, %v, want a backup of one key", b, err)
	}
	late := newDevice(t, p.URL, room)
	if b, err := late.s.Backup(t.Context()); err != nil || !b.Exists || b.Unlocked {
		t.Errorf("got %+v, %v, want a backup that is locked", b, err)
	}
	wrong := enters(t, p.URL, "bob", matrixclient.Network{}, memory.New(), true)
	other, err := wrong.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{other.Reveal(), "not a key", ""} {
		_, err = late.s.UnlockBackup(t.Context(), client.NewSecret(text), nil)
		wantKind(t, err, quinta.KindUnauthenticated)
	}
	n, err := late.s.UnlockBackup(t.Context(), recovery, nil)
	if err != nil || n != 1 {
		t.Fatalf("got %d, %v, want one key", n, err)
	}
	late.reads("old one")
	wantOpen(t, late, room)
	never(t, p, recovery.Reveal(), strings.ReplaceAll(recovery.Reveal(), " ", ""))
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	s := quintatest.Start(t)
	p := middle.Start(t, s.URL)
	alice := meets(t, p.URL, "alice")
	find := func(name string) client.Finding {
		t.Helper()
		found, err := alice.s.Examine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.OK != (f.Remedy == "") || f.Text == "" {
				t.Errorf("got %+v, want a text, and a remedy where it is not well", f)
			}
			if f.Name == name {
				return f
			}
		}
		t.Fatalf("nothing was said about %s: %+v", name, found)
		return client.Finding{}
	}
	if f := find("identity"); f.OK || !strings.Contains(f.Text, "no cross-signing identity") {
		t.Errorf("got %+v, want that there is no identity", f)
	}
	alice.creates()
	for _, name := range []string{"server", "clock", "login", "sync", "device-keys", "one-time-keys", "identity", "device-signature", "own-devices", "contacts"} {
		if f := find(name); !f.OK {
			t.Errorf("%s: got %+v, want it well", name, f)
		}
	}
	if f := find("backup"); f.OK {
		t.Errorf("got %+v, want that there is no backup", f)
	}
	if _, err := alice.s.CreateBackup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := find("backup"); !f.OK {
		t.Errorf("got %+v, want the backup well", f)
	}
	enters(t, p.URL, "alice", matrixclient.Network{}, memory.New(), false)
	if f := find("own-devices"); f.OK {
		t.Errorf("got %+v, want the new device named", f)
	}
	p.Answers(changeOf("/keys/query", func([]byte) []byte { return []byte(`{"device_keys":{}}`) }))
	if f := find("device-keys"); f.OK || !strings.Contains(f.Text, "does not list") {
		t.Errorf("got %+v, want that the keys are not listed", f)
	}
	p.Answers(changeOf("/keys/query", func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(`"curve25519:`), []byte(`"curve25518:`))
	}))
	if f := find("device-keys"); f.OK || !strings.Contains(f.Text, "other keys") {
		t.Errorf("got %+v, want that the keys are others", f)
	}
	p.Answers(changeOf("/keys/upload", func([]byte) []byte { return []byte(`{"one_time_key_counts":{}}`) }))
	if f := find("one-time-keys"); f.OK {
		t.Errorf("got %+v, want that there are none", f)
	}
	p.Answers(nil)
	if err := alice.s.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := find("login"); f.OK {
		t.Errorf("got %+v, want that the device was signed out", f)
	}
	s.Stop()
}

// TestSecretStorage unlocks a backup whose key another program put into secret
// storage, with that storage's recovery key and with its passphrase, and with
// the key of the backup itself.
func TestSecretStorage(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	room := alice.invites()
	alice.sends(room, "old one")
	alice.sends(room, "old two")
	recovery, err := alice.s.CreateBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own, err := secretstorage.ParseKey(recovery.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	var def struct{ Key string }
	alice.gets(url, accountData+"m.secret_storage.default_key", &def)
	var stored, version json.RawMessage
	alice.gets(url, accountData+"m.megolm_backup.v1", &stored)
	alice.gets(url, "/_matrix/client/v3/room_keys/version", &version)
	var v struct {
		Auth json.RawMessage `json:"auth_data"`
	}
	if err := json.Unmarshal(version, &v); err != nil {
		t.Fatal(err)
	}
	auth, err := keybackup.ParseAuthData(v.Auth)
	if err != nil {
		t.Fatal(err)
	}
	e, err := secretstorage.ParseSecret(stored, def.Key)
	if err != nil {
		t.Fatal(err)
	}
	backupKey, err := secretstorage.OpenBackup(own, e, auth.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pass := secretstorage.Passphrase{Algorithm: "m.pbkdf2", Salt: "salt", Iterations: 100_000}
	k, err := pass.Key("a passphrase")
	if err != nil {
		t.Fatal(err)
	}
	desc, err := secretstorage.Describe(rand.Reader, k, "", &pass)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := secretstorage.Seal(rand.Reader, k, "m.megolm_backup.v1", secretstorage.Text(backupKey.Secret()))
	if err != nil {
		t.Fatal(err)
	}
	for typ, content := range map[string]any{
		"m.secret_storage.default_key": map[string]string{"key": "k1"},
		"m.secret_storage.key.k1":      desc,
		"m.megolm_backup.v1":           json.RawMessage(secretstorage.SecretContent("k1", sealed)),
	} {
		alice.puts(url, accountData+typ, content)
	}
	for _, text := range []string{secretstorage.RecoveryKey(k), "a passphrase", keybackup.RecoveryKey(backupKey)} {
		late := newDevice(t, url, room)
		_, err := late.s.UnlockBackup(t.Context(), client.NewSecret("another passphrase"), nil)
		wantKind(t, err, quinta.KindUnauthenticated)
		if n, err := late.s.UnlockBackup(t.Context(), client.NewSecret(text), nil); err != nil || n != 1 {
			t.Fatalf("got %d, %v, want one key", n, err)
		}
		wantOpen(t, late, room)
	}
	// A description that asks for few rounds would let the server guess: the
	// passphrase is not used, and the recovery key still opens.
	desc.Passphrase.Iterations = 10_000
	alice.puts(url, accountData+"m.secret_storage.key.k1", desc)
	late := newDevice(t, url, room)
	_, err = late.s.UnlockBackup(t.Context(), client.NewSecret("a passphrase"), nil)
	wantKind(t, err, quinta.KindInvalid)
	if !errors.Is(err, secretstorage.ErrWeak) || !strings.Contains(err.Error(), "use the recovery key") {
		t.Errorf("got %v, want ErrWeak with what to do", err)
	}
	if n, err := late.s.UnlockBackup(t.Context(), client.NewSecret(secretstorage.RecoveryKey(k)), nil); err != nil || n != 1 {
		t.Errorf("got %d, %v, want one key", n, err)
	}
}

// accountData is where alice's account data are.
const accountData = "/_matrix/client/v3/user/@alice:hs1/account_data/"
