package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/rs/zerolog"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/cryptohelper"
	"maunium.net/go/mautrix/crypto/verificationhelper"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// A device is one client with its stores, which outlive it, and what it has
// seen.
type device struct {
	account account
	client  *mautrix.Client
	mach    *crypto.OlmMachine
	verify  *verificationhelper.VerificationHelper
	stop    context.CancelFunc
	stopped chan struct{}

	store *crypto.MemoryStore
	state mautrix.StateStore
	sync  mautrix.SyncStore

	mu sync.Mutex
	// changed is closed and replaced whenever something below changes.
	changed chan struct{}
	syncs   int
	syncErr error
	read    map[id.EventID]record
	raw     map[id.EventID]*event.Event
	order   []id.EventID
	flows   []*flow
}

type account struct {
	Server   string      `json:"server"`
	Username string      `json:"username"`
	Password string      `json:"password"`
	Device   id.DeviceID `json:"device"`
	User     id.UserID   `json:"-"`
	Token    string      `json:"-"`
}

func newDevice() *device {
	return &device{
		store:   crypto.NewMemoryStore(nil),
		state:   mautrix.NewMemoryStateStore(),
		sync:    mautrix.NewMemorySyncStore(),
		changed: make(chan struct{}),
		read:    map[id.EventID]record{},
		raw:     map[id.EventID]*event.Event{},
	}
}

// change runs f under the lock and wakes whoever waits.
func (d *device) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.changed)
	d.changed = make(chan struct{})
}

// until runs check after every change until it is done or the time is up.
// The check runs without the lock.
func (d *device) until(ctx context.Context, check func() (bool, error)) error {
	for {
		d.mu.Lock()
		changed, syncErr := d.changed, d.syncErr
		d.mu.Unlock()
		ok, err := check()
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), syncErr)
		}
	}
}

var sessionCalls = map[string]call{
	"register":     method(register),
	"login":        method(login),
	"start":        method(start),
	"stop":         method(stop),
	"reopen":       method(reopen),
	"ownKeys":      method(ownKeys),
	"devices":      method(devices),
	"deleteDevice": method(deleteDevice),
	"logout":       method(logout),
}

type session struct {
	User   id.UserID   `json:"user"`
	Device id.DeviceID `json:"device"`
	Token  string      `json:"token"`
}

func register(ctx context.Context, d *device, a account) (session, error) {
	client, err := mautrix.NewClient(a.Server, "", "")
	if err != nil {
		return session{}, err
	}
	r, err := client.RegisterDummy(ctx, &mautrix.ReqRegister[any]{Username: a.Username, Password: a.Password, DeviceID: a.Device})
	if err != nil {
		return session{}, err
	}
	a.User, a.Device, a.Token = r.UserID, r.DeviceID, r.AccessToken
	return d.open(ctx, a)
}

func login(ctx context.Context, d *device, a account) (session, error) {
	client, err := mautrix.NewClient(a.Server, "", "")
	if err != nil {
		return session{}, err
	}
	r, err := client.Login(ctx, &mautrix.ReqLogin{
		Type:       mautrix.AuthTypePassword,
		Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: a.Username},
		Password:   a.Password,
		DeviceID:   a.Device,
	})
	if err != nil {
		return session{}, err
	}
	a.User, a.Device, a.Token = r.UserID, r.DeviceID, r.AccessToken
	return d.open(ctx, a)
}

// open makes the client over the device's stores.
func (d *device) open(ctx context.Context, a account) (session, error) {
	d.account = a
	client, err := mautrix.NewClient(a.Server, a.User, a.Token)
	if err != nil {
		return session{}, err
	}
	client.DeviceID = a.Device
	client.Log = zerolog.New(os.Stderr).Level(zerolog.WarnLevel).With().Stringer("device", a.Device).Logger()
	client.StateStore, client.Store = d.state, d.sync
	syncer := client.Syncer.(*mautrix.DefaultSyncer)
	syncer.OnEvent(client.StateStoreSyncHandler)
	d.listen(syncer)
	helper, err := cryptohelper.NewCryptoHelper(client, []byte("a key for a test's stores"), d.store)
	if err != nil {
		return session{}, err
	}
	if err := helper.Init(ctx); err != nil {
		return session{}, err
	}
	client.Crypto = helper
	d.client, d.mach = client, helper.Machine()
	d.verify = verificationhelper.NewVerificationHelper(client, d.mach, nil, flows{d}, false, false, true)
	if err := d.verify.Init(ctx); err != nil {
		return session{}, err
	}
	return session{a.User, a.Device, a.Token}, nil
}

// listen notes what the syncer dispatches. It comes before the handler that
// opens encrypted events, so that each is known before its content is.
func (d *device) listen(syncer *mautrix.DefaultSyncer) {
	syncer.OnEventType(event.EventEncrypted, func(_ context.Context, e *event.Event) {
		d.change(func() { d.keep(e) })
	})
	syncer.OnEventType(event.EventMessage, func(_ context.Context, e *event.Event) {
		d.change(func() { d.note(e) })
	})
}

// awake wakes waiters after each processed sync: the crypto machine and the
// state store have then seen it.
type awake struct {
	*mautrix.DefaultSyncer
	d *device
}

func (a awake) ProcessResponse(ctx context.Context, res *mautrix.RespSync, since string) error {
	err := a.DefaultSyncer.ProcessResponse(ctx, res, since)
	a.d.change(func() { a.d.syncs++ })
	return err
}

func start(ctx context.Context, d *device, _ none) (none, error) {
	d.client.Syncer = awake{d.client.Syncer.(*mautrix.DefaultSyncer), d}
	run, cancel := context.WithCancel(context.Background())
	d.stop, d.stopped = cancel, make(chan struct{})
	d.mu.Lock()
	before := d.syncs
	d.mu.Unlock()
	go func() {
		defer close(d.stopped)
		err := d.client.SyncWithContext(run)
		d.change(func() { d.syncErr = err })
	}()
	return none{}, d.untilSync(ctx, before)
}

// untilSync returns when more than before syncs have been processed.
func (d *device) untilSync(ctx context.Context, before int) error {
	return d.until(ctx, func() (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.syncs > before, d.syncErr
	})
}

func stop(ctx context.Context, d *device, _ none) (none, error) {
	d.stop()
	select {
	case <-d.stopped:
		d.change(func() { d.syncErr = nil })
		return none{}, nil
	case <-ctx.Done():
		return none{}, ctx.Err()
	}
}

func reopen(ctx context.Context, d *device, a struct{ Server string }) (session, error) {
	acc := d.account
	if a.Server != "" {
		acc.Server = a.Server
	}
	return d.open(ctx, acc)
}

type keys struct {
	Ed25519    id.Ed25519    `json:"ed25519"`
	Curve25519 id.Curve25519 `json:"curve25519"`
}

func ownKeys(_ context.Context, d *device, _ none) (keys, error) {
	own := d.mach.OwnIdentity()
	return keys{own.SigningKey, own.IdentityKey}, nil
}

type deviceList struct {
	Devices []id.DeviceID `json:"devices"`
}

func devices(ctx context.Context, d *device, _ none) (deviceList, error) {
	r, err := d.client.GetDevicesInfo(ctx)
	if err != nil {
		return deviceList{}, err
	}
	var list deviceList
	for _, info := range r.Devices {
		list.Devices = append(list.Devices, info.DeviceID)
	}
	return list, nil
}

// deleteDevice deletes a device, with the password if the server asks for it.
func deleteDevice(ctx context.Context, d *device, a struct{ Device id.DeviceID }) (none, error) {
	err := d.client.DeleteDevice(ctx, a.Device, &mautrix.ReqDeleteDevice[any]{})
	var he mautrix.HTTPError
	if !errors.As(err, &he) || he.RespError == nil {
		return none{}, err
	}
	uia, ok := he.RespError.ExtraData["session"].(string)
	if !ok {
		return none{}, err
	}
	return none{}, d.client.DeleteDevice(ctx, a.Device, &mautrix.ReqDeleteDevice[any]{Auth: &mautrix.ReqUIAuthLogin{
		BaseAuthData: mautrix.BaseAuthData{Type: mautrix.AuthTypePassword, Session: uia},
		User:         d.account.User.String(),
		Password:     d.account.Password,
	}})
}

func logout(ctx context.Context, d *device, _ none) (none, error) {
	if _, err := d.client.Logout(ctx); err != nil {
		return none{}, err
	}
	return stop(ctx, d, none{})
}
