package main

import (
	"context"
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

// loginFlags are the flags of login and register.
type loginFlags struct {
	deviceName string
	passwordFD int
	passphrase bool
	policies   policyFlag
	serverKey  string
}

func newLoginFlags(fs *flag.FlagSet) *loginFlags {
	host, err := os.Hostname()
	if err != nil {
		host = "this computer"
	}
	f := new(loginFlags)
	fs.StringVar(&f.deviceName, "device-name", "quinta on "+host, "")
	fs.IntVar(&f.passwordFD, "password-fd", -1, "")
	fs.BoolVar(&f.passphrase, "passphrase", false, "")
	fs.Var(&f.policies, "policy", "")
	fs.StringVar(&f.serverKey, "server-key", "", "")
	return f
}

var loginFlagText = `  --device-name NAME   the name of this device in your list of devices
  --password-fd N      read the password from a file descriptor; by default it
                       is taken from QUINTA_PASSWORD, or asked for if the
                       network wants one
  --passphrase         protect the store of this device with a passphrase, asked
                       for at every use, instead of with a key file
  --server-key FILE    a PEM file with the public key of the server, on networks
                       whose servers prove who they are with a key. By default,
                       the key is fetched from the server's web address. It is
                       remembered for later logins
  --policy NAME        put this device under a policy of its network, until
                       'quinta policy' changes that; can be repeated. The
                       policies are:
` + policyText() + `
`

var loginCommand = &command{
	Name:  "login",
	Args:  "NETWORK SERVER USER [--flag ...]",
	Short: "log in as a new device",
	Long: `Logs in as a new device and stores it in the home folder, encrypted. On a
network where accounts have an identity (cross-signing keys), the first device
creates it. Verify every later device, or run 'quinta keys backup unlock' on it.

Example: ` + exampleOf("login", "https://example.org") + `

` + loginFlagText + `Whatever else the server asks for, such as a code, is taken from
QUINTA_SECOND_FACTOR, QUINTA_CODE, QUINTA_SECOND_PASSWORD or
QUINTA_KEY_PASSWORD, or asked for in turn.
`,
	Least: 3, Most: 3,
	Prepare: func(fs *flag.FlagSet) run {
		f := newLoginFlags(fs)
		return func(ctx context.Context, a *app, args []string) error {
			return a.enter(ctx, f, args, func(ctx context.Context, n client.Network, st client.Store, in client.Credentials, password *client.Secret) (quinta.Device, error) {
				d, err := n.Login(ctx, st, a.env, in)
				if err != nil {
					return d, err
				}
				return d, a.settleIdentity(ctx, n, st, *password)
			})
		}
	},
}

// enter makes a device by fn and stores it, complete or not at all. fn gets
// where the password is once the network has asked for it.
func (a *app) enter(ctx context.Context, f *loginFlags, args []string, fn func(context.Context, client.Network, client.Store, client.Credentials, *client.Secret) (quinta.Device, error)) (err error) {
	n, err := networkUnder(quinta.NetworkName(args[0]), f.policies)
	if err != nil {
		return err
	}
	known, err := a.newPins(n, f.serverKey)
	if err != nil {
		return err
	}
	base := filepath.Join(a.opt.home, "accounts")
	if err := durable.MkdirAll(base); err != nil {
		return fmt.Errorf("creating the home folder: %w", err)
	}
	dir, err := os.MkdirTemp(base, ".new-")
	if err != nil {
		return fmt.Errorf("creating the account's folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	ac := &account{Network: n.Name(), Server: args[1], Key: keyByFile, Policies: f.policies, dir: dir}
	if f.passphrase {
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
	lctx, clock := a.paused(ctx)
	defer clock.end()
	var password client.Secret
	in := client.Credentials{Server: args[1], User: args[2], DeviceName: f.deviceName, ServerKey: known.key, Pin: known.pin, Ask: func(_ context.Context, q client.Question) (client.Secret, error) {
		if q.Kind == client.AskPassword && !password.Empty() {
			return password, nil
		}
		defer clock.stop()()
		s, err := a.answer(q, args[2], f.passwordFD)
		if q.Kind == client.AskPassword {
			password = s
		}
		return s, err
	}}
	if t := a.getenv("QUINTA_REGISTRATION_TOKEN"); t != "" {
		in.Token = client.NewSecret(t)
	}
	d, err := fn(lctx, n, st, in, &password)
	if err = errors.Join(err, st.Close()); err != nil {
		return err
	}
	ac.User, ac.Device = d.User, d.ID
	if err := ac.save(dir); err != nil {
		return err
	}
	final := filepath.Join(base, folderName(ac.Network, ac.User, ac.Device))
	if err := durable.Rename(dir, final); err != nil {
		return fmt.Errorf("storing the account: %w", err)
	}
	a.accountResult("login", ac)
	return nil
}

// newKey is key for a new account: a passphrase is asked for twice.
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
	// Policies names the policies that the user chose.
	Policies []string `json:"policies,omitempty"`
}

func (a *app) accountResult(typ string, ac *account) {
	if a.opt.json {
		a.emit(accountLine{newHead(typ), ac.Network, ac.User, ac.Device, ac.Server, false, ac.Policies})
		return
	}
	a.say("logged in as %s, device %s", oneLine(string(ac.User)), oneLine(string(ac.Device)))
}
