package matrixserver

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
)

func (s *homeserver) crossSigningCalls() {
	s.client(http.MethodPost, "/keys/device_signing/upload", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postDeviceSigning})
	s.client(http.MethodPost, "/keys/signatures/upload", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postSignatures})
	s.at(http.MethodPost, "/_matrix/client/unstable/keys/device_signing/upload", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postDeviceSigning})
	s.at(http.MethodPost, "/_matrix/client/unstable/keys/signatures/upload", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postSignatures})
}

// maxCrossSigningKey bounds one cross-signing key with its signatures.
const maxCrossSigningKey = 64 << 10

// A crossSigningKey is one key of a user, checked.
type crossSigningKey struct {
	usage string
	// public is the key, and name its id in the object, "ed25519:" and a text
	// that is the key in base64.
	public []byte
	name   string
	body   []byte
	// signed is the part that signatures are over.
	signed []byte
}

// pub returns the public key that the name contains.
func (k *crossSigningKey) pub() string { return strings.TrimPrefix(k.name, "ed25519:") }

func errSignature(text string) error {
	return wire.NewError(http.StatusBadRequest, wire.CodeInvalidSignature, text)
}

// parseCrossSigningKey checks a cross-signing key of a user (client-server
// API, "CrossSigningKey"). Only the user's own signatures are kept, for no
// one sees others on it.
func parseCrossSigningKey(raw []byte, user quinta.UserID, usage string) (*crossSigningKey, error) {
	where := usage + "_key"
	if len(raw) > maxCrossSigningKey {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, where+" is too large")
	}
	ms, err := members(raw, where)
	if err != nil {
		return nil, err
	}
	if got, ok := text(field(ms, "user_id")); !ok || got != string(user) {
		return nil, badJSON("%s: user_id must be the user of the login", where)
	}
	var uses []string
	if raw := field(ms, "usage"); kind(raw) != '[' || decode(raw, &uses) != nil || !slices.Contains(uses, usage) {
		return nil, badJSON("%s: usage must be a list with %q", where, usage)
	}
	keys, err := members(field(ms, "keys"), where+": keys")
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, badJSON("%s: keys must hold exactly one key", where)
	}
	k := &crossSigningKey{usage: usage, name: keys[0].Name}
	value, ok := text(keys[0].Value)
	if !ok || !strings.HasPrefix(k.name, "ed25519:") || k.pub() != value {
		return nil, badJSON("%s: the key must be named ed25519: followed by itself", where)
	}
	pub, err := key.ParseSigningPublic[key.Master](value)
	if err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, where+": this is not an Ed25519 key")
	}
	k.public = pub.Bytes()
	if err := checkSignatures(field(ms, "signatures"), where); err != nil {
		return nil, err
	}
	if k.signed, err = canonicaljson.SigningBytes(raw); err != nil {
		return nil, err
	}
	sigs, err := signaturesOf(raw)
	if err != nil {
		return nil, err
	}
	own := signatureMap{}
	if s := sigs[string(user)]; s != nil {
		own[string(user)] = s
	}
	if k.body, err = canonicaljson.Delete(raw, "unsigned"); err != nil {
		return nil, err
	}
	k.body, err = withSignatures(k.body, own)
	return k, err
}

// signs reports whether the object has a valid signature of the user by this
// key.
func (k *crossSigningKey) signs(user quinta.UserID, object []byte) error {
	pub, err := key.NewSigningPublic[key.Master](k.public)
	if err != nil {
		return err
	}
	return canonicaljson.Verify(object, string(user), k.name, pub.Verify)
}

// A deviceSigning is the body of "POST /keys/device_signing/upload": keys by
// usage.
type deviceSigning map[string]*crossSigningKey

// usages are the cross-signing keys in the order in which they are treated.
var usages = []string{usageMaster, usageSelf, usageUser}

func (c *call) deviceSigning() (deviceSigning, *wire.Auth, error) {
	body, err := c.object()
	if err != nil {
		return nil, nil, err
	}
	ms, err := members(body, "the body")
	if err != nil {
		return nil, nil, err
	}
	q := deviceSigning{}
	for _, usage := range usages {
		if raw := field(ms, usage+"_key"); raw != nil {
			if q[usage], err = parseCrossSigningKey(raw, c.user, usage); err != nil {
				return nil, nil, err
			}
		}
	}
	if len(q) == 0 {
		return nil, nil, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "no key was sent")
	}
	var auth *wire.Auth
	if raw := field(ms, "auth"); raw != nil {
		if err := decode(raw, &auth); err != nil {
			return nil, nil, err
		}
	}
	return q, auth, nil
}

// operation names just these keys, for user-interactive authentication.
func (q deviceSigning) operation() string {
	op := "device signing"
	for _, usage := range usages {
		op += " "
		if k := q[usage]; k != nil {
			op += k.pub()
		}
	}
	return op
}

// storedKeys returns the cross-signing keys of a user by usage.
func storedKeys(tx *db.Tx, user quinta.UserID) (deviceSigning, error) {
	ids, err := directory.Identities(tx, network, []quinta.UserID{user})
	if err != nil {
		return nil, err
	}
	stored := deviceSigning{}
	for i := range ids {
		if stored[ids[i].Usage], err = parseCrossSigningKey(ids[i].Body, user, ids[i].Usage); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

// same reports whether all keys of q are stored as they are, apart from their
// signatures.
func (q deviceSigning) same(stored deviceSigning) bool {
	for usage, k := range q {
		if s := stored[usage]; s == nil || !bytes.Equal(s.signed, k.signed) {
			return false
		}
	}
	return true
}

// check refuses keys that are not signed by the master key of the request or,
// without one, by that which is stored.
func (q deviceSigning) check(stored deviceSigning, user quinta.UserID) error {
	master := q[usageMaster]
	if master == nil {
		master = stored[usageMaster]
	}
	if master == nil {
		return wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "there is no master key yet: send it too")
	}
	for _, usage := range []string{usageSelf, usageUser} {
		k := q[usage]
		if k == nil {
			continue
		}
		if master.signs(user, k.body) != nil {
			return errSignature(usage + "_key is not signed by the master key")
		}
	}
	return nil
}

// errAgain says that the stored keys changed while a request was checked.
var errAgain = errors.New("matrixserver: the keys changed in between")

// postDeviceSigning: "POST /keys/device_signing/upload". The first keys need
// no further authentication, nor does a repeat of what is stored; whoever
// replaces or adds a key gives their password.
func (c *call) postDeviceSigning() (any, error) {
	q, auth, err := c.deviceSigning()
	if err != nil {
		return nil, err
	}
	proven := false
	for range 3 {
		var stored deviceSigning
		if err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
			stored, err = storedKeys(tx, c.user)
			return err
		}); err != nil {
			return nil, err
		}
		if len(stored) > 0 && q.same(stored) {
			return empty{}, nil
		}
		if stored[usageMaster] != nil && !proven {
			if err := c.interact(auth, q.operation(), wire.StagePassword); err != nil {
				return nil, err
			}
			proven = true
		}
		if err := q.check(stored, c.user); err != nil {
			return nil, err
		}
		err := c.Update(c.ctx(), func(tx *db.Tx) error { return c.storeCrossSigning(tx, q, stored) })
		if !errors.Is(err, errAgain) {
			return empty{}, err
		}
	}
	return nil, quinta.E(quinta.KindUnavailable, "cross-signing", "the keys are being changed by another device")
}

// storeCrossSigning stores checked keys, if what they were checked against
// is still what is stored.
func (c *call) storeCrossSigning(tx *db.Tx, q, before deviceSigning) error {
	stored, err := storedKeys(tx, c.user)
	if err != nil {
		return err
	}
	if len(stored) != len(before) || !before.same(stored) {
		return errAgain
	}
	if err := c.keysFree(tx, q); err != nil {
		return err
	}
	if k := q[usageMaster]; k != nil && stored[usageMaster] != nil && k.name != stored[usageMaster].name {
		// Signatures of the old master key are no longer worth anything.
		for _, usage := range []string{usageSelf, usageUser} {
			if stored[usage] != nil && q[usage] == nil {
				if err := directory.RemoveIdentity(tx, network, c.user, usage); err != nil {
					return err
				}
			}
		}
	}
	public := false
	for _, usage := range usages {
		k := q[usage]
		if k == nil || (stored[usage] != nil && bytes.Equal(stored[usage].signed, k.signed)) {
			continue
		}
		if usage == usageUser && stored[usage] != nil {
			if err := directory.ForgetSignatures(tx, network, c.user, stored[usage].pub()); err != nil {
				return err
			}
		}
		public = public || usage != usageUser
		if err := directory.PutIdentity(tx, network, directory.Identity{User: c.user, Usage: usage, Key: k.pub(), Body: k.body}); err != nil {
			return err
		}
	}
	if public {
		return c.deviceChanged(tx, c.user)
	}
	return c.deviceChangedFor(tx, c.user, c.user)
}

// keysFree refuses keys that are called like a device of the user, or like
// another of the keys: all share a name space.
func (c *call) keysFree(tx *db.Tx, q deviceSigning) error {
	names := map[string]bool{}
	devices, err := device.Of(tx, network, []quinta.UserID{c.user})
	if err != nil {
		return err
	}
	for _, d := range devices {
		names[string(d.ID)] = true
	}
	for _, k := range q {
		if names[k.pub()] {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "a cross-signing key has the name of a device or of another key")
		}
		names[k.pub()] = true
	}
	return nil
}
