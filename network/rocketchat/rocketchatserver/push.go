package rocketchatserver

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server/db"
)

// The texts of notifications: they say nothing of a message that is encrypted.
const (
	textNew    = "You have a new message"
	textSealed = "Encrypted message"
)

// The bounds of a push token.
const (
	maxToken   = 4096
	maxTokenID = 128
	// maxPushes bounds what waits to be told to one app: the user looks at all once
	// they come.
	maxPushes = 200
)

// The content of a push, as the setting names it.
const (
	pushIDOnly    = "id-only"
	pushEncrypted = "encrypted"
)

func checkPush(v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%.40q is not the address of a push gateway, such as https://gateway.example.org", v)
	}
	return nil
}

func checkPushContent(v string) error {
	if v != pushIDOnly && v != pushEncrypted {
		return fmt.Errorf("%.40q is neither %s nor %s", v, pushIDOnly, pushEncrypted)
	}
	return nil
}

func (s *rcServer) pushCalls() {
	s.post("push.token", (*call).putToken)
	s.rest["DELETE push.token"] = endpoint{handle: (*call).deleteToken, rate: rateWrite, body: maxBody}
	s.get("push.get", (*call).getPush)
}

// putToken keeps where the app of this login is told of messages. A token that was of
// another login is of this one from now on.
func (c *call) putToken() (any, error) {
	var q struct {
		ID    string `json:"id"`
		Type  string `json:"type"`
		Value string `json:"value"`
		App   string `json:"appName"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	switch {
	case q.Type != "gcm" && q.Type != "apn":
		return nil, refused("error-type-param-not-valid", "The required \"type\" body param is missing or invalid.")
	case q.Value == "" || len(q.Value) > maxToken:
		return nil, refused("error-token-param-not-valid", "The required \"value\" body param is missing or invalid.")
	case q.App == "" || len(q.App) > maxTokenID || len(q.ID) > maxTokenID:
		return nil, refused("error-appName-param-not-valid", "The required \"appName\" body param is missing or invalid.")
	}
	if q.ID == "" {
		id, err := rocketchat.NewID(c.Rand)
		if err != nil {
			return nil, err
		}
		q.ID = id
	}
	at := int64(0)
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		at = tx.Millis()
		if err := tx.Queue(`DELETE FROM rocketchat_push_token WHERE token = $1`, q.Value); err != nil {
			return err
		}
		return tx.Queue(`INSERT INTO rocketchat_push_token (user_id, device, id, service, token, app, created) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (user_id, device) DO UPDATE SET id = excluded.id, service = excluded.service, token = excluded.token, app = excluded.app, created = excluded.created`,
			c.me.ID, string(c.device), q.ID, q.Type, q.Value, q.App, at)
	})
	return answer{"result": answer{"_id": q.ID, "token": answer{q.Type: q.Value}, "appName": q.App, "userId": c.me.ID, "enabled": true,
		"createdAt": rocketchat.Date(at), "_updatedAt": rocketchat.Date(at)}}, err
}

func (c *call) deleteToken() (any, error) {
	var q struct {
		Token string `json:"token"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	return answer{}, c.UpdateAlways(c.ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`DELETE FROM rocketchat_push_token WHERE token = $1 AND user_id = $2`, q.Token, c.me.ID)
		if err == nil && n == 0 {
			err = wire.NewError(404, wire.CodeNotFound, "you have no such token")
		}
		return err
	})
}

var (
	errPushMessage = refused(wire.CodeNoMessage, "there is no such message")
	errPushAllowed = refused(wire.CodeForbidden, "you are not in the room of this message")
)

// getPush gives the notification of a message to a member of its room.
func (c *call) getPush() (any, error) {
	var m *rocketchat.Message
	var n wire.Notification
	err := c.View(c.ctx, func(tx *db.Tx) (err error) {
		m, _, err = getMessage(tx, quinta.MessageID(c.query.Get("id")))
		if errors.Is(err, errNoMessage) {
			return errPushMessage
		}
		if err != nil {
			return err
		}
		r, _, err := c.mine(tx, m.Room)
		if quinta.KindOf(err) == quinta.KindNotFound {
			return errPushAllowed
		}
		if err == nil {
			n = c.notification(r, m)
		}
		return err
	})
	return answer{"data": answer{"message": m, "notification": n}}, err
}

// notification is what the app of a member shows of a message. What is encrypted stays
// a ciphertext.
func (s *rcServer) notification(r *roomRow, m *rocketchat.Message) wire.Notification {
	title, text := "#"+r.Name, m.User.Name+": "+m.Msg
	name := r.Name
	if r.Type == typeDirect {
		title, text, name = m.User.Name, m.Msg, ""
	}
	if m.Type == rocketchat.TypeE2E {
		text = textSealed
	}
	return wire.Notification{Title: title, Text: text, Payload: wire.Push{Host: s.host(), MessageID: m.ID, Kind: wire.PushMessage, Room: m.Room,
		Sender: &wire.PushSender{ID: m.User.ID, Username: m.User.Name, Name: m.User.Name}, SenderName: m.User.Name, Type: r.Type, Name: name,
		MessageType: m.Type, Thread: m.Thread, Msg: m.Msg, Content: m.Content}}
}

// forGateway is what leaves for the gateway, which others run: the id of the message,
// or, if the operator wants that, its ciphertext. A text in clear never leaves.
func (s *rcServer) forGateway(r *roomRow, m *rocketchat.Message) wire.Notification {
	if m.Type == rocketchat.TypeE2E && s.Setting(settingPushContent) == pushEncrypted {
		return s.notification(r, m)
	}
	return wire.Notification{Text: textNew, Payload: wire.Push{Host: s.host(), MessageID: m.ID, Kind: wire.PushID}}
}

// host is the address by which apps tell this workspace from others.
func (s *rcServer) host() string {
	if s.PublicURL != "" {
		return s.PublicURL
	}
	return s.Name
}

// pushes reports whether there is a gateway.
func (s *rcServer) pushes() bool { return s.gateway != nil }

// notePush remembers that the apps of the other members are to be told of a message.
func (s *rcServer) notePush(tx *db.Tx, m *rocketchat.Message) error {
	if !s.pushes() {
		return nil
	}
	tx.Wake(pushKey)
	return tx.Queue(`INSERT INTO rocketchat_push (user_id, device, message, next_try, tries)
		SELECT t.user_id, t.device, $1, $2, 0 FROM rocketchat_push_token t JOIN rocketchat_sub s ON s.user_id = t.user_id
		WHERE s.room = $3 AND t.user_id <> $4 AND (SELECT COUNT(*) FROM rocketchat_push p WHERE p.user_id = t.user_id AND p.device = t.device) < $5
		ON CONFLICT (user_id, device, message) DO NOTHING`, string(m.ID), tx.Millis(), string(m.Room), m.User.ID, maxPushes)
}

// gatewayBase is the address of the gateway without a slash at its end.
func gatewayBase(v string) string { return strings.TrimRight(v, "/") }
