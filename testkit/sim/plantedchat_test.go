package sim_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/testkit/sim"
)

// A hoarding transaction keeps a copy of what it overwrites.
type hoarding struct{ e2ee.Tx }

func (t hoarding) Put(key string, value []byte) error {
	old, err := t.Get(key)
	if err != nil {
		return err
	}
	if old != nil {
		if err := t.Tx.Put("hoard/"+key, old); err != nil {
			return err
		}
	}
	return t.Tx.Put(key, value)
}

// A full transaction has an error of its own when a message is stored.
type full struct{ e2ee.Tx }

func (t full) Put(key string, value []byte) error {
	if strings.HasPrefix(key, "secretchat/sent/") {
		return errors.New("no more room")
	}
	return t.Tx.Put(key, value)
}

// A frozen transaction does not keep the record of a chat that has sent two
// messages.
type frozen struct{ e2ee.Tx }

func (t frozen) Put(key string, value []byte) error {
	old, err := t.Get(key)
	if err != nil || strings.HasPrefix(key, "secretchat/chat/") && strings.Contains(string(old), `"out":2,`) {
		return err
	}
	return t.Tx.Put(key, value)
}

// TestPlantedFaultsOfSecretChats plants a fault against each rule that secret
// chats have, and sees it reported.
func TestPlantedFaultsOfSecretChats(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule  string
		fault chatFault
	}{
		"nothing": {"", chatFault{}},
		"the server loses the messages to one device": {sim.RuleReads, chatFault{fetch: func(s sim.Seat, in secretchat.In) secretchat.In {
			in.Updates = slices.DeleteFunc(slices.Clone(in.Updates), func(u secretchat.Update) bool { return s.Device == "D1" && u.Packet != nil })
			return in
		}}},
		"a machine shows messages twice": {sim.RuleReads, chatFault{events: func(events []e2ee.Event) []e2ee.Event { return append(events, events...) }}},
		"a machine does not tell of messages": {sim.RuleReads, chatFault{events: func(events []e2ee.Event) []e2ee.Event {
			return slices.DeleteFunc(events, func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && strings.HasSuffix(e.Message.Text, "7") })
		}}},
		"words leave in clear": {sim.RuleSecret, chatFault{outgoing: func(reqs []secretchat.Req) []secretchat.Req {
			for i := range reqs {
				reqs[i].User = &secretchat.Person{Name: "words-0"}
			}
			return reqs
		}}},
		"the numbers of a chat are not kept": {sim.RuleKeys, chatFault{wrap: func(tx e2ee.Tx) e2ee.Tx { return frozen{tx} }}},
		"old keys are kept":                  {sim.RuleKeys, chatFault{wrap: func(tx e2ee.Tx) e2ee.Tx { return hoarding{tx} }}},
		"random_ids come again": {sim.RuleKeys, chatFault{outgoing: func(reqs []secretchat.Req) []secretchat.Req {
			for i := range reqs {
				reqs[i].RandomID = 1
			}
			return reqs
		}}},
		"messages are shown in another order": {sim.RuleOrder, chatFault{events: func(events []e2ee.Event) []e2ee.Event {
			slices.Reverse(events)
			return events
		}}},
		"a machine gives up": {sim.RuleMachine, chatFault{wrap: func(tx e2ee.Tx) e2ee.Tx { return full{tx} }}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := sim.Bind("faulty", func(out sim.Outside) chatWorld { return newFaultyChats(out, c.fault) })
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
