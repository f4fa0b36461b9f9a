package matrix

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

// requestAgain is how long a request of this device for a key stays open; after that it may
// be made again.
const requestAgain = 24 * time.Hour

// maxChain bounds how often a key may have been forwarded.
const maxChain = 100

// A keyRequest is a request of this device for a key that is open.
type keyRequest struct {
	ID     string   `json:"id"`
	At     int64    `json:"at"`
	Asked  []target `json:"asked"`
	Sender string   `json:"sender"`
}

// requestContent is the content of m.room_key_request.
type requestContent struct {
	Action string          `json:"action"`
	Device quinta.DeviceID `json:"requesting_device_id"`
	ID     string          `json:"request_id"`
	Body   *requestBody    `json:"body,omitempty"`
}

type requestBody struct {
	Algorithm string        `json:"algorithm"`
	Room      quinta.RoomID `json:"room_id"`
	Session   string        `json:"session_id"`
	SenderKey string        `json:"sender_key,omitempty"`
}

// requestKey asks the user's other devices for a session, once.
func (w *work) requestKey(room quinta.RoomID, session string, e roomEvent) error {
	place := "keyreq/" + string(room) + "\x00" + session
	k, found, err := e2ee.Load[keyRequest](w.tx, place)
	if err != nil || found && w.now.UnixMilli()-k.At < requestAgain.Milliseconds() {
		return err
	}
	asked, err := w.ownOthers()
	if err != nil || len(asked) == 0 {
		return err
	}
	var c megolmContent
	if err := exactjson.Unmarshal(e.Content, &c); err != nil {
		return ErrMalformed
	}
	id, err := w.txn()
	if err != nil {
		return err
	}
	k = keyRequest{ID: id, At: w.now.UnixMilli(), Asked: asked, Sender: c.SenderKey}
	if err := w.hold(w.requestBound(), e.Sender, place); err != nil {
		return err
	}
	if err := e2ee.Store(w.tx, place, &k); err != nil {
		return err
	}
	return w.tellAll(asked, requestContent{
		Action: "request", Device: w.m.device, ID: k.ID,
		Body: &requestBody{algorithmMegolm, room, session, c.SenderKey},
	})
}

// ownOthers returns the user's other devices that are not rejected.
func (w *work) ownOthers() ([]target, error) {
	u, err := w.user(w.m.user)
	if err != nil {
		return nil, err
	}
	var out []target
	for _, id := range slices.Sorted(maps.Keys(u.Devices)) {
		if d := u.Devices[id]; id != w.m.device && !d.Gone && !d.Changed && d.Decision != Reject {
			out = append(out, target{w.m.user, id, d.Curve})
		}
	}
	return out, nil
}

func (w *work) tellAll(to []target, c requestContent) error {
	text := e2ee.JSON(c)
	var ms []deviceMessage
	for _, t := range to {
		ms = append(ms, deviceMessage{t, text})
	}
	_, err := w.toDevice(typeKeyRequest, ms, record{})
	return err
}

// cancelKeyRequest takes a request back, as the key came.
func (w *work) cancelKeyRequest(room quinta.RoomID, session string) error {
	place := "keyreq/" + string(room) + "\x00" + session
	k, found, err := e2ee.Load[keyRequest](w.tx, place)
	if err != nil || !found {
		return err
	}
	if err := w.release(w.requestBound(), place); err != nil {
		return err
	}
	return w.tellAll(k.Asked, requestContent{Action: "request_cancellation", Device: w.m.device, ID: k.ID})
}

// receiveKeyRequest answers another device's request for a key: only a
// verified device of the same user gets it.
func (w *work) receiveKeyRequest(e toDeviceEvent) error {
	var c requestContent
	if exactjson.Unmarshal(e.Content, &c) != nil || e.Sender != w.m.user || c.Device == w.m.device || !plain(c.ID) {
		return nil
	}
	u, err := w.user(w.m.user)
	if err != nil {
		return err
	}
	d := u.Devices[c.Device]
	if d == nil || d.Gone {
		return nil
	}
	to := target{w.m.user, c.Device, d.Curve}
	if c.Action == "request_cancellation" {
		return w.forgetForward(to, c.ID)
	}
	if c.Action != "request" || c.Body == nil || c.Body.Algorithm != algorithmMegolm || !plain(c.Body.Room) || !plain(c.Body.Session) {
		return nil
	}
	r, found, err := e2ee.Load[inboundRecord](w.tx, inboundKey(c.Body.Room, c.Body.Session))
	if err != nil {
		return err
	}
	code := ""
	switch {
	case w.trust(w.m.user, u, d) < quinta.TrustVerified:
		code = codeUnverified
	case !found:
		code = codeUnavailable
	}
	if code != "" {
		_, err := w.toDevice(typeWithheld, []deviceMessage{w.withhold(to, c.Body.Room, c.Body.Session, code)}, record{})
		return err
	}
	return w.forward(to, c, r.claim)
}

// forward puts a session on its way to another device of the user.
func (w *work) forward(to target, c requestContent, r claim) error {
	s, err := megolm.DecodeInbound(r.State)
	if err != nil {
		return err
	}
	defer s.Wipe()
	raw, err := s.Export(s.FirstIndex())
	if err != nil {
		return err
	}
	defer clear(raw)
	chain := append([]string{}, r.Chain...)
	content := e2ee.JSON(map[string]any{
		"algorithm": algorithmMegolm, "room_id": c.Body.Room, "session_id": c.Body.Session,
		"session_key": base64text.EncodeSecret(raw), "sender_key": r.Curve, "sender_claimed_ed25519_key": r.Ed25519,
		"forwarding_curve25519_key_chain": chain, "shared_history": r.Shared, "m.shared_history": r.Shared,
	})
	place := "forward/" + string(to.Device) + "\x00" + c.ID
	done, err := w.tx.Get(place)
	if err != nil || done != nil {
		return err
	}
	at := "olmq/" + w.next()
	if err := w.tx.Put(place, []byte(at)); err != nil {
		return err
	}
	return e2ee.Store(w.tx, at, &olmItem{To: to, Type: typeForwarded, Content: content})
}

// forgetForward takes back a forward that has not left.
func (w *work) forgetForward(to target, id string) error {
	place := "forward/" + string(to.Device) + "\x00" + id
	at, err := w.tx.Get(place)
	if err != nil || at == nil {
		return err
	}
	if err := w.tx.Delete(place); err != nil {
		return err
	}
	return w.tx.Delete(string(at))
}

// receiveForwarded takes a forwarded key: only one that was requested, from a
// verified device of the same user that was asked.
func (w *work) receiveForwarded(content json.RawMessage, from origin) error {
	var k roomKey
	if exactjson.Unmarshal(content, &k) != nil || k.Algorithm != algorithmMegolm || from.User != w.m.user || from.Trust < quinta.TrustVerified || len(k.Chain) > maxChain || !plain(k.Room) {
		return nil
	}
	asked, found, err := e2ee.Load[keyRequest](w.tx, "keyreq/"+string(k.Room)+"\x00"+k.SessionID)
	if err != nil || !found || w.now.UnixMilli()-asked.At >= requestAgain.Milliseconds() ||
		!slices.Contains(asked.Asked, target{from.User, from.Device, from.Curve}) {
		return err
	}
	raw, err := base64text.DecodeSecret(k.SessionKey)
	if err != nil {
		return nil
	}
	defer clear(raw)
	s, err := megolm.Import(raw)
	if err != nil || string(s.ID()) != k.SessionID {
		return nil
	}
	defer s.Wipe()
	_, err = w.storeInbound(k.Room, s, claim{
		Source: fromForward, Curve: strings.TrimRight(k.SenderKey, "="), Ed25519: strings.TrimRight(k.ClaimedKey, "="),
		Chain: append(k.Chain, from.Curve.String()), Shared: k.Shared || k.SharedM || k.SharedOld,
	})
	return err
}

// askAgain asks again for the sessions of all messages that wait. It is for
// when this device and another one of the user came to trust each other: what was asked
// before was refused.
func (w *work) askAgain() error {
	entries, err := e2ee.Entries(w.tx, "keyreq/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.release(w.requestBound(), e.Key); err != nil {
			return err
		}
	}
	return w.requestKept()
}

// requestKept asks for the sessions of messages that wait and that no one was
// asked for yet, as when the user's devices were not known.
func (w *work) requestKept() error {
	for k, err := range e2ee.Records[roomEvent](w.tx, "kept/") {
		if err != nil {
			return err
		}
		e := k.Value
		parts := strings.SplitN(strings.TrimPrefix(k.Key, "kept/"), "\x00", 3)
		if len(parts) != 3 {
			return ErrMalformed
		}
		if err := w.requestKey(quinta.RoomID(parts[0]), parts[1], e); err != nil {
			return err
		}
	}
	return nil
}
