package matrixserver

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/vault"
)

func (s *homeserver) backupKeyCalls() {
	for _, path := range []string{"/room_keys/keys", "/room_keys/keys/{roomId}", "/room_keys/keys/{roomId}/{sessionId}"} {
		s.client(http.MethodPut, path, endpoint{rate: rateWrite, body: maxBackupBody, handle: (*call).putBackupKeys})
		s.client(http.MethodGet, path, endpoint{rate: rateRead, handle: (*call).getBackupKeys})
		s.client(http.MethodDelete, path, endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteBackupKeys})
	}
}

// The bounds of one request that writes to a backup.
const (
	maxBackupBody    = 16 << 20
	maxBackupKeys    = 5000
	maxBackupKeyBody = 64 << 10
)

// backupPath returns the room and the session that the path names; both or
// the session alone may be missing from the path, none may be empty.
func (c *call) backupPath() (room quinta.RoomID, session string, err error) {
	for i, v := range c.vars {
		if v == "" || len(v) > wire.MaxID {
			return "", "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "a room id or session id has 1 to 255 bytes")
		}
		if i == 0 {
			room = quinta.RoomID(v)
		} else {
			session = v
		}
	}
	return room, session, nil
}

// putBackupKeys: "PUT /room_keys/keys" and its forms for a room and a session.
func (c *call) putBackupKeys() (any, error) {
	version, err := c.backupOfParam()
	if err != nil {
		return nil, err
	}
	room, session, err := c.backupPath()
	if err != nil {
		return nil, err
	}
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	u := backupUpload{}
	switch {
	case session != "":
		err = u.key(room, session, body)
	case room != "":
		err = u.room(room, body)
	default:
		err = u.all(body)
	}
	if err != nil {
		return nil, err
	}
	return c.changeBackup(c.Update, version, func(tx *db.Tx) (vault.Backup, error) {
		return vault.PutBackupKeys(tx, network, c.user, version, u.keys)
	})
}

// deleteBackupKeys: "DELETE /room_keys/keys" and its forms.
func (c *call) deleteBackupKeys() (any, error) {
	version, err := c.backupOfParam()
	if err != nil {
		return nil, err
	}
	room, session, err := c.backupPath()
	if err != nil {
		return nil, err
	}
	return c.changeBackup(c.UpdateAlways, version, func(tx *db.Tx) (vault.Backup, error) {
		return vault.DeleteBackupKeys(tx, network, c.user, version, room, session)
	})
}

// changeBackup changes the keys of the latest version, in a transaction of
// update, and answers with what there is then.
func (c *call) changeBackup(update func(context.Context, func(*db.Tx) error) error, version int64, change func(*db.Tx) (vault.Backup, error)) (any, error) {
	var b vault.Backup
	err := update(c.ctx(), func(tx *db.Tx) error {
		if err := writable(tx, c.user, version); err != nil {
			return err
		}
		var err error
		b, err = change(tx)
		return err
	})
	return wire.BackupCount{Count: b.Count, Etag: strconv.FormatInt(b.Etag, 10)}, err
}

// A backupUpload collects the keys of one request.
type backupUpload struct{ keys []vault.BackupKey }

// all reads {"rooms": {room: {"sessions": ...}}}.
func (u *backupUpload) all(raw []byte) error {
	ms, err := members(raw, "the body")
	if err != nil {
		return err
	}
	rooms, err := members(field(ms, "rooms"), "rooms")
	if err != nil {
		return err
	}
	for _, r := range rooms {
		if r.Name == "" || len(r.Name) > wire.MaxID {
			return badJSON("a room id has 1 to 255 bytes")
		}
		if err := u.room(quinta.RoomID(r.Name), r.Value); err != nil {
			return err
		}
	}
	return nil
}

// room reads {"sessions": {session: KeyBackupData}}.
func (u *backupUpload) room(room quinta.RoomID, raw []byte) error {
	ms, err := members(raw, "a room of the backup")
	if err != nil {
		return err
	}
	sessions, err := members(field(ms, "sessions"), "sessions")
	if err != nil {
		return err
	}
	if len(u.keys)+len(sessions) > maxBackupKeys {
		return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "too many keys for one request")
	}
	for _, s := range sessions {
		if s.Name == "" || len(s.Name) > wire.MaxID {
			return badJSON("a session id has 1 to 255 bytes")
		}
		if err := u.key(room, s.Name, s.Value); err != nil {
			return err
		}
	}
	return nil
}

// key reads a KeyBackupData. What is sealed in it is kept as it is.
func (u *backupUpload) key(room quinta.RoomID, session string, raw []byte) error {
	if len(raw) > maxBackupKeyBody {
		return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "a key of the backup is too large")
	}
	ms, err := members(raw, "a key of the backup")
	if err != nil {
		return err
	}
	k := vault.BackupKey{Room: room, Session: session, Body: raw}
	var ok bool
	if k.First, ok = count(field(ms, "first_message_index")); !ok {
		return badJSON("first_message_index must be a whole number that is not negative")
	}
	if k.Forwarded, ok = count(field(ms, "forwarded_count")); !ok {
		return badJSON("forwarded_count must be a whole number that is not negative")
	}
	switch string(field(ms, "is_verified")) {
	case "true":
		k.Verified = true
	case "false":
	default:
		return badJSON("is_verified must be true or false")
	}
	if data := field(ms, "session_data"); kind(data) != '{' && kind(data) != '"' {
		return badJSON("session_data is missing")
	}
	u.keys = append(u.keys, k)
	return nil
}

// getBackupKeys: "GET /room_keys/keys" and its forms.
func (c *call) getBackupKeys() (any, error) {
	version, err := c.backupOfParam()
	if err != nil {
		return nil, err
	}
	room, session, err := c.backupPath()
	if err != nil {
		return nil, err
	}
	var keys []vault.BackupKey
	var body json.RawMessage
	err = c.View(c.ctx(), func(tx *db.Tx) (err error) {
		if session != "" {
			body, err = vault.BackupKeyOf(tx, network, c.user, version, room, session)
		} else {
			keys, err = vault.BackupKeys(tx, network, c.user, version, room)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case session != "":
		return body, nil
	case room != "":
		b, _ := appendSessions(make([]byte, 0, 1024*(1+len(keys))), keys)
		return json.RawMessage(b), nil
	}
	b := append(make([]byte, 0, 1024*(1+len(keys))), `{"rooms":{`...)
	for len(keys) > 0 {
		b = wire.AppendMember(b, string(keys[0].Room))
		b, keys = appendSessions(b, keys)
	}
	return json.RawMessage(append(b, '}', '}')), nil
}

// appendSessions writes the keys of the room that comes first, and returns
// the keys of the others.
func appendSessions(b []byte, keys []vault.BackupKey) ([]byte, []vault.BackupKey) {
	b = append(b, `{"sessions":{`...)
	i := 0
	for ; i < len(keys) && keys[i].Room == keys[0].Room; i++ {
		b = append(wire.AppendMember(b, keys[i].Session), keys[i].Body...)
	}
	return append(b, '}', '}'), keys[i:]
}
