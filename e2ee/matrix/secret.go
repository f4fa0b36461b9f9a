package matrix

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

// A secretRequest is a request of this device for a secret that is open.
type secretRequest struct {
	Name  string   `json:"name"`
	At    int64    `json:"at"`
	Asked []target `json:"asked"`
}

type secretContent struct {
	Action string          `json:"action,omitempty"`
	Device quinta.DeviceID `json:"requesting_device_id,omitempty"`
	ID     string          `json:"request_id"`
	Name   string          `json:"name,omitempty"`
	Secret string          `json:"secret,omitempty"`
}

// RequestSecret asks the user's verified devices for a secret: one of the
// cross-signing keys, or "m.megolm_backup.v1". An EventSecret tells that it
// came. It returns ErrUnknownDevice if there is no device to ask.
func (m *Machine) RequestSecret(tx e2ee.Tx, name string) error {
	_, err := m.run(tx, func(w *work) error {
		asked, err := w.ownVerified()
		if err != nil {
			return err
		}
		if len(asked) == 0 {
			return ErrUnknownDevice
		}
		id, err := w.txn()
		if err != nil {
			return err
		}
		if err := e2ee.Store(w.tx, "secretreq/"+id, &secretRequest{name, w.now.UnixMilli(), asked}); err != nil {
			return err
		}
		return w.tellSecret(asked, secretContent{Action: "request", Device: m.device, ID: id, Name: name})
	})
	return err
}

func (w *work) tellSecret(to []target, c secretContent) error {
	text := e2ee.JSON(c)
	var ms []deviceMessage
	for _, t := range to {
		ms = append(ms, deviceMessage{t, text})
	}
	_, err := w.toDevice(typeSecretReq, ms, record{})
	return err
}

// ownVerified returns the user's other devices that are verified.
func (w *work) ownVerified() ([]target, error) {
	u, err := w.user(w.m.user)
	if err != nil {
		return nil, err
	}
	var out []target
	for _, id := range slices.Sorted(maps.Keys(u.Devices)) {
		if d := u.Devices[id]; id != w.m.device && !d.Gone && w.trust(w.m.user, u, d) == quinta.TrustVerified {
			out = append(out, target{w.m.user, id, d.Curve})
		}
	}
	return out, nil
}

// receiveSecretRequest gives a secret to a verified device of the user.
func (w *work) receiveSecretRequest(e toDeviceEvent) error {
	var c secretContent
	if exactjson.Unmarshal(e.Content, &c) != nil || e.Sender != w.m.user || c.Action != "request" || c.Device == w.m.device || !plain(c.ID) {
		return nil
	}
	verified, err := w.ownVerified()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(verified, func(t target) bool { return t.Device == c.Device })
	s, err := w.seeds()
	if err != nil || i < 0 || s[c.Name] == "" {
		return err
	}
	if err := w.tx.Put(gaveKey(c.Device)+c.Name, []byte{1}); err != nil {
		return err
	}
	return w.post(olmItem{To: verified[i], Type: typeSecretSend, Content: e2ee.JSON(secretContent{ID: c.ID, Secret: s[c.Name]})})
}

// gaveKey is where it is noted what secrets another device of the user got.
func gaveKey(device quinta.DeviceID) string { return "gave/" + string(device) + "\x00" }

// SecretsGiven reports whether another device of the user has asked for all secrets that
// are here, and they are on the server. A program that ends waits for it.
func (m *Machine) SecretsGiven(tx e2ee.Tx, device quinta.DeviceID) (bool, error) {
	given := true
	_, err := m.run(tx, func(w *work) error {
		s, err := w.seeds()
		if err != nil {
			return err
		}
		for name := range s {
			b, err := tx.Get(gaveKey(device) + name)
			if err != nil {
				return err
			}
			given = given && b != nil
		}
		waits, err := e2ee.Entries(w.tx, "olmq/")
		if err != nil {
			return err
		}
		given = given && len(waits) == 0
		sending, err := w.reqs.any(func(r *record) bool { return r.Kind == ReqToDevice })
		given = given && !sending
		return err
	})
	return given, err
}

// receiveSecret takes a secret: only one that was requested, from a verified
// device of the same user that was asked, and only the one that belongs to the
// public key. The code that uses the key of the backup checks it against the
// signed auth_data, because this machine does not see the backup.
func (w *work) receiveSecret(content json.RawMessage, from origin) error {
	var c secretContent
	if exactjson.Unmarshal(content, &c) != nil || from.User != w.m.user || from.Trust != quinta.TrustVerified {
		return nil
	}
	r, found, err := e2ee.Load[secretRequest](w.tx, "secretreq/"+c.ID)
	if err != nil || !found || w.now.UnixMilli()-r.At >= requestAgain.Milliseconds() ||
		!slices.Contains(r.Asked, target{from.User, from.Device, from.Curve}) {
		return err
	}
	u, err := w.user(w.m.user)
	if err != nil {
		return err
	}
	raw, err := base64text.DecodeSecret(c.Secret)
	if err != nil || len(raw) != key.Size {
		return nil
	}
	defer clear(raw)
	right := map[string]bool{
		nameMaster: isSeed(raw, u.Master), nameSelfSigning: isSeed(raw, u.SelfSigning), nameUserSigning: isSeed(raw, u.UserSigning),
		nameBackup: true, // compared with the auth_data by the code that uses it
	}
	if !right[r.Name] {
		return nil
	}
	s, err := w.seeds()
	if err != nil {
		return err
	}
	s[r.Name] = base64text.EncodeSecret(raw)
	if err := e2ee.Store(w.tx, "secrets", s); err != nil {
		return err
	}
	if err := w.tx.Delete("secretreq/" + c.ID); err != nil {
		return err
	}
	w.emit(e2ee.Event{Kind: e2ee.EventSecret, User: from.User, Device: from.Device, Detail: r.Name})
	if err := w.tellSecret(r.Asked, secretContent{Action: "request_cancellation", Device: w.m.device, ID: c.ID}); err != nil {
		return err
	}
	if d := u.Devices[w.m.device]; r.Name == nameSelfSigning && d != nil {
		return w.signOwnDevice(w.m.device, d)
	}
	return nil
}

// isSeed reports whether raw is the private half of a key.
func isSeed[R key.SigningRole](raw []byte, public key.SigningPublic[R]) bool {
	k, err := key.NewSigningPrivate[R](raw)
	if err != nil {
		return false
	}
	defer k.Wipe()
	return k.Public() == public
}

// BackupKey returns the private key of the key backup as it was stored or
// received; the zero value if there is none. Hold it against the auth_data
// with keybackup.AuthData.Matches, and that against a trusted signature, before
// anything is written with it.
func (m *Machine) BackupKey(tx e2ee.Tx) (key.BackupPrivate, error) {
	var k key.BackupPrivate
	_, err := m.run(tx, func(w *work) error {
		s, err := w.seeds()
		if err != nil || s[nameBackup] == "" {
			return err
		}
		k, err = key.ParseAgreementPrivate[key.Backup](s[nameBackup])
		return err
	})
	return k, err
}

// SetBackupKey stores the private key of the key backup, so that the user's
// other devices can ask for it.
func (m *Machine) SetBackupKey(tx e2ee.Tx, k key.BackupPrivate) error {
	_, err := m.run(tx, func(w *work) error {
		s, err := w.seeds()
		if err != nil {
			return err
		}
		b := k.Secret()
		defer clear(b)
		s[nameBackup] = base64text.EncodeSecret(b)
		return e2ee.Store(w.tx, "secrets", s)
	})
	return err
}
