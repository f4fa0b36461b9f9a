package sim_test

import (
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/testkit/sim"
)

// A seated machine is that of one device, with a user that takes every request
// up, and asks for another chat when one is closed.
type seated struct {
	*secretchat.Machine
	n    *chatNet
	seat sim.Seat
}

// What the user's program keeps beside the machine.
const (
	keyPin  = "sim/pin/"  // by conversation: the chat for it
	keyLast = "sim/last/" // by conversation: what was said last
	keyGone = "sim/gone/" // by message: it was deleted
)

// lastSaid is what a device said last in a conversation.
type lastSaid struct {
	Chat quinta.RoomID
	ID   quinta.MessageID
	Text string
}

// planted gives a fault its transaction.
func (m *seated) planted(tx e2ee.Tx) e2ee.Tx {
	if m.n.fault.wrap != nil {
		return m.n.fault.wrap(tx)
	}
	return tx
}

func (m *seated) Send(tx e2ee.Tx, msg quinta.Message) error {
	defer m.n.note(tx, m.seat)
	room, err := m.pin(tx, msg.Room)
	if err != nil {
		return err
	}
	msg.Room = room
	return m.Machine.Send(m.planted(tx), msg)
}

// pin returns the chat that this device uses for a conversation, and asks for
// one if there is none.
func (m *seated) pin(tx e2ee.Tx, room quinta.RoomID) (quinta.RoomID, error) {
	to := m.n.between(room, m.seat.User)
	if to == "" {
		return "", fmt.Errorf("%s is not in %s", m.seat, room)
	}
	raw, err := tx.Get(keyPin + string(room))
	if err != nil {
		return "", err
	}
	chats, err := m.Chats(tx)
	if err != nil {
		return "", err
	}
	var free quinta.RoomID
	for _, c := range chats {
		id := quinta.RoomID(c.ID.String())
		if c.State == secretchat.StateClosed || c.State == secretchat.StateRequested || m.n.pairs[c.ID].room != room {
			continue
		}
		if string(raw) == string(id) {
			return id, nil
		}
		if free == "" {
			free = id
		}
	}
	if free == "" {
		id, err := m.Create(tx, secretchat.Person{ID: number(to)})
		if err != nil {
			return "", err
		}
		m.n.pairs[id] = &pair{id: id, room: room, admin: m.seat, participant: to}
		free = quinta.RoomID(id.String())
	}
	return free, tx.Put(keyPin+string(room), []byte(free))
}

func (m *seated) Outgoing(tx e2ee.Tx) ([]secretchat.Req, error) {
	defer m.n.note(tx, m.seat)
	if err := m.decide(tx); err != nil {
		return nil, err
	}
	reqs, err := m.Machine.Outgoing(m.planted(tx))
	if m.n.fault.outgoing != nil {
		reqs = m.n.fault.outgoing(reqs)
	}
	return reqs, err
}

// decide takes up requests, and closes what the user left.
func (m *seated) decide(tx e2ee.Tx) error {
	chats, err := m.Chats(tx)
	if err != nil {
		return err
	}
	for _, c := range chats {
		room := quinta.RoomID(c.ID.String())
		switch p := m.n.pairs[c.ID]; {
		case c.State == secretchat.StateClosed:
		case p.doomed:
			_, err = m.Close(tx, room, false)
		case c.State == secretchat.StateRequested:
			_, err = m.Accept(tx, room)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *seated) Receive(tx e2ee.Tx, in secretchat.In) ([]e2ee.Event, error) {
	defer m.n.note(tx, m.seat)
	events, err := m.Machine.Receive(m.planted(tx), in)
	if err != nil {
		return nil, err
	}
	if m.n.fault.events != nil {
		events = m.n.fault.events(events)
	}
	return m.told(tx, events)
}

func (m *seated) Done(tx e2ee.Tx, r secretchat.Req, a secretchat.Ans) ([]e2ee.Event, error) {
	defer m.n.note(tx, m.seat)
	events, err := m.Machine.Done(m.planted(tx), r, a)
	if err != nil {
		return nil, err
	}
	return m.told(tx, events)
}

// told is what a user sees of the events: the conversation in place of the
// chat, and deletions carried out.
func (m *seated) told(tx e2ee.Tx, events []e2ee.Event) (out []e2ee.Event, err error) {
	for _, e := range events {
		var id secretchat.ChatID
		sure(fmt.Sscan(string(e.Message.Room), &id))
		chat := e.Message.Room
		if p := m.n.pairs[id]; p != nil {
			e.Message.Room = p.room
		}
		switch {
		case e.Kind == e2ee.EventMessage && e.Message.Kind == quinta.MessageRedaction:
			if err := tx.Put(keyGone+string(e.Message.Relation.To), nil); err != nil {
				return nil, err
			}
			continue
		case e.Kind == e2ee.EventMessage:
			gone, err := tx.Get(keyGone + string(e.Message.ID))
			if err != nil {
				return nil, err
			}
			if gone != nil {
				return nil, fmt.Errorf("%s shows %s, which was deleted", m.seat, e.Message.Text)
			}
		case e.Kind == e2ee.EventSent && e.Message.Text != "":
			if err := tx.Put(keyLast+string(e.Message.Room), encode(lastSaid{chat, e.Message.ID, e.Message.Text})); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, nil
}
