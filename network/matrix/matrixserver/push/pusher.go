package push

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// A Pusher is where one app of a user wants to be notified of events
// (client-server API, "Push Notifications").
type Pusher struct {
	Kind       *string `json:"kind"`
	AppID      string  `json:"app_id"`
	Pushkey    string  `json:"pushkey"`
	AppName    string  `json:"app_display_name,omitempty"`
	DeviceName string  `json:"device_display_name,omitempty"`
	Lang       string  `json:"lang,omitempty"`
	ProfileTag string  `json:"profile_tag,omitempty"`
	Data       Data    `json:"data"`
	Append     bool    `json:"append,omitempty"`
	created    int64
}

// Data is the data of a pusher: members other than url and format are passed
// to the gateway unchanged.
type Data map[string]json.RawMessage

// Text returns a member that is a string, or "".
func (d Data) Text(name string) string {
	var s string
	if json.Unmarshal(d[name], &s) != nil {
		return ""
	}
	return s
}

// Bounds of pushers.
const (
	maxAppID      = 64
	maxPushkey    = 512
	maxPusherBody = 8 << 10
	maxPushers    = 50
)

// Path is the path that a gateway's address must have.
const Path = "/_matrix/push/v1/notify"

// Check refuses a pusher that cannot be kept. Gateways at addresses without TLS
// are let through if private is set.
func (p *Pusher) Check(private bool) error {
	switch {
	case p.AppID == "" || p.Pushkey == "":
		return wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "a pusher must have an app_id and a pushkey")
	case len(p.AppID) > maxAppID || len(p.Pushkey) > maxPushkey:
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the app_id or the pushkey is too long")
	case p.Kind == nil:
		return nil
	case *p.Kind != "http":
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this kind of pusher is not offered")
	}
	u, err := url.Parse(p.Data.Text("url"))
	ok := err == nil && u.Host != "" && u.User == nil && u.Path == Path && (u.Scheme == "https" || u.Scheme == "http" && private)
	if !ok {
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the url of a pusher must be an https address with the path "+Path)
	}
	return nil
}

// Put keeps a pusher that a device of user has made, in place of one with the
// same names. Without Append, other users' pushers with these names are
// removed: the app on that phone belongs to one user at a time.
func Put(tx *db.Tx, user quinta.UserID, device quinta.DeviceID, p Pusher) error {
	appendTo := p.Append
	p.Append = false
	body, err := wire.Encode(p)
	if err != nil {
		return err
	}
	if len(body) > maxPusherBody {
		return wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "the pusher is too large")
	}
	var n int
	if err := tx.Row(`SELECT COUNT(*) FROM matrix_pusher WHERE user_id = $1`, user).Scan(&n); err != nil {
		return err
	}
	if n >= maxPushers {
		return wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many pushers")
	}
	if !appendTo {
		if err := tx.Queue(`DELETE FROM matrix_pusher WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3`, p.AppID, p.Pushkey, user); err != nil {
			return err
		}
	}
	return tx.Queue(`INSERT INTO matrix_pusher (user_id, app_id, pushkey, device, created, body) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET device = excluded.device, body = excluded.body`,
		user, p.AppID, p.Pushkey, device, tx.Millis(), []byte(body))
}

// List returns the pushers of a user as they are kept, oldest first.
func List(tx *db.Tx, user quinta.UserID) ([]json.RawMessage, error) {
	list := []json.RawMessage{}
	for row, err := range tx.Query(`SELECT body FROM matrix_pusher WHERE user_id = $1 ORDER BY created, app_id, pushkey`, user) {
		if err != nil {
			return nil, err
		}
		var b []byte
		if err := row.Scan(&b); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// Remove removes a pusher and its pending notifications.
func Remove(tx *db.Tx, user quinta.UserID, app, key string) error {
	err := tx.Queue(`DELETE FROM matrix_push WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, user, app, key)
	if err == nil {
		err = tx.Queue(`DELETE FROM matrix_pusher WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, user, app, key)
	}
	return err
}

// RemoveDevice removes the pushers that a device has made: a device that is
// logged out gets no more notifications.
func RemoveDevice(tx *db.Tx, user quinta.UserID, device quinta.DeviceID) error {
	if err := tx.Queue(`DELETE FROM matrix_push WHERE user_id = $1 AND EXISTS (SELECT 1 FROM matrix_pusher p
		WHERE p.user_id = matrix_push.user_id AND p.app_id = matrix_push.app_id AND p.pushkey = matrix_push.pushkey AND p.device = $2)`, user, device); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM matrix_pusher WHERE user_id = $1 AND device = $2`, user, device)
}

// of lists the pushers of a user.
func of(tx *db.Tx, user quinta.UserID) ([]Pusher, error) {
	var out []Pusher
	for row, err := range tx.Query(`SELECT body, created FROM matrix_pusher WHERE user_id = $1`, user) {
		if err != nil {
			return nil, err
		}
		var b []byte
		var p Pusher
		if err := row.Scan(&b, &p.created); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// get returns one pusher, nil if it is gone.
func get(tx *db.Tx, user quinta.UserID, app, key string) (*Pusher, error) {
	var b []byte
	err := tx.Row(`SELECT body FROM matrix_pusher WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, user, app, key).Scan(&b)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &Pusher{}
	return p, json.Unmarshal(b, p)
}
