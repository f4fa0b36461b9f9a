package mtprotoclient_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoclient"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoserver"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// start starts a server that takes clients of secret chats.
func start(t *testing.T, opts ...quintatest.Option) *quintatest.Server {
	t.Helper()
	opts = append([]quintatest.Option{quintatest.Setting("mtproto-listen", "127.0.0.1:0")}, opts...)
	return quintatest.StartNetworks(t, []server.Network{mtprotoserver.Network}, opts...)
}

// command runs a command of the operator.
func command(t *testing.T, s *quintatest.Server, name string, args ...string) string {
	t.Helper()
	out, err := s.Core.RunCommand(t.Context(), name, server.CommandInput{Args: args})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(out)
}

// A device is a logged-in device of the test.
type device struct {
	t    *testing.T
	name string
	path string
	s    *mtprotoclient.Session

	mu     sync.Mutex
	events []e2ee.Event
	stop   func()
}

// env is the outside world of a device.
func env() e2ee.Env { return e2ee.Env{Now: time.Now, Rand: rand.Reader} }

// login makes an account, if there is none, and logs a new device in.
func login(t *testing.T, srv *quintatest.Server, name string, change ...func(*client.Credentials)) *device {
	t.Helper()
	if err := srv.Core.AddAccount(t.Context(), name, "a long password"); err != nil && quinta.KindOf(err) != quinta.KindExists {
		t.Fatal(err)
	}
	d := &device{t: t, name: name, path: filepath.Join(t.TempDir(), "client.db")}
	st := d.store()
	in := client.Credentials{Server: srv.URL, User: command(t, srv, "user number", name), Ask: asked(t, srv, name), DeviceName: name}
	for _, fn := range change {
		fn(&in)
	}
	if _, err := (mtprotoclient.Network{}).Login(t.Context(), st, env(), in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	d.boot()
	t.Cleanup(func() { d.kill() })
	return d
}

// asked answers the question for a login code with the one that the operator is
// shown then.
func asked(t *testing.T, srv *quintatest.Server, name string) func(context.Context, client.Question) (client.Secret, error) {
	return func(ctx context.Context, q client.Question) (client.Secret, error) {
		return code(command(t, srv, "user code", name))(ctx, q)
	}
}

// code answers the question for a login code, and no other.
func code(text string) func(context.Context, client.Question) (client.Secret, error) {
	return func(_ context.Context, q client.Question) (client.Secret, error) {
		if q.Kind != client.AskCode {
			return client.Secret{}, nil
		}
		return client.NewSecret(text), nil
	}
}

func (d *device) store() client.Store {
	d.t.Helper()
	key, err := sqlite.KeyFile(d.path+".key", rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	st, err := sqlite.Open(d.path, key)
	if err != nil {
		d.t.Fatal(err)
	}
	return st
}

// boot starts the device and lets it run.
func (d *device) boot() {
	d.t.Helper()
	s, err := (mtprotoclient.Network{}).Open(context.Background(), d.store(), env())
	if err != nil {
		d.t.Fatal(err)
	}
	d.s = s.(*mtprotoclient.Session)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- d.s.Run(ctx, func(e e2ee.Event) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.events = append(d.events, e)
		})
	}()
	d.stop = func() {
		cancel()
		if err := <-done; err != nil && quinta.KindOf(err) != quinta.KindUnauthenticated {
			d.t.Errorf("%s: %v", d.name, err)
		}
		if err := d.s.Close(); err != nil {
			d.t.Errorf("%s: %v", d.name, err)
		}
	}
}

// kill ends the process of the device.
func (d *device) kill() {
	if d.stop != nil {
		d.stop()
		d.stop = nil
	}
}

// patience bounds the waits of the tests.
const patience = 30 * time.Second

// until waits for something to hold.
func (d *device) until(what string, cond func() bool) {
	d.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if cond() {
			return
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.t.Fatalf("%s waits in vain for %s; it has %+v", d.name, what, d.events)
}

// find returns the first event that matches.
func (d *device) find(match func(e2ee.Event) bool) (e2ee.Event, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if match(e) {
			return e, true
		}
	}
	return e2ee.Event{}, false
}

// reads waits for a text.
func (d *device) reads(text string) quinta.Message {
	d.t.Helper()
	var got e2ee.Event
	d.until("the text "+text, func() (ok bool) {
		got, ok = d.find(func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && e.Message.Text == text })
		return ok
	})
	return got.Message
}

// count counts how often a text was read.
func (d *device) count(text string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Kind == e2ee.EventMessage && e.Message.Text == text {
			n++
		}
	}
	return n
}

// sent reports whether the server has a text.
func (d *device) sent(text string) bool {
	_, ok := d.find(func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Text == text })
	return ok
}

func (d *device) says(room quinta.RoomID, text string) {
	d.t.Helper()
	if _, err := d.s.Send(context.Background(), room, client.Text(text)); err != nil {
		d.t.Fatalf("%s: %v", d.name, err)
	}
}

// room returns a room once it has a membership.
func (d *device) room(id quinta.RoomID, membership string) client.RoomInfo {
	d.t.Helper()
	var got client.RoomInfo
	d.until("the room "+string(id)+" as "+membership, func() bool {
		rooms, err := d.s.Rooms(context.Background())
		if err != nil {
			d.t.Fatal(err)
		}
		for _, r := range rooms {
			if r.ID == id && r.Membership == membership {
				got = r
				return true
			}
		}
		return false
	})
	return got
}

// asks has a device ask another user for a chat.
func (d *device) asks(user string) quinta.RoomID {
	d.t.Helper()
	id, err := d.s.Create(context.Background(), client.NewRoom{Direct: true, Invite: []quinta.UserID{quinta.UserID(user)}})
	if err != nil {
		d.t.Fatalf("%s: %v", d.name, err)
	}
	return id
}

// opens makes a chat between two devices.
func (d *device) opens(peer *device) quinta.RoomID {
	d.t.Helper()
	id := d.asks("@" + peer.name)
	peer.room(id, "invite")
	if _, err := peer.s.Join(context.Background(), string(id)); err != nil {
		d.t.Fatalf("%s: %v", peer.name, err)
	}
	d.until("the other side's acceptance", func() bool { return d.room(id, "join").Topic == "" })
	return id
}
