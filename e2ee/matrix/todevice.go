package matrix

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

const (
	// maxToDevice bounds one to-device event.
	maxToDevice = 128 << 10
)

// A toDeviceEvent is an event to this device.
type toDeviceEvent struct {
	Type    string          `json:"type"`
	Sender  quinta.UserID   `json:"sender"`
	Content json.RawMessage `json:"content"`
}

// receiveToDevice takes one event. What is malformed or not allowed is
// dropped: anyone can send anything. Only faults of the store are errors.
func (w *work) receiveToDevice(raw json.RawMessage) error {
	var e toDeviceEvent
	if len(raw) > maxToDevice || exactjson.Unmarshal(raw, &e) != nil || !plain(e.Sender) {
		return nil
	}
	switch {
	case e.Type == typeEncrypted:
		return w.receiveOlm(e)
	case e.Type == typeKeyRequest:
		return w.receiveKeyRequest(e)
	case e.Type == typeWithheld || e.Type == "org.matrix.room_key.withheld":
		return w.receiveWithheld(e)
	case e.Type == typeSecretReq:
		return w.receiveSecretRequest(e)
	case strings.HasPrefix(e.Type, "m.key.verification."):
		w.emit(e2ee.Event{Kind: e2ee.EventVerification, User: e.Sender, Message: quinta.Message{Sender: e.Sender, Type: e.Type, Body: e.Content}})
	}
	// Everything else, such as a room key in clear, is not for here.
	return nil
}

// receiveOlm opens an Olm event. One under another algorithm is dropped: room
// keys and secrets come over Olm only.
func (w *work) receiveOlm(e toDeviceEvent) error {
	var c olmContent
	if exactjson.Unmarshal(e.Content, &c) != nil || c.Algorithm != algorithmOlm {
		return nil
	}
	curve, err := key.ParseAgreementPublic[key.Identity](c.SenderKey)
	if err != nil {
		return nil
	}
	text, err := w.open(c, curve)
	switch {
	case errors.Is(err, errWedged):
		return w.unwedge(e.Sender, curve)
	case errors.Is(err, ErrMalformed):
		return nil
	case err != nil:
		return err
	}
	defer clear(text)
	var p olmPayload
	if exactjson.Unmarshal(text, &p) != nil {
		return nil
	}
	proven, device, err := w.checkPayload(p, e.Sender, curve)
	if err != nil {
		return nil
	}
	u, err := w.user(e.Sender)
	if err != nil {
		return err
	}
	if id, d := u.byCurve(curve); d != nil {
		if d.Ed25519.String() != p.Keys["ed25519"] || d.Changed {
			return nil
		}
		return w.receivePayload(p, origin{User: e.Sender, Device: id, Curve: curve, Ed25519: d.Ed25519, Trust: w.trust(e.Sender, u, d)})
	}
	if err := w.stranger(e.Sender, curve); err != nil {
		return err
	}
	if proven != nil {
		return w.receivePayload(p, origin{User: e.Sender, Device: device, Curve: curve, Ed25519: proven.Ed25519, Trust: quinta.TrustUnknown})
	}
	return w.await(e.Sender, u, curve, text)
}

// An origin is the device that a payload is proven to come from.
type origin struct {
	User    quinta.UserID
	Device  quinta.DeviceID
	Curve   key.IdentityPublic
	Ed25519 key.DeviceSigningPublic
	Trust   quinta.Trust
}

// A pending payload waits for the device list of its sender, without which no
// one knows whose the Curve25519 key is.
type pending struct {
	Curve key.IdentityPublic `json:"curve"`
	Text  []byte             `json:"text"`
}

// await keeps a payload until the sender's devices were queried.
func (w *work) await(sender quinta.UserID, u *userRecord, curve key.IdentityPublic, text []byte) error {
	w.outdate(u)
	u.Tracked = true
	place := "pending/" + string(sender) + "\x00" + w.next()
	if err := w.hold(w.pendingBound(), sender, place); err != nil {
		return err
	}
	return e2ee.Store(w.tx, place, &pending{curve, text})
}

// pendingOlm looks again at the payloads that waited for the list of a user.
// Those whose device is still not there are dropped, unless the list is
// already outdated again.
func (w *work) pendingOlm(sender quinta.UserID) error {
	u, err := w.user(sender)
	if err != nil {
		return err
	}
	for e, err := range e2ee.Records[pending](w.tx, "pending/"+string(sender)+"\x00") {
		if err != nil {
			return err
		}
		p := e.Value
		var o olmPayload
		if exactjson.Unmarshal(p.Text, &o) != nil {
			return e2ee.Damaged(e.Key)
		}
		id, d := u.byCurve(p.Curve)
		if d == nil && u.Outdated {
			continue
		}
		if err := w.release(w.pendingBound(), e.Key); err != nil {
			return err
		}
		if d == nil || d.Ed25519.String() != o.Keys["ed25519"] || d.Changed {
			continue
		}
		from := origin{User: sender, Device: id, Curve: p.Curve, Ed25519: d.Ed25519, Trust: w.trust(sender, u, d)}
		if err := w.receivePayload(o, from); err != nil {
			return err
		}
	}
	return nil
}

// receivePayload takes a checked payload.
func (w *work) receivePayload(p olmPayload, from origin) error {
	switch p.Type {
	case typeRoomKey:
		return w.receiveRoomKey(p.Content, from)
	case typeForwarded:
		return w.receiveForwarded(p.Content, from)
	case typeSecretSend:
		return w.receiveSecret(p.Content, from)
	case typeDummy:
		return w.giveAgain(from)
	}
	return nil // what a later version has
}
