//go:build peers

package matrix_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/jssdk"
	"github.com/quinta-chat/quinta/testkit/peer/postgres"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
)

// sideBySide is how many stories run at once unless -parallel says otherwise:
// they wait for their clients' timers more than they compute.
const sideBySide = "5"

func TestMain(m *testing.M) {
	if home := os.Getenv(writerHome); home != "" {
		os.Exit(writer(home))
	}
	if err := flag.Set("test.parallel", sideBySide); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := clients.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// clients are the processes of the SDK, each of one test at a time.
var clients jssdk.Pool

// A house is what a story happens in: one server or two nodes of one, and the
// clients.
type house struct {
	t *testing.T
	// near is Alice's node, far is everyone else's; they may be the same.
	near, far *quintad.Server
	js        *driver.Process
}

// each runs a story on SQLite, on PostgreSQL, and with Alice on one node and
// the others on another.
func each(t *testing.T, story func(t *testing.T, h *house)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		s := quintad.Start(t, quintad.Config{})
		story(t, &house{t, s, s, clients.Start(t)})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		s := quintad.Start(t, quintad.Config{Database: postgres.URL(t)})
		story(t, &house{t, s, s, clients.Start(t)})
	})
	t.Run("two nodes", func(t *testing.T) {
		t.Parallel()
		c := quintad.Config{Database: postgres.URL(t), Media: t.TempDir()}
		near := quintad.Start(t, c)
		story(t, &house{t, near, quintad.Start(t, c), clients.Start(t)})
	})
}

// node returns the node that a user is on.
func (h *house) node(name string) *quintad.Server {
	if name == "alice" {
		return h.near
	}
	return h.far
}

// account is the account of a user on his node.
func (h *house) account(name string) driver.Account {
	return driver.Account{Server: h.node(name).URL(), Username: name, Password: "a good password for " + name}
}

// user makes an account and its first client, started.
func (h *house) user(name string) *driver.Device {
	h.t.Helper()
	return h.js.Register(h.t, name, h.account(name)).Start()
}

// device makes another client of an account, started.
func (h *house) device(user, name string) *driver.Device {
	h.t.Helper()
	return h.js.Login(h.t, name, h.account(user)).Start()
}

// pair makes Alice and Bob in an encrypted room.
func (h *house) pair(r driver.Room) (alice, bob *driver.Device, room quinta.RoomID) {
	h.t.Helper()
	alice, bob = h.user("alice"), h.user("bob")
	return alice, bob, h.meet(r, alice, bob)
}

// meet makes a room of the first with the others.
func (h *house) meet(r driver.Room, first *driver.Device, others ...*driver.Device) quinta.RoomID {
	h.t.Helper()
	for _, o := range others {
		r.Invite = append(r.Invite, o.User)
	}
	room := first.CreateRoom(r)
	for _, o := range others {
		o.Join(room)
		first.UntilMembership(room, o.User, "join")
	}
	return room
}

// later returns when d has synced again: someone else asks it into another
// room, and it sees that.
func (h *house) later(someone, d *driver.Device) {
	h.t.Helper()
	h.meet(driver.Room{}, someone, d)
}

// says sends a text and waits until all others have read it as it was sent:
// encrypted, from the sender, unchanged.
func says(t *testing.T, room quinta.RoomID, from *driver.Device, body string, to ...*driver.Device) driver.Event {
	t.Helper()
	id := from.SendText(room, body)
	var e driver.Event
	for _, d := range to {
		e = d.ReadID(room, id)
		if e.Body != body || e.Sender != from.User || e.Clear || e.Wire != "m.room.encrypted" || e.Algorithm != "m.megolm.v1.aes-sha2" {
			t.Fatalf("got %+v, want %q from %s, encrypted", e, clip(body), from.User)
		}
	}
	return e
}

// clip shortens a body for a failure line.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// once checks that each of the bodies stands in the timeline exactly once, and
// that nothing in it is unreadable; it returns the bodies in their order.
func once(t *testing.T, d *driver.Device, room quinta.RoomID, bodies []string) []string {
	t.Helper()
	events, _ := d.Timeline(room)
	count, ids := map[string]int{}, map[string][]quinta.MessageID{}
	var order []string
	for _, e := range events {
		if e.Failure != "" {
			t.Errorf("%s cannot read %s: %s", d.User, e.ID, e.Failure)
		}
		if e.Type == "m.room.message" {
			count[e.Body]++
			ids[e.Body] = append(ids[e.Body], e.ID)
			order = append(order, e.Body)
		}
	}
	for _, b := range bodies {
		if count[b] != 1 {
			t.Errorf("%s has %q %d times, as %q, want once", d.User, clip(b), count[b], ids[b])
		}
	}
	return order
}

// call makes a plain HTTP request with a device's token and decodes the
// answer's JSON into result, unless that is nil; it returns the status.
func call(t *testing.T, node *quintad.Server, d *driver.Device, method, path string, body, result any) int {
	t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, node.URL()+path, in)
	if err != nil {
		t.Fatal(err)
	}
	if d != nil {
		req.Header.Set("Authorization", "Bearer "+d.Token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if result != nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, result); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return resp.StatusCode
}
