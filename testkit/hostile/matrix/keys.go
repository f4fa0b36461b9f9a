package matrix

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
)

// A Forger has keys that the server made for a device.
type Forger struct {
	User, Device string
	account      *olm.Account
}

// NewForger makes keys for a device of a user.
func (s *Server) NewForger(user, device string) *Forger {
	s.t.Helper()
	a, err := olm.NewAccount(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return &Forger{user, device, a}
}

// Fingerprint returns the forger's Ed25519 key.
func (f *Forger) Fingerprint() string { return f.account.Signing().String() }

// sign returns an object with the forger's signature, as a JSON value.
func (f *Forger) sign(o Object) Object {
	return signObject(o, f.User, f.Device, f.account)
}

// signObject puts the signature of an account's signing key on an object.
func signObject(o Object, user, id string, a *olm.Account) Object {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	signed, err := canonicaljson.Sign(raw, user, "ed25519:"+id, a.Sign)
	if err != nil {
		panic(err)
	}
	var out Object
	if err := json.Unmarshal(signed, &out); err != nil {
		panic(err)
	}
	return out
}

// keys returns the forger's device keys.
func (f *Forger) keys() Object {
	return f.sign(Object{
		"user_id": f.User, "device_id": f.Device, "algorithms": []any{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys": Object{"curve25519:" + f.Device: f.account.Identity().String(), "ed25519:" + f.Device: f.Fingerprint()},
	})
}

// oneTimeKey returns a new one-time key under the forger's signature.
func (f *Forger) oneTimeKey() Object {
	if err := f.account.GenerateOneTimeKeys(rand.Reader, 1); err != nil {
		panic(err)
	}
	k := f.account.Unpublished()[0]
	f.account.MarkPublished(k.ID)
	return f.sign(Object{"key": k.Key.String()})
}

// Ghost lists the forger's device among those of its user, and gives out its
// one-time keys. With the name of a device that is there it swaps its keys.
func (s *Server) Ghost(f *Forger) {
	s.Answer("/keys/query", func(o Object) {
		if asked, ok := object(o, "device_keys")[f.User].(Object); ok {
			asked[f.Device] = f.keys()
		} else {
			object(o, "device_keys")[f.User] = Object{f.Device: f.keys()}
		}
	})
	s.Answer("/keys/claim", func(o Object) {
		object(object(o, "one_time_keys"), f.User)[f.Device] = Object{"signed_curve25519:AAAAAA": f.oneTimeKey()}
	})
}

// Announce says with the next sync that a user's devices have changed.
func (s *Server) Announce(user string) {
	told := false
	s.Answer("/sync", func(sync Object) {
		if !told {
			told = true
			lists := object(sync, "device_lists")
			lists["changed"] = append(list(lists["changed"]), user)
		}
	})
}

// SwapOneTimeKeys gives out one-time keys of a forger, under the forger's signature, in
// the place of everyone's.
func (s *Server) SwapOneTimeKeys(f *Forger) {
	s.Answer("/keys/claim", func(o Object) {
		s.oneTimeKeys(o, func(Object) Object { return f.oneTimeKey() })
	})
}

// WeakOneTimeKeys gives out one-time keys with which everyone knows the
// secret, in the place of everyone's.
func (s *Server) WeakOneTimeKeys() {
	s.Answer("/keys/claim", func(o Object) {
		s.oneTimeKeys(o, func(k Object) Object { k["key"] = strings.Repeat("A", 43); return k })
	})
}

// oneTimeKeys changes each key of the answer of a claim.
func (s *Server) oneTimeKeys(o Object, do func(k Object) Object) {
	for _, devices := range object(o, "one_time_keys") {
		devices, _ := devices.(Object)
		for _, keys := range devices {
			keys, _ := keys.(Object)
			for name, k := range keys {
				if k, ok := k.(Object); ok {
					keys[name] = do(k)
				}
			}
		}
	}
}

// SwapIdentity gives a user other cross-signing keys, which sign the devices
// that they have.
func (s *Server) SwapIdentity(user string) {
	master, self := newSigning(), newSigning()
	s.Answer("/keys/query", func(o Object) {
		devices, ok := object(o, "device_keys")[user].(Object)
		if !ok {
			return
		}
		object(o, "master_keys")[user] = master.object(user, "master", master)
		object(o, "self_signing_keys")[user] = self.object(user, "self_signing", master)
		for _, id := range slices.Sorted(maps.Keys(devices)) {
			if d, ok := devices[id].(Object); ok {
				devices[id] = self.sign(user, d)
			}
		}
	})
}

// A signing is a cross-signing key of the server's making.
type signing struct{ account *olm.Account }

func newSigning() signing {
	a, err := olm.NewAccount(rand.Reader)
	if err != nil {
		panic(err)
	}
	return signing{a}
}

func (k signing) object(user, usage string, by signing) Object {
	pub := k.account.Signing().String()
	return by.sign(user, Object{"user_id": user, "usage": []any{usage}, "keys": Object{"ed25519:" + pub: pub}})
}

func (k signing) sign(user string, o Object) Object {
	return signObject(o, user, k.account.Signing().String(), k.account)
}

// A RoomSession is a Megolm session that the server made.
type RoomSession struct {
	room string
	out  *megolm.Outbound
	f    *Forger
}

// NewRoomSession makes a session for a room.
func (s *Server) NewRoomSession(f *Forger, room string) *RoomSession {
	s.t.Helper()
	out, err := megolm.NewOutbound(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return &RoomSession{room, out, f}
}

// Key returns the content of m.room_key.
func (r *RoomSession) Key() Object {
	return Object{
		"algorithm": "m.megolm.v1.aes-sha2", "room_id": r.room, "session_id": string(r.out.ID()),
		"session_key": base64.RawStdEncoding.EncodeToString(r.out.SessionKey()),
	}
}

// Event returns an encrypted event with a text, as if sender had sent it.
func (r *RoomSession) Event(sender, id, text string) Object {
	raw, err := json.Marshal(Object{"type": "m.room.message", "room_id": r.room, "content": Object{"msgtype": "m.text", "body": text}})
	if err != nil {
		panic(err)
	}
	sealed, err := r.out.Seal(raw)
	if err != nil {
		panic(err)
	}
	return Object{
		"type": "m.room.encrypted", "sender": sender, "event_id": id, "origin_server_ts": time.Now().UnixMilli(),
		"content": Object{
			"algorithm": "m.megolm.v1.aes-sha2", "sender_key": r.f.account.Identity().String(), "device_id": r.f.Device,
			"session_id": string(r.out.ID()), "ciphertext": base64.RawStdEncoding.EncodeToString(sealed),
		},
	}
}
