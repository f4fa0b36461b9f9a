package server

import (
	"fmt"
	"time"

	"github.com/quinta-chat/quinta"
)

// A Bound is what one call of a network can make the server pay at most. A
// network declares it where it registers the call, and its router holds the
// call to it.
type Bound struct {
	// Call is the call as the log names it: of HTTP the method, a blank and the
	// path with the names of its variables; of other protocols the name of the
	// method.
	Call string
	// Open says that the call needs no login. Its rate is then counted by
	// address, else by user or device.
	Open bool
	// Rate is how often one client may make the call.
	Rate Rate
	// Body is how many bytes of a request are held in memory at most; zero means
	// that the call has no body.
	Body int64
	// File says that the call also carries a file, which is not held in memory.
	File bool
	// Waits says that the call may wait for something to happen.
	Waits bool
}

// A Bounded is a Front whose calls have bounds: each front that clients call.
type Bounded interface {
	Front
	// Bounds returns the bounds of all calls, in a steady order.
	Bounds() []Bound
}

// The most that a bound may allow.
const (
	maxBoundBody = 16 << 20
	maxOpenBody  = 1<<20 + 4096 // a frame of MTProto
	maxBoundRate = 2_000
	// maxPace bounds how often a call may be made for long.
	maxPace = 10 * time.Millisecond
)

// Check says why b bounds nothing or too little; nil if it is a bound.
func (b *Bound) Check() error {
	body := int64(maxBoundBody)
	if b.Open {
		body = maxOpenBody
	}
	switch {
	case b.Call == "":
		return fmt.Errorf("server: a bound names no call")
	case b.Rate.Burst <= 0 || b.Rate.Burst > maxBoundRate || b.Rate.Every < maxPace:
		return fmt.Errorf("server: %s has no rate, or one above %d at once and one every %v", b.Call, maxBoundRate, maxPace)
	case b.Body < 0 || b.Body > body:
		return fmt.Errorf("server: %s takes a body of %d bytes, more than %d", b.Call, b.Body, body)
	case b.Open && (b.File || b.Waits):
		return fmt.Errorf("server: %s carries a file or waits, without a login", b.Call)
	}
	return nil
}

// Bounds returns the bounds of each network that runs and has calls.
func (c *Core) Bounds() map[quinta.NetworkName][]Bound {
	all := map[quinta.NetworkName][]Bound{}
	for _, s := range c.running {
		if f, ok := s.front.(Bounded); ok {
			all[s.name] = f.Bounds()
		}
	}
	return all
}
