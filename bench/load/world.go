package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
)

// devicesEach is how many devices a user has.
const devicesEach = 2

// A seat is one device of one user.
type seat struct {
	user, device, token string
	// since is where its last sync ended.
	since string
}

// A world is a running server with accounts.
type world struct {
	store *store
	srv   *machine.Process
	users int
	// seats holds the devices of user u at devicesEach*u and after.
	seats   []*seat
	clients []*client
	// txn numbers what must not repeat.
	path string
}

// newWorld makes a store with accounts and devices and starts a server on it.
func newWorld(ctx context.Context, o *options, kind string, users int) (*world, error) {
	return newWorldWith(ctx, o, kind, users, func(*server.Core) error { return nil })
}

// newWorldWith is newWorld with what more writes into the store.
func newWorldWith(ctx context.Context, o *options, kind string, users int, more func(*server.Core) error) (w *world, err error) {
	s, err := newStore(ctx, kind)
	if err != nil {
		return nil, err
	}
	w = &world{store: s, users: users, path: o.program}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(ctx))
		}
	}()
	if err := w.seed(ctx, more); err != nil {
		return w, fmt.Errorf("making the accounts: %w", err)
	}
	return w, w.start(ctx)
}

// start starts the server and connects the clients.
func (w *world) start(ctx context.Context) (err error) {
	if w.srv, err = machine.Start(ctx, w.path, w.store.args()...); err != nil {
		return err
	}
	w.clients = make([]*client, clients)
	for i := range w.clients {
		w.clients[i] = dial(w.srv.Addr)
	}
	return nil
}

// close stops the server and removes all that it wrote.
func (w *world) close(ctx context.Context) error {
	var errs []error
	for _, c := range w.clients {
		errs = append(errs, c.close())
	}
	if w.srv != nil {
		errs = append(errs, w.srv.Stop())
	}
	return errors.Join(append(errs, w.store.close(context.WithoutCancel(ctx)))...)
}

// seed writes accounts, devices, tokens and device keys straight into the
// store: to hash ten thousand passwords would take longer than all the rest.
func (w *world) seed(ctx context.Context, more func(*server.Core) error) (err error) {
	core, err := server.Open(ctx, server.Config{Name: machine.ServerName, DB: w.store.config(), BlobURL: w.store.media(), Now: time.Now, Rand: rand.Reader}, servers.All())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	hash, err := account.NewHasher(1, account.DefaultCost).Hash(rand.Reader, "one password for all")
	if err != nil {
		return err
	}
	const step = 200
	for from := 0; from < w.users; from += step {
		err := core.Update(ctx, func(tx *db.Tx) error {
			for u := from; u < min(from+step, w.users); u++ {
				if err := w.seedUser(tx, u, hash); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return more(core)
}

func (w *world) seedUser(tx *db.Tx, u int, hash account.PasswordHash) error {
	name := fmt.Sprintf("user%06d", u)
	if err := account.Create(tx, account.Name(name), hash); err != nil {
		return err
	}
	for d := range devicesEach {
		s := &seat{user: "@" + name + ":" + machine.ServerName, device: fmt.Sprintf("DEV%06dX%d", u, d)}
		user, dev := quinta.UserID(s.user), quinta.DeviceID(s.device)
		if _, err := device.Put(tx, "matrix", user, dev, nil); err != nil {
			return err
		}
		if err := device.Saw(tx, "matrix", user, dev, "127.0.0.1"); err != nil {
			return err
		}
		var err error
		if s.token, err = device.NewToken(tx, rand.Reader, "matrix", user, dev); err != nil {
			return err
		}
		if err := directory.PutDevice(tx, "matrix", user, dev, deviceKeys(s)); err != nil {
			return err
		}
		w.seats = append(w.seats, s)
	}
	return nil
}

// deviceKeys are keys of the usual form and length, in canonical form; the
// server does not look behind the form.
func deviceKeys(s *seat) []byte {
	return fmt.Appendf(nil, `{"algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"device_id":%[1]q,"keys":{"curve25519:%[1]s":"%[3]s","ed25519:%[1]s":"%[3]s"},"signatures":{%[2]q:{"ed25519:%[1]s":"%[3]s%[3]s"}},"user_id":%[2]q}`,
		s.device, s.user, filler(43))
}

// filler returns n characters of base64.
func filler(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i*37%64]
	}
	return b
}

// sync makes one sync of a seat without waiting.
func (s *seat) sync(c *client) ([]byte, error) {
	path := "/_matrix/client/v3/sync?timeout=0"
	if s.since != "" {
		path += "&since=" + s.since
	}
	answer, err := c.ok("GET", path, s.token, nil)
	if err != nil {
		return nil, err
	}
	next := member(answer, "next_batch")
	if next == "" {
		return nil, fmt.Errorf("a sync without next_batch: %.200s", answer)
	}
	s.since = next
	return answer, nil
}

// begin makes the first sync of the seats that have made none.
func (w *world) begin(ctx context.Context, seats []*seat) error {
	return parallel(ctx, w.srv.Addr, len(seats), func(c *client, i int) error {
		if seats[i].since != "" {
			return nil
		}
		_, err := seats[i].sync(c)
		return err
	})
}
