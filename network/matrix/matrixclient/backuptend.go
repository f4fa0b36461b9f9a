package matrixclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/keyexport"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/network/internal/seat"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

const (
	// tendEvery is how often a session that runs looks after the backup.
	tendEvery = 20 * time.Second
	// askAtOnce bounds the keys that are asked for in one go, and askAgain is
	// how long the answer that there is none counts.
	askAtOnce = 50
	askAgain  = 30 * time.Minute
	// lookEvery is how long it counts that there is no backup.
	lookEvery = time.Hour
	// keyAsked is when a key was last looked for in the backup, and keyLooked
	// when a backup was.
	keyAsked  = "link/asked/"
	keyLooked = "link/looked"
)

// tend keeps the backup complete, and looks in it for what messages wait for,
// while the session runs: now and then, and when something came that may need
// it.
func (s *Session) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		if err := s.tendOnce(ctx); err != nil && ctx.Err() == nil {
			s.runner.Troubled(err, tendEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.needy:
		}
	}
}

// backupNeeded notes that tend has something to do.
func (s *Session) backupNeeded(events []e2ee.Event) {
	for _, e := range events {
		if e.Kind == e2ee.EventSecret || e.Kind == e2ee.EventUndecryptable {
			select {
			case s.needy <- struct{}{}:
			default:
			}
			return
		}
	}
}

// A need is what the device lacks of its backup, or the backup of it.
type need struct {
	used    bool // this device uses a backup
	has     bool // it has the key of one
	unsaved bool
	waiting map[quinta.RoomID][]string
}

func (s *Session) backupNeeds(ctx context.Context) (n need, err error) {
	err = s.look(ctx, func(tx e2ee.Tx) error {
		b, err := tx.Get(keyBackup)
		if err != nil {
			return err
		}
		n.used = b != nil
		k, err := s.machine.BackupKey(tx)
		if n.has = !k.IsZero(); err != nil || !n.used {
			return err
		}
		unsaved, err := s.machine.Unsaved(tx, 1)
		if err != nil {
			return err
		}
		n.unsaved = len(unsaved) > 0
		n.waiting, err = s.machine.Waiting(tx)
		return err
	})
	return n, err
}

// tendOnce does what is to be done for the backup now.
func (s *Session) tendOnce(ctx context.Context) error {
	n, err := s.backupNeeds(ctx)
	switch {
	case err != nil:
		return err
	case !n.used && n.has:
		return s.adoptBackup(ctx)
	case !n.used:
		return s.lookForBackup(ctx)
	}
	if n.unsaved {
		if err := s.save(ctx); err != nil {
			return err
		}
	}
	return s.fetchWaiting(ctx, n.waiting)
}

// adoptBackup begins to use the backup whose key another of the user's devices
// supplied. The key counts only if the user's own identity, or this device, signed
// the backup that it opens: anyone can make a backup and its key.
func (s *Session) adoptBackup(ctx context.Context) error {
	v, err := s.backup(ctx)
	if err != nil || v == nil {
		return err
	}
	k, err := s.backupKey(ctx, v)
	if errors.Is(err, errNotOurs) {
		return s.noteBackup(ctx, true)
	}
	if err != nil {
		return err
	}
	signed, err := s.signedBackup(ctx, v)
	if err != nil || !signed {
		return err
	}
	if _, err := s.restore(ctx, v.Version, k, nil); err != nil {
		return err
	}
	return s.useBackup(ctx, k, v.Version)
}

// signedBackup reports whether the user's own master key, which this device knows to
// be the right one, signed a backup.
func (s *Session) signedBackup(ctx context.Context, v *wire.BackupVersion) (bool, error) {
	auth, err := keybackup.ParseAuthData(v.Auth)
	if err != nil {
		return false, nil
	}
	var id matrix.IdentityInfo
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		id, err = s.machine.UserIdentity(tx, s.account.User)
		return err
	}); err != nil || !id.Verified || id.Changed || id.Master.IsZero() {
		return false, err
	}
	return auth.Verify(s.account.User, "ed25519:"+id.Master.String(), id.Master.Verify) == nil, nil
}

// lookForBackup asks now and then whether there is a backup that this device
// cannot open, so that messages say so.
func (s *Session) lookForBackup(ctx context.Context) error {
	var at int64
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		_, err := seat.Load(tx, keyLooked, &at)
		return err
	}); err != nil {
		return err
	}
	if now := s.env.Now(); at != 0 && now.Sub(time.UnixMilli(at)).Abs() < lookEvery {
		return nil
	}
	f, err := s.link.features(ctx)
	if err != nil || f.legacy {
		return err // such servers have none
	}
	v, err := s.backup(ctx)
	if err != nil {
		return err
	}
	return s.noteBackup(ctx, v != nil)
}

// noteBackup keeps whether there is a backup that this device cannot open.
func (s *Session) noteBackup(ctx context.Context, locked bool) error {
	return s.do(ctx, true, func(tx e2ee.Tx) ([]e2ee.Event, error) {
		if err := seat.Store(tx, keyLooked, s.env.Now().UnixMilli()); err != nil {
			return nil, err
		}
		return s.machine.SetBackupLocked(tx, locked)
	})
}

// fetchWaiting looks in the backup for the keys that messages wait for, each
// once in a while.
func (s *Session) fetchWaiting(ctx context.Context, waiting map[quinta.RoomID][]string) error {
	var v *wire.BackupVersion
	n := 0
	for room, ids := range waiting {
		for _, id := range ids {
			place := keyAsked + string(room) + "\x00" + id
			due, err := s.dueAgain(ctx, place)
			if err != nil {
				return err
			}
			if !due || n == askAtOnce {
				continue
			}
			n++
			if v == nil {
				if v, err = s.backup(ctx); err != nil || v == nil {
					return err
				}
			}
			if err := s.fetchKey(ctx, v, room, id); err != nil {
				return err
			}
			now := s.env.Now().UnixMilli()
			if err := s.st.Update(ctx, func(tx e2ee.Tx) error { return seat.Store(tx, place, now) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// dueAgain reports whether the last look for a key is long enough ago.
func (s *Session) dueAgain(ctx context.Context, place string) (due bool, err error) {
	err = s.look(ctx, func(tx e2ee.Tx) error {
		var at int64
		found, err := seat.Load(tx, place, &at)
		due = !found || s.env.Now().Sub(time.UnixMilli(at)).Abs() > askAgain
		return err
	})
	return due, err
}

// fetchKey looks for one session in the backup.
func (s *Session) fetchKey(ctx context.Context, v *wire.BackupVersion, room quinta.RoomID, id string) error {
	k, err := s.backupKey(ctx, v)
	if err != nil || k.IsZero() {
		return err
	}
	var e keybackup.Entry
	at := path("room_keys", "keys", string(room), id) + "?version=" + url.QueryEscape(v.Version)
	err = s.link.ask(ctx, "looking for a key in the backup", http.MethodGet, at, nil, &e)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	sess, err := keybackup.Open(k, room, id, e.SessionData)
	if err != nil {
		return nil // an entry that is not what it says is as good as none
	}
	sess.RoomID, sess.SessionID = string(room), id
	_, err = s.takeIn(ctx, []keyexport.Session{sess}, nil)
	return err
}
