package sim_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/testkit/sim"
)

type (
	rcWorld   = sim.World[rocketchat.In, rocketchat.Req, rocketchat.Ans]
	rcMachine = sim.Machine[rocketchat.In, rocketchat.Req, rocketchat.Ans]
)

// A rcNet is the encrypted groups of a workspace, in which every member is an owner.
type rcNet struct {
	sim.PairJudge[rocketchat.In, rocketchat.Req, rocketchat.Ans]
	*workspace
	txns map[quinta.MessageID]quinta.TxnID
}

var _ rcWorld = (*rcNet)(nil)

func newRocketChat(out sim.Outside) rcWorld {
	return &rcNet{workspace: newWorkspace(out), txns: map[quinta.MessageID]quinta.TxnID{}}
}

func (n *rcNet) User(i int) quinta.UserID { return rcUserOf(i) }
func (n *rcNet) Room(i int) quinta.RoomID { return quinta.RoomID(fmt.Sprintf("room%d", i)) }

func (n *rcNet) Login(s sim.Seat)  { n.devices[s.User]++ }
func (n *rcNet) Logout(s sim.Seat) { n.devices[s.User]-- }

func (n *rcNet) Join(room quinta.RoomID, u quinta.UserID)  { n.join(room, u) }
func (n *rcNet) Leave(room quinta.RoomID, u quinta.UserID) { n.leave(room, u) }

// An attended machine has a person: they type the password when it is asked for, and
// replace the key of a room in which nobody has it any more.
type attended struct {
	*rocketchat.Machine
	n *rcNet
}

// Receive implements e2ee.Machine.
func (a *attended) Receive(tx e2ee.Tx, in rocketchat.In) ([]e2ee.Event, error) {
	events, err := a.Machine.Receive(tx, in)
	if err != nil {
		return nil, err
	}
	if keys, err := a.Keys(tx); err != nil {
		return nil, err
	} else if keys.Phase == rocketchat.PhaseLocked {
		more, err := a.Unlock(tx, rcPassword)
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
	}
	rooms, err := a.Rooms(tx)
	for _, r := range rooms {
		if err == nil && !r.Left && !r.HasKey && a.n.rooms[r.ID] != nil && a.n.lost(r.ID) {
			err = a.n.Renew(a, tx, r.ID)
		}
	}
	return events, err
}

func (n *rcNet) Machine(tx e2ee.Tx, env e2ee.Env, s sim.Seat, restored bool) (rcMachine, error) {
	m := &attended{rocketchat.New(env, rcAuthor(s.User)), n}
	if restored {
		return m, m.Restored(tx)
	}
	return m, nil
}

// Restorable is a copy that has received.
func (n *rcNet) Restorable(tx e2ee.Tx, s sim.Seat) (bool, error) {
	at, err := n.Knows(tx, s)
	return at != 0, err
}

func (n *rcNet) Handle(s sim.Seat, r rocketchat.Req) rocketchat.Ans { return n.handle(s, r) }
func (n *rcNet) Lost() (rocketchat.Ans, bool)                       { return rocketchat.Ans{}, false }

func (n *rcNet) Ask(tx e2ee.Tx, s sim.Seat) (string, error) {
	at, err := n.Knows(tx, s)
	if err != nil || at == 0 {
		return "", err
	}
	return fmt.Sprint(at), nil
}

func (n *rcNet) Fetch(s sim.Seat, from string) rocketchat.In {
	if from == "" {
		return n.fetch(s, 0)
	}
	return n.fetch(s, rocketchat.Date(sure(strconv.ParseInt(from, 10, 64))))
}

// Everything gives a device all messages of all rooms.
func (n *rcNet) Everything(sim.Seat) (func(rcMachine, e2ee.Tx) ([]e2ee.Event, error), bool) {
	return func(m rcMachine, tx e2ee.Tx) ([]e2ee.Event, error) {
		return m.Receive(tx, rocketchat.In{Messages: n.messages})
	}, true
}

func (n *rcNet) Message(room quinta.RoomID, txn quinta.TxnID, text string) quinta.Message {
	return quinta.Message{Room: room, Txn: txn, Kind: quinta.MessageText, Text: text}
}

func (n *rcNet) Text(m quinta.Message) string { return m.Text }

// Renew has the key of a room replaced, if the device knows the room and its own
// keys by then.
func (n *rcNet) Renew(m rcMachine, tx e2ee.Tx, room quinta.RoomID) error {
	err := m.(*attended).Rotate(tx, room)
	for _, early := range []error{rocketchat.ErrUnknownRoom, rocketchat.ErrNotEncrypted, rocketchat.ErrNoKeys} {
		if errors.Is(err, early) {
			return nil
		}
	}
	return err
}

func (n *rcNet) Misused() []string { return nil }

func (n *rcNet) Accepted() []sim.Accepted {
	var out []sim.Accepted
	for _, m := range n.messages {
		if m.Type == rocketchat.TypeE2E {
			out = append(out, sim.Accepted{Room: m.Room, Txn: n.txns[m.ID], Pos: uint64(m.TS)})
		}
	}
	return out
}

func (n *rcNet) Knows(tx e2ee.Tx, s sim.Seat) (uint64, error) {
	at, err := rocketchat.New(e2ee.Env{}, rcAuthor(s.User)).Since(tx)
	return uint64(at), err
}

// Entitled are, for what is sent while they are in a room, its members: each device
// from when it first received. A copy of a key that was replaced before a member had
// accepted it is gone, and so is any but the ten newest. Whoever comes later gets the
// former keys too. Whoever had left when the sender knew of it reads nothing.
func (n *rcNet) Entitled(s sim.Seat, m sim.Accepted, knows uint64) (must, may bool) {
	r, at := n.rooms[m.Room], rocketchat.Date(m.Pos)
	if r == nil {
		return false, false
	}
	for _, p := range r.spans[s.User] {
		must = must || p.open && p.from <= at && n.began[s] != 0 && n.began[s] < at
		may = may || p.open || p.to > rocketchat.Date(knows)
	}
	return must && n.author[at] != s && n.readable(r, s.User, at), may
}

// readable reports whether a message is sealed with the present key of a room, or with
// one of the former ones that the server keeps for a member.
func (n *rcNet) readable(r *rcRoom, u quinta.UserID, at rocketchat.Date) bool {
	for _, m := range n.messages {
		if m.TS == at {
			id := sure(rocketchat.ParseContent(m.Content)).KeyID
			age := len(r.keys) - 1 - slices.Index(r.keys, id)
			return age == 0 || age <= rcOldKeys && r.subs[u].had[id]
		}
	}
	return false
}

// Look finds the message of a request in the outbox of its sender, and the nonce
// under which it is sealed.
func (n *rcNet) Look(tx e2ee.Tx, s sim.Seat, r rocketchat.Req) sim.Sight {
	sight := sim.Sight{Name: string(r.Kind), Wire: encode(r)}
	if r.KeyID != "" {
		sight.Name += " " + r.KeyID[:8]
	}
	if r.Kind != rocketchat.ReqSend {
		return sight
	}
	for e, err := range tx.All("out/") {
		if err != nil {
			panic(err)
		}
		var o struct{ Message struct{ ID, Txn string } }
		if decode(e.Value, &o); o.Message.ID == string(r.Message.ID) {
			sight.Txn = quinta.TxnID(o.Message.Txn)
			n.txns[r.Message.ID] = sight.Txn
		}
	}
	if c, err := rocketchat.ParseContent(r.Message.Content); err == nil {
		sight.Name += " under " + c.KeyID[:8]
		sight.Uses = []sim.Use{{Key: "room key " + c.KeyID + " with the nonce " + c.IV, For: c.Ciphertext}}
	}
	return sight
}
