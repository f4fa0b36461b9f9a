package incoming

import (
	"time"

	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
)

// A By is where a try at an account's password or code comes from: [Stranger]
// or [Self].
type By struct {
	who  server.Who
	self bool
}

// Stranger is a client at an address that has shown no token.
func Stranger(addr string) By { return By{who: server.ByAddr(addr)} }

// Self is a device that has shown a valid token of the account that is tried.
// What strangers do at that account never makes it wait.
func Self(device server.Who) By { return By{who: device, self: true} }

// A Try is one try at an account that has been admitted. It counts as wrong
// until [Try.Right] is called.
type Try struct {
	core  *server.Core
	takes []take
}

// A take is what a try took from a bucket for wrong tries.
type take struct {
	what string
	who  server.Who
	rate server.Rate
}

// NewTry asks whether somebody may try an account now; wait is how long to wait
// if not. The address, or the device, is asked first. What is no name of an
// account has no bucket.
func NewTry(core *server.Core, by By, name account.Name) (t *Try, wait time.Duration) {
	if wait := core.Limits.Allow("login", by.who, server.RateLogin, 1); wait > 0 {
		return nil, wait
	}
	t = &Try{core: core}
	if _, err := account.ParseName(string(name)); err != nil {
		return t, 0
	}
	at := server.ByAccount(string(name))
	wants := []take{{"guess", by.who.And(at), server.RateGuess}}
	if !by.self {
		wants = append(wants, take{"guesses", at, server.RateGuesses})
	}
	for _, w := range wants {
		if wait := core.Limits.Allow(w.what, w.who, w.rate, 1); wait > 0 {
			t.Right() // nothing was tried
			return nil, wait
		}
		t.takes = append(t.takes, w)
	}
	return t, 0
}

// Right says that the password or code was right: only wrong ones count.
func (t *Try) Right() {
	for _, w := range t.takes {
		t.core.Limits.Return(w.what, w.who, w.rate, 1)
	}
	t.takes = nil
}
