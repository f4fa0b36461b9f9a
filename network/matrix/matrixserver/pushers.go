package matrixserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *homeserver) pusherCalls() {
	s.client(http.MethodGet, "/pushers", endpoint{handle: (*call).getPushers})
	s.client(http.MethodPost, "/pushers/set", endpoint{handle: (*call).postPusher})
}

// A pusher is where one app of a user wants to be told of events
// (client-server API, "Push Notifications").
type pusher struct {
	Kind        *string    `json:"kind"`
	AppID       string     `json:"app_id"`
	Pushkey     string     `json:"pushkey"`
	AppName     string     `json:"app_display_name,omitempty"`
	DeviceName  string     `json:"device_display_name,omitempty"`
	Lang        string     `json:"lang,omitempty"`
	ProfileTag  string     `json:"profile_tag,omitempty"`
	Data        pusherData `json:"data"`
	Append      bool       `json:"append,omitempty"`
	createdUnix int64
}

// pusherData is the data of a pusher: members other than url and format go to
// the gateway as they came.
type pusherData map[string]json.RawMessage

func (d pusherData) text(name string) string {
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

// pushPath is the path that a gateway's address must have.
const pushPath = "/_matrix/push/v1/notify"

// getPushers: "GET /pushers".
func (c *call) getPushers() (any, error) {
	list := []json.RawMessage{}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		for row, err := range tx.Query(`SELECT body FROM matrix_pusher WHERE user_id = $1 ORDER BY created, app_id, pushkey`, c.user) {
			if err != nil {
				return err
			}
			var b []byte
			if err := row.Scan(&b); err != nil {
				return err
			}
			list = append(list, b)
		}
		return nil
	})
	return map[string]any{"pushers": list}, err
}

// postPusher: "POST /pushers/set": makes, replaces or, with kind null,
// removes a pusher.
func (c *call) postPusher() (any, error) {
	var p pusher
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	switch {
	case p.AppID == "" || p.Pushkey == "":
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "a pusher has an app_id and a pushkey")
	case len(p.AppID) > maxAppID || len(p.Pushkey) > maxPushkey:
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the app_id or the pushkey is too long")
	}
	if p.Kind == nil {
		return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error { return removePusher(tx, c.user, p.AppID, p.Pushkey) })
	}
	if *p.Kind != "http" {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "this kind of pusher is not offered")
	}
	if err := c.checkGateway(p.Data.text("url")); err != nil {
		return nil, err
	}
	appendTo := p.Append
	p.Append = false
	body, err := encode(p)
	if err != nil {
		return nil, err
	}
	if len(body) > maxPusherBody {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "the pusher is too large")
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		var n int
		if err := tx.Row(`SELECT COUNT(*) FROM matrix_pusher WHERE user_id = $1`, c.user).Scan(&n); err != nil {
			return err
		}
		if n >= maxPushers {
			return wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many pushers")
		}
		if !appendTo {
			// The app on that phone belongs to one user at a time.
			if err := tx.Queue(`DELETE FROM matrix_pusher WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3`, p.AppID, p.Pushkey, c.user); err != nil {
				return err
			}
		}
		return tx.Queue(`INSERT INTO matrix_pusher (user_id, app_id, pushkey, device, created, body) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET device = excluded.device, body = excluded.body`,
			c.user, p.AppID, p.Pushkey, c.device, tx.Millis(), []byte(body))
	})
}

// checkGateway checks the address of a push gateway.
func (c *call) checkGateway(address string) error {
	u, err := url.Parse(address)
	ok := err == nil && u.Host != "" && u.User == nil && u.Path == pushPath && (u.Scheme == "https" || u.Scheme == "http" && c.Setting(privateGateways) == "on")
	if !ok {
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the url of a pusher is an https address with the path "+pushPath)
	}
	return nil
}

func removePusher(tx *db.Tx, user quinta.UserID, app, key string) error {
	err := tx.Queue(`DELETE FROM matrix_push WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, user, app, key)
	if err == nil {
		err = tx.Queue(`DELETE FROM matrix_pusher WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, user, app, key)
	}
	return err
}

// removePushersOf removes the pushers that a device has made: who is logged
// out is told nothing more.
func removePushersOf(tx *db.Tx, user quinta.UserID, device quinta.DeviceID) error {
	if err := tx.Queue(`DELETE FROM matrix_push WHERE user_id = $1 AND EXISTS (SELECT 1 FROM matrix_pusher p
		WHERE p.user_id = matrix_push.user_id AND p.app_id = matrix_push.app_id AND p.pushkey = matrix_push.pushkey AND p.device = $2)`, user, device); err != nil {
		return err
	}
	return tx.Queue(`DELETE FROM matrix_pusher WHERE user_id = $1 AND device = $2`, user, device)
}

// pushersOf lists the pushers of a user.
func pushersOf(tx *db.Tx, user quinta.UserID) ([]pusher, error) {
	var out []pusher
	for row, err := range tx.Query(`SELECT body, created FROM matrix_pusher WHERE user_id = $1`, user) {
		if err != nil {
			return nil, err
		}
		var b []byte
		var p pusher
		if err := row.Scan(&b, &p.createdUnix); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// pusherOf returns one pusher, nil if it is gone.
func pusherOf(tx *db.Tx, user quinta.UserID, app, key string) (*pusher, error) {
	var b []byte
	err := tx.Row(`SELECT body FROM matrix_pusher WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, user, app, key).Scan(&b)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := &pusher{}
	return p, json.Unmarshal(b, p)
}
