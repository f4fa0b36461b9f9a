package ca

import (
	"github.com/quinta-chat/quinta/e2ee"
)

// Restored says that the store was restored from an old copy, or is a copy: its
// counters may have been used since. No number and no counter in it is used again:
// sessions are used only for reading, and message numbers continue from the
// current time. The device looks for messages in the history since then, as a new
// device does. If a message was on its way when the copy was made, and was
// accepted since, the server reports that its id is taken.
//
// The program calls it once, in the transaction in which it starts again. Keys
// that were renewed since are lost; then the device needs the approval of
// another one, or has to start as a new device.
func (m *Machine) Restored(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		if err := w.restoreSessions(); err != nil {
			return err
		}
		if err := w.restoreOutbox(); err != nil {
			return err
		}
		for e, err := range e2ee.Records[convRecord](w.tx, "conv/") {
			if err != nil {
				return err
			}
			c := &e.Value
			// The time in milliseconds is above what any device has counted to.
			c.Seq = max(c.Seq, uint64(max(0, w.now.UnixMilli())))
			if err := e2ee.Store(w.tx, e.Key, c); err != nil {
				return err
			}
		}
		from := w.meta.Pos
		w.meta.Unread, w.meta.Listed, w.meta.Acked = &from, false, from
		w.meta.CRLDue, w.meta.Backup.Fetched = true, false
		return w.outdate(w.m.user)
	})
	return err
}

// restoreSessions ends all sessions for writing.
func (w *work) restoreSessions() error {
	for e, err := range e2ee.Records[sessionRecord](w.tx, "session/") {
		if err != nil {
			return err
		}
		s := &e.Value
		s.ReadOnly = true
		if err := e2ee.Store(w.tx, e.Key, s); err != nil {
			return err
		}
	}
	for e, err := range e2ee.Records[legacySecretRecord](w.tx, "legacy/") {
		if err != nil {
			return err
		}
		s := &e.Value
		s.Ready = false
		if err := e2ee.Store(w.tx, e.Key, s); err != nil {
			return err
		}
	}
	return nil
}

// restoreOutbox notes of all messages that another seal of them may be known.
func (w *work) restoreOutbox() error {
	for e, err := range e2ee.Records[outEntry](w.tx, "outbox/") {
		if err != nil {
			return err
		}
		o := &e.Value
		o.Doubt, o.Seq = true, 0
		if err := e2ee.Store(w.tx, e.Key, o); err != nil {
			return err
		}
	}
	return nil
}
