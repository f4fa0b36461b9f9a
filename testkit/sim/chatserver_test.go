package sim_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/testkit/sim"
)

// A relay is what the machine of secret chats sees of its server, in memory.
// Its lines to the devices may be bad: [relay.harm] loses, doubles, reorders
// and delays what waits.
type relay struct {
	now     func() time.Time
	rand    io.Reader
	pos     uint64
	seats   []sim.Seat // in use, in order
	members map[quinta.RoomID][]quinta.UserID
	pairs   map[secretchat.ChatID]*pair
	// queues are what was ever delivered to each device, position by position.
	queues map[sim.Seat][]secretchat.Update
	// fetched is the position from which a device asked last.
	fetched map[sim.Seat]int
	answers map[string]secretchat.Ans // of packets, by sender and random_id
	packets []secretchat.Packet
	misused []string
}

// A pair is one secret chat at the server.
type pair struct {
	id          secretchat.ChatID
	room        quinta.RoomID
	admin       sim.Seat
	participant quinta.UserID
	ga, gb      []byte
	print       int64
	date        int64
	// taker is the device that took the request, if any; asked are those that
	// were shown it.
	taker  sim.Seat
	asked  []sim.Seat
	closed bool
	// doomed: a user left. lapsed: the store of one of its devices was put back.
	doomed, lapsed bool
}

func (p *pair) taken() bool { return p.taker.Device != "" }

// has reports whether a device is one of the two.
func (p *pair) has(s sim.Seat) bool { return p.admin == s || p.taken() && p.taker == s }

// other is the device at the other end.
func (p *pair) other(s sim.Seat) sim.Seat {
	if p.admin == s {
		return p.taker
	}
	return p.admin
}

func (p *pair) side(s sim.Seat) secretchat.Side {
	if p.admin == s {
		return secretchat.Creator
	}
	return secretchat.Other
}

func number(u quinta.UserID) (n int64) {
	sure(fmt.Sscan(string(u), &n))
	return n
}

// between returns the other user of a conversation.
func (n *relay) between(room quinta.RoomID, u quinta.UserID) quinta.UserID {
	for _, m := range n.members[room] {
		if m != u {
			return m
		}
	}
	return ""
}

func (n *relay) push(s sim.Seat, u secretchat.Update) { n.queues[s] = append(n.queues[s], u) }

// state tells a device how far a chat is.
func (n *relay) state(s sim.Seat, p *pair) {
	n.push(s, secretchat.Update{Chat: p.seen(s)})
}

// seen is a chat as a device is shown it.
func (p *pair) seen(s sim.Seat) *secretchat.Chat {
	c := &secretchat.Chat{ID: p.id, Access: int64(p.id) ^ number(s.User), Date: p.date, Admin: number(p.admin.User), Participant: number(p.participant)}
	switch {
	case p.closed || p.taken() && !p.has(s):
		c.Stage = secretchat.StageClosed
	case p.taken():
		c.Stage, c.Public, c.Fingerprint = secretchat.StageOpen, p.gb, p.print
	default:
		c.Stage, c.Public = secretchat.StageRequested, p.ga
	}
	return c
}

func (n *relay) of(u quinta.UserID) (out []sim.Seat) {
	for _, s := range n.seats {
		if s.User == u {
			out = append(out, s)
		}
	}
	return out
}

func (n *relay) handle(s sim.Seat, r secretchat.Req) secretchat.Ans {
	if r.Method == secretchat.MethodDHConfig {
		return n.parameters(r)
	}
	p := n.pairs[r.Chat]
	if p == nil {
		return secretchat.Ans{Code: "CHAT_ID_INVALID"}
	}
	switch r.Method {
	case secretchat.MethodRequest:
		return n.request(s, p, r)
	case secretchat.MethodAccept:
		return n.accept(s, p, r)
	case secretchat.MethodDiscard:
		if !p.closed && (p.has(s) || s.User == p.participant) {
			if !p.doomed && !p.lapsed {
				n.misused = append(n.misused, fmt.Sprintf("%s closes the chat %d, and nothing was wrong", s, p.id))
			}
			n.close(p)
		}
		return secretchat.Ans{}
	case secretchat.MethodSend, secretchat.MethodService:
		return n.deliver(s, p, r)
	}
	return secretchat.Ans{Code: "METHOD_INVALID"}
}

func (n *relay) parameters(r secretchat.Req) secretchat.Ans {
	g, random := secretchat.KnownGroup(), make([]byte, secretchat.Size)
	sure(io.ReadFull(n.rand, random))
	if r.Version == 3 {
		return secretchat.Ans{Version: 3, Random: random}
	}
	return secretchat.Ans{G: g.G(), P: g.P(), Version: 3, Random: random}
}

func (n *relay) request(s sim.Seat, p *pair, r secretchat.Req) secretchat.Ans {
	if p.ga == nil {
		p.ga, p.date, p.asked = bytes.Clone(r.Public), n.now().Unix(), n.of(p.participant)
		for _, to := range p.asked {
			n.state(to, p)
		}
	}
	if !bytes.Equal(p.ga, r.Public) {
		n.misused = append(n.misused, fmt.Sprintf("%s asks twice for chat %d", s, p.id))
	}
	return secretchat.Ans{Chat: p.seen(s)}
}

func (n *relay) accept(s sim.Seat, p *pair, r secretchat.Req) secretchat.Ans {
	switch {
	case p.closed:
		return secretchat.Ans{Code: "ENCRYPTION_ALREADY_DECLINED"}
	case p.taken() && p.taker == s && bytes.Equal(p.gb, r.Public):
		return secretchat.Ans{Chat: p.seen(s)}
	case p.taken():
		return secretchat.Ans{Code: "ENCRYPTION_ALREADY_ACCEPTED"}
	}
	p.taker, p.gb, p.print = s, bytes.Clone(r.Public), r.Fingerprint
	n.state(p.admin, p)
	for _, o := range p.asked {
		if o != s {
			n.state(o, p)
		}
	}
	return secretchat.Ans{Chat: p.seen(s)}
}

// close ends a chat and tells all that know it.
func (n *relay) close(p *pair) {
	p.closed = true
	n.state(p.admin, p)
	if p.taken() {
		n.state(p.taker, p)
		return
	}
	for _, o := range p.asked {
		n.state(o, p)
	}
}

// deliver takes a packet in, once for each random_id of the sender.
func (n *relay) deliver(s sim.Seat, p *pair, r secretchat.Req) secretchat.Ans {
	key := fmt.Sprint(s, " ", r.RandomID)
	if a, ok := n.answers[key]; ok {
		return a
	}
	if p.closed || !p.taken() {
		return secretchat.Ans{Code: "ENCRYPTION_DECLINED"}
	}
	if !p.has(s) {
		return secretchat.Ans{Code: "ENCRYPTION_ID_INVALID"}
	}
	n.pos++
	q := secretchat.Packet{Chat: p.id, RandomID: r.RandomID, Date: n.now().Unix(), Data: bytes.Clone(r.Data)}
	n.packets = append(n.packets, q)
	n.push(p.other(s), secretchat.Update{Packet: &q})
	a := secretchat.Ans{Date: q.Date}
	n.answers[key] = a
	return a
}

// logout forgets a device: its chats end, and requests that only it was shown.
func (n *relay) logout(s sim.Seat) {
	n.seats = slices.DeleteFunc(n.seats, func(o sim.Seat) bool { return o == s })
	for _, id := range slices.Sorted(maps.Keys(n.pairs)) {
		p := n.pairs[id]
		waits := slices.ContainsFunc(p.asked, func(o sim.Seat) bool { return slices.Contains(n.seats, o) })
		if !p.closed && (p.has(s) || p.ga != nil && !p.taken() && !waits) {
			n.close(p)
		}
	}
}

// waiting is what a device gets from a position on.
func (n *relay) waiting(s sim.Seat, from int) secretchat.In {
	n.fetched[s] = from
	in := secretchat.In{Qts: len(n.queues[s])}
	for _, u := range n.queues[s][min(from, in.Qts):] {
		if u != (secretchat.Update{}) {
			in.Updates = append(in.Updates, u)
		}
	}
	return in
}

// harm does something to a packet that waits for a device.
func (n *relay) harm(s sim.Seat, luck *rand.Rand) {
	q := n.queues[s]
	var at []int
	for i := min(n.fetched[s], len(q)); i < len(q); i++ {
		if q[i].Packet != nil {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return
	}
	i, j := at[luck.IntN(len(at))], at[luck.IntN(len(at))]
	switch luck.IntN(4) {
	case 0:
		q[i] = secretchat.Update{} // lost
	case 1:
		n.push(s, q[i]) // doubled
	case 2:
		q[i], q[j] = q[j], q[i] // in another order
	case 3:
		n.push(s, q[i]) // late
		n.queues[s][i] = secretchat.Update{}
	}
}

// wordsIn returns the words that a message of the simulation has, if any.
func wordsIn(s string) string {
	at := strings.Index(s, "words-")
	if at < 0 {
		return ""
	}
	end := at + len("words-")
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	return s[at:end]
}
