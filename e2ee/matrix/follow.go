package matrix

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Refresh follows the devices of a user from now on and asks for them again,
// such as before a verification. [Machine.Current] says when they came.
func (m *Machine) Refresh(tx e2ee.Tx, id quinta.UserID) error {
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		u.Tracked = true
		w.outdate(u)
		return nil
	})
	return err
}

// Current reports whether the devices of a user are followed and known.
func (m *Machine) Current(tx e2ee.Tx, id quinta.UserID) (bool, error) {
	current := false
	_, err := m.run(tx, func(w *work) error {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		current = u.Tracked && u.Known && !u.Outdated
		return nil
	})
	return current, err
}

// Due reports whether a request is still to be carried out. One that is
// repeated asks before each try: a message that was to leave in clear is taken
// back when its room becomes encrypted.
func (m *Machine) Due(tx e2ee.Tx, id string) (bool, error) {
	b, err := tx.Get("req/" + id)
	return b != nil, err
}

// Sign returns the object raw with the signature of this device, such as the
// auth_data of a key backup.
func (m *Machine) Sign(tx e2ee.Tx, raw []byte) ([]byte, error) {
	var out []byte
	_, err := m.run(tx, func(w *work) (err error) {
		out, err = w.sign(raw)
		return err
	})
	return out, err
}
