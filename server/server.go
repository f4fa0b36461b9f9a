// Package server is the core under every server half: the store, the clock,
// the randomness, the limits, and the listener that the networks share.
//
// A network's server half is a [Front]: it parses its own wire, composes the
// function sets (account, device, directory, prekey, mailbox, room, vault,
// blob, feed) in one core.Update, and answers after the commit. [Open] makes
// a [Core], [Core.Serve] runs it.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/server/room"
	"github.com/quinta-chat/quinta/server/secret"
	"github.com/quinta-chat/quinta/server/vault"
)

// A Registration says who may make an account over the network.
type Registration string

// The registrations.
const (
	RegistrationOpen   Registration = "open"
	RegistrationInvite Registration = "invite"
	RegistrationClosed Registration = "closed"
)

// A Config is all that a core needs from outside.
type Config struct {
	// Name is the name of the server, as it stands behind the colon of a
	// Matrix user id. A store belongs to one name for ever; empty means the
	// one that the store has.
	Name string
	// NewName is the name of a new store if Name is empty.
	NewName string
	// DB says which store.
	DB db.Config
	// PublicURL is the address under which clients reach the server from
	// outside, for service discovery; it may be empty.
	PublicURL string
	// Registration is closed if empty.
	Registration Registration
	// RateLimits switches the limits per account and address on.
	RateLimits bool
	// BlobURL says where the bytes of files lie, see blob.Config. Empty means
	// the folder "media" beside an embedded store.
	BlobURL string
	// SecretsURL says which key seals what the server itself keeps secret, see
	// package secret. Empty means the file "secrets.key" beside an embedded
	// store, and none for a database of several nodes.
	SecretsURL string
	// BlobFaults fails steps of the media store's folder, for tests.
	BlobFaults func(op string) error
	// PrivateGateways lets push gateways have addresses that are not public,
	// and plain http.
	PrivateGateways bool
	// MaxUpload bounds a file in bytes; zero means 100 MiB.
	MaxUpload int64
	// Proxies are the reverse proxies whose word about a client's address
	// counts.
	Proxies []netip.Prefix
	// WriteTimeout bounds how long a client may take to accept a piece of an
	// answer; zero means two minutes.
	WriteTimeout time.Duration
	// Metrics, if not nil, count what the server does.
	Metrics *Metrics
	// Now is the clock, Rand a secure source of random bytes.
	Now  func() time.Time
	Rand io.Reader
	Log  *slog.Logger
}

// A Network is one network's server half before it runs: one line in the list
// of networks.
type Network struct {
	Name quinta.NetworkName
	// Schemas are the tables that only this network has.
	Schemas []db.Schema
	// New makes the front-end over an open core.
	New func(*Core) (Front, error)
	// Commands are what an operator can do with this network alone.
	Commands []Command
}

// A Front is a running server half that speaks HTTP.
type Front interface {
	http.Handler
	// Paths are the path prefixes that the front answers, each with a slash
	// at both ends.
	Paths() []string
	// Close ends what the front does besides answering requests. It is
	// called after the last request and before the store closes.
	Close() error
}

// A Core is an open server without its listener.
type Core struct {
	*db.DB
	Config
	Hub    *feed.Hub
	Blobs  *blob.Blobs
	Limits *Limits
	// Secrets seals what the server keeps secret; nil if no key was given.
	Secrets *secret.Keeper

	fronts   []Front
	commands map[string]runner
	draining chan struct{}

	stopSweep context.CancelFunc
	sweeping  sync.WaitGroup
}

// schemas are the tables of the function sets.
var schemas = []db.Schema{
	account.Schema,
	blob.Schema,
	device.Schema,
	directory.Schema,
	mailbox.Schema,
	prekey.Schema,
	room.Schema,
	vault.Schema,
}

// maxUpload is the default of Config.MaxUpload.
const maxUpload = 100 << 20

// Open opens the store and makes the front-ends of the networks. Close ends
// all of it.
func Open(ctx context.Context, cfg Config, networks []Network) (*Core, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registration == "" {
		cfg.Registration = RegistrationClosed
	}
	if cfg.Now == nil || cfg.Rand == nil {
		return nil, errors.New("server: no clock or no randomness was given")
	}
	for _, name := range []string{cfg.Name, cfg.NewName} {
		if name != "" {
			if err := CheckName(name); err != nil {
				return nil, err
			}
		}
	}
	cfg.DB.Now, cfg.DB.Log = cfg.Now, cfg.Log
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = writeTimeout
	}
	if cfg.MaxUpload == 0 {
		cfg.MaxUpload = maxUpload
	}
	if cfg.BlobURL == "" {
		if cfg.DB.Path == "" {
			return nil, errors.New("server: a database of several nodes needs a media store: give a file:// or s3:// URL")
		}
		dir, err := filepath.Abs(filepath.Join(filepath.Dir(cfg.DB.Path), "media"))
		if err != nil {
			return nil, err
		}
		cfg.BlobURL = (&url.URL{Scheme: "file", Path: dir}).String()
	}
	if cfg.SecretsURL == "" && cfg.DB.Path != "" {
		path, err := filepath.Abs(filepath.Join(filepath.Dir(cfg.DB.Path), "secrets.key"))
		if err != nil {
			return nil, err
		}
		cfg.SecretsURL = (&url.URL{Scheme: "file", Path: path}).String()
	}
	all := schemas
	for _, n := range networks {
		all = append(all[:len(all):len(all)], n.Schemas...)
	}
	d, err := db.Open(ctx, cfg.DB, all...)
	if err != nil {
		return nil, err
	}
	c := &Core{DB: d, Config: cfg, Hub: feed.NewHub(d), draining: make(chan struct{})}
	c.Limits = newLimits(cfg.RateLimits, cfg.Now)
	if cfg.SecretsURL != "" {
		if c.Secrets, err = secret.Open(ctx, cfg.SecretsURL, cfg.Rand); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if err := c.claimName(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	c.Blobs, err = blob.Open(ctx, blob.Config{URL: cfg.BlobURL, Rand: cfg.Rand, Log: cfg.Log, Faults: cfg.BlobFaults}, d)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for _, n := range networks {
		f, err := n.New(c)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("starting %s: %w", n.Name, err), c.Close())
		}
		c.fronts = append(c.fronts, f)
		c.contribute(n, f)
	}
	c.Metrics.of(c)
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.stopSweep = cancel
	c.sweeping.Go(func() { c.sweepAlways(sctx) })
	return c, nil
}

// ErrNoName says that a store is new and that no name was given for it.
var ErrNoName = errors.New("the store is new and has no server name yet")

// claimName binds a new store to the server's name and refuses another one.
func (c *Core) claimName(ctx context.Context) error {
	name := c.Name
	err := c.Update(ctx, func(tx *db.Tx) error {
		have, err := db.Fact(tx, "server-name")
		switch {
		case err != nil:
			return err
		case have == "" && name == "" && c.NewName == "":
			return ErrNoName
		case have == "" && name == "":
			name = c.NewName
			fallthrough
		case have == "":
			return db.SetFact(tx, "server-name", name)
		case name == "":
			name = have
		case have != name:
			return fmt.Errorf("the store belongs to the server name %q, not to %q: every user id holds the name, so it cannot change", have, name)
		}
		return nil
	})
	if err == nil {
		c.Name = name
	}
	return err
}

// Draining is closed when the server begins to stop: whoever waits for
// something to happen answers now with what there is.
func (c *Core) Draining() <-chan struct{} { return c.draining }

// Close closes the fronts and the store.
func (c *Core) Close() error {
	if c.stopSweep != nil {
		c.stopSweep()
		c.sweeping.Wait()
	}
	var errs []error
	for _, f := range c.fronts {
		errs = append(errs, f.Close())
	}
	if c.Secrets != nil {
		errs = append(errs, c.Secrets.Close())
	}
	return errors.Join(append(errs, c.Blobs.Close(), c.DB.Close())...)
}
