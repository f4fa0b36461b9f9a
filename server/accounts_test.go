package server_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// A keeper is a front that notes what it is told, in the store, so that what
// is rolled back is seen.
type keeper struct {
	bare
	fail error
}

var _ server.AccountKeeper = (*keeper)(nil)

func (k *keeper) AccountLogOut(tx *db.Tx, name account.Name) error {
	return k.note(tx, "logged out", name)
}

func (k *keeper) AccountClosing(tx *db.Tx, name account.Name) error {
	if there, err := account.Exists(tx, name); err != nil || !there {
		return errors.Join(err, errors.New("the account is closed already"))
	}
	return k.note(tx, "closing", name)
}

func (k *keeper) note(tx *db.Tx, what string, name account.Name) error {
	return errors.Join(db.SetFact(tx, what, string(name)), k.fail)
}

// withKeepers opens a core with two keepers, and one front that is none.
func withKeepers(t *testing.T, fail error) *server.Core {
	t.Helper()
	c, err := server.Open(t.Context(), config(t), []server.Network{network("none", bare{}), network("first", &keeper{}), network("second", &keeper{fail: fail})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func fact(t *testing.T, c *server.Core, name string) (v string) {
	t.Helper()
	if err := c.View(t.Context(), func(tx *db.Tx) (err error) { v, err = db.Fact(tx, name); return err }); err != nil {
		t.Fatal(err)
	}
	return v
}

// matches reports whether a password opens an account.
func matches(t *testing.T, c *server.Core, name account.Name, password string) bool {
	t.Helper()
	var h account.PasswordHash
	if err := c.View(t.Context(), func(tx *db.Tx) (err error) { h, err = account.Stored(tx, name); return err }); err != nil {
		t.Fatal(err)
	}
	return c.Passwords.Matches(h, password)
}

func TestAccountsOfTheOperator(t *testing.T) {
	t.Parallel()
	c := withKeepers(t, nil)
	ctx := t.Context()
	if err := c.AddAccount(ctx, "alice", "one"); err != nil {
		t.Fatal(err)
	}
	if err := c.AddAccount(ctx, "alice", "two"); !errors.Is(err, account.ErrTaken) {
		t.Errorf("got %v, want that the name is taken", err)
	}
	for _, name := range []string{"", "Alice", "a b", "ä", strings.Repeat("a", 129), "a\x00"} {
		if err := c.AddAccount(ctx, name, "x"); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("%q: got %v, want a refusal", name, err)
		}
	}
	if err := c.AddAccount(ctx, "bob", ""); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("an empty password: got %v", err)
	}

	if err := c.SetPassword(ctx, "alice", "two", false); err != nil {
		t.Fatal(err)
	}
	if matches(t, c, "alice", "one") || !matches(t, c, "alice", "two") {
		t.Error("the password was not replaced")
	}
	if got := fact(t, c, "logged out"); got != "" {
		t.Errorf("logged out %q, want no one", got)
	}
	if err := c.SetPassword(ctx, "alice", "three", true); err != nil {
		t.Fatal(err)
	}
	if got := fact(t, c, "logged out"); got != "alice" {
		t.Errorf("logged out %q, want alice", got)
	}
	if err := c.SetPassword(ctx, "nobody", "x", true); quinta.KindOf(err) != quinta.KindNotFound {
		t.Errorf("got %v, want that there is no such account", err)
	}

	if err := c.RemoveAccount(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	if got := fact(t, c, "closing"); got != "alice" {
		t.Errorf("the networks were told of %q", got)
	}
	if err := c.RemoveAccount(ctx, "alice"); quinta.KindOf(err) != quinta.KindNotFound {
		t.Errorf("removed twice: got %v", err)
	}
	as, err := c.Accounts(ctx, "", 10)
	if err != nil || len(as) != 1 || !as[0].Closed || as[0].HasPassword {
		t.Errorf("got %+v, %v: want alice, closed, without a password", as, err)
	}
}

// TestRemovalIsWholeOrNot: a network that fails keeps everything as it was.
func TestRemovalIsWholeOrNot(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	c := withKeepers(t, broken)
	if err := c.AddAccount(t.Context(), "alice", "one"); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveAccount(t.Context(), "alice"); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := c.SetPassword(t.Context(), "alice", "two", true); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if fact(t, c, "closing") != "" || fact(t, c, "logged out") != "" || !matches(t, c, "alice", "one") {
		t.Error("something was done by half")
	}
}

// TestNamesThatNetworksExclude: a network may refuse a name, and the operator
// is told; a name that all refuse is refused.
func TestNamesThatNetworksExclude(t *testing.T) {
	t.Parallel()
	upTo := func(name quinta.NetworkName, most int) server.Network {
		return server.Network{
			Name: name,
			New:  func(*server.Core) (server.Front, error) { return bare{}, nil },
			CheckAccount: func(c *server.Core, name account.Name) error {
				if len(name) > most {
					return quinta.E(quinta.KindInvalid, "account", "too long for "+c.Name)
				}
				return nil
			},
		}
	}
	c, err := server.Open(t.Context(), config(t), []server.Network{upTo("short", 3), upTo("long", 5)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for name, want := range map[account.Name][]server.Exclusion{
		"abc":    nil,
		"abcde":  {{Network: "short", Why: "too long for " + c.Name}},
		"abcdef": {{Network: "short", Why: "too long for " + c.Name}, {Network: "long", Why: "too long for " + c.Name}},
	} {
		if got := c.Exclusions(name); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
		if err := c.AddAccount(t.Context(), string(name), "x"); (err == nil) != (len(want) < 2) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestInvite(t *testing.T) {
	t.Parallel()
	c := open(t, config(t))
	token, err := c.Invite(t.Context(), account.Invite{Uses: 1, Expires: time.Now().Add(time.Hour).UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	use := func() error {
		return c.Update(t.Context(), func(tx *db.Tx) error { return account.UseInvite(tx, token) })
	}
	if err := use(); err != nil {
		t.Errorf("the first use: %v", err)
	}
	if err := use(); quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("the second use: got %v", err)
	}
}

func TestNameOfAStore(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Name = ""
	if _, err := server.Open(t.Context(), cfg, nil); !errors.Is(err, server.ErrNoName) {
		t.Errorf("a new store without a name: got %v", err)
	}
	cfg.NewName = "hs7"
	c, err := server.Open(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "hs7" {
		t.Errorf("got the name %q", c.Name)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.NewName = "other"
	if c, err = server.Open(t.Context(), cfg, nil); err != nil || c.Name != "hs7" {
		t.Fatalf("got %v, want the name that the store has", err)
	}
	c.Close()
}
