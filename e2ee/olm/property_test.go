package olm_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/quinta-chat/quinta/e2ee/olm"
)

// A flight is a sealed message on a network that loses, repeats, reorders and
// changes what it carries.
type flight struct {
	text   string
	sealed olm.Sealed
	opened bool
}

// A party is one end of the conversation.
type party struct {
	name    string
	session *olm.Session
	// coming is what the other side sealed.
	coming []*flight
}

// TestConversationProperty lets two sides talk in any order, and holds: what
// arrives for the first time and within the limits is read; nothing is read
// twice; a refusal changes nothing; a stored state is the state.
func TestConversationProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		alice, bob := pair(t)
		parties := []*party{{name: "alice", session: alice}, {name: "bob", session: bob}}
		random := source(rapid.IntRange(1000, 60000).Draw(rt, "seed"))
		count := 0
		rt.Repeat(map[string]func(*rapid.T){
			"seal": func(rt *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(rt, "from")
				for range rapid.IntRange(1, 5).Draw(rt, "n") {
					count++
					f := &flight{text: fmt.Sprint(parties[i].name, " says ", count)}
					f.sealed = seal(t, parties[i].session, random, f.text)
					parties[1-i].coming = append(parties[1-i].coming, f)
				}
			},
			"deliver": func(rt *rapid.T) {
				p := rapid.SampledFrom(parties).Draw(rt, "to")
				if len(p.coming) == 0 {
					rt.Skip("nothing is coming")
				}
				// Of late messages only so many are within the limits.
				recent := p.coming[max(0, len(p.coming)-olm.MaxReceivingChains):]
				deliver(rt, t, p, rapid.SampledFrom(recent).Draw(rt, "message"))
			},
			"tamper": func(rt *rapid.T) {
				p := rapid.SampledFrom(parties).Draw(rt, "to")
				if len(p.coming) == 0 {
					rt.Skip("nothing is coming")
				}
				tamper(rt, t, p, rapid.SampledFrom(p.coming).Draw(rt, "message"))
			},
			"restart": func(rt *rapid.T) {
				p := rapid.SampledFrom(parties).Draw(rt, "who")
				state := p.session.Encode()
				back, err := olm.DecodeSession(state)
				if err != nil || !bytes.Equal(back.Encode(), state) {
					rt.Fatalf("got another state after decoding, %v", err)
				}
				p.session = back
			},
		})
	})
}

func deliver(rt *rapid.T, t *testing.T, p *party, f *flight) {
	before := p.session.Encode()
	got, err := p.session.Open(parse(t, f.sealed))
	switch {
	case f.opened:
		if !errors.Is(err, olm.ErrNoMessageKey) && !errors.Is(err, olm.ErrBadMAC) || !bytes.Equal(before, p.session.Encode()) {
			rt.Fatalf("%q again: got %q, %v, want a refusal without a change", f.text, got, err)
		}
	case err != nil || string(got) != f.text:
		rt.Fatalf("got %q, %v, want %q", got, err, f.text)
	default:
		f.opened = true
	}
}

func tamper(rt *rapid.T, t *testing.T, p *party, f *flight) {
	body := bytes.Clone(parse(t, f.sealed).Bytes())
	body[rapid.IntRange(0, len(body)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
	before := p.session.Encode()
	m, err := olm.ParseMessage(body)
	if err == nil {
		_, err = p.session.Open(m)
	}
	if err == nil || !bytes.Equal(before, p.session.Encode()) {
		rt.Fatalf("got %v for a changed message, want a refusal without a change", err)
	}
}
