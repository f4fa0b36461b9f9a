package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// An Op is what a step does.
type Op int

// The operations. Each is done by or to one device, except those of time.
const (
	OpSay     Op = iota // hand a message to the machine
	OpSend              // carry out what is due, over the bad line
	OpReceive           // ask for what came, over the bad line
	OpLate              // a copy of an old request arrives at the server
	OpCrash             // die at one of the next writes
	OpRestart           // end and begin again
	OpWait              // time passes
	OpLogin             // the user takes another device
	OpLogout            // the device is removed
	OpJoin              // the user comes into a conversation
	OpLeave             // the user leaves one
	OpRenew             // take new keys
	OpBackup            // copy the store
	OpRestore           // put the store back to the copy
	OpDeed              // something that only this network knows
	ops
)

var opNames = [ops]string{"say", "send", "receive", "late", "crash", "restart", "wait", "login", "logout", "join", "leave", "renew", "backup", "restore", "deed"}

// weights say how often an operation is drawn. Deeds are drawn apart.
var weights = [ops]int{OpSay: 18, OpSend: 28, OpReceive: 28, OpLate: 3, OpCrash: 6, OpRestart: 2, OpWait: 5, OpLogin: 2, OpLogout: 1, OpJoin: 3, OpLeave: 1, OpRenew: 2, OpBackup: 2, OpRestore: 1}

// A Step is one thing that happens. Who chooses among the devices that exist
// then; Luck decides all else about it, the conversation among it. So a step means much the same when
// others are taken out before it.
type Step struct {
	Op   Op
	Who  int
	Luck uint64
}

// String returns the step as one word with its numbers.
func (s Step) String() string { return fmt.Sprintf("%s:%d:%d", opNames[s.Op], s.Who, s.Luck) }

// A Script is one simulation: who is there at first, and what happens.
type Script struct {
	Seed uint64
	// Devices is how many devices each user has at first.
	Devices []int
	// Rooms is how many conversations there are.
	Rooms int
	// Joined is how many of the users are in each conversation at first; the
	// first user of a conversation is the one of its number.
	Joined int
	Steps  []Step
}

// MaxDevices is how many devices there are at most at one time.
const MaxDevices = 8

// steps is how long a script is.
const steps = 90

// deeds is how many deeds are put into a script.
const deeds = 12

// Generate returns the script of a seed.
func Generate(seed uint64) Script {
	r := rand.New(rand.NewPCG(seed, 0x51b))
	s := Script{Seed: seed}
	// Two to four users with one or two devices each.
	for range 2 + r.IntN(3) {
		s.Devices = append(s.Devices, 1+r.IntN(2))
	}
	s.Joined = 2 + r.IntN(len(s.Devices)-1)
	// Half of the scripts have one conversation, the others two or three; drawn
	// apart, so that a seed has the same steps either way.
	s.Rooms = max(1, rand.New(rand.NewPCG(seed, 0x51c)).IntN(4))
	total := 0
	for _, w := range weights {
		total += w
	}
	for range steps {
		n, op := r.IntN(total), Op(0)
		for n >= weights[op] {
			n -= weights[op]
			op++
		}
		s.Steps = append(s.Steps, Step{op, r.IntN(1 << 16), r.Uint64()})
	}
	// Drawn apart too: a network without deeds passes over them.
	r = rand.New(rand.NewPCG(seed, 0x51d))
	for range deeds {
		s.Steps = slices.Insert(s.Steps, r.IntN(len(s.Steps)), Step{OpDeed, r.IntN(1 << 16), r.Uint64()})
	}
	return s
}

// String returns the script in one line.
func (s Script) String() string {
	words := make([]string, len(s.Steps))
	for i, st := range s.Steps {
		words[i] = st.String()
	}
	return fmt.Sprintf("seed %d, devices %v, conversations %d with %d of the users, steps: %s", s.Seed, s.Devices, s.Rooms, s.Joined, strings.Join(words, " "))
}

// Shrink returns the script with as many steps taken out as can be while
// fails still holds of it. It tries at most limit scripts.
func Shrink(s Script, limit int, fails func(Script) bool) Script {
	for size := len(s.Steps) / 2; size > 0; {
		smaller := false
		for at := 0; at < len(s.Steps) && limit > 0; {
			try := s
			try.Steps = slices.Delete(slices.Clone(s.Steps), at, min(at+size, len(s.Steps)))
			limit--
			if fails(try) {
				s, smaller = try, true
				continue
			}
			at += size
		}
		if !smaller || size > 1 {
			size /= 2
		}
	}
	return s
}
