package matrixserver

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/prekey"
)

func (s *homeserver) keyCalls() {
	s.client(http.MethodPost, "/keys/upload", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postKeysUpload})
	// Old clients name their device in the path.
	s.at(http.MethodPost, "/_matrix/client/r0/keys/upload/{deviceId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postKeysUploadOf})
	s.client(http.MethodPost, "/keys/query", endpoint{rate: rateWrite, body: 4 << 20, handle: (*call).postKeysQuery})
	s.client(http.MethodPost, "/keys/claim", endpoint{rate: rateWrite, body: 4 << 20, handle: (*call).postKeysClaim})
	s.client(http.MethodGet, "/keys/changes", endpoint{rate: rateRead, handle: (*call).getKeysChanges})
}

// The bounds of one upload of keys.
const (
	maxUploadKeys = 1000
	maxKeyBody    = 16 << 10
	maxDeviceKeys = 64 << 10
	maxFallback   = 10
)

// defaultAlgorithm is the one whose count clients expect even when it is zero.
const defaultAlgorithm = "signed_curve25519"

// A keyUpload is a checked body of "POST /keys/upload".
type keyUpload struct {
	device   *deviceKeys
	oneTime  []prekey.Key
	fallback []prekey.Key
}

// postKeysUpload: "POST /keys/upload".
func (c *call) postKeysUpload() (any, error) {
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	ms, err := members(body, "the body")
	if err != nil {
		return nil, err
	}
	u, err := c.parseUpload(ms)
	if err != nil {
		return nil, err
	}
	if err := limited(c.Limits.Allow("keys-upload", server.ByUser(network, c.user), rateUpload, len(u.oneTime)+1)); err != nil {
		return nil, err
	}
	var counts map[string]int64
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		counts, err = c.storeUpload(tx, c.user, c.device, u)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, ok := counts[defaultAlgorithm]; !ok {
		counts[defaultAlgorithm] = 0
	}
	return wire.KeyCounts{OneTime: counts}, nil
}

// postKeysUploadOf: the form of "POST /keys/upload" that names the device.
func (c *call) postKeysUploadOf() (any, error) {
	if c.path("deviceId") != string(c.device) {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "a device can upload only its own keys")
	}
	return c.postKeysUpload()
}

// parseUpload checks the form of all keys of an upload by the caller's own
// device.
func (c *call) parseUpload(ms []canonicaljson.Member) (*keyUpload, error) {
	u := &keyUpload{}
	var err error
	if raw := field(ms, "device_keys"); raw != nil {
		if u.device, err = parseDeviceKeys(raw, c.user, c.device); err != nil {
			return nil, err
		}
	}
	if u.oneTime, err = parseKeys(field(ms, "one_time_keys"), "one_time_keys", maxUploadKeys); err != nil {
		return nil, err
	}
	u.fallback, err = parseKeys(field(ms, "fallback_keys"), "fallback_keys", maxFallback)
	return u, err
}

// storeUpload writes a checked upload and returns the counts of one-time keys.
func (s *homeserver) storeUpload(tx *db.Tx, user quinta.UserID, dev quinta.DeviceID, u *keyUpload) (map[string]int64, error) {
	// The device may have been removed since its token was looked at; keys of
	// a device that is not there would stay forever.
	if _, err := device.Get(tx, network, user, dev); err != nil {
		return nil, err
	}
	if u.device != nil {
		if err := s.putDeviceKeys(tx, user, dev, u.device); err != nil {
			return nil, err
		}
	}
	if err := prekey.PutFallback(tx, network, user, dev, u.fallback); err != nil {
		return nil, err
	}
	if err := prekey.Put(tx, network, user, dev, u.oneTime); err != nil {
		return nil, err
	}
	counts, err := prekey.Counts(tx, network, user, dev)
	total := int64(0)
	for _, n := range counts {
		total += n
	}
	if total > prekey.MaxKeys {
		return nil, prekey.ErrFull
	}
	return counts, err
}

// parseKeys checks the form of one-time or fallback keys: a key is text or an
// object with the text "key", and its id names its algorithm. The keys come
// back in canonical form, so that equal keys are equal bytes.
func parseKeys(raw []byte, where string, most int) ([]prekey.Key, error) {
	if raw == nil {
		return nil, nil
	}
	ms, err := members(raw, where)
	if err != nil {
		return nil, err
	}
	if len(ms) > most {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, where+" has too many keys for one upload")
	}
	keys := make([]prekey.Key, 0, len(ms))
	for _, m := range ms {
		alg, id, ok := strings.Cut(m.Name, ":")
		if !ok || alg == "" || id == "" || len(m.Name) > wire.MaxID || len(m.Value) > maxKeyBody {
			return nil, badJSON("%s: a key must be named algorithm:id and have at most %d bytes", where, maxKeyBody)
		}
		if err := checkKeyObject(m.Value, where); err != nil {
			return nil, err
		}
		body, err := canonicaljson.Canonical(m.Value)
		if err != nil {
			return nil, badJSON("%s has no canonical form", where)
		}
		keys = append(keys, prekey.Key{Algorithm: alg, ID: id, Body: body})
	}
	return keys, nil
}

// checkKeyObject checks the form of one key. Signatures are for clients to
// verify.
func checkKeyObject(raw []byte, where string) error {
	if kind(raw) == '"' {
		return nil
	}
	ms, err := members(raw, "each key in "+where)
	if err != nil {
		return err
	}
	if _, ok := text(field(ms, "key")); !ok {
		return badJSON("%s: a key object needs the string \"key\"", where)
	}
	return checkSignatures(field(ms, "signatures"), where)
}

// checkSignatures checks the form {entity: {key id: text}}; it may be absent.
func checkSignatures(raw []byte, where string) error {
	if raw == nil {
		return nil
	}
	entities, err := members(raw, "signatures in "+where)
	if err != nil {
		return err
	}
	for _, e := range entities {
		sigs, err := members(e.Value, "each entity of the signatures in "+where)
		if err != nil {
			return err
		}
		for _, sig := range sigs {
			if kind(sig.Value) != '"' {
				return badJSON("%s: a signature must be a string", where)
			}
		}
	}
	return nil
}

// deviceKeys are the public keys of one device in canonical form.
type deviceKeys struct {
	body []byte
	// signed is the part that signatures are over.
	signed []byte
}

// parseDeviceKeys checks the form of device keys (client-server API,
// "DeviceKeys"). What is in them stays as it is, without "unsigned".
func parseDeviceKeys(raw []byte, user quinta.UserID, dev quinta.DeviceID) (*deviceKeys, error) {
	if len(raw) > maxDeviceKeys {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "the device keys are too large")
	}
	ms, err := members(raw, "device_keys")
	if err != nil {
		return nil, err
	}
	if got, ok := text(field(ms, "user_id")); !ok || got != string(user) {
		return nil, badJSON("device_keys: user_id must be the user of the login")
	}
	if got, ok := text(field(ms, "device_id")); !ok || got != string(dev) {
		return nil, badJSON("device_keys: device_id must be the device of the login")
	}
	var algorithms []string
	if raw := field(ms, "algorithms"); kind(raw) != '[' || decode(raw, &algorithms) != nil {
		return nil, badJSON("device_keys: algorithms must be a list of strings")
	}
	keys, err := members(field(ms, "keys"), "device_keys: keys")
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if kind(k.Value) != '"' || !strings.Contains(k.Name, ":") {
			return nil, badJSON("device_keys: each key must be named algorithm:id and be a string")
		}
	}
	sigs := field(ms, "signatures")
	if sigs == nil {
		return nil, badJSON("device_keys: signatures are missing")
	}
	if err := checkSignatures(sigs, "device_keys"); err != nil {
		return nil, err
	}
	d := &deviceKeys{}
	if d.body, err = canonicaljson.Delete(raw, "unsigned"); err != nil {
		return nil, err
	}
	if d.body, err = canonicaljson.Canonical(d.body); err != nil {
		return nil, err
	}
	d.signed, err = canonicaljson.SigningBytes(raw)
	return d, err
}

// putDeviceKeys stores the keys of a device. Signatures that were put on the
// same keys before, such as that of the self-signing key, stay. A device with
// another identity starts from scratch: one-time keys of the old one are of no use.
func (s *homeserver) putDeviceKeys(tx *db.Tx, user quinta.UserID, dev quinta.DeviceID, d *deviceKeys) error {
	old, err := directory.DeviceOf(tx, network, user, dev)
	if err != nil || bytes.Equal(old, d.body) {
		return err
	}
	body := d.body
	if old != nil {
		signed, err := canonicaljson.SigningBytes(old)
		if err != nil {
			return err
		}
		if bytes.Equal(signed, d.signed) {
			if body, err = mergeSignatures(old, d.body); err != nil || bytes.Equal(body, old) {
				return err
			}
		} else if err := s.newIdentity(tx, user, dev, signed, d.signed); err != nil {
			return err
		}
	}
	if err := directory.PutDevice(tx, network, user, dev, body); err != nil {
		return err
	}
	return s.deviceChanged(tx, user)
}

// newIdentity removes the one-time and fallback keys of a device whose own
// keys are other ones now.
func (s *homeserver) newIdentity(tx *db.Tx, user quinta.UserID, dev quinta.DeviceID, old, now []byte) error {
	a, err := canonicaljson.Get(old, "keys")
	if err != nil {
		return err
	}
	b, err := canonicaljson.Get(now, "keys")
	if err != nil || bytes.Equal(a, b) {
		return err
	}
	return prekey.Remove(tx, network, user, dev)
}
