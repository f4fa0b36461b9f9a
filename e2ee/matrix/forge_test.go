package matrix_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
)

// A forger is a device whose owner writes whatever they like over Olm.
type forger struct {
	s      *stage
	acc    *olm.Account
	user   quinta.UserID
	device quinta.DeviceID
	keys   json.RawMessage
	// line is an Olm session for more than one message, if a test needs one.
	line *olm.Session
}

// forge logs a forger's device in and publishes its keys.
func (s *stage) forge(u quinta.UserID, d quinta.DeviceID) *forger {
	s.t.Helper()
	acc, err := olm.NewAccount(s.env().Rand)
	if err != nil {
		s.t.Fatal(err)
	}
	f := &forger{s: s, acc: acc, user: u, device: d}
	s.hs.login(u, d)
	f.keys = f.signed(map[string]any{})
	s.hs.users[u].devices[d].keys = f.keys
	s.hs.users[u].changed = s.hs.next()
	return f
}

// signed returns the forger's device keys with some members replaced.
func (f *forger) signed(change map[string]any) json.RawMessage {
	f.s.t.Helper()
	o := map[string]any{
		"user_id": f.user, "device_id": f.device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys": map[string]string{"curve25519:" + string(f.device): f.acc.Identity().String(), "ed25519:" + string(f.device): f.acc.Signing().String()},
	}
	for k, v := range change {
		o[k] = v
	}
	raw, err := canonicaljson.Sign(mustJSON(o), string(f.user), "ed25519:"+string(f.device), f.acc.Sign)
	if err != nil {
		f.s.t.Fatal(err)
	}
	return raw
}

// forgeDevice returns device keys with a name and new keys.
func forgeDevice(t *testing.T, s *stage, u quinta.UserID, d quinta.DeviceID) json.RawMessage {
	t.Helper()
	acc, err := olm.NewAccount(s.env().Rand)
	if err != nil {
		t.Fatal(err)
	}
	return (&forger{s: s, acc: acc, user: u, device: d}).signed(nil)
}

// payload returns an honest Olm payload to c; members of change replace it,
// nil takes one out.
func (f *forger) payload(c *client, typ string, content any, change map[string]any) []byte {
	id := c.identity()
	p := map[string]any{
		"type": typ, "content": content, "sender": f.user, "recipient": c.user,
		"recipient_keys": map[string]string{"ed25519": id.String()}, "keys": map[string]string{"ed25519": f.acc.Signing().String()},
		"sender_device_keys": f.keys,
	}
	for k, v := range change {
		if v == nil {
			delete(p, k)
		} else {
			p[k] = v
		}
	}
	return mustJSON(p)
}

// seal seals a payload to c with a one-time key of c and returns the content
// of the event.
func (f *forger) seal(c *client, payload []byte) map[string]any {
	f.s.t.Helper()
	return f.sealWith(f.lineTo(c), c, payload)
}

// lineTo makes an Olm session with a one-time key of c.
func (f *forger) lineTo(c *client) *olm.Session {
	f.s.t.Helper()
	dev := f.s.hs.users[c.user].devices[c.device]
	var k struct{ Key string }
	if err := json.Unmarshal(dev.oneTime[0].key, &k); err != nil {
		f.s.t.Fatal(err)
	}
	dev.oneTime = dev.oneTime[1:]
	otk, err := key.ParseAgreementPublic[key.OneTime](k.Key)
	if err != nil {
		f.s.t.Fatal(err)
	}
	s, err := f.acc.NewOutbound(f.s.env().Rand, c.curve(), otk)
	if err != nil {
		f.s.t.Fatal(err)
	}
	return s
}

// sealWith seals a payload to c with a session.
func (f *forger) sealWith(s *olm.Session, c *client, payload []byte) map[string]any {
	f.s.t.Helper()
	sealed, err := s.Seal(f.s.env().Rand, payload)
	if err != nil {
		f.s.t.Fatal(err)
	}
	return map[string]any{
		"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": f.acc.Identity().String(),
		"ciphertext": map[string]any{c.curve().String(): map[string]any{"type": sealed.Type, "body": base64.RawStdEncoding.EncodeToString(sealed.Body)}},
	}
}

// sends seals an honest payload with some members replaced, and delivers it.
func (f *forger) sends(c *client, typ string, content any, change map[string]any) {
	f.s.t.Helper()
	f.s.hs.deliver(c.user, c.device, f.user, "m.room.encrypted", f.seal(c, f.payload(c, typ, content, change)))
}

// publish makes one-time keys and gives them to the server.
func (f *forger) publish(n int) {
	f.s.t.Helper()
	if err := f.acc.GenerateOneTimeKeys(f.s.env().Rand, n); err != nil {
		f.s.t.Fatal(err)
	}
	dev := f.s.hs.users[f.user].devices[f.device]
	for _, k := range f.acc.Unpublished() {
		raw := f.signObject([]byte(`{"key":"` + k.Key.String() + `"}`))
		dev.oneTime = append(dev.oneTime, namedKey{"signed_curve25519:" + k.ID.String(), raw})
		f.acc.MarkPublished(k.ID)
	}
}

// signObject puts the forger's signature on an object.
func (f *forger) signObject(raw []byte) json.RawMessage {
	f.s.t.Helper()
	signed, err := canonicaljson.Sign(raw, string(f.user), "ed25519:"+string(f.device), f.acc.Sign)
	if err != nil {
		f.s.t.Fatal(err)
	}
	return signed
}
