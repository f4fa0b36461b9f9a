package rocketchat

import (
	"errors"
	"fmt"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Preview opens a message outside of its order, as a push notification brings it, with
// the keys that are on this device, and takes nothing in: Receive tells of the message
// again when it comes from the server. The event is an EventMessage, or an
// EventUndecryptable with the reason. A text in clear is marked plain where the room is
// encrypted.
func (m *Machine) Preview(tx e2ee.Tx, in Message) (out e2ee.Event, err error) {
	if !validID(string(in.ID)) || !validID(string(in.Room)) || !validID(in.User.ID) {
		return out, errIDs
	}
	_, err = m.run(tx, func(w *work) error {
		r, err := w.room(in.Room)
		if err != nil {
			return err
		}
		if err := w.preview(r, &in); err != nil {
			return err
		}
		for _, e := range w.events {
			if e.Kind == e2ee.EventMessage || e.Kind == e2ee.EventUndecryptable {
				out = e
				break
			}
		}
		w.events = nil
		return nil
	})
	return out, err
}

var errIDs = fmt.Errorf("%w: a message without ids", ErrMalformed)

// preview tells of a message without remembering that it was seen.
func (w *work) preview(r *room, m *Message) error {
	msg := m.claimed()
	if msg.Time = m.TS.Time(); m.TS == 0 {
		msg.Time = w.now
	}
	if m.Type != TypeE2E {
		msg.Text = m.Msg
		if r != nil && r.State.Encrypted {
			msg.Weakness = quinta.WeakPlain
		}
		w.emit(e2ee.Event{Kind: e2ee.EventMessage, Message: msg})
		return nil
	}
	if r == nil {
		w.cannotRead(m, quinta.ReasonNoKeyYet, "this device does not know the room yet")
		return nil
	}
	if r.Left {
		w.cannotRead(m, quinta.ReasonNotAMemberThen, "this account is no longer in the room")
		return nil
	}
	have, err := w.tx.Get("cipher/" + m.hash())
	if err != nil {
		return err
	}
	if at := string(m.Room) + " " + string(m.ID) + " " + m.User.ID; have != nil && string(have) != at {
		w.cannotRead(m, quinta.ReasonReplayed, "this ciphertext was in another message")
		return nil
	}
	plain, form, err := w.open(r, m)
	if errors.Is(err, errWait) {
		reason := quinta.ReasonNoKeyYet
		if w.meta.Keys.Phase == PhaseLocked {
			reason = quinta.ReasonBackupLocked
		}
		w.cannotRead(m, reason, "")
		return nil
	}
	if err == nil {
		var b Body
		if b, err = ParseBody(plain); err == nil {
			return w.tell(r, m, msg, b, form)
		}
	}
	if isForm(err) {
		w.cannotRead(m, ReasonOf(err), err.Error())
		return nil
	}
	return err
}
