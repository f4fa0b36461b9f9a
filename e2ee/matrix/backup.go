package matrix

import (
	"encoding/json"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/sessiondata"
)

// unsavedKey marks a session that is not in the key backup as it is here.
func unsavedKey(room quinta.RoomID, session string) string {
	return "unsaved/" + string(room) + "\x00" + session
}

// A Backup is one session that the key backup lacks.
type Backup struct {
	Session sessiondata.Session
	// Verified says that the owner sent the session, from a device
	// that is verified.
	Verified bool
}

// Unsaved returns at most limit sessions that are not in the key backup as
// they are here: new ones, and those that became better since.
func (m *Machine) Unsaved(tx e2ee.Tx, limit int) ([]Backup, error) {
	var out []Backup
	_, err := m.run(tx, func(w *work) error {
		for e, err := range tx.All("unsaved/") {
			if err != nil {
				return err
			}
			if len(out) == limit {
				break
			}
			room, id, _ := strings.Cut(strings.TrimPrefix(e.Key, "unsaved/"), "\x00")
			r, _, err := e2ee.Load[inboundRecord](w.tx, inboundKey(quinta.RoomID(room), id))
			if err != nil {
				return err
			}
			d, err := exported(room, id, r.claim)
			if err != nil {
				return err
			}
			verified, err := w.ownerVerified(r.claim)
			if err != nil {
				return err
			}
			out = append(out, Backup{d, verified})
		}
		return nil
	})
	return out, err
}

// ownerVerified reports whether a session came from a verified device of its
// owner.
func (w *work) ownerVerified(r claim) (bool, error) {
	if r.Source != fromOlm {
		return false, nil
	}
	if r.Owner == w.m.user && r.Curve == w.acc.Identity().String() {
		return true, nil
	}
	u, err := w.user(r.Owner)
	if err != nil {
		return false, err
	}
	_, d := u.madeBy(r)
	return w.trust(r.Owner, u, d) == quinta.TrustVerified, nil
}

// Saved notes that sessions, as Unsaved gave them, are in the key backup. One
// that became better in between stays unsaved.
func (m *Machine) Saved(tx e2ee.Tx, backups []Backup) error {
	_, err := m.run(tx, func(w *work) error {
		for _, b := range backups {
			room := quinta.RoomID(b.Session.RoomID)
			r, found, err := e2ee.Load[inboundRecord](w.tx, inboundKey(room, b.Session.SessionID))
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			now, err := exported(b.Session.RoomID, b.Session.SessionID, r.claim)
			if err != nil {
				return err
			}
			if now.SessionKey != b.Session.SessionKey || now.SenderKey != b.Session.SenderKey {
				continue
			}
			if err := tx.Delete(unsavedKey(room, b.Session.SessionID)); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// SaveAgain marks all sessions as not saved, as for a new key backup.
func (m *Machine) SaveAgain(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		entries, err := e2ee.Entries(w.tx, "in/")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !json.Valid(e.Value) {
				return e2ee.Damaged("in/")
			}
			if err := tx.Put("unsaved/"+strings.TrimPrefix(e.Key, "in/"), []byte{1}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Waiting returns the ids of the sessions, by room, whose key messages wait
// for: those to look for in the key backup.
func (m *Machine) Waiting(tx e2ee.Tx) (map[quinta.RoomID][]string, error) {
	out := map[quinta.RoomID][]string{}
	_, err := m.run(tx, func(w *work) error {
		for e, err := range tx.All("kept/") {
			if err != nil {
				return err
			}
			parts := strings.SplitN(strings.TrimPrefix(e.Key, "kept/"), "\x00", 3)
			if len(parts) != 3 {
				return e2ee.Damaged("kept/")
			}
			room := quinta.RoomID(parts[0])
			if ids := out[room]; len(ids) == 0 || ids[len(ids)-1] != parts[1] {
				out[room] = append(ids, parts[1])
			}
		}
		return nil
	})
	return out, err
}

// SetBackupLocked says whether there is a key backup that this device cannot
// open. What was sent before this device existed is then unreadable for that
// reason; the events say so of the messages that wait.
func (m *Machine) SetBackupLocked(tx e2ee.Tx, locked bool) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if w.meta.BackupLocked == locked {
			return nil
		}
		w.meta.BackupLocked = locked
		for e, err := range e2ee.Records[roomEvent](w.tx, "kept/") {
			if err != nil {
				return err
			}
			room, _, _ := strings.Cut(e.Name, "\x00")
			kept := e.Value
			if kept.Time >= w.meta.Created {
				continue
			}
			msg, f, err := w.decrypt(quinta.RoomID(room), kept)
			if err != nil {
				return err
			}
			if f != nil {
				w.report(msg, f)
			}
		}
		return nil
	})
}
