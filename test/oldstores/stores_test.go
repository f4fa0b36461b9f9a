package oldstores_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
)

// An old is a store of an earlier version, unpacked; see
// testdata/README.md.
type old struct {
	t     *testing.T
	dir   string
	facts map[string]string
	clock func() time.Time
}

func unpack(t *testing.T, name string) *old {
	t.Helper()
	o := &old{t: t, dir: t.TempDir(), facts: map[string]string{}}
	if out, err := exec.Command("tar", "-xzf", filepath.Join("testdata", name+".tar.gz"), "-C", o.dir).CombinedOutput(); err != nil {
		t.Fatalf("unpacking: %v: %s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(o.dir, "facts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		o.facts[k] = v
	}
	made, err := strconv.ParseInt(o.facts["made"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	o.clock = func() time.Time { return time.UnixMilli(made).Add(time.Minute + time.Since(begun)) }
	return o
}

func (o *old) path(elem ...string) string { return filepath.Join(append([]string{o.dir}, elem...)...) }

func (o *old) file(elem ...string) string {
	return (&url.URL{Scheme: "file", Path: o.path(elem...)}).String()
}

// TestOldStores opens stores of an earlier version with today's server and
// clients: everyone is still logged in, reads what was said and what waits,
// and goes on talking; passwords are what they were.
func TestOldStores(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*old, *server.Config){
		"sqlite":   (*old).embedded,
		"postgres": (*old).database,
		"backup":   (*old).restored,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := name
			if from == "backup" {
				from = "sqlite"
			}
			o := unpack(t, from)
			s := quintatest.Start(t, quintatest.Clock(o.clock), quintatest.Configure(func(c *server.Config) { configure(o, c) }))
			o.migrated(s)
			o.talk(s, "@alice:hs1", "@bob:hs1", quinta.RoomID(o.facts["room"]),
				[]string{"hello bob", "hello alice", "a file", "bob has not read this"})
			o.talk(s, "carol@hs1", "dave@hs1", quinta.RoomID(o.facts["conv"]),
				[]string{"hello dave", "hello carol", "dave has not read this"})
			o.talk(s, "carol@hs1", "dave@hs1", quinta.RoomID(o.facts["group"]),
				[]string{"in the garden", "erin is here"})
			o.logIn(s)
		})
	}
}

// migrated checks what no client sees: every row of a user names its network,
// accounts have numbers, and who left a conversation is out of it.
func (o *old) migrated(s *quintatest.Server) {
	o.t.Helper()
	if err := s.Core.View(o.t.Context(), func(tx *db.Tx) error {
		for table, columns := range map[string][]string{
			"device": {"user_id"}, "device_token": {"user_id"}, "blob": {"owner"},
			"mailbox_message": {"user_id", "sender"}, "mailbox_cursor": {"user_id"},
			"directory_device": {"user_id"}, "directory_change": {"user_id"},
			"prekey_onetime": {"user_id"}, "prekey_cursor": {"user_id"},
			"conversation": {"creator"}, "conversation_member": {"user_id"}, "conversation_message": {"sender"},
		} {
			for _, c := range columns {
				var all, named int
				if err := tx.Row(`SELECT COUNT(*), COUNT(CASE WHEN `+c+` LIKE 'matrix @%:hs1' OR `+c+` LIKE 'ca %@hs1' THEN 1 END) FROM `+table).Scan(&all, &named); err != nil {
					return err
				}
				if all == 0 || named != all {
					o.t.Errorf("%s.%s: got %d of %d rows with a network, want all of some", table, c, named, all)
				}
			}
		}
		numbers := map[int64]bool{}
		for _, name := range []account.Name{"alice", "bob", "carol", "dave", "dora", "erin"} {
			n, err := account.Number(tx, name)
			if err != nil {
				return err
			}
			numbers[n] = true
		}
		if len(numbers) != 6 || !numbers[1] || !numbers[6] {
			o.t.Errorf("numbers of accounts: got %v, want 1 to 6", numbers)
		}
		members, err := conversation.Members(tx, "ca", quinta.RoomID(o.facts["group"]))
		if err != nil {
			return err
		}
		in := map[quinta.UserID]bool{}
		for _, m := range members {
			in[m.User] = m.In()
		}
		if want := map[quinta.UserID]bool{"carol@hs1": true, "dave@hs1": true, "erin@hs1": false}; !maps.Equal(in, want) {
			o.t.Errorf("the group: got %v, want %v", in, want)
		}
		return nil
	}); err != nil {
		o.t.Fatal(err)
	}
}

// embedded serves the data folder.
func (o *old) embedded(c *server.Config) { c.DB.Path = o.path("data", "quinta.db") }

// restored serves what the backup file gives.
func (o *old) restored(c *server.Config) {
	f, err := os.Open(o.path("server.backup"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer f.Close()
	if err := os.Mkdir(o.path("fresh"), 0o700); err != nil {
		o.t.Fatal(err)
	}
	// A backup does not hold the key of the server's secrets.
	key, err := os.ReadFile(o.path("data", "secrets.key"))
	if err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(o.path("fresh", "secrets.key"), key, 0o600); err != nil {
		o.t.Fatal(err)
	}
	c.DB.Path = o.path("fresh", "quinta.db")
	if _, err := server.Restore(o.t.Context(), *c, servers.All(), f); err != nil {
		o.t.Fatal(err)
	}
}

// database serves a PostgreSQL database made of the dump.
func (o *old) database(c *server.Config) {
	c.DB.URL = postgres.URL(o.t)
	c.BlobURL, c.SecretsURL = o.file("data", "media"), o.file("secrets.key")
	dump, err := os.ReadFile(o.path("server.sql"))
	if err != nil {
		o.t.Fatal(err)
	}
	conn, err := pgx.Connect(o.t.Context(), c.DB.URL)
	if err != nil {
		o.t.Fatal(err)
	}
	defer conn.Close(o.t.Context())
	if _, err := conn.Exec(o.t.Context(), string(dump), pgx.QueryExecModeSimpleProtocol); err != nil {
		o.t.Fatalf("loading the dump: %v", err)
	}
}

// A detour sends the requests for the server of the fixture to the one that
// has its store now.
type detour struct{ to string }

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	u, err := url.Parse(d.to)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Host, r.Host = u.Host, u.Host
	return http.DefaultTransport.RoundTrip(r)
}

// session opens the session of a user in the home folders.
func (o *old) session(s *quintatest.Server, user quinta.UserID) client.Session {
	o.t.Helper()
	files, err := filepath.Glob(o.path("*", "accounts", "*", "account.json"))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range files {
		var a struct {
			Network quinta.NetworkName `json:"network"`
			User    quinta.UserID      `json:"user"`
		}
		raw, err := os.ReadFile(f)
		if err != nil {
			o.t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			o.t.Fatal(err)
		}
		if a.User != user {
			continue
		}
		dir := filepath.Dir(f)
		key, err := sqlite.KeyFile(filepath.Join(dir, "..", "..", "key"), rand.Reader)
		if err != nil {
			o.t.Fatal(err)
		}
		st, err := sqlite.Open(filepath.Join(dir, "store.db"), key)
		if err != nil {
			o.t.Fatal(err)
		}
		n := map[quinta.NetworkName]client.Network{
			"matrix": matrixclient.Network{Transport: detour{s.URL}},
			"ca":     caclient.Network{Transport: detour{s.URL}},
		}[a.Network]
		session, err := n.Open(o.t.Context(), st, e2ee.Env{Now: o.clock, Rand: rand.Reader})
		if err != nil {
			o.t.Fatal(err)
		}
		return session
	}
	o.t.Fatalf("no account %s", user)
	return nil
}

// talk opens two sessions: the second reads what was said and what waits, then
// each says something and the other reads it.
func (o *old) talk(s *quintatest.Server, first, second quinta.UserID, room quinta.RoomID, said []string) {
	o.t.Helper()
	a, b := o.session(s, first), o.session(s, second)
	defer a.Close()
	defer b.Close()
	o.flush(b)
	o.reads(b, room, said)
	for i, text := range []string{"in the new house", "so am I"} {
		from, to := a, b
		if i == 1 {
			from, to = b, a
		}
		txn, err := from.Send(o.t.Context(), room, client.Text(text))
		if err != nil {
			o.t.Fatal(err)
		}
		if sent := o.flush(from); !slices.Contains(sent, txn) {
			o.t.Errorf("%s: %q was not sent", from.Self().User, text)
		}
		o.flush(to)
		said = append(said, text)
		o.reads(to, room, said)
	}
}

// flush catches up and returns the ids of the messages that left.
func (o *old) flush(s client.Session) (sent []quinta.TxnID) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Flush(ctx, func(e e2ee.Event) {
		if e.Kind == e2ee.EventSent {
			sent = append(sent, e.Message.Txn)
		}
	}); err != nil {
		o.t.Fatalf("%s: %v", s.Self().User, err)
	}
	return sent
}

// reads checks the texts of a room, all of them readable.
func (o *old) reads(s client.Session, room quinta.RoomID, want []string) {
	o.t.Helper()
	r, ok := client.As[client.Reader](s)
	if !ok {
		o.t.Fatal("the session cannot read")
	}
	items, err := r.Read(o.t.Context(), room, timeline.Query{Limit: 50})
	if err != nil {
		o.t.Fatal(err)
	}
	var got []string
	for _, it := range items {
		if it.Reason != "" {
			o.t.Errorf("%s cannot read a message: %s", s.Self().User, it.Reason)
		}
		got = append(got, it.Message.Text)
	}
	if !slices.Equal(got, want) {
		o.t.Errorf("%s reads: got %q, want %q", s.Self().User, got, want)
	}
}

// logIn logs in with each password, twice, and with a wrong one.
func (o *old) logIn(s *quintatest.Server) {
	o.t.Helper()
	post := func(path string, body any) int {
		raw, err := json.Marshal(body)
		if err != nil {
			o.t.Fatal(err)
		}
		resp, err := http.Post(s.URL+path, "application/json", bytes.NewReader(raw))
		if err != nil {
			o.t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for user, password := range map[string]string{"alice": "secret-of-alice", "bob": "secret-of-bob", "dora": o.facts["dora"]} {
		for i, p := range []string{password, password, password + "x"} {
			want := http.StatusOK
			if i == 2 {
				want = http.StatusForbidden
			}
			if got := post("/_matrix/client/v3/login", map[string]any{"type": "m.login.password", "password": p,
				"identifier": map[string]string{"type": "m.id.user", "user": user}}); got != want {
				o.t.Errorf("%s, try %d on Matrix: got %d, want %d", user, i+1, got, want)
			}
		}
		if got := post("/ca/v1/login", map[string]any{"username": user, "password": password}); got != http.StatusOK {
			o.t.Errorf("%s on CA: got %d, want 200", user, got)
		}
	}
}
