package sim_test

import (
	"encoding/asn1"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/sim"
)

type (
	caWorld   = sim.World[ca.In, ca.Req, ca.Ans]
	caMachine = sim.Machine[ca.In, ca.Req, ca.Ans]
)

// A caNet is the conversations of several users under a certificate authority.
type caNet struct {
	*authority
	txns map[quinta.MessageID]quinta.TxnID
}

var _ caWorld = (*caNet)(nil)

func newCA(out sim.Outside) caWorld {
	return &caNet{newAuthority(out), map[quinta.MessageID]quinta.TxnID{}}
}

func (n *caNet) User(i int) quinta.UserID { return quinta.UserID(fmt.Sprintf("u%d@%s", i, theDomain)) }

func (n *caNet) Room(i int) quinta.RoomID {
	return quinta.RoomID(fmt.Sprintf("g_simulation_of_all_%d", i))
}

func (n *caNet) Login(s sim.Seat) { n.boxes[s] = nil }

// Logout ends the keys of a device and tells the others.
func (n *caNet) Logout(s sim.Seat) {
	delete(n.boxes, s)
	for _, k := range n.keys {
		if k.seat == s && !k.out {
			n.revoke(k, cert.ReasonCessation)
			n.tell(k, "revoked")
		}
	}
}

func (n *caNet) Join(room quinta.RoomID, u quinta.UserID) {
	n.next()
	n.members[room] = append(n.members[room], u)
}

func (n *caNet) Leave(room quinta.RoomID, u quinta.UserID) {
	at := n.next()
	for s := range n.boxes {
		if k := (told{s, room}); s.User == u && !n.told[k] {
			n.late[k] = at
		}
	}
	n.members[room] = slices.DeleteFunc(n.members[room], func(m quinta.UserID) bool { return m == u })
}

// Machine tells a new device that it is one. No device seals old messages
// again for others, so that who may read is what it was when they were sent.
func (n *caNet) Machine(tx e2ee.Tx, env e2ee.Env, s sim.Seat, restored bool) (caMachine, error) {
	m := ca.New(env, s.User, s.Device, ca.Policy{Resealing: ca.ResealNever})
	if restored {
		return m, m.Restored(tx)
	}
	return m, m.Begin(tx, ca.Login{New: true, Delivered: n.pos})
}

// Restorable is a copy that has all keys with which the directory lists the
// device.
func (n *caNet) Restorable(tx e2ee.Tx, s sim.Seat) (bool, error) {
	keys, err := ca.New(e2ee.Env{Now: n.now, Rand: n.rand}, s.User, s.Device, ca.Policy{}).OwnKeys(tx)
	if err != nil {
		return false, err
	}
	has := map[cert.Fingerprint]bool{}
	for _, k := range keys {
		has[k.ID] = true
	}
	listed := false
	for _, k := range n.keys {
		if k.seat == s && !k.out {
			if listed = true; !has[k.ID] {
				return false, nil
			}
		}
	}
	return listed, nil
}

func (n *caNet) Handle(s sim.Seat, r ca.Req) ca.Ans { return n.handle(s, r) }
func (n *caNet) Lost() (ca.Ans, bool)               { return ca.Ans{}, false }

func (n *caNet) Ask(tx e2ee.Tx, s sim.Seat) (string, error) {
	at, err := ca.New(e2ee.Env{}, s.User, s.Device, ca.Policy{}).Since(tx)
	if err != nil || at == 0 {
		return "", err
	}
	return fmt.Sprint(at), nil
}

func (n *caNet) Fetch(s sim.Seat, from string) ca.In {
	if from == "" {
		return n.mailbox(s, 0)
	}
	return n.mailbox(s, quinta.Pos(sure(strconv.ParseInt(from, 10, 64))))
}

// Everything gives a device all messages, as if they were sent to it.
func (n *caNet) Everything(s sim.Seat) (func(caMachine, e2ee.Tx) ([]e2ee.Event, error), bool) {
	return func(m caMachine, tx e2ee.Tx) ([]e2ee.Event, error) {
		at, err := m.(*ca.Machine).Since(tx)
		if err != nil {
			return nil, err
		}
		in := ca.In{After: at, Next: at}
		for _, t := range n.messages {
			in.Next++
			it := t.item
			it.Pos = in.Next
			in.Items = append(in.Items, it)
		}
		return m.Receive(tx, in)
	}, true
}

func (n *caNet) Message(room quinta.RoomID, txn quinta.TxnID, text string) quinta.Message {
	return quinta.Message{Room: room, Txn: txn, Kind: quinta.MessageText, Text: text}
}

func (n *caNet) Text(m quinta.Message) string { return m.Text }

// Renew renews the keys of the device, which are those of all conversations.
func (n *caNet) Renew(m caMachine, tx e2ee.Tx, _ quinta.RoomID) error {
	return m.(*ca.Machine).Renew(tx)
}

func (n *caNet) Misused() []string { return n.misused }

func (n *caNet) Accepted() []sim.Accepted {
	var out []sim.Accepted
	for _, t := range n.messages {
		out = append(out, sim.Accepted{Room: t.item.Conv, Txn: n.txns[t.item.ID], Pos: uint64(t.item.Pos)})
	}
	return out
}

// Knows is all: the server takes a message only if it is sealed for whoever
// may read it then.
func (n *caNet) Knows(e2ee.Tx, sim.Seat) (uint64, error) { return math.MaxUint64, nil }

// Entitled are the devices whose keys a message was sealed for; the sender has
// it anyway. One that never got to know the conversation before its user left
// it cannot judge the message, and need not show it.
func (n *caNet) Entitled(s sim.Seat, m sim.Accepted, _ uint64) (must, may bool) {
	for _, t := range n.messages {
		if t.item.Pos == quinta.Pos(m.Pos) {
			k := told{s, t.item.Conv}
			return t.sealedFor[s] && t.seat != s && n.told[k] && t.item.Pos > n.late[k], t.sealedFor[s] || t.seat == s
		}
	}
	return false, false
}

func (n *caNet) Listed(m caMachine, tx e2ee.Tx, u quinta.UserID) ([]string, error) {
	devices, err := m.(*ca.Machine).Devices(tx, u)
	var out []string
	for _, d := range devices {
		out = append(out, string(d.ID))
	}
	slices.Sort(out)
	return out, err
}

func (n *caNet) Published(u quinta.UserID) []string {
	var out []string
	for _, k := range n.keys {
		if k.User == u && k.Use != "sign" && n.state(k) == "active" {
			out = append(out, string(k.Device))
		}
	}
	slices.Sort(out)
	return out
}

// Look finds the message of a delivery in the outbox of its sender, and the
// single-use keys with which it is sealed.
func (n *caNet) Look(tx e2ee.Tx, s sim.Seat, r ca.Req) sim.Sight {
	sight := sim.Sight{Name: string(r.Kind), Wire: encode(r)}
	if r.Kind != ca.ReqMessage {
		return sight
	}
	sight.Wire = append(sight.Wire, r.Deliver.Body...)
	for e, err := range tx.All("outbox/") {
		var o struct {
			ID  quinta.MessageID
			Txn quinta.TxnID
		}
		if err != nil {
			panic(err)
		}
		if decode(e.Value, &o); o.ID == r.Message && r.Deliver.Kind == ca.KindMessage {
			n.txns[o.ID], sight.Txn = o.Txn, o.Txn
		}
	}
	if r.Deliver.Form == ca.FormCMS {
		for _, point := range points(r.Deliver.Body, nil) {
			sight.Uses = append(sight.Uses, sim.Use{Key: "ephemeral key " + short(point), For: short(r.Deliver.Body)})
		}
	}
	return sight
}

// points returns the points of the curve that stand in DER: in a sealed message
// these are the single-use keys of its sender.
func points(der []byte, out [][]byte) [][]byte {
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return out
		}
		if v.IsCompound {
			out = points(v.Bytes, out)
		} else if v.Tag == asn1.TagBitString && len(v.Bytes) == 66 && v.Bytes[1] == 4 {
			out = append(out, v.Bytes[1:])
		}
		der = rest
	}
	return out
}
