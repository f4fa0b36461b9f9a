package mtprotoserver

import (
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// A sessionRow is one device that is logged in to the account of a call, or
// that waits for its password.
type sessionRow struct {
	key           int64
	name          string
	created, seen int64
	pending       bool
}

// sessions are the devices of the user, in the order of their keys.
func (c *call) sessions() ([]sessionRow, error) {
	var out []sessionRow
	for row, err := range c.tx.Query(`SELECT key_id, name, created, seen, account IS NULL FROM mtproto_device
		WHERE account = $1 OR (pending = $1 AND pending_until > $2) ORDER BY key_id`, c.who, c.tx.Millis()) {
		if err != nil {
			return nil, err
		}
		var s sessionRow
		if err := row.Scan(&s.key, &s.name, &s.created, &s.seen, &s.pending); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// sessionHash names a device to the others of its user. That of the calling
// device is 0.
func (c *call) sessionHash(key int64) int64 {
	if key == c.keyID {
		return 0
	}
	return c.sec.number("session", c.user, key)
}

func getAuthorizations(c *call, _ *wire.GetAuthorizations) (any, error) {
	all, err := c.sessions()
	if err != nil {
		return nil, err
	}
	out := &wire.AccountAuthorizations{Authorizations: []any{}}
	for _, s := range all {
		out.Authorizations = append(out.Authorizations, &wire.AccountAuthorization{
			Current: s.key == c.keyID, PasswordPending: s.pending, Hash: c.sessionHash(s.key), DeviceModel: s.name,
			DateCreated: int32(s.created / 1000), DateActive: int32(s.seen / 1000),
		})
	}
	return out, nil
}

// resetAuthorization ends one other session of the user.
func resetAuthorization(c *call, r *wire.ResetAuthorization) (any, error) {
	all, err := c.sessions()
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.key != c.keyID && c.sessionHash(s.key) == r.Hash {
			return true, c.endSession(s)
		}
	}
	return nil, refuse(400, "HASH_INVALID")
}

// resetAuthorizations ends all other sessions of the user.
func resetAuthorizations(c *call, _ *wire.ResetAuthorizations) (any, error) {
	all, err := c.sessions()
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.key == c.keyID {
			continue
		}
		if err := c.endSession(s); err != nil {
			return nil, err
		}
	}
	return true, nil
}

func (c *call) endSession(s sessionRow) error {
	if s.pending {
		return c.tx.Queue(`UPDATE mtproto_device SET pending = NULL, pending_until = 0 WHERE key_id = $1`, s.key)
	}
	return c.s.endDevice(c.tx, s.key)
}
