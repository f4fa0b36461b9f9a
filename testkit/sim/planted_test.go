package sim_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/testkit/sim"
)

// A faulty world is a good one with a fault planted in it.
type faulty struct {
	matrixWorld
	fetch    func(s sim.Seat, in matrix.In) matrix.In
	outgoing func(tx e2ee.Tx, reqs []matrix.Req) []matrix.Req
	receive  func(events []e2ee.Event) []e2ee.Event
	wrap     func(tx e2ee.Tx) e2ee.Tx
}

func (f *faulty) Fetch(s sim.Seat, from string) matrix.In {
	in := f.matrixWorld.Fetch(s, from)
	if f.fetch != nil {
		in = f.fetch(s, in)
	}
	return in
}

func (f *faulty) Machine(tx e2ee.Tx, env e2ee.Env, s sim.Seat, restored bool) (matrixMachine, error) {
	m, err := f.matrixWorld.Machine(tx, env, s, restored)
	return &faultyMachine{m.(*matrix.Machine), f}, err
}

func (f *faulty) Everything(s sim.Seat) (func(matrixMachine, e2ee.Tx) ([]e2ee.Event, error), bool) {
	show, ok := f.matrixWorld.Everything(s)
	return func(m matrixMachine, tx e2ee.Tx) ([]e2ee.Event, error) { return show(m.(*faultyMachine).Machine, tx) }, ok
}

func (f *faulty) Renew(m matrixMachine, tx e2ee.Tx, room quinta.RoomID) error {
	return f.matrixWorld.Renew(m.(*faultyMachine).Machine, tx, room)
}

func (f *faulty) Listed(m matrixMachine, tx e2ee.Tx, u quinta.UserID) ([]string, error) {
	return f.matrixWorld.Listed(m.(*faultyMachine).Machine, tx, u)
}

type faultyMachine struct {
	*matrix.Machine
	f *faulty
}

func (m *faultyMachine) Outgoing(tx e2ee.Tx) ([]matrix.Req, error) {
	if m.f.wrap != nil {
		tx = m.f.wrap(tx)
	}
	reqs, err := m.Machine.Outgoing(tx)
	if m.f.outgoing != nil {
		reqs = m.f.outgoing(tx, reqs)
	}
	return reqs, err
}

func (m *faultyMachine) Receive(tx e2ee.Tx, in matrix.In) ([]e2ee.Event, error) {
	events, err := m.Machine.Receive(tx, in)
	if m.f.receive != nil {
		events = m.f.receive(events)
	}
	return events, err
}

// A forgetful transaction does not keep what is written below a prefix, once
// something is there.
type forgetful struct {
	e2ee.Tx
	prefix string
}

func (t forgetful) Put(key string, value []byte) error {
	old, err := t.Get(key)
	if err != nil || old != nil && strings.HasPrefix(key, t.prefix) {
		return err
	}
	return t.Tx.Put(key, value)
}

// A failing transaction has an error of its own when a session is stored.
type failing struct{ e2ee.Tx }

func (t failing) Put(key string, value []byte) error {
	if strings.HasPrefix(key, "given/") {
		return errors.New("no more room")
	}
	return t.Tx.Put(key, value)
}

// without takes the events of a timeline out for which is returns true.
func without(in matrix.In, is func(raw string) bool) matrix.In {
	for i := range in.Rooms {
		in.Rooms[i].Timeline = slices.DeleteFunc(slices.Clone(in.Rooms[i].Timeline), func(raw json.RawMessage) bool { return is(string(raw)) })
	}
	return in
}

func encrypted(raw string) bool { return strings.Contains(raw, `"type":"m.room.encrypted"`) }

// TestPlantedFaults plants a fault against each rule, and sees it reported.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule  string
		fault faulty
	}{
		"nothing": {"", faulty{}},
		"the server loses a message to one device": {sim.RuleReads, faulty{fetch: func(s sim.Seat, in matrix.In) matrix.In {
			return without(in, func(raw string) bool { return s.Device == "D1" && encrypted(raw) })
		}}},
		"a machine shows messages twice": {sim.RuleReads, faulty{receive: func(events []e2ee.Event) []e2ee.Event {
			return append(events, events...)
		}}},
		"a machine does not tell of messages": {sim.RuleReads, faulty{receive: func(events []e2ee.Event) []e2ee.Event {
			return slices.DeleteFunc(events, func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && strings.HasSuffix(e.Message.Text, "7") })
		}}},
		"who left still gets the keys": {sim.RuleSecret, faulty{fetch: func(_ sim.Seat, in matrix.In) matrix.In {
			return without(in, func(raw string) bool { return strings.Contains(raw, `"membership":"leave"`) })
		}}},
		"words leave in clear": {sim.RuleSecret, faulty{outgoing: func(tx e2ee.Tx, reqs []matrix.Req) []matrix.Req {
			for i, r := range reqs {
				if r.Kind == matrix.ReqRoomSend {
					reqs[i].Path += "?note=words-0"
				}
			}
			return reqs
		}}},
		"the room's ratchet is not kept": {sim.RuleKeys, faulty{wrap: func(tx e2ee.Tx) e2ee.Tx { return forgetful{tx, "out/"} }}},
		"the olm sessions are not kept":  {sim.RuleKeys, faulty{wrap: func(tx e2ee.Tx) e2ee.Tx { return forgetful{tx, "olm/"} }}},
		"changes of lists are not told": {sim.RuleLists, faulty{fetch: func(_ sim.Seat, in matrix.In) matrix.In {
			in.Changed = nil
			return in
		}}},
		"messages come in another order": {sim.RuleOrder, faulty{fetch: func(_ sim.Seat, in matrix.In) matrix.In {
			for i := range in.Rooms {
				in.Rooms[i].Timeline = slices.Clone(in.Rooms[i].Timeline)
				slices.Reverse(in.Rooms[i].Timeline)
			}
			return in
		}}},
		"a machine gives up": {sim.RuleMachine, faulty{wrap: func(tx e2ee.Tx) e2ee.Tx { return failing{tx} }}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := sim.Bind("faulty", func(out sim.Outside) matrixWorld {
				f := c.fault
				f.matrixWorld = newMatrix(out)
				return &f
			})
			const seeds = 12
			for seed := range uint64(seeds) {
				result := n.Play(sim.Generate(seed), false)
				if c.rule == "" && len(result.Violations) > 0 {
					t.Fatalf("seed %d: got %s, want no violation", seed, result)
				}
				if c.rule != "" && result.Broken(c.rule) {
					return
				}
			}
			if c.rule != "" {
				t.Errorf("got no violation of %q in %d seeds", c.rule, seeds)
			}
		})
	}
}

// TestSameSeedSameRun holds that a seed says everything that happens.
func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	for _, n := range networks {
		t.Run(n.Name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				one, two := n.Play(sim.Generate(seed), true), n.Play(sim.Generate(seed), true)
				if len(one.Trace) < 100 || !slices.Equal(one.Trace, two.Trace) || one.Count != two.Count {
					t.Errorf("seed %d: got %d and %d lines, %+v and %+v, want the same", seed, len(one.Trace), len(two.Trace), one.Count, two.Count)
				}
			}
		})
	}
}

// TestShrink has a script fail if it has two certain steps, and nothing else
// counts.
func TestShrink(t *testing.T) {
	t.Parallel()
	whole := sim.Generate(1)
	a, b := whole.Steps[10], whole.Steps[70]
	short := sim.Shrink(whole, 1000, func(s sim.Script) bool {
		return slices.Contains(s.Steps, a) && slices.Contains(s.Steps, b)
	})
	if want := []sim.Step{a, b}; !slices.Equal(short.Steps, want) {
		t.Errorf("got %v, want %v", short.Steps, want)
	}
	if len(whole.Steps) != len(sim.Generate(1).Steps) {
		t.Error("the script itself was changed")
	}
}

// TestScripts holds that scripts have two to eight devices, and all kinds of
// steps.
func TestScripts(t *testing.T) {
	t.Parallel()
	seen := map[sim.Op]bool{}
	for seed := range uint64(200) {
		s := sim.Generate(seed)
		n := 0
		for _, d := range s.Devices {
			n += d
		}
		if n < 2 || n > sim.MaxDevices || s.Joined < 2 || s.Joined > len(s.Devices) {
			t.Errorf("got %d devices, %d of %d users joined", n, s.Joined, len(s.Devices))
		}
		for _, st := range s.Steps {
			seen[st.Op] = true
		}
	}
	for op := sim.OpSay; op <= sim.OpDeed; op++ {
		if !seen[op] {
			t.Errorf("no script has %v", sim.Step{Op: op})
		}
	}
}
