package matrixserver_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/server/db"
)

// A signer is an Ed25519 key that signs JSON objects.
type signer struct {
	t    *testing.T
	pub  string
	priv ed25519.PrivateKey
}

func newSigner(t *testing.T) signer {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		t.Fatal(err)
	}
	priv := ed25519.NewKeyFromSeed(seed)
	return signer{t, base64.RawStdEncoding.EncodeToString(priv.Public().(ed25519.PublicKey)), priv}
}

// sign returns the object with a signature of the entity under the key id
// "ed25519:" and name.
func (k signer) sign(o object, entity, name string) object {
	k.t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		k.t.Fatal(err)
	}
	if raw, err = canonicaljson.Sign(raw, entity, "ed25519:"+name, func(m []byte) []byte { return ed25519.Sign(k.priv, m) }); err != nil {
		k.t.Fatal(err)
	}
	var out object
	if err := json.Unmarshal(raw, &out); err != nil {
		k.t.Fatal(err)
	}
	return out
}

// deviceKeys returns the signed keys of the user's device.
func (u *user) deviceKeys(k signer) object {
	return k.sign(object{
		"user_id": u.ID, "device_id": u.Device,
		"algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys":       object{"ed25519:" + u.Device: k.pub, "curve25519:" + u.Device: "JGLn/yafz74HB2AbPLYJWIVGnKAtqECOBf11yyXac2Y"},
	}, u.ID, u.Device)
}

// uploadDevice uploads keys of the user's device and returns them.
func (u *user) uploadDevice(k signer) object {
	u.s.t.Helper()
	keys := u.deviceKeys(k)
	u.post("/_matrix/client/v3/keys/upload", object{"device_keys": keys}).want(200)
	return keys
}

// oneTime returns one-time keys by the names given.
func oneTime(ids ...string) object {
	o := object{}
	for _, id := range ids {
		o["signed_curve25519:"+id] = object{"key": "key of " + id, "signatures": object{"@x:y": object{"ed25519:D": "sig"}}}
	}
	return o
}

// claim claims one key of the device and returns its id, or "".
func (u *user) claim(of *user) string {
	u.s.t.Helper()
	r := u.post("/_matrix/client/v3/keys/claim", object{"one_time_keys": object{of.ID: object{of.Device: "signed_curve25519"}}}).want(200)
	got, _ := r.at("one_time_keys", of.ID, of.Device).(object)
	for id := range got {
		return strings.TrimPrefix(id, "signed_curve25519:")
	}
	return ""
}

// query asks for all keys of the users.
func (u *user) query(of ...*user) *reply {
	u.s.t.Helper()
	q := object{}
	for _, o := range of {
		q[o.ID] = []string{}
	}
	return u.post("/_matrix/client/v3/keys/query", object{"device_keys": q}).want(200)
}

// same fails if two JSON values differ.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := canonical(t, got), canonical(t, want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

func canonical(t *testing.T, v any) string {
	t.Helper()
	raw, err := canonicaljson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// list returns the texts of a JSON list, sorted.
func list(v any) []string {
	var out []string
	l, _ := v.([]any)
	for _, e := range l {
		out = append(out, fmt.Sprint(e))
	}
	slices.Sort(out)
	return out
}

// with returns a copy of the object with a member set, or removed by nil.
func with(o object, name string, value any) object {
	c := object{}
	for k, v := range o {
		c[k] = v
	}
	if c[name] = value; value == nil {
		delete(c, name)
	}
	return c
}

// here returns the present position as a token.
func (s *stage) here() string {
	s.t.Helper()
	var pos quinta.Pos
	if err := s.Core.View(s.t.Context(), func(tx *db.Tx) (err error) {
		pos, err = tx.Pos()
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("s%d", pos)
}
