package incoming

import (
	"time"

	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

// A By is where an attempt at an account's password or code comes from:
// [Stranger] or [Self].
type By struct {
	who  server.Who
	self bool
	// familiar says that the account has logged in from there before, note that
	// another login from there is to be remembered.
	familiar, note bool
}

// Stranger is a client at an address that has shown no token.
func Stranger(addr string) By { return By{who: server.ByAddr(addr)} }

// Self is a device that has shown a valid token of the account that is tried.
// Strangers' attempts at that account never make it wait.
func Self(device server.Who) By { return By{who: device, self: true} }

// A Try is one admitted attempt at an account. It counts as wrong until
// [Try.Right] is called.
type Try struct {
	core  *server.Core
	by    By
	takes []take
}

// A take is what a try took from a bucket for wrong tries.
type take struct {
	what string
	who  server.Who
	rate server.Rate
}

// NewTry asks whether someone may try an account now; wait is how long to wait
// if not. The address, or the device, is asked first. What is not a name of an
// account has no bucket.
func NewTry(core *server.Core, by By, name account.Name) (t *Try, wait time.Duration) {
	if t, wait = begin(core, by); wait > 0 {
		return nil, wait
	}
	if wait = t.at(name); wait > 0 {
		return nil, wait
	}
	return t, 0
}

// begin asks whether the address, or the device, may try anything now.
func begin(core *server.Core, by By) (t *Try, wait time.Duration) {
	if wait := core.Limits.Allow("login", by.who, server.RateLogin, 1); wait > 0 {
		return nil, wait
	}
	return &Try{core: core, by: by}, 0
}

// look finds out whether the account has logged in from there before.
func (t *Try) look(tx *db.Tx, name account.Name) (err error) {
	if _, bad := account.ParseName(string(name)); bad == nil && !t.by.self {
		t.by.familiar, t.by.note, err = account.CameFrom(tx, name, t.by.who.Sum())
	}
	return err
}

// at asks whether the account may be tried now.
func (t *Try) at(name account.Name) (wait time.Duration) {
	if _, err := account.ParseName(string(name)); err != nil {
		return 0
	}
	at := server.ByAccount(string(name))
	wants := []take{{"guess", t.by.who.And(at), server.RateGuess}}
	switch {
	case t.by.familiar:
		wants = append(wants, take{"familiar guesses", at, server.RateFamiliar})
	case !t.by.self:
		wants = append(wants, take{"guesses", at, server.RateGuesses})
	}
	for _, w := range wants {
		if wait := t.core.Limits.Allow(w.what, w.who, w.rate, 1); wait > 0 {
			t.Right() // nothing was tried
			return wait
		}
		t.takes = append(t.takes, w)
	}
	return 0
}

// remember notes where a login that was right came from.
func (t *Try) remember(tx *db.Tx, name account.Name) error {
	if !t.by.note {
		return nil
	}
	return account.Came(tx, name, t.by.who.Sum())
}

// Right says that the password or code was right: only wrong ones count.
func (t *Try) Right() {
	for _, w := range t.takes {
		t.core.Limits.Return(w.what, w.who, w.rate, 1)
	}
	t.takes = nil
}
