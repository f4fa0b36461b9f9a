package matrixserver

import (
	"bytes"
	"errors"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/directory"
)

// maxSignedObjects bounds the objects of one upload of signatures.
const maxSignedObjects = 500

// A signedObject is one object of "POST /keys/signatures/upload": the keys of
// a device or a master key, with signatures added.
type signedObject struct {
	user quinta.UserID
	// id is a device id or the public part of a cross-signing key.
	id     string
	raw    []byte
	signed []byte
	sigs   signatureMap
	err    *wire.Error
}

// postSignatures: "POST /keys/signatures/upload". Each object is taken or
// refused for itself.
func (c *call) postSignatures() (any, error) {
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	objects, err := parseSigned(body)
	if err != nil {
		return nil, err
	}
	for range 3 {
		var checked []*newSignature
		if err := c.View(c.ctx(), func(tx *db.Tx) error {
			checked, err = c.checkSigned(tx, objects)
			return err
		}); err != nil {
			return nil, err
		}
		if len(checked) > 0 {
			err = c.Update(c.ctx(), func(tx *db.Tx) error { return c.storeSigned(tx, checked) })
		}
		if !errors.Is(err, errAgain) {
			return map[string]any{"failures": failuresOf(objects)}, err
		}
	}
	return nil, quinta.E(quinta.KindUnavailable, "signatures", "the keys are being changed by another device")
}

func parseSigned(body []byte) ([]*signedObject, error) {
	users, err := members(body, "the body")
	if err != nil {
		return nil, err
	}
	var out []*signedObject
	for _, u := range users {
		keys, err := members(u.Value, "each user")
		if err != nil {
			return nil, err
		}
		if len(out)+len(keys) > maxSignedObjects {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many objects for one upload")
		}
		for _, k := range keys {
			if kind(k.Value) != '{' {
				return nil, badJSON("each signed object must be a JSON object")
			}
			o := &signedObject{user: quinta.UserID(u.Name), id: k.Name, raw: k.Value}
			if len(o.raw) > maxDeviceKeys {
				return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "a signed object is too large")
			}
			if o.signed, err = canonicaljson.SigningBytes(o.raw); err != nil {
				return nil, err
			}
			if o.sigs, err = signaturesOf(o.raw); err != nil {
				return nil, err
			}
			out = append(out, o)
		}
	}
	return out, nil
}

// failuresOf returns the objects that were refused, with the reasons.
func failuresOf(objects []*signedObject) map[quinta.UserID]map[string]*wire.Error {
	out := map[quinta.UserID]map[string]*wire.Error{}
	for _, o := range objects {
		if o.err == nil {
			continue
		}
		if out[o.user] == nil {
			out[o.user] = map[string]*wire.Error{}
		}
		out[o.user][o.id] = o.err
	}
	return out
}

// A newSignature is a signature that was verified.
type newSignature struct {
	object *signedObject
	// stored is the object as it was stored when it was verified, and usage
	// is empty for a device.
	stored []byte
	usage  string
	// signer is the key that signs, with its object as it was stored: it must
	// still be that key when the signature is stored.
	signerID   string
	signerBody []byte
	signature  string
}

var errNoSuchKey = wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such key that this user could sign")

// checkSigned verifies all objects against what is stored. An object that is
// refused gets its err.
func (c *call) checkSigned(tx *db.Tx, objects []*signedObject) ([]*newSignature, error) {
	own, err := storedKeys(tx, c.user)
	if err != nil {
		return nil, err
	}
	var out []*newSignature
	for _, o := range objects {
		o.err = nil
		var add []*newSignature
		switch {
		case o.user != c.user:
			add, err = c.checkOther(tx, o, own[usageUser])
		case own[usageMaster] != nil && own[usageMaster].pub() == o.id:
			add, err = c.checkMaster(tx, o, own[usageMaster])
		default:
			add, err = c.checkDevice(tx, o, own[usageSelf])
		}
		if we, ok := errors.AsType[*wire.Error](err); ok {
			o.err = we
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, add...)
	}
	return out, nil
}

// equal refuses an object that is not the stored one, signatures aside.
func (o *signedObject) equal(stored []byte) error {
	signed, err := canonicaljson.SigningBytes(stored)
	if err != nil {
		return err
	}
	if !bytes.Equal(signed, o.signed) {
		return wire.NewError(http.StatusBadRequest, wire.CodeInvalidSignature, "the object differs from the stored one")
	}
	return nil
}

// by verifies the signature of the user by one of their cross-signing keys.
func (o *signedObject) by(user quinta.UserID, k *crossSigningKey, stored []byte, usage string) ([]*newSignature, error) {
	if k == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidSignature, "the user has no key that could sign this")
	}
	if err := k.signs(user, o.raw); err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidSignature, "the object has no valid signature by "+k.usage+"_key")
	}
	return []*newSignature{{object: o, stored: stored, usage: usage, signerID: k.name, signerBody: k.body, signature: o.sigs[string(user)][k.name]}}, nil
}

// checkDevice: the self-signing key signs a device of its owner.
func (c *call) checkDevice(tx *db.Tx, o *signedObject, self *crossSigningKey) ([]*newSignature, error) {
	stored, err := directory.DeviceOf(tx, network, c.user, quinta.DeviceID(o.id))
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, errNoSuchKey
	}
	if err := o.equal(stored); err != nil {
		return nil, err
	}
	return o.by(c.user, self, stored, "")
}

// checkOther: the user-signing key signs another user's master key.
func (c *call) checkOther(tx *db.Tx, o *signedObject, signer *crossSigningKey) ([]*newSignature, error) {
	ids, err := directory.Identities(tx, network, []quinta.UserID{o.user})
	if err != nil {
		return nil, err
	}
	for i := range ids {
		if ids[i].Usage == usageMaster && ids[i].Key == o.id {
			if err := o.equal(ids[i].Body); err != nil {
				return nil, err
			}
			return o.by(c.user, signer, ids[i].Body, usageMaster)
		}
	}
	return nil, errNoSuchKey
}

// checkMaster: devices sign the master key of their owner.
func (c *call) checkMaster(tx *db.Tx, o *signedObject, master *crossSigningKey) ([]*newSignature, error) {
	if err := o.equal(master.body); err != nil {
		return nil, err
	}
	var out []*newSignature
	for id, sig := range o.sigs[string(c.user)] {
		dev, ok := strings.CutPrefix(id, "ed25519:")
		if !ok || id == master.name {
			continue
		}
		keys, err := directory.DeviceOf(tx, network, c.user, quinta.DeviceID(dev))
		if err != nil {
			return nil, err
		}
		if keys == nil || !deviceSigns(keys, o.raw, c.user, id) {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidSignature, "the object has a signature that is not by a device of the user")
		}
		out = append(out, &newSignature{object: o, stored: master.body, usage: usageMaster, signerID: id, signerBody: keys, signature: sig})
	}
	if out == nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidSignature, "the object has no signature by a device of the user")
	}
	return out, nil
}

// deviceSigns verifies a signature by the Ed25519 key of a device.
func deviceSigns(keys, object []byte, user quinta.UserID, id string) bool {
	raw, err := canonicaljson.Get(keys, "keys")
	if err != nil || raw == nil {
		return false
	}
	if raw, err = canonicaljson.Get(raw, id); err != nil {
		return false
	}
	s, ok := text(raw)
	if !ok {
		return false
	}
	pub, err := key.ParseSigningPublic[key.Device](s)
	return err == nil && canonicaljson.Verify(object, string(user), id, pub.Verify) == nil
}

// storeSigned stores verified signatures, if the keys are still those with
// which they were verified. A signature on another user's master key is kept
// apart, for only its maker sees it.
func (c *call) storeSigned(tx *db.Tx, list []*newSignature) error {
	own, err := storedKeys(tx, c.user)
	if err != nil {
		return err
	}
	changed := false
	for _, n := range list {
		now, err := c.current(tx, n, own)
		if err != nil {
			return err
		}
		if n.object.user != c.user {
			fresh, err := directory.PutSignature(tx, network, directory.Signature{Signer: c.user, User: n.object.user, Target: n.object.id,
				Key: strings.TrimPrefix(n.signerID, "ed25519:"), Signature: n.signature})
			if err != nil {
				return err
			}
			if fresh {
				if err := c.deviceChangedFor(tx, n.object.user, c.user); err != nil {
					return err
				}
			}
			continue
		}
		sigs, err := signaturesOf(now)
		if err != nil {
			return err
		}
		if !sigs.add(string(c.user), n.signerID, n.signature) {
			continue
		}
		body, err := withSignatures(now, sigs)
		if err != nil {
			return err
		}
		if n.usage == "" {
			err = directory.PutDevice(tx, network, c.user, quinta.DeviceID(n.object.id), body)
		} else {
			err = directory.PutIdentity(tx, network, directory.Identity{User: c.user, Usage: n.usage, Key: n.object.id, Body: body})
		}
		if err != nil {
			return err
		}
		changed = true
	}
	if changed {
		return c.deviceChanged(tx, c.user)
	}
	return nil
}

// current returns the object as it is stored now, or errAgain if it or the
// key that signed it has changed other than by signatures.
func (c *call) current(tx *db.Tx, n *newSignature, own deviceSigning) ([]byte, error) {
	signer := []byte(nil)
	for _, k := range own {
		if k.name == n.signerID {
			signer = k.body
		}
	}
	if signer == nil {
		var err error
		if signer, err = directory.DeviceOf(tx, network, c.user, quinta.DeviceID(strings.TrimPrefix(n.signerID, "ed25519:"))); err != nil {
			return nil, err
		}
	}
	var now []byte
	var err error
	switch {
	case n.usage == "":
		now, err = directory.DeviceOf(tx, network, n.object.user, quinta.DeviceID(n.object.id))
	default:
		var ids []directory.Identity
		ids, err = directory.Identities(tx, network, []quinta.UserID{n.object.user})
		for i := range ids {
			if ids[i].Usage == n.usage && ids[i].Key == n.object.id {
				now = ids[i].Body
			}
		}
	}
	if err != nil {
		return nil, err
	}
	for _, p := range [][2][]byte{{now, n.stored}, {signer, n.signerBody}} {
		same, err := sameSigned(p[0], p[1])
		if err != nil {
			return nil, err
		}
		if !same {
			return nil, errAgain
		}
	}
	return now, nil
}

// sameSigned reports whether two objects are equal but for signatures.
func sameSigned(a, b []byte) (bool, error) {
	if a == nil || b == nil {
		return false, nil
	}
	x, err := canonicaljson.SigningBytes(a)
	if err != nil {
		return false, err
	}
	y, err := canonicaljson.SigningBytes(b)
	return bytes.Equal(x, y), err
}
