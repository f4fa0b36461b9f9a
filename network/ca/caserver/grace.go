package caserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// A renewed key to decrypt with is in grace: what was sealed for it while the
// renewal ran still arrives and opens. The grace ends when its owner says so
// or, by itself, after a time; in both cases not before all that is sealed for
// the key was delivered.

const (
	// grace is for how long messages for a renewed key are taken in (protocol
	// page, section 4).
	grace = 7 * 24 * time.Hour
	// gracePage is how many keys a sweep looks at in one go.
	gracePage = 100
)

// graceOver reports whether a key's grace period has ended: nothing new is
// taken in for it, and it retires when nothing waits for it any more.
func (k *key) graceOver(now int64) bool { return k.GraceEnd != nil && *k.GraceEnd <= now }

// retireKey ends the grace of a key of the calling device, which then may
// forget its private half: not while messages that are sealed for it wait.
func (c *call) retireKey() (any, error) {
	if err := c.decode(&wire.Empty{}); err != nil {
		return nil, err
	}
	var k *key
	err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if k, err = c.ownKey(tx); err != nil {
			return err
		}
		switch st, _ := k.state(tx.Millis()); st {
		case wire.StateRetired:
			return nil
		case wire.StateGrace:
		default:
			return wire.NewError(http.StatusConflict, wire.CodeState, "only a key in grace can be retired: renew or revoke this one")
		}
		waits, err := undelivered(tx, k)
		if err != nil {
			return err
		}
		if waits {
			return wire.NewError(http.StatusConflict, wire.CodeUndelivered, "messages sealed for the key have not been delivered yet: fetch and acknowledge them first")
		}
		return c.retire(tx, k, "by device "+string(c.device))
	})
	if err != nil {
		return nil, err
	}
	return k.info(c.Now().UnixMilli()), nil
}

// retire ends the grace of a key.
func (s *caServer) retire(tx *db.Tx, k *key, detail string) error {
	now := tx.Millis()
	if _, err := tx.Exec(`UPDATE ca_key SET retired = $1 WHERE key_id = $2`, now, k.ID); err != nil {
		return err
	}
	k.Retired = &now
	if err := staleCRL(tx); err != nil {
		return err
	}
	r := record{Action: "retired", User: k.User, Device: k.Device, KeyID: k.ID, Detail: detail}
	if k.Serial != nil {
		r.Serial = *k.Serial
	}
	if err := audit(tx, r); err != nil {
		return err
	}
	return s.tell(tx, k, "retired")
}

// Periodically retires the keys whose grace period has ended. A key for which messages
// are waiting stays until they are delivered or its device is removed.
func (s *caServer) Periodically(ctx context.Context) error {
	last := &key{GraceEnd: new(int64)}
	for {
		var page, due []*key
		if err := s.View(ctx, func(tx *db.Tx) (err error) {
			page, due, err = overdue(tx, last)
			return err
		}); err != nil {
			return err
		}
		for _, k := range due {
			if err := s.endGrace(ctx, k.ID); err != nil {
				return err
			}
		}
		if len(page) < gracePage {
			return nil
		}
		last = page[len(page)-1]
	}
}

// overdue returns the keys behind last whose grace should end, a page of them,
// and those of the page that nothing waits for.
func overdue(tx *db.Tx, last *key) (page, due []*key, err error) {
	for row, err := range tx.Query(`SELECT `+keyColumns+` FROM ca_key
		WHERE grace_end IS NOT NULL AND retired IS NULL AND revoked IS NULL AND grace_end <= $1 AND (grace_end, key_id) > ($2, $3)
		ORDER BY grace_end, key_id LIMIT $4`, tx.Millis(), *last.GraceEnd, last.ID, gracePage) {
		if err != nil {
			return nil, nil, err
		}
		k := new(key)
		if err := row.Scan(k.dest()...); err != nil {
			return nil, nil, err
		}
		page = append(page, k)
	}
	for _, k := range page {
		waits, err := undelivered(tx, k)
		if err != nil {
			return nil, nil, err
		}
		if !waits {
			due = append(due, k)
		}
	}
	return page, due, nil
}

// endGrace retires one key if that is still due.
func (s *caServer) endGrace(ctx context.Context, id cert.Fingerprint) error {
	return s.UpdateAlways(ctx, func(tx *db.Tx) error {
		k, err := keyByID(tx, id)
		if errors.Is(err, errNoKey) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, _ := k.state(tx.Millis()); st != wire.StateGrace || !k.graceOver(tx.Millis()) {
			return nil
		}
		if waits, err := undelivered(tx, k); waits || err != nil {
			return err
		}
		return s.retire(tx, k, "its grace period had ended")
	})
}

// undelivered reports whether messages sealed for the key wait in the mailbox
// of its device.
func undelivered(tx *db.Tx, k *key) (bool, error) {
	after := quinta.Pos(0)
	for {
		page, more, err := mailbox.Read(tx, network, k.User, k.Device, after, 200)
		if err != nil {
			return false, err
		}
		for _, m := range page {
			if r, ok := parseRef(m.Body, m.Type); ok && r.Key == k.ID {
				return true, nil
			}
			after = m.Pos
		}
		if !more {
			return false, nil
		}
	}
}
