package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/testkit/peer/program"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// Secrets that can be told from all else.
const (
	canaryPassword   = "canary-password-7f3a9c51"
	canaryText       = "canary text, nobody but the two: 91b7d2e4"
	canaryFile       = "canary file, sealed before it leaves: c05d77aa"
	canaryPassphrase = "canary-of-the-key-file-44e1f6b8"
	canaryStore      = "canary-of-the-store-b27c90d3"
)

// A canary is a secret and the forms in which it could leak.
type canary struct {
	what  string
	forms [][]byte
}

// newCanary has the forms that a leak could have: as it is, in JSON, in a URL,
// in hexadecimal and in base64 at each of its three phases.
func newCanary(t *testing.T, what string, secret []byte) canary {
	t.Helper()
	if len(secret) < 16 {
		t.Fatalf("the %s has %d bytes, which is too short to be looked for", what, len(secret))
	}
	c := canary{what: what, forms: [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(url.QueryEscape(string(secret))), []byte(url.PathEscape(string(secret)))}}
	if j, err := json.Marshal(string(secret)); err == nil {
		c.forms = append(c.forms, j[1:len(j)-1])
	}
	for phase := range 3 {
		// Only the characters that stand for bits of the secret alone.
		padded := append(make([]byte, phase), secret...)
		n := len(padded) / 3 * 3
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			c.forms = append(c.forms, []byte(e.EncodeToString(padded[:n]))[(phase*8+5)/6:])
		}
	}
	return c
}

func (c canary) in(b []byte) bool {
	for _, f := range c.forms {
		if bytes.Contains(b, f) {
			return true
		}
	}
	return false
}

// A canaryHome is where one person's client lives, and all that it printed to
// people: its errors.
type canaryHome struct {
	t      *testing.T
	quinta string
	dir    string
	errors bytes.Buffer
}

// runs runs quinta and returns what it printed; want is its exit code.
func (h *canaryHome) runs(want int, env []string, args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.quinta, args...)
	cmd.Env = append(append(os.Environ(), "QUINTA_HOME="+h.dir, "QUINTA_PASSWORD="+canaryPassword,
		"QUINTA_PASSPHRASE="+canaryStore, "QUINTA_EXPORT_PASSPHRASE="+canaryPassphrase), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, _ := cmd.Output() // its exit code is looked at
	h.errors.Write(stderr.Bytes())
	if got := cmd.ProcessState.ExitCode(); got != want {
		h.t.Fatalf("quinta %s: got code %d, want %d: %s", args[0], got, want, stderr.Bytes())
	}
	if want != 0 {
		h.errors.Write(out)
	}
	return strings.TrimSpace(string(out))
}

// token returns the access token out of the client's store, whose pages are
// encrypted: only the passphrase opens it.
func (h *canaryHome) token() string {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, "accounts", "*", "store.db"))
	if err != nil || len(found) != 1 {
		h.t.Fatalf("got stores %q, %v, want one", found, err)
	}
	k, err := sqlite.PassphraseKey(found[0], canaryStore, rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	st, err := sqlite.Open(found[0], k)
	if err != nil {
		h.t.Fatal(err)
	}
	defer st.Close()
	token := ""
	if err := st.View(h.t.Context(), func(tx e2ee.Tx) error {
		for e, err := range tx.All("") {
			if err != nil {
				return err
			}
			var a struct{ Token string }
			if json.Unmarshal(e.Value, &a) == nil && a.Token != "" {
				token = a.Token
			}
		}
		return nil
	}); err != nil || token == "" {
		h.t.Fatalf("got no access token from the store, %v", err)
	}
	return token
}

// TestCanarySecretsStayWhereTheyBelong: after a conversation with all that can
// go wrong in it, no secret stands in clear in a log at the level debug, in an
// error, in a metric, in the server's data or in a home. By design, and so
// left out here: the text on standard output, the file that was fetched, and
// the access token in the answer of a login.
func TestCanarySecretsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	bin, err := program.Own("quinta")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := quintad.Start(t, quintad.Config{
		Args:    []string{"--log-level", "debug", "--admin-listen", "127.0.0.1:0"},
		Prepare: func(cmd *exec.Cmd) { cmd.Stderr = log },
	})
	homes := t.TempDir()
	alice := &canaryHome{t: t, quinta: bin, dir: filepath.Join(homes, "alice")}
	bob := &canaryHome{t: t, quinta: bin, dir: filepath.Join(homes, "bob")}
	alice.runs(0, nil, "register", "matrix", s.URL(), "alice", "--passphrase")
	bob.runs(0, nil, "register", "matrix", s.URL(), "bob", "--passphrase")
	room := alice.runs(0, nil, "create", "--name", "garden", "@bob:hs1")
	bob.runs(0, nil, "join", room)

	alice.runs(0, nil, "send", room, canaryText)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(canaryFile), 0o600); err != nil {
		t.Fatal(err)
	}
	id := alice.runs(0, nil, "send", room, "--file", file)
	if got := bob.runs(0, nil, "read", room); !strings.Contains(got, canaryText) {
		t.Fatalf("bob read %q, want the text", got)
	}
	out := filepath.Join(t.TempDir(), "out")
	bob.runs(0, nil, "fetch", room, id, "--out", out)
	keys := filepath.Join(bob.dir, "keys.txt")
	bob.runs(0, nil, "keys", "export", keys)
	tokens := []string{alice.token(), bob.token()}
	sessions := canarySessions(t, keys)

	// What goes wrong says so without any of it.
	bob.runs(1, []string{"QUINTA_EXPORT_PASSPHRASE=" + canaryPassphrase + "x"}, "keys", "import", keys)
	bob.runs(1, []string{"QUINTA_PASSPHRASE=" + canaryStore + "x"}, "rooms")
	(&canaryHome{t: t, quinta: bob.quinta, dir: filepath.Join(homes, "other")}).fails(&bob.errors,
		"QUINTA_PASSWORD="+canaryPassword+"x", "login", "matrix", s.URL(), "bob", "--passphrase")
	alice.runs(7, nil, "send", "!no-such-room:hs1", canaryText)
	// A client that puts its token into the URL, as old ones do, and one that
	// puts secrets where they make no sense.
	for _, path := range []string{
		"/_matrix/client/v3/account/whoami?access_token=" + tokens[0],
		"/_matrix/client/v3/sync?timeout=nonsense&access_token=" + tokens[0],
		"/_matrix/client/v3/login?password=" + canaryPassword,
		"/_matrix/client/v3/no/such/" + tokens[0],
	} {
		resp, err := client.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&bob.errors, io.LimitReader(resp.Body, 1<<20)); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	more, carol := canaryCA(t, s, bin, homes, file)
	metrics := canaryMetrics(t, s)
	alice.runs(0, nil, "logout")
	s.Stop()

	all := []canary{
		newCanary(t, "password", []byte(canaryPassword)), newCanary(t, "text of a message", []byte(canaryText)),
		newCanary(t, "content of a file", []byte(canaryFile)), newCanary(t, "passphrase of the file of keys", []byte(canaryPassphrase)),
		newCanary(t, "passphrase of the store", []byte(canaryStore)),
		newCanary(t, "access token of alice", []byte(tokens[0])), newCanary(t, "access token of bob", []byte(tokens[1])),
	}
	all = append(append(all, sessions...), more...)
	logged, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(logged, []byte("\n")); n < 30 || !bytes.Contains(logged, []byte("/_matrix/client/v3/")) {
		t.Fatalf("got %d lines of log, want one for every request: %s", n, logged)
	}
	for where, b := range map[string][]byte{
		"the server's log": logged, "the server's output": []byte(s.Log()), "the metrics": metrics,
		"what alice's client said": alice.errors.Bytes(), "what bob's client said": bob.errors.Bytes(),
		"what carol's client said": carol.errors.Bytes(),
	} {
		for _, c := range all {
			if c.in(b) {
				t.Errorf("%s: holds the %s", where, c.what)
			}
		}
	}
	for _, root := range []string{s.Config().Data, homes} {
		canaryFiles(t, root, all)
	}
}

// canaryCA has two people talk on the CA network, with what can go wrong
// there, and returns the secrets of it, and the client of one of them.
func canaryCA(t *testing.T, s *quintad.Server, bin, homes, file string) ([]canary, *canaryHome) {
	t.Helper()
	carol := &canaryHome{t: t, quinta: bin, dir: filepath.Join(homes, "carol")}
	dave := &canaryHome{t: t, quinta: bin, dir: filepath.Join(homes, "dave")}
	carol.runs(0, nil, "register", "ca", s.URL(), "carol", "--passphrase")
	dave.runs(0, nil, "register", "ca", s.URL(), "dave", "--passphrase")
	room := carol.runs(0, nil, "create", "--direct", "dave@hs1")
	carol.runs(0, nil, "send", room, canaryText)
	id := carol.runs(0, nil, "send", room, "--file", file)
	if got := dave.runs(0, nil, "read", room); !strings.Contains(got, canaryText) {
		t.Fatalf("dave read %q, want the text", got)
	}
	dave.runs(0, nil, "fetch", room, id, "--out", filepath.Join(t.TempDir(), "out"))
	made := carol.runs(0, nil, "keys", "backup", "create", "--json")
	var backup struct {
		Recovery string `json:"recovery_key"`
	}
	if err := json.Unmarshal([]byte(made), &backup); err != nil || backup.Recovery == "" {
		t.Fatalf("got %q, %v, want a recovery key", made, err)
	}
	carol.runs(0, nil, "renew")
	carol.runs(5, []string{"QUINTA_RECOVERY_KEY=" + backup.Recovery + " x"}, "keys", "backup", "unlock")
	carol.runs(1, []string{"QUINTA_PASSPHRASE=" + canaryStore + "x"}, "rooms")
	token := carol.token()
	for path, password := range map[string]string{
		"/ca/v1/devices?token=" + token:               canaryPassword,
		"/ca/v1/keys/" + token:                        canaryPassword,
		"/.well-known/est/sign.X/simpleenroll":        canaryPassword,
		"/.well-known/est/sign.X/simpleenroll?wrong=": canaryPassword + "x",
	} {
		q, err := http.NewRequestWithContext(t.Context(), "POST", s.URL()+path, strings.NewReader(canaryText))
		if err != nil {
			t.Fatal(err)
		}
		q.SetBasicAuth("carol", password)
		resp, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&carol.errors, io.LimitReader(resp.Body, 1<<20)); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	carol.errors.WriteString(s.Command("ca", "show", "--audit", "1000"))
	dave.runs(0, nil, "logout")
	carol.errors.Write(dave.errors.Bytes())
	return []canary{newCanary(t, "access token of carol", []byte(token)), newCanary(t, "recovery key of carol", []byte(backup.Recovery))}, carol
}

// fails is runs for a command whose home is not looked at; it ends with the
// code 4.
func (h *canaryHome) fails(to *bytes.Buffer, env string, args ...string) {
	h.t.Helper()
	h.runs(4, []string{env}, args...)
	to.Write(h.errors.Bytes())
}

// canarySessions are the ratchets of the Megolm sessions in a file of keys.
func canarySessions(t *testing.T, path string) []canary {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sessions, _, err := keyexport.Open(b, canaryPassphrase)
	if err != nil || len(sessions) == 0 {
		t.Fatalf("got %d sessions, %v, want at least one", len(sessions), err)
	}
	var all []canary
	for _, s := range sessions {
		key, err := base64.RawStdEncoding.DecodeString(s.SessionKey)
		if err != nil || len(key) != 165 {
			t.Fatalf("got a session key of %d bytes, %v, want 165", len(key), err)
		}
		// The last of the four parts is enough for all that comes after.
		all = append(all, newCanary(t, "ratchet of a session", key[5:133]), newCanary(t, "last part of the ratchet of a session", key[101:133]))
	}
	return all
}

var adminLine = regexp.MustCompile(`(?m)^quintad: admin (\S+)$`)

// canaryMetrics returns the metrics of the server.
func canaryMetrics(t *testing.T, s *quintad.Server) []byte {
	t.Helper()
	m := adminLine.FindStringSubmatch(s.Log())
	if m == nil {
		t.Fatalf("no admin listener in %s", s.Log())
	}
	resp, err := client.Get(m[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil || resp.StatusCode != http.StatusOK || len(b) == 0 {
		t.Fatalf("got %s with %d bytes, %v, want the metrics", resp.Status, len(b), err)
	}
	return b
}

// canaryFiles looks into every file below root, and at its name.
func canaryFiles(t *testing.T, root string, all []canary) {
	t.Helper()
	n := 0
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.in(b) || c.in([]byte(path)) {
				t.Errorf("%s holds the %s", path, c.what)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n < 3 {
		t.Fatalf("got %d files below %s, want the store and more", n, root)
	}
}

// TestCanaryIsFound: the search finds a secret in every form that a leak could
// have, so that finding none means something.
func TestCanaryIsFound(t *testing.T) {
	t.Parallel()
	secret := []byte("secret & \"canary\", ñ: 0123456789")
	c := newCanary(t, "secret", secret)
	in := func(form string) {
		t.Helper()
		if !c.in([]byte("before" + form + "behind")) {
			t.Errorf("did not find it as %q", form)
		}
	}
	in(string(secret))
	in(hex.EncodeToString(secret))
	in(url.QueryEscape(string(secret)))
	for before := range 4 {
		for behind := range 4 {
			inside := append(append(bytes.Repeat([]byte{0xff}, before), secret...), bytes.Repeat([]byte{0xff}, behind)...)
			in(base64.StdEncoding.EncodeToString(inside))
			in(base64.RawURLEncoding.EncodeToString(inside))
		}
	}
	if j, err := json.Marshal(map[string]string{"a": string(secret)}); err != nil {
		t.Error(err)
	} else {
		in(string(j))
	}
	if c.in([]byte("secret & canary")) {
		t.Error("found it where it is not")
	}
}
