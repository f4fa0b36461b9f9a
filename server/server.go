// Package server is the core under every server half: the store, the clock,
// the randomness, the limits, and the listener that the networks share.
//
// A network's server half is a [Front]: it parses its own wire, composes the
// function sets (account, device, directory, prekey, mailbox, room, vault,
// blob, feed) in one core.Update, and answers after the commit. It serves HTTP
// as a [Web], raw connections as a [StreamFront], and does work of its own as
// a [Runner]; an operator configures it with [Setting]s. [Open] makes a [Core]
// and starts nothing, [Core.Serve] runs it.
package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/lease"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/server/quota"
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
	// Name is the name of the server, as it appears in user ids, such as
	// behind the colon on Matrix. A store belongs to one name permanently;
	// empty means the name in the store.
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
	// BlobURL says where the bytes of files are stored, see blob.Config. Empty means
	// the folder "media" beside an embedded store.
	BlobURL string
	// SecretsURL says which key seals what the server itself keeps secret, see
	// package secret. Empty means the file "secrets.key" beside an embedded
	// store, and none for a database of several nodes.
	SecretsURL string
	// BlobFaults fails steps of the media store's folder, for tests.
	BlobFaults func(op string) error
	// Networks are the networks that run; empty means all. A network that does
	// not run answers nothing and does nothing, but its data for an account are
	// still removed with the account.
	Networks []quinta.NetworkName
	// Settings are the values of the networks' own settings, by name; one that
	// is missing has its default.
	Settings map[string]string
	// Quotas bound what is kept for each account, by class; nil means
	// quota.Defaults.
	Quotas quota.Limits
	// MinFreeDisk is how many bytes of disk the server leaves free where it has
	// its store or its media: with less, it writes nothing but acknowledgements
	// and removals. Zero means that it does not look.
	MinFreeDisk int64
	// FreeDisk, if not nil, returns how much disk is free, for tests; it is asked
	// in place of the system.
	FreeDisk func() (int64, error)
	// MaxUpload bounds a file in bytes; zero means 100 MiB.
	MaxUpload int64
	// PasswordCost is what a new hash of a password costs; zero means
	// account.DefaultCost.
	PasswordCost account.Cost
	// Proxies are the reverse proxies that are trusted to report a client's
	// address.
	Proxies []netip.Prefix
	// WriteTimeout bounds how long a client may take to accept a piece of an
	// answer; zero means two minutes.
	WriteTimeout time.Duration
	// BodyTimeout bounds how long the body of a request may take that is not a
	// file; each 16 KiB that come earn another second. Zero means 30 seconds.
	BodyTimeout time.Duration
	// MaxConnections bounds connections that are raw or were taken over from
	// HTTP, such as websockets; zero means 10,000. MaxConnectionsPerAddress
	// bounds those of one address (of a /64 of IPv6); zero means 256. Proxies
	// have the first bound only.
	MaxConnections, MaxConnectionsPerAddress int
	// MaxWebConnections bounds connections that speak HTTP; zero means 10,000.
	// MaxWebConnectionsPerAddress bounds those of one address (of a /64 of IPv6)
	// while RateLimits is on; zero means 1,000. Proxies have the first bound
	// only.
	MaxWebConnections, MaxWebConnectionsPerAddress int
	// StopTimeout bounds a stop; zero means ten seconds.
	StopTimeout time.Duration
	// Metrics, if not nil, count what the server does.
	Metrics *Metrics
	// Now is the clock, Rand a secure source of random bytes.
	Now  func() time.Time
	Rand io.Reader
	Log  *slog.Logger
}

// A Core is an open server without its listener.
type Core struct {
	*db.DB
	Config
	Hub    *feed.Hub
	Blobs  *blob.Blobs
	Limits *Limits
	// Calls count the calls of each client, by [Bound]. They are apart from
	// Limits, so that no number of calls crowds out the tries at passwords.
	Calls *Limits
	// Bodies counts the bodies that are being read.
	Bodies Bodies
	// Passwords hashes passwords and compares them with hashes.
	Passwords *account.Hasher
	// Secrets seals what the server keeps secret; nil if no key was given.
	Secrets *secret.Keeper

	disk   disk
	near   nearLimits
	namers map[quinta.NetworkName]AccountNamer
	owners sync.Map // of db.User to quota.Owner

	// node is the name of this process among the nodes of the store.
	node string
	// local is the address of the listener if it is on loopback; see ClientURL.
	local atomic.Pointer[string]
	// fronts are those of all networks, running those of the ones that run.
	fronts   []Front
	running  []seat
	routes   []route
	settings map[string]string
	commands map[string]order
	streams  []Stream
	conns    connections
	draining chan struct{}
}

// schemas are the tables of the function sets.
var schemas = []db.Schema{
	account.Schema,
	blob.Schema,
	conversation.Schema,
	device.Schema,
	directory.Schema,
	lease.Schema,
	mailbox.Schema,
	prekey.Schema,
	quota.Schema,
	room.Schema,
	vault.Schema,
}

// maxHashing is how many passwords are worked on at once.
const maxHashing = 4

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
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = bodyTimeout
	}
	if cfg.Quotas == nil {
		cfg.Quotas = quota.Defaults()
	}
	if cfg.MaxUpload == 0 {
		cfg.MaxUpload = maxUpload
	}
	if cfg.PasswordCost == (account.Cost{}) {
		cfg.PasswordCost = account.DefaultCost
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
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = maxConnections
	}
	if cfg.MaxConnectionsPerAddress == 0 {
		cfg.MaxConnectionsPerAddress = maxConnectionsPerAddress
	}
	if cfg.MaxWebConnections == 0 {
		cfg.MaxWebConnections = maxWebConnections
	}
	if cfg.MaxWebConnectionsPerAddress == 0 {
		cfg.MaxWebConnectionsPerAddress = maxWebConnectionsPerAddress
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = StopTimeout
	}
	if err := CheckNames(networks, nil, nil); err != nil {
		return nil, err
	}
	settings, err := settle(networks, cfg.Settings)
	if err != nil {
		return nil, err
	}
	all := schemas
	for i, n := range networks {
		if err := checkNetwork(n.Name, networks[:i]); err != nil {
			return nil, err
		}
		all = append(all[:len(all):len(all)], n.Schemas...)
	}
	d, err := db.Open(ctx, cfg.DB, all...)
	if err != nil {
		return nil, err
	}
	c := &Core{DB: d, Config: cfg, Hub: feed.NewHub(d), Passwords: account.NewHasher(maxHashing, cfg.PasswordCost), settings: settings, draining: make(chan struct{}), namers: map[quinta.NetworkName]AccountNamer{}}
	c.conns.core = c
	c.disk = disk{free: cfg.FreeDisk, min: cfg.MinFreeDisk, now: cfg.Now, log: cfg.Log}
	if c.disk.free == nil {
		c.disk.free = cfg.freeDisk
	}
	id := make([]byte, 16)
	if _, err := io.ReadFull(cfg.Rand, id); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	c.node = hex.EncodeToString(id)
	c.Limits, c.Calls = newLimits(cfg.RateLimits, cfg.Now), newLimits(cfg.RateLimits, cfg.Now)
	if cfg.SecretsURL != "" {
		if c.Secrets, err = secret.Open(ctx, cfg.SecretsURL, cfg.Rand); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if err := c.claimName(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	c.Blobs, err = blob.Open(ctx, blob.Config{URL: cfg.BlobURL, Rand: cfg.Rand, Log: cfg.Log, Faults: cfg.BlobFaults, Room: c.disk.check}, d)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := c.seat(networks); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.countOnce(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.Metrics.of(c)
	return c, nil
}

// seat makes the fronts of the networks.
func (c *Core) seat(networks []Network) error {
	var seats []seat
	for _, n := range networks {
		f, err := n.New(c)
		if err != nil {
			return fmt.Errorf("opening %s: %w", n.Name, err)
		}
		c.fronts = append(c.fronts, f)
		if namer, ok := f.(AccountNamer); ok {
			c.namers[n.Name] = namer
		}
		c.contribute(n, f)
		seats = append(seats, seat{n.Name, f, n.CheckAccount, n.Join})
	}
	var err error
	if c.running, err = running(seats, c.Networks); err != nil {
		return err
	}
	c.routes, err = routes(c.running)
	return err
}

// checkNetwork refuses a network that would share its users with one before it:
// the sets tell users of networks apart by the network's name.
func checkNetwork(name quinta.NetworkName, before []Network) error {
	if name == "" || strings.Trim(string(name), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("server: %q is not a name of a network", name)
	}
	for _, n := range before {
		if n.Name == name {
			return fmt.Errorf("server: two networks have the name %q", name)
		}
	}
	return nil
}

// ErrNoName says that a store is new and that no name was given for it.
var ErrNoName = errors.New("the store is new and has no server name yet")

// claimName binds a new store to the server's name and refuses another one.
func (c *Core) claimName(ctx context.Context) error {
	name := c.Name
	err := c.UpdateAlways(ctx, func(tx *db.Tx) error {
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
			return fmt.Errorf("the store belongs to the server name %q, not to %q: the name is part of every user id, so it cannot change", have, name)
		}
		return nil
	})
	if err == nil {
		c.Name = name
	}
	return err
}

// Draining is closed when the server begins to stop: a caller that waits for
// something to happen answers now with what there is.
func (c *Core) Draining() <-chan struct{} { return c.draining }

// Close closes the fronts and the store.
func (c *Core) Close() error {
	errs := []error{closeStreams(c.streams)} // open still if nothing served them
	for _, f := range c.fronts {
		errs = append(errs, f.Close())
	}
	if c.Secrets != nil {
		errs = append(errs, c.Secrets.Close())
	}
	return errors.Join(append(errs, c.Blobs.Close(), c.DB.Close())...)
}
