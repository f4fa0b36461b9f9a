package sim_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
	"github.com/quinta-chat/quinta/testkit/sim"
)

type (
	chatWorld   = sim.World[secretchat.In, secretchat.Req, secretchat.Ans]
	chatMachine = sim.Machine[secretchat.In, secretchat.Req, secretchat.Ans]
)

// A chatNet is the secret chats of several users. A conversation of the
// simulation is all chats that its two users make for it, one after the other
// and also side by side: a device keeps to one until it is closed.
type chatNet struct {
	sim.PairJudge[secretchat.In, secretchat.Req, secretchat.Ans]
	*relay
	// keys are all that a machine ever had, by their fingerprints, and had
	// those that a device has in a chat.
	keys map[int64][]byte
	had  map[ofChat]map[int64]bool
	// sealed are the packets that were seen, and said the messages in them.
	sealed map[string]string
	said   map[string]*spoken
	// number is what has a number of a chat, under the key that came into use
	// last, with the highest layer.
	numbers map[string]int64
	under   map[ofChat][]int64
	layers  map[ofChat]int
	// taken are the messages that came to the server.
	taken []sim.Accepted
	// fault is what is planted.
	fault chatFault
}

// A spoken message is one that a machine sealed.
type spoken struct {
	chat secretchat.ChatID
	from sim.Seat
	// deleted: the sender has asked for that.
	deleted bool
}

type ofChat struct {
	sim.Seat
	chat secretchat.ChatID
}

// A chatFault is planted in a world; its fields may be nil.
type chatFault struct {
	fetch    func(s sim.Seat, in secretchat.In) secretchat.In
	outgoing func(reqs []secretchat.Req) []secretchat.Req
	events   func(events []e2ee.Event) []e2ee.Event
	wrap     func(tx e2ee.Tx) e2ee.Tx
}

var (
	_ chatWorld                                               = (*chatNet)(nil)
	_ sim.Pairing                                             = (*chatNet)(nil)
	_ sim.Doer[secretchat.In, secretchat.Req, secretchat.Ans] = (*chatNet)(nil)
)

func newChats(out sim.Outside) chatWorld { return newFaultyChats(out, chatFault{}) }

func newFaultyChats(out sim.Outside, f chatFault) chatWorld {
	return &chatNet{
		relay: &relay{
			now: out.Now, rand: out.Rand, members: map[quinta.RoomID][]quinta.UserID{}, pairs: map[secretchat.ChatID]*pair{},
			queues: map[sim.Seat][]secretchat.Update{}, fetched: map[sim.Seat]int{}, answers: map[string]secretchat.Ans{},
		},
		keys: map[int64][]byte{}, had: map[ofChat]map[int64]bool{}, sealed: map[string]string{}, said: map[string]*spoken{},
		numbers: map[string]int64{}, under: map[ofChat][]int64{}, layers: map[ofChat]int{}, fault: f,
	}
}

func (n *chatNet) Pairs() {}

func (n *chatNet) User(i int) quinta.UserID { return secretchat.UserID(int64(1000 + i)) }
func (n *chatNet) Room(i int) quinta.RoomID { return quinta.RoomID(fmt.Sprint("with-", i)) }
func (n *chatNet) Login(s sim.Seat)         { n.seats = append(n.seats, s) }
func (n *chatNet) Logout(s sim.Seat)        { n.logout(s) }

func (n *chatNet) Join(room quinta.RoomID, u quinta.UserID) {
	n.members[room] = append(n.members[room], u)
}

// Leave dooms the chats of a conversation: the user closes them.
func (n *chatNet) Leave(room quinta.RoomID, _ quinta.UserID) {
	for _, p := range n.pairs {
		p.doomed = p.doomed || p.room == room && p.ga != nil
	}
}

func (n *chatNet) Machine(tx e2ee.Tx, env e2ee.Env, s sim.Seat, restored bool) (chatMachine, error) {
	m := &seated{secretchat.New(env, number(s.User), s.Device), n, s}
	if !restored {
		return m, nil
	}
	for _, p := range n.pairs {
		p.lapsed = p.lapsed || p.has(s) || p.participant == s.User && !p.taken()
	}
	_, err := m.Restored(tx)
	return m, err
}

// Restorable is every copy: a machine is told that it is one.
func (n *chatNet) Restorable(e2ee.Tx, sim.Seat) (bool, error) { return true, nil }

func (n *chatNet) Handle(s sim.Seat, r secretchat.Req) secretchat.Ans {
	a := n.handle(s, r)
	if text := n.sealed[packetKey(s, r)]; text != "" && a.Code == "" && !slices.ContainsFunc(n.taken, func(t sim.Accepted) bool { return t.Txn == txnOf(text) }) {
		n.taken = append(n.taken, sim.Accepted{Room: n.pairs[r.Chat].room, Txn: txnOf(text), Pos: n.pos})
	}
	return a
}

func (n *chatNet) Lost() (secretchat.Ans, bool) { return secretchat.Ans{}, false }

func (n *chatNet) Ask(tx e2ee.Tx, s sim.Seat) (string, error) {
	at, _, err := secretchat.New(e2ee.Env{Now: n.now}, number(s.User), s.Device).Position(tx)
	if err != nil || at == 0 {
		return "", err
	}
	return fmt.Sprint(at), nil
}

func (n *chatNet) Fetch(s sim.Seat, from string) secretchat.In {
	at := 0
	if from != "" {
		sure(fmt.Sscan(from, &at))
	}
	in := n.waiting(s, at)
	if n.fault.fetch != nil {
		in = n.fault.fetch(s, in)
	}
	return in
}

// Everything gives a device every packet, as if it had come in each of its
// chats.
func (n *chatNet) Everything(s sim.Seat) (func(chatMachine, e2ee.Tx) ([]e2ee.Event, error), bool) {
	return func(m chatMachine, tx e2ee.Tx) ([]e2ee.Event, error) {
		chats, err := m.(*seated).Chats(tx)
		if err != nil {
			return nil, err
		}
		var in secretchat.In
		for _, p := range n.packets {
			for _, c := range chats {
				p.Chat = c.ID
				in.Updates = append(in.Updates, secretchat.Update{Packet: &p})
			}
		}
		return m.(*seated).Machine.Receive(tx, in)
	}, true
}

func (n *chatNet) Message(room quinta.RoomID, txn quinta.TxnID, text string) quinta.Message {
	return quinta.Message{Room: room, Txn: txn, Kind: quinta.MessageText, Text: text}
}

func (n *chatNet) Text(m quinta.Message) string { return m.Text }

// Renew begins the exchange of a new key in the open chats of a conversation.
func (n *chatNet) Renew(m chatMachine, tx e2ee.Tx, room quinta.RoomID) error {
	chats, err := m.(*seated).Chats(tx)
	for _, c := range chats {
		if err == nil && c.State == secretchat.StateOpen && n.pairs[c.ID].room == room {
			err = m.(*seated).Rekey(tx, quinta.RoomID(c.ID.String()))
		}
	}
	return err
}

func (n *chatNet) Misused() []string        { return n.misused }
func (n *chatNet) Accepted() []sim.Accepted { return n.taken }

// Entitled is the device at the other end of a chat. It need not read what was
// deleted, nor what was under way in a chat that was closed.
func (n *chatNet) Entitled(s sim.Seat, m sim.Accepted, _ uint64) (must, may bool) {
	for text, w := range n.said {
		if p := n.pairs[w.chat]; txnOf(text) == m.Txn {
			to := p.other(w.from) == s
			return to && !p.closed && !w.deleted, to || w.from == s
		}
	}
	return false, false
}

func txnOf(text string) quinta.TxnID { return quinta.TxnID("txn" + strings.TrimPrefix(text, "words-")) }

// Deed deletes what was said last, also before the peer has it, or harms what
// is on its way to the device.
func (n *chatNet) Deed(m chatMachine, tx e2ee.Tx, s sim.Seat, room quinta.RoomID, luck *rand.Rand) ([]e2ee.Event, error) {
	if luck.IntN(3) > 0 {
		n.harm(s, luck)
		return nil, nil
	}
	raw, err := tx.Get(keyLast + string(room))
	if err != nil || raw == nil {
		return nil, err
	}
	var last lastSaid
	decode(raw, &last)
	info, err := m.(*seated).Chat(tx, last.Chat)
	if err != nil || info.State != secretchat.StateOpen {
		return nil, err
	}
	n.said[last.Text].deleted = true
	err = m.(*seated).Machine.Send(tx, quinta.Message{Room: last.Chat, Kind: quinta.MessageRedaction, Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: last.ID}})
	n.note(tx, s)
	return nil, err
}

func packetKey(s sim.Seat, r secretchat.Req) string {
	return fmt.Sprint(s, " ", r.Chat, " ", short(r.Data))
}

// Look opens a packet with the keys that its sender had.
func (n *chatNet) Look(_ e2ee.Tx, s sim.Seat, r secretchat.Req) sim.Sight {
	sight := sim.Sight{Name: string(r.Method), Wire: append(encode(r), r.Data...)}
	if r.Data == nil {
		return sight
	}
	key := packetKey(s, r)
	if _, known := n.sealed[key]; !known {
		n.sealed[key] = n.open(s, r)
	}
	if text := n.sealed[key]; text != "" && r.Local {
		sight.Txn = txnOf(text)
	}
	print := sure(secretchat.Under(r.Data))
	sight.Uses = []sim.Use{
		{Key: fmt.Sprintf("key %x of message %x", uint64(print), r.Data[8:24]), For: short(r.Data)},
		{Key: fmt.Sprintf("random_id %d of %s in %d", r.RandomID, s, r.Chat), For: short(r.Data)},
	}
	return sight
}

// open notes what a new packet has in it: its number, its layer, its key and
// the words.
func (n *chatNet) open(s sim.Seat, r secretchat.Req) (text string) {
	at, print := ofChat{s, r.Chat}, sure(secretchat.Under(r.Data))
	raw, ok := n.keys[print]
	if !ok {
		n.misused = append(n.misused, fmt.Sprintf("%s seals under a key that it never had", s))
		return ""
	}
	body, err := secretchat.Open(sure(secretchat.ParseKey(raw)), n.pairs[r.Chat].side(s), r.Data)
	if err != nil {
		n.misused = append(n.misused, fmt.Sprintf("%s: %s: %v", s, r.Method, err))
		return ""
	}
	head, content, err := secretchat.Parse(body)
	if err != nil {
		panic(err)
	}
	if used := n.under[at]; len(used) == 0 || used[len(used)-1] != print {
		if slices.Contains(used, print) {
			n.misused = append(n.misused, fmt.Sprintf("%s seals in chat %d under a key that was replaced", s, r.Chat))
		}
		n.under[at] = append(used, print)
	}
	if head.Layer < n.layers[at] {
		n.misused = append(n.misused, fmt.Sprintf("%s falls from layer %d to %d", s, n.layers[at], head.Layer))
	}
	n.layers[at] = max(n.layers[at], head.Layer)
	var id int64
	var deletes []int64
	switch m := content.(type) {
	case *schema.DecryptedMessage:
		id, text = m.RandomID, wordsIn(m.Message)
	case *schema.DecryptedMessageService:
		id = m.RandomID
		if d, ok := m.Action.(*schema.DecryptedMessageActionDeleteMessages); ok {
			deletes = d.RandomIDs
		}
	}
	number := fmt.Sprint(s, " ", r.Chat, " ", head.OutSeq)
	if old, ok := n.numbers[number]; ok && old != id && !slices.Contains(deletes, old) {
		n.misused = append(n.misused, fmt.Sprintf("%s seals two messages under the number %d of chat %d", s, head.OutSeq, r.Chat))
	}
	n.numbers[number] = id
	if text != "" && n.said[text] == nil {
		n.said[text] = &spoken{chat: r.Chat, from: s}
	}
	return text
}

// note remembers the keys of a device, and holds that those it is done with
// have gone from its store.
func (n *chatNet) note(tx e2ee.Tx, s sim.Seat) {
	for e, err := range tx.All("secretchat/chat/") {
		if err != nil {
			return // it died
		}
		var c struct {
			ID             secretchat.ChatID
			Key, Old, Next []byte
		}
		sure(0, json.Unmarshal(e.Value, &c))
		at, has := ofChat{s, c.ID}, map[int64]bool{}
		for _, raw := range [][]byte{c.Key, c.Old, c.Next} {
			if raw != nil {
				print := sure(secretchat.ParseKey(raw)).Fingerprint()
				has[print], n.keys[print] = true, raw
			}
		}
		for print := range n.had[at] {
			if !has[print] && stored(tx, n.keys[print]) {
				n.misused = append(n.misused, fmt.Sprintf("%s still stores a key of chat %d that it is done with", s, c.ID))
			}
		}
		n.had[at] = has
	}
}

// stored reports whether the bytes of a key are anywhere in a store.
func stored(tx e2ee.Tx, key []byte) bool {
	for e, err := range tx.All("") {
		if err == nil && (bytes.Contains(e.Value, key) || bytes.Contains(e.Value, []byte(base64.StdEncoding.EncodeToString(key)))) {
			return true
		}
	}
	return false
}
