package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/cmd/internal/durable"
	"github.com/quinta-chat/quinta/network/all/clients"
)

// An account is a folder below accounts/ in the home folder: account.json names
// the user and the device, and store.db holds everything secret, encrypted.
type account struct {
	Network quinta.NetworkName `json:"network"`
	User    quinta.UserID      `json:"user"`
	Device  quinta.DeviceID    `json:"device"`
	Server  string             `json:"server"`
	// Key says what opens the store: "file" or "passphrase".
	Key string `json:"key"`
	// Policies names the policies of the network that the user chose.
	Policies []string `json:"policies,omitempty"`

	dir string
}

const (
	keyByFile       = "file"
	keyByPassphrase = "passphrase"
)

// accounts lists the accounts, sorted by user.
func (a *app) accounts() ([]*account, error) {
	dirs, err := os.ReadDir(filepath.Join(a.opt.home, "accounts"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []*account
	for _, d := range dirs {
		dir := filepath.Join(a.opt.home, "accounts", d.Name())
		b, err := os.ReadFile(filepath.Join(dir, "account.json"))
		if errors.Is(err, os.ErrNotExist) {
			continue // a login that was interrupted
		}
		if err != nil {
			return nil, err
		}
		ac, err := parseAccount(dir, b)
		if err != nil {
			return nil, err
		}
		out = append(out, ac)
	}
	slices.SortFunc(out, func(x, y *account) int { return strings.Compare(string(x.User), string(y.User)) })
	return out, nil
}

// parseAccount reads the account.json of a folder.
func parseAccount(dir string, b []byte) (*account, error) {
	ac := &account{dir: dir}
	if err := json.Unmarshal(b, ac); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", filepath.Join(dir, "account.json"), err)
	}
	return ac, nil
}

// chosen returns the account that the command works on.
func (a *app) chosen() (*account, error) {
	list, err := a.accounts()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, failed(exitLogin, exampleOf("login", "https://example.org"), errors.New("there is no account on this computer"))
	}
	want := a.opt.account
	if want == "" {
		b, err := os.ReadFile(a.defaultPath())
		if err == nil {
			want = strings.TrimSpace(string(b))
		}
	}
	if want == "" {
		if len(list) > 1 {
			return nil, &cli.Misuse{Text: "there are several accounts", Hint: "choose one with --account, or set a default with 'quinta accounts default ID'"}
		}
		return list[0], nil
	}
	var found []*account
	for _, ac := range list {
		if string(ac.User) == want || string(ac.User)+"/"+string(ac.Device) == want {
			found = append(found, ac)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, failed(exitNotFound, "'quinta accounts' lists the accounts", fmt.Errorf("there is no account %q on this computer", printable(want)))
	}
	return nil, &cli.Misuse{Text: fmt.Sprintf("%s has several devices on this computer", printable(want)), Hint: "choose one with --account USER/DEVICE"}
}

// exampleOf is a command line that logs alice in, or registers her, on the
// first network of the list.
func exampleOf(command, server string) string {
	return fmt.Sprintf("quinta %s %s %s alice", command, clients.All()[0].Name(), server)
}

// networkNamed finds the client half of a network.
func networkNamed(name quinta.NetworkName) (client.Network, error) {
	var names []string
	for _, n := range clients.All() {
		if n.Name() == name {
			return n, nil
		}
		names = append(names, string(n.Name()))
	}
	return nil, &cli.Misuse{Text: fmt.Sprintf("there is no network %q", printable(string(name))), Hint: "the networks are: " + strings.Join(names, ", ")}
}

// networkUnder finds the client half of a network and puts it under policies.
func networkUnder(name quinta.NetworkName, policies []string) (client.Network, error) {
	n, err := networkNamed(name)
	if err != nil {
		return nil, err
	}
	return client.Under(n, policies...)
}

// key returns the key of an account's store.
func (a *app) key(ac *account) (sqlite.Key, error) {
	if v := a.getenv("QUINTA_STORE_KEY"); v != "" {
		return sqlite.ParseKey(v)
	}
	if ac.Key == keyByPassphrase {
		p, err := a.ask("passphrase for the store of "+oneLine(string(ac.User)), a.opt.passphraseFD, "QUINTA_PASSPHRASE", false)
		if err != nil {
			return sqlite.Key{}, err
		}
		return sqlite.PassphraseKey(ac.store(), p.Reveal(), a.env.Rand)
	}
	return sqlite.KeyFile(a.keyPath(), a.env.Rand)
}

// keyPath is the key file: one for all accounts of a home folder, unless
// --key-file names another.
func (a *app) keyPath() string {
	if a.opt.keyFile != "" {
		return a.opt.keyFile
	}
	return filepath.Join(a.opt.home, "key")
}

func (ac *account) store() string { return filepath.Join(ac.dir, "store.db") }

// open opens the session of the chosen account.
func (a *app) open(ctx context.Context) (client.Session, *account, error) {
	ac, err := a.chosen()
	if err != nil {
		return nil, nil, err
	}
	st, err := a.openStore(ac)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.resume(ctx, ac, st)
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return s, ac, nil
}

// resume opens the session in a store. The policies are read now that the store
// is locked: they may have been changed while it was not.
func (a *app) resume(ctx context.Context, ac *account, st client.Store) (client.Session, error) {
	b, err := os.ReadFile(filepath.Join(ac.dir, "account.json"))
	if err != nil {
		return nil, err
	}
	now, err := parseAccount(ac.dir, b)
	if err != nil {
		return nil, err
	}
	ac.Policies = now.Policies
	n, err := networkUnder(ac.Network, ac.Policies)
	if err != nil {
		return nil, err
	}
	return n.Open(ctx, st, a.env)
}

// openStore opens the store of an account, which locks it.
func (a *app) openStore(ac *account) (client.Store, error) {
	k, err := a.key(ac)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	if _, err := os.Stat(ac.store()); err != nil {
		return nil, fmt.Errorf("the store of %s: %w", ac.User, err)
	}
	return sqlite.Open(ac.store(), k)
}

// save writes account.json into a folder.
func (ac *account) save(dir string) error {
	b, err := json.Marshal(ac)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, "account.json"), append(b, '\n')); err != nil {
		return fmt.Errorf("storing the account: %w", err)
	}
	return nil
}

// with opens a session that has the ability T, runs fn and closes it.
func with[T any](ctx context.Context, a *app, what string, fn func(ctx context.Context, s T, ac *account) error) (err error) {
	s, ac, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t, ok := client.As[T](s)
	if !ok {
		return cannot(ac, what)
	}
	return fn(ctx, t, ac)
}

// cannot is the error for a network that lacks what a command needs.
func cannot(ac *account, what string) error {
	return failed(exitFailed, "", fmt.Errorf("the network %s does not support %s", ac.Network, what))
}

// limited bounds the time of a command that talks to the server.
func (a *app) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.opt.timeout)
}

// folderName is a name for an account's folder that every file system accepts.
func folderName(network quinta.NetworkName, user quinta.UserID, device quinta.DeviceID) string {
	sum := sha256.Sum256([]byte(string(network) + "\x00" + string(user) + "\x00" + string(device)))
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, strings.ToLower(strings.TrimPrefix(string(user), "@")))
	if len(safe) > 60 {
		safe = safe[:60]
	}
	return string(network) + "-" + strings.TrimLeft(safe, ".") + "-" + hex.EncodeToString(sum[:4])
}
