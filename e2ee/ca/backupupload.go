package ca

import (
	"fmt"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// A backupState is what is known of the sealed backup.
type backupState struct {
	// Asked says that the server was asked for it once, Exists that it has one,
	// and Tag its version.
	Asked  bool   `json:"asked,omitempty"`
	Exists bool   `json:"exists,omitempty"`
	Tag    string `json:"tag,omitempty"`
	// Enabled says that this device has its secret, Fetched that it has taken
	// in what that version holds, and Sum names what the server has.
	Enabled bool   `json:"enabled,omitempty"`
	Fetched bool   `json:"fetched,omitempty"`
	Sum     string `json:"sum,omitempty"`
	After   int64  `json:"after,omitempty"` // Unix milliseconds
}

const secretKey = "backupsecret"

func (w *work) keepSecret(s *seal.BackupSecret) error {
	k := s.Kept()
	return e2ee.Store(w.tx, secretKey, &k)
}

func (w *work) backupSecret() (*seal.BackupSecret, error) {
	k, found, err := e2ee.Load[seal.KeptSecret](w.tx, secretKey)
	if err != nil {
		return nil, err
	}
	s, err := k.Secret()
	if err != nil || !found {
		return nil, e2ee.Damaged(secretKey)
	}
	return s, nil
}

// planBackup asks once whether there is a backup, and uploads one whenever what
// it should hold is not what the server has.
func (w *work) planBackup() error {
	b := &w.meta.Backup
	if w.early(b.After, again) {
		return nil
	}
	if !b.Asked || b.Enabled && !b.Fetched {
		return w.reqs.once(reqRecord{Req: Req{Kind: ReqBackup}})
	}
	if !b.Enabled {
		return nil
	}
	busy, err := w.reqs.any(func(r *reqRecord) bool { return r.Req.Kind == ReqPutBackup })
	if err != nil || busy {
		return err
	}
	ring, err := w.keyring()
	if err != nil || len(ring.Keys) == 0 || ring.sum() == b.Sum {
		return err
	}
	secret, err := w.backupSecret()
	if err != nil {
		return err
	}
	sealed, err := seal.SealBackup(w.m.env.Rand, e2ee.JSON(ring), secret)
	if err != nil {
		return err
	}
	return w.reqs.add(reqRecord{Req: Req{Kind: ReqPutBackup, Backup: &Backup{Sealed: sealed, Tag: b.Tag}}, Sum: ring.sum()})
}

// doneBackup takes in the backup that the server has.
func (w *work) doneBackup(_ *reqRecord, ans Ans) error {
	b := &w.meta.Backup
	if !w.backupKnown() {
		w.retry(waitKeys) // what waits for a key is told with its reason now
	}
	if ans.Code == CodeNotFound {
		b.Asked, b.Exists, b.Tag, b.Fetched, b.Sum = true, false, "", true, ""
		return nil
	}
	if ans.Code != "" || ans.Backup == nil {
		b.After = w.now.Add(again).UnixMilli()
		w.trouble("the backup", ans)
		return nil
	}
	b.Asked, b.Exists, b.Tag = true, true, ans.Backup.Tag
	if !b.Enabled {
		return nil
	}
	secret, err := w.backupSecret()
	if err != nil {
		return err
	}
	if _, err := w.takeBackup(ans.Backup, secret); err != nil {
		if !isReason(err) {
			return err
		}
		// Another device has made one with another secret, or the server has
		// changed it: this one does not write over it.
		b.Enabled = false
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the backup has a different secret, or was changed: unlock it again"})
		return w.tx.Delete(secretKey)
	}
	return nil
}

// takeBackup opens a backup and takes in what it holds.
func (w *work) takeBackup(s *Backup, secret *seal.BackupSecret) (int, error) {
	raw, err := seal.OpenBackup(s.Sealed, secret)
	if err != nil {
		return 0, err
	}
	ring, err := parseRing(raw)
	clear(raw)
	if err != nil {
		return 0, err
	}
	n, err := w.takeRing(ring)
	b := &w.meta.Backup
	b.Asked, b.Exists, b.Tag, b.Fetched, b.Sum = true, true, s.Tag, true, ring.sum()
	return n, err
}

// donePutBackup learns what became of an upload. If another device was faster,
// what it wrote is taken in first.
func (w *work) donePutBackup(r *reqRecord, ans Ans) error {
	b := &w.meta.Backup
	switch {
	case ans.Code == "" && ans.Backup != nil:
		b.Exists, b.Tag, b.Sum = true, ans.Backup.Tag, r.Sum
	case ans.Code == CodeConflict:
		b.Fetched = false
	default:
		b.After = w.now.Add(again).UnixMilli()
		w.trouble("the backup is not stored", ans)
	}
	return nil
}

// EnableBackup makes a backup under a secret, and puts into it, now and from now
// on, the keys with which this device opens messages. If the server already has
// a backup that the secret does not open, that one stays, and an EventTrouble
// says so; use Restore for an existing backup.
func (m *Machine) EnableBackup(tx e2ee.Tx, secret *seal.BackupSecret) error {
	_, err := m.run(tx, func(w *work) error {
		w.meta.Backup.Enabled, w.meta.Backup.Fetched, w.meta.Backup.After = true, false, 0
		return w.keepSecret(secret)
	})
	return err
}

// Restore imports a backup, as the server gave it, and continues with it:
// waiting messages that can be opened now come as events. It returns how many
// keys were new. A wrong secret and an altered backup both give ErrTampered.
func (m *Machine) Restore(tx e2ee.Tx, b Backup, secret *seal.BackupSecret) (n int, events []e2ee.Event, err error) {
	events, err = m.run(tx, func(w *work) error {
		if n, err = w.takeBackup(&b, secret); err != nil {
			return err
		}
		w.meta.Backup.Enabled = true
		if err := w.keepSecret(secret); err != nil {
			return err
		}
		w.emit(e2ee.Event{Kind: e2ee.EventSecret, User: w.m.user, Detail: fmt.Sprintf("backup %d", n)})
		return w.tryAgain()
	})
	return n, events, err
}

// A BackupInfo is what is known of the sealed backup.
type BackupInfo struct {
	// Exists says that the server has one, Enabled that this device has its
	// secret, and Keys how many keys and sessions it holds or will hold.
	Exists, Enabled bool
	Keys            int
}

// BackupState returns what is known of the sealed backup.
func (m *Machine) BackupState(tx e2ee.Tx) (BackupInfo, error) {
	var out BackupInfo
	_, err := m.run(tx, func(w *work) error {
		ring, err := w.keyring()
		if err != nil {
			return err
		}
		out = BackupInfo{Exists: w.meta.Backup.Exists, Enabled: w.meta.Backup.Enabled, Keys: len(ring.Keys) + len(ring.Sessions)}
		return nil
	})
	return out, err
}
