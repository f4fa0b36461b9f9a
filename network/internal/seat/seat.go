// Package seat has what the client halves share for logins and outgoing
// messages: the account in the store, the login that was begun, and what a
// draft becomes.
//
// [Begin] and [Plan] come before the server is asked to log in, [Settle] after
// it, [Open] at every start from then on.
//
// What is not here: how a network talks to its server; see package dial.
package seat

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// Keys in the store.
const (
	KeyAccount = "link/account"
	keyIntent  = "link/intent"
)

// An Account is what the store knows about the login.
type Account struct {
	// Base is the address of the server.
	Base   string          `json:"base"`
	User   quinta.UserID   `json:"user"`
	Device quinta.DeviceID `json:"device"`
	Name   string          `json:"name,omitempty"`
	// Token is the access token, in clear.
	Token string `json:"token"`
}

// String returns the user and the device; the token does not print.
func (a Account) String() string { return string(a.User) + " " + string(a.Device) }

// GoString returns what String does.
func (a Account) GoString() string { return a.String() }

// Self returns the device.
func (a Account) Self() quinta.Device {
	return quinta.Device{User: a.User, ID: a.Device, Name: a.Name}
}

// An Intent is a login that was begun. The device id is chosen here and stored
// before the server is asked: a login that is repeated after a crash uses the
// same device.
type Intent struct {
	Base   string          `json:"base"`
	User   string          `json:"user"`
	Device quinta.DeviceID `json:"device"`
}

// Open returns the account of a store, or an error of KindUnauthenticated if
// there is none.
func Open(ctx context.Context, st client.Store) (a Account, err error) {
	found := false
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
		found, err = Load(tx, KeyAccount, &a)
		return err
	}); err != nil {
		return Account{}, err
	}
	if !found {
		return Account{}, quinta.E(quinta.KindUnauthenticated, "opening the session", "no account is logged in here")
	}
	return a, nil
}

// Begin checks that a login can be made in a store, and returns the one that
// was begun before, if any.
func Begin(ctx context.Context, st client.Store, op, user string) (plan Intent, err error) {
	if user == "" {
		return plan, quinta.E(quinta.KindInvalid, op, "no user was named")
	}
	err = st.View(ctx, func(tx e2ee.Tx) error {
		if b, err := tx.Get(KeyAccount); b != nil || err != nil {
			return errors.Join(err, quinta.E(quinta.KindExists, op, "an account is already logged in here"))
		}
		_, err := Load(tx, keyIntent, &plan)
		return err
	})
	return plan, err
}

// Plan returns the login to make: the one that was begun, if it is of the same
// user and server, or else a new one with a device id of the given number of
// base32 letters (at most 16), which is stored.
func Plan(ctx context.Context, st client.Store, env e2ee.Env, begun Intent, base, user string, letters int) (Intent, error) {
	if begun.Base == base && begun.User == user {
		return begun, nil
	}
	raw := make([]byte, 10)
	if _, err := io.ReadFull(env.Rand, raw); err != nil {
		return Intent{}, fmt.Errorf("making a device id: %w", err)
	}
	plan := Intent{Base: base, User: user, Device: quinta.DeviceID(base32.StdEncoding.EncodeToString(raw)[:letters])}
	return plan, st.Update(ctx, func(tx e2ee.Tx) error { return Store(tx, keyIntent, plan) })
}

// Settle stores the account in place of the login that was begun.
func Settle(tx e2ee.Tx, a Account) error {
	if err := tx.Delete(keyIntent); err != nil {
		return err
	}
	return Store(tx, KeyAccount, a)
}

// DeviceName is the user's name for the device, or "Quinta".
func DeviceName(in client.Credentials) string {
	if in.DeviceName == "" {
		return "Quinta"
	}
	return in.DeviceName
}

// ErrDamaged says that an entry of the store cannot be read.
var ErrDamaged = quinta.E(quinta.KindInternal, "reading the store", "an entry is damaged")

// Load reads the JSON value at key into v and reports whether there is one.
func Load(tx e2ee.Tx, key string, v any) (bool, error) {
	b, err := tx.Get(key)
	if err != nil || b == nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, ErrDamaged
	}
	return true, nil
}

// Store writes v as JSON.
func Store(tx e2ee.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Put(key, b)
}

// NewTxn makes an idempotency id that was never used: 16 random bytes in
// base64url.
func NewTxn(random io.Reader) (quinta.TxnID, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return quinta.TxnID(base64.RawURLEncoding.EncodeToString(b[:])), nil
}

// Message makes the message of a draft. A file is not in it yet.
func (a Account) Message(room quinta.RoomID, d client.Draft, txn quinta.TxnID, now time.Time) quinta.Message {
	m := quinta.Message{
		Room: room, Sender: a.User, Device: a.Device, Txn: txn, Time: now,
		Kind: d.Kind, Text: d.Text, Relation: d.Relation, Mentions: d.Mentions, Type: d.Type, Body: d.Body,
	}
	if m.Kind == "" {
		m.Kind = quinta.MessageText
	}
	return m
}
