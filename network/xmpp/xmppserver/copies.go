package xmppserver

import (
	"errors"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *xmppServer) copyCalls() {
	s.at(http.MethodPost, wire.PathCopies, endpoint{rate: rateWrite, body: wire.MaxBody, handle: (*call).addCopies})
	s.at(http.MethodGet, wire.PathWants, endpoint{rate: rateRead, handle: (*call).getWants})
}

// checkCopies refuses copies that are not for approved devices of the users.
func checkCopies(tx *db.Tx, users []quinta.UserID, list []keysrv.Wrapped) error {
	stale := wire.NewError(http.StatusConflict, wire.CodeStale, "a copy is for a device that does not exist or is not approved")
	known := map[string]bool{}
	for i := range list {
		w := &list[i]
		if err := keysrv.CheckWrapped(w); err != nil {
			return invalid("a copy has the wrong format")
		}
		if !slices.Contains(users, w.User) {
			return stale
		}
		name := string(w.User) + " " + string(w.Device)
		if known[name] {
			return invalid("two copies are for one device")
		}
		known[name] = true
		d, err := deviceByID(tx, w.User, w.Device)
		if err != nil {
			return err
		}
		if d == nil || d.retired || !d.approved {
			return stale
		}
	}
	return nil
}

// insertCopies stores copies, which count for the creator of the key. One that is
// there already stays.
func insertCopies(tx *db.Tx, id string, creator quinta.UserID, list []keysrv.Wrapped) error {
	for i := range list {
		w := &list[i]
		n, err := tx.Exec(`INSERT INTO xmpp_copy (key_id, user_id, device, suite, sealed) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key_id, user_id, device) DO NOTHING`,
			id, w.User, w.Device, w.Suite, w.Sealed)
		if err != nil {
			return err
		}
		tx.Count(db.UserOf(network, creator), db.ClassData, n*(int64(len(w.Sealed))+db.RowBytes))
		if err := tx.Queue(`DELETE FROM xmpp_want WHERE key_id = $1 AND user_id = $2 AND device = $3`, id, w.User, w.Device); err != nil {
			return err
		}
	}
	return nil
}

// copyFor puts the calling device's copy into an object. If there is none, the
// device waits for it, and those who may have it are told.
func (c *call) copyFor(tx *db.Tx, k *keyRow) error {
	w := &keysrv.Wrapped{User: c.user(), Device: c.device.record.ID}
	err := tx.Row(`SELECT suite, sealed FROM xmpp_copy WHERE key_id = $1 AND user_id = $2 AND device = $3`, k.object.ID, w.User, w.Device).Scan(&w.Suite, &w.Sealed)
	if err == nil {
		k.object.Wrapped = w
	}
	if !errors.Is(err, db.ErrNoRows) || !c.device.approved {
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		return err
	}
	if err := tx.Queue(`INSERT INTO xmpp_want (key_id, user_id, device, time) VALUES ($1, $2, $3, $4) ON CONFLICT (key_id, user_id, device) DO UPDATE SET time = excluded.time`,
		k.object.ID, w.User, w.Device, tx.Millis()); err != nil {
		return err
	}
	for _, u := range slices.Compact(slices.Clone(k.users)) {
		c.tell(hint{to: u, what: wire.Hint{Wants: true}})
	}
	return nil
}

// addCopies takes copies for other devices, from a device that has one itself.
func (c *call) addCopies() (any, error) {
	id := c.r.PathValue("id")
	var in wire.CopiesRequest
	if _, err := c.decode(&in); err != nil {
		return nil, err
	}
	if keysrv.CheckObjectID(id) != nil {
		return nil, errNotFound
	}
	if len(in.Wrapped) == 0 || len(in.Wrapped) > keysrv.MaxCopies {
		return nil, invalid("one call can store 1 to 1000 copies")
	}
	if err := c.freshForKeys(id); err != nil {
		return nil, err
	}
	if err := c.lines(len(in.Wrapped)); err != nil {
		return nil, err
	}
	err := c.update(func(tx *db.Tx) error {
		d, err := c.needDevice()
		if err != nil {
			return err
		}
		k, err := c.keyByID(tx, id)
		if err != nil {
			return err
		}
		if k == nil || !slices.Contains(k.users, c.user()) || k.object.Mode != keysrv.ModeSealed {
			return errNotFound
		}
		var n int
		if err := tx.Row(`SELECT COUNT(*) FROM xmpp_copy WHERE key_id = $1 AND user_id = $2 AND device = $3`, id, c.user(), d.record.ID).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return errNotFound
		}
		if err := checkCopies(tx, k.users, in.Wrapped); err != nil {
			return err
		}
		if err := insertCopies(tx, id, k.object.Creator, in.Wrapped); err != nil {
			return err
		}
		for i := range in.Wrapped {
			w := &in.Wrapped[i]
			if err := c.noted(tx, record{Action: "copy", Conversation: k.object.Conversation, Key: id, Detail: string(w.User) + " " + string(w.Device)}); err != nil {
				return err
			}
			c.tell(hint{to: w.User, what: wire.Hint{Changed: string(w.User)}})
		}
		return nil
	})
	return struct{}{}, err
}

// getWants lists the copies that others wait for and that the calling device
// can make.
func (c *call) getWants() (any, error) {
	out := wire.WantList{Wants: []keysrv.Want{}}
	err := c.update(func(tx *db.Tx) error {
		out.Wants = []keysrv.Want{}
		d, err := c.needDevice()
		if err != nil {
			return err
		}
		for row, err := range tx.Query(`SELECT w.key_id, w.user_id, w.device FROM xmpp_want w JOIN xmpp_copy c ON c.key_id = w.key_id
			WHERE c.user_id = $1 AND c.device = $2 ORDER BY w.time DESC, w.key_id, w.device LIMIT $3`, string(c.user()), string(d.record.ID), wire.MaxWants) {
			if err != nil {
				return err
			}
			var w keysrv.Want
			if err := row.Scan(&w.ObjectID, &w.User, &w.Device); err != nil {
				return err
			}
			out.Wants = append(out.Wants, w)
		}
		return nil
	})
	return out, err
}

// countCopies counts copies, times sign, for the creators of their keys.
func countCopies(tx *db.Tx, sign int64, where string, args ...any) error {
	return countFor(tx, sign, `SELECT k.creator, CAST(SUM(LENGTH(c.sealed) + `+db.RowCost+`) AS BIGINT) FROM xmpp_copy c JOIN xmpp_key k ON k.id = c.key_id`+where+` GROUP BY k.creator`, args...)
}

// countFor counts for users what the rows of a query say, times sign.
func countFor(tx *db.Tx, sign int64, sql string, args ...any) error {
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return err
		}
		var user quinta.UserID
		var n int64
		if err := row.Scan(&user, &n); err != nil {
			return err
		}
		tx.Count(db.UserOf(network, user), db.ClassData, sign*n)
	}
	return nil
}

// CountStored counts keys and their copies.
func (s *xmppServer) CountStored(tx *db.Tx) error {
	if err := countFor(tx, 1, `SELECT creator, CAST(SUM(COALESCE(LENGTH(check_value), 0) + COALESCE(LENGTH(signature), 0) + COALESCE(LENGTH(sealed), 0) + LENGTH(request) + `+db.RowCost+`) AS BIGINT)
		FROM xmpp_key GROUP BY creator`); err != nil {
		return err
	}
	return countCopies(tx, 1, "")
}
