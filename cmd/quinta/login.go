package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/cmd/internal/durable"
)

func loginFlags(fs *flag.FlagSet, o *options) {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	fs.StringVar(&o.deviceName, "device-name", "quinta on "+host, "")
	fs.IntVar(&o.passwordFD, "password-fd", -1, "")
	fs.BoolVar(&o.passphrase, "passphrase", false, "")
}

const loginFlagText = `  --device-name NAME   what the device is called in the account's list
  --password-fd N      read the password from a file descriptor; else it is
                       taken from QUINTA_PASSWORD, or asked for
  --passphrase         lock the device's store with a passphrase that is asked
                       for at every use; else with a key file beside it
`

var loginCommand = &command{
	name:  "login",
	args:  "NETWORK SERVER USER [--flag ...]",
	short: "log a new device in",
	long: `Logs a new device in and keeps it below the home folder, encrypted. If it is
the account's first one, and the network has them, the account gets its
cross-signing keys; a later one has to be verified or unlocked.

Example: quinta login matrix https://example.org alice

` + loginFlagText,
	flags: loginFlags,
	run: func(ctx context.Context, a *app, args []string) error {
		return a.enter(ctx, args, func(ctx context.Context, n client.Network, st client.Store, in client.Credentials) (quinta.Device, error) {
			d, err := n.Login(ctx, st, a.env, in)
			if err != nil {
				return d, err
			}
			return d, a.settleIdentity(ctx, n, st, in.Password)
		})
	},
}

// enter makes a device by fn and keeps it, whole or not at all.
func (a *app) enter(ctx context.Context, args []string, fn func(context.Context, client.Network, client.Store, client.Credentials) (quinta.Device, error)) (err error) {
	if err := need(args, 3, 3); err != nil {
		return err
	}
	n, err := networkNamed(quinta.NetworkName(args[0]))
	if err != nil {
		return err
	}
	in := client.Credentials{Server: args[1], User: args[2], DeviceName: a.opt.deviceName}
	if in.Password, err = a.ask("password of "+args[2], a.opt.passwordFD, "QUINTA_PASSWORD", false); err != nil {
		return err
	}
	if t := a.getenv("QUINTA_REGISTRATION_TOKEN"); t != "" {
		in.Token = client.NewSecret(t)
	}
	base := filepath.Join(a.opt.home, "accounts")
	if err := durable.MkdirAll(base); err != nil {
		return fmt.Errorf("making the home: %w", err)
	}
	dir, err := os.MkdirTemp(base, ".new-")
	if err != nil {
		return fmt.Errorf("making the account's folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	ac := &account{Network: n.Name(), Server: args[1], Key: keyByFile, dir: dir}
	if a.opt.passphrase {
		ac.Key = keyByPassphrase
	}
	k, err := a.newKey(ac)
	if err != nil {
		return err
	}
	defer k.Wipe()
	st, err := sqlite.Open(ac.store(), k)
	if err != nil {
		return err
	}
	lctx, cancel := a.limited(ctx)
	defer cancel()
	d, err := fn(lctx, n, st, in)
	if err = errors.Join(err, st.Close()); err != nil {
		return err
	}
	ac.User, ac.Device = d.User, d.ID
	b, err := json.Marshal(ac)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, "account.json"), append(b, '\n')); err != nil {
		return fmt.Errorf("keeping the account: %w", err)
	}
	final := filepath.Join(base, folderName(ac.Network, ac.User, ac.Device))
	if err := durable.Rename(dir, final); err != nil {
		return fmt.Errorf("keeping the account: %w", err)
	}
	a.accountResult("login", ac)
	return nil
}

// newKey is key for an account that is being made: a new passphrase is asked
// for twice.
func (a *app) newKey(ac *account) (sqlite.Key, error) {
	if a.getenv("QUINTA_STORE_KEY") != "" || ac.Key == keyByFile {
		return a.key(ac)
	}
	p, err := a.ask("a passphrase for this device's store", a.opt.passphraseFD, "QUINTA_PASSPHRASE", true)
	if err != nil {
		return sqlite.Key{}, err
	}
	return sqlite.PassphraseKey(ac.store(), p.Reveal(), a.env.Rand)
}

// accountLine is an account in JSON.
type accountLine struct {
	head
	Network quinta.NetworkName `json:"network"`
	Account quinta.UserID      `json:"account"`
	Device  quinta.DeviceID    `json:"device"`
	Server  string             `json:"server"`
	Default bool               `json:"default,omitempty"`
}

func (a *app) accountResult(typ string, ac *account) {
	if a.opt.json {
		a.emit(accountLine{newHead(typ), ac.Network, ac.User, ac.Device, ac.Server, false})
		return
	}
	a.say("logged in as %s, device %s", oneLine(string(ac.User)), oneLine(string(ac.Device)))
}
