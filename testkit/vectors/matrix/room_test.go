package matrix

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/sessiondata"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// object is a JSON object of a vector.
type object = map[string]any

func (m *maker) marshal(v any) []byte {
	m.t.Helper()
	return must[[]byte](m.t)(json.Marshal(v))
}

// account makes the keys of a device.
func (m *maker) account() *olm.Account {
	m.t.Helper()
	return must[*olm.Account](m.t)(olm.NewAccount(m.rand))
}

// device returns device keys that are signed by the account, after change.
func (m *maker) device(a *olm.Account, user quinta.UserID, id quinta.DeviceID, change func(object)) []byte {
	m.t.Helper()
	o := object{"user_id": user, "device_id": id, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys": object{"curve25519:" + string(id): a.Identity().String(), "ed25519:" + string(id): a.Signing().String()}}
	if change != nil {
		change(o)
	}
	return must[[]byte](m.t)(canonicaljson.Sign(m.marshal(o), string(user), "ed25519:"+string(id), a.Sign))
}

// answer returns the answer of a keys/query with devices by "user device".
func (m *maker) answer(devices map[string][]byte) []byte {
	all := map[string]map[string]json.RawMessage{}
	for name, raw := range devices {
		user, id, _ := strings.Cut(name, " ")
		if all[user] == nil {
			all[user] = map[string]json.RawMessage{}
		}
		all[user][id] = raw
	}
	return m.marshal(object{"device_keys": all})
}

// devices are the vectors of device lists.
func (m *maker) devices() {
	eve, second := m.account(), m.account()
	good := m.device(eve, owner, "EVE", nil)
	list := func(raw []byte) []byte { return m.answer(map[string][]byte{"@eve:x EVE": raw}) }
	base := heads{"plain": b64(eve.Signing().Bytes())}
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("device-list", name, what, expect, why, raw, base, over...)
	}
	const (
		genuine  = "it is genuine"
		signed   = "a device signs its own keys"
		own      = "the place in the answer and what is signed are the same"
		speaks   = "a device that does not speak the algorithms gets nothing"
		pinned   = "the keys of a device never change; whoever changes them is somebody else"
		complete = "both keys are needed"
	)
	change := func(fn func(object)) []byte { return list(m.device(eve, owner, "EVE", fn)) }
	add("plain", "a device's keys", vectors.Success, genuine, list(good))
	add("extra", "a member that is not known, signed", vectors.Success, "what is signed may hold more", change(func(o object) { o["x.more"] = 1 }))
	add("unsigned", "a name in the unsigned part", vectors.Success, "the server adds names", list(bytes.Replace(good, []byte(`{`), []byte(`{"unsigned":{"device_display_name":"phone"},`), 1)))
	add("signature", "a bit of the signature is changed", "not taken", signed, list(bytes.Replace(good, []byte(`"signatures":{"@eve:x":{"ed25519:EVE":"`), []byte(`"signatures":{"@eve:x":{"ed25519:EVE":"A`), 1)))
	add("no-signature", "no signature", "not taken", signed, list(must[[]byte](m.t)(canonicaljson.Delete(good, "signatures"))))
	add("signature-other", "signed by another key", "not taken", signed, list(bytes.ReplaceAll(m.device(second, owner, "EVE", nil), []byte(second.Signing().String()), []byte(eve.Signing().String()))))
	add("signature-name", "signed under another name", "not taken", signed, list(bytes.Replace(good, []byte(`"signatures":{"@eve:x":{"ed25519:EVE"`), []byte(`"signatures":{"@eve:x":{"ed25519:OTHER"`), 1)))
	add("swapped", "another Curve25519 key", "not taken", signed, list(bytes.ReplaceAll(good, []byte(eve.Identity().String()), []byte(second.Identity().String()))))
	add("user", "keys of another user", "not taken", own, list(m.device(eve, other, "EVE", nil)))
	add("device", "keys of another device of the user", "not taken", own, list(m.device(eve, owner, "OTHER", nil)))
	add("user-asked", "the user that was not asked for", "not taken", own, m.answer(map[string][]byte{"@else:x EVE": m.device(eve, "@else:x", "EVE", nil)}))
	add("algorithms", "no algorithm at all", "not taken", speaks, change(func(o object) { o["algorithms"] = []string{} }))
	add("algorithms-old", "algorithms that are not known", "not taken", speaks, change(func(o object) { o["algorithms"] = []string{"m.olm.v0", "m.megolm.v0"} }))
	add("no-curve", "no Curve25519 key", "not taken", complete, change(func(o object) { delete(o["keys"].(object), "curve25519:EVE") }))
	add("curve-low", "a Curve25519 key of order 8", vectors.Success, "it is refused where a secret is agreed on with it", change(func(o object) { o["keys"].(object)["curve25519:EVE"] = bare(low) }))
	add("curve-zero", "a Curve25519 key of zeros", "not taken", "the secret that is agreed on would be known", change(func(o object) { o["keys"].(object)["curve25519:EVE"] = bare(make([]byte, 32)) }))
	add("curve-short", "a Curve25519 key of 31 bytes", "not taken", "a key has 32 bytes", change(func(o object) { o["keys"].(object)["curve25519:EVE"] = bare(make([]byte, 31)) }))
	add("number", "a fraction inside of what is signed", "not taken", "it has no canonical form that could be signed", list(bytes.Replace(good, []byte(`{`), []byte(`{"x":1.5,`), 1)))
	add("twice", "a member twice", "not taken", "which of the two is signed is not known", list(bytes.Replace(good, []byte(`{`), []byte(`{"device_id":"EVE",`), 1)))
	add("text", "text instead of keys", "not taken", "the form is an object", list([]byte(`"keys"`)))
	add("null", "null instead of keys", "not taken", "the form is an object", list([]byte(`null`)))
	before := heads{"before": b64(m.marshal([]json.RawMessage{list(good)}))}
	add("again", "the same keys again", vectors.Success, genuine, list(good), before)
	add("changed", "other keys under the same name, well signed", "key changed", pinned, list(m.device(second, owner, "EVE", nil)), before)
	add("changed-curve", "another Curve25519 key, signed by the device", "key changed", pinned,
		change(func(o object) { o["keys"].(object)["curve25519:EVE"] = second.Identity().String() }), before)
	add("gone", "a device that is not listed any more", "not taken", "the user has logged it out", m.answer(map[string][]byte{"@eve:x OTHER": m.device(second, owner, "OTHER", nil)}), before)
	add("stolen", "another device with the Curve25519 key of the first", vectors.Success, "the first device keeps its key", m.answer(map[string][]byte{"@eve:x EVE": good,
		"@mallory:x MAL": m.device(second, other, "MAL", func(o object) { o["keys"].(object)["curve25519:MAL"] = eve.Identity().String() })}), before)
}

// rooms are the vectors of events in rooms.
func (m *maker) rooms() {
	eve, mallory, stranger := m.account(), m.account(), m.account()
	devices := m.answer(map[string][]byte{"@eve:x EVE": m.device(eve, owner, "EVE", nil), "@mallory:x MAL": m.device(mallory, other, "MAL", nil)})
	out := must[*megolm.Outbound](m.t)(megolm.NewOutbound(m.rand))
	in := must[*megolm.Inbound](m.t)(megolm.NewInbound(out.SessionKey()))
	id := string(out.ID())
	session := func(of *olm.Account, from uint32, where quinta.RoomID) string {
		raw := must[[]byte](m.t)(in.Export(from))
		s := sessiondata.Session{RoomID: string(where), SessionID: id, SessionKey: base64text.EncodeSecret(raw),
			SenderKey: of.Identity().String(), SenderClaimedKeys: map[string]string{"ed25519": of.Signing().String()}}
		return b64(m.marshal([]json.RawMessage{s.Encode()}))
	}
	seal := func(payload any) string {
		return bare(must[[]byte](m.t)(out.Seal(m.marshal(payload))))
	}
	text := func(where quinta.RoomID, more object) string {
		content := object{"msgtype": "m.text", "body": "hello"}
		for k, v := range more {
			content[k] = v
		}
		return seal(object{"type": "m.room.message", "room_id": where, "content": content})
	}
	event := func(sender quinta.UserID, id, ciphertext string, change func(event, content object)) []byte {
		content := object{"algorithm": "m.megolm.v1.aes-sha2", "session_id": string(out.ID()), "ciphertext": ciphertext, "sender_key": eve.Identity().String(), "device_id": "EVE"}
		e := object{"type": "m.room.encrypted", "event_id": id, "sender": sender, "origin_server_ts": 1777636800000, "content": content}
		if change != nil {
			change(e, content)
		}
		return m.marshal(e)
	}
	one, two, later := text(room, nil), text(room, nil), text(room, nil)
	elsewhere := text("!other:x", nil)
	edit := text(room, object{"body": "* bye", "m.new_content": object{"msgtype": "m.text", "body": "bye"}, "m.relates_to": object{"rel_type": "m.replace", "event_id": "$1"}})
	half := text(room, object{"body": "* bye", "m.relates_to": object{"rel_type": "m.replace", "event_id": "$1"}})
	reply := text(room, object{"m.relates_to": object{"m.in_reply_to": object{"event_id": "$1"}}})
	noRoom := seal(object{"type": "m.room.message", "content": object{"msgtype": "m.text", "body": "hello"}})
	noType := seal(object{"room_id": room, "content": object{"msgtype": "m.text", "body": "hello"}})
	notObject := seal([]int{1})
	base := heads{"devices": b64(devices), "sessions": session(eve, 0, room), "plain": b64([]byte("hello"))}
	add := func(name, what, expect, why string, raw []byte, over ...heads) {
		m.add("room-event", name, what, expect, why, raw, base, over...)
		m.all[len(m.all)-1].Clock = began
	}
	const (
		genuine = "it is genuine"
		hint    = "what is outside of the seal is a hint, and changes no text"
		owned   = "a session belongs to the device that its keys name"
		sealed  = "the room is sealed, and must be the one it comes in"
	)
	flipped := func(text string, at int) string {
		raw := must[[]byte](m.t)(base64text.Decode(text))
		return bare(flip(raw, at))
	}
	read := func(events ...[]byte) heads {
		all := make([]json.RawMessage, len(events))
		for i, e := range events {
			all[i] = e
		}
		return heads{"before": b64(m.marshal(all))}
	}
	add("plain", "a message", vectors.Success, genuine, event(owner, "$1", one, nil))
	add("no-hints", "a message without the sender's key and device", vectors.Success, "both are deprecated hints", event(owner, "$1", one, func(_, c object) { delete(c, "sender_key"); delete(c, "device_id") }))
	add("false-hints", "another device named outside", vectors.Success, hint, event(owner, "$1", one, func(_, c object) { c["sender_key"], c["device_id"] = mallory.Identity().String(), "MAL" }))
	add("sender", "in the name of another member", "sender mismatch", owned, event(other, "$1", one, nil))
	add("owner", "of a session that another member's device is named for", "sender mismatch", owned, event(owner, "$1", one, nil), heads{"sessions": session(mallory, 0, room)})
	add("stranger", "of a session of a device that nobody lists", "unknown device", "it cannot be told whose it is, and is shown so", event(owner, "$1", one, nil), heads{"sessions": session(stranger, 0, room)})
	add("room", "of another room, inside", "sender mismatch", sealed, event(owner, "$1", elsewhere, nil))
	add("no-room", "no room inside", "sender mismatch", sealed, event(owner, "$1", noRoom, nil))
	add("no-type", "no type inside", "malformed", "what it is is not known", event(owner, "$1", noType, nil))
	add("not-object", "a list inside", "malformed", "the form is an object", event(owner, "$1", notObject, nil))
	add("session-elsewhere", "of a session that was given for another room", "no key", "a session is for one room", event(owner, "$1", one, nil), heads{"sessions": session(eve, 0, "!other:x")})
	add("no-session", "of a session that is not there", "no key", "it may come later", event(owner, "$1", one, func(_, c object) { c["session_id"] = bare(make([]byte, 32)) }))
	add("too-early", "from before the session was given", "key too new", "the ratchet does not turn back", event(owner, "$1", one, nil), heads{"sessions": session(eve, 2, room)})
	add("flipped", "a bit of the text is changed", "tampered", "what is not authentic is not opened", event(owner, "$1", flipped(one, 20), nil))
	add("mac", "a bit of the MAC is changed", "tampered", "what is not authentic is not opened", event(owner, "$1", flipped(one, -65), nil))
	add("signature", "a bit of the signature is changed", "tampered", "the sender signs, not only who has the key", event(owner, "$1", flipped(one, -1), nil))
	add("cut", "the last byte is missing", "malformed", "the form is complete", event(owner, "$1", one[:len(one)-2], nil))
	add("base64", "text that is not base64", "malformed", "the form is base64", event(owner, "$1", "!"+one[1:], nil))
	add("algorithm", "an algorithm that is not known", "unsupported", "what is not known is not guessed at", event(owner, "$1", one, func(_, c object) { c["algorithm"] = "m.megolm.v9" }))
	add("replayed", "a message again under another id", "replayed", "a message is shown once", event(owner, "$2", one, nil), read(event(owner, "$1", one, nil)))
	add("replayed-late", "an earlier message again, behind a later one", "replayed", "a message is shown once", event(owner, "$3", one, nil), read(event(owner, "$1", one, nil), event(owner, "$2", later, nil)))
	add("late", "an earlier message, behind a later one", vectors.Success, "messages may overtake each other", event(owner, "$1", two, nil), read(event(owner, "$2", later, nil)))
	add("edit", "an edit, sealed", vectors.Success, genuine, event(owner, "$2", edit, nil), read(event(owner, "$1", one, nil)), heads{"plain": b64([]byte("bye [replace $1]"))})
	add("edit-half", "an edit without a new content", vectors.Success, "an edit has a new content; without one it is a message", event(owner, "$2", half, nil), read(event(owner, "$1", one, nil)), heads{"plain": b64([]byte("* bye"))})
	forged := func(relation object) func(event, content object) {
		return func(_, c object) {
			c["m.relates_to"], c["m.new_content"], c["body"] = relation, object{"msgtype": "m.text", "body": "forged"}, "forged"
		}
	}
	add("edit-outside", "called an edit outside of the seal", vectors.Success, hint, event(owner, "$2", two, forged(object{"rel_type": "m.replace", "event_id": "$1"})), read(event(owner, "$1", one, nil)))
	add("reaction-outside", "called a reaction outside of the seal", vectors.Success, hint, event(owner, "$2", two, forged(object{"rel_type": "m.annotation", "event_id": "$1", "key": "+"})), read(event(owner, "$1", one, nil)))
	add("reply-outside", "called a reply outside of the seal", vectors.Success, "some programs write it there only, and it changes no text", event(owner, "$2", two, forged(object{"m.in_reply_to": object{"event_id": "$1"}})), read(event(owner, "$1", one, nil)), heads{"plain": b64([]byte("hello [reply $1]"))})
	add("reply", "a reply, sealed", vectors.Success, genuine, event(owner, "$2", reply, nil), heads{"plain": b64([]byte("hello [reply $1]"))})
	add("clear-body", "a text in clear beside the sealed one", vectors.Success, hint, event(owner, "$1", one, func(_, c object) { c["body"], c["msgtype"] = "forged", "m.text" }))
	add("type-outside", "an event of another type, in clear", "plain", "only what is sealed is opened; the rest is shown as it is, in clear", event(owner, "$1", one, func(e, _ object) { e["type"] = "m.room.x" }))
	add("no-ciphertext", "no text at all", "malformed", "there is nothing to open", event(owner, "$1", one, func(_, c object) { delete(c, "ciphertext") }))
	add("olm-ciphertext", "an object in the place of the text", "malformed", "the form of another algorithm", event(owner, "$1", one, func(_, c object) { c["ciphertext"] = object{"x": object{"type": 0, "body": "A"}} }))
}
