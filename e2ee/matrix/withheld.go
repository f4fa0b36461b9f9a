package matrix

import (
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

// Codes of m.room_key.withheld.
const (
	codeBlacklisted  = "m.blacklisted"
	codeUnverified   = "m.unverified"
	codeUnauthorised = "m.unauthorised"
	codeUnavailable  = "m.unavailable"
	codeNoOlm        = "m.no_olm"
)

// codeReasons are the words that go with a code.
var codeReasons = map[string]string{
	codeBlacklisted:  "The sender has blocked you.",
	codeUnverified:   "The sender does not send to unverified devices.",
	codeUnauthorised: "You are not allowed to read this message.",
	codeUnavailable:  "The sender does not have the requested key.",
	codeNoOlm:        "The sender could not set up a secure channel with you.",
}

// A withheld is the content of m.room_key.withheld.
type withheld struct {
	Algorithm string        `json:"algorithm"`
	Room      quinta.RoomID `json:"room_id,omitempty"`
	Session   string        `json:"session_id,omitempty"`
	SenderKey string        `json:"sender_key"`
	Code      string        `json:"code"`
	Reason    string        `json:"reason,omitempty"`
}

// withhold returns the message that tells a device that it gets no key.
func (w *work) withhold(to target, room quinta.RoomID, session, code string) deviceMessage {
	if code == codeNoOlm {
		room, session = "", ""
	}
	return deviceMessage{to, e2ee.JSON(withheld{
		Algorithm: algorithmMegolm, Room: room, Session: session,
		SenderKey: w.acc.Identity().String(), Code: code, Reason: codeReasons[code],
	})}
}

// receiveWithheld takes the notice that a key will not come. It is not
// authenticated: it explains, and changes nothing else.
func (w *work) receiveWithheld(e toDeviceEvent) error {
	var c withheld
	if exactjson.Unmarshal(e.Content, &c) != nil || c.Code == "" || len(c.Code) > maxNames {
		return nil
	}
	if c.Code == codeNoOlm {
		// The sender has no session with this device: make one, so that the next
		// key comes through.
		curve, err := key.ParseAgreementPublic[key.Identity](c.SenderKey)
		if err != nil {
			return nil
		}
		return w.unwedge(e.Sender, curve)
	}
	if c.Algorithm != algorithmMegolm || !plain(c.Room) || !plain(c.Session) {
		return nil
	}
	r, found, err := e2ee.Load[inboundRecord](w.tx, inboundKey(c.Room, c.Session))
	if err != nil || found && (r.Owner == "" || r.proven(e.Sender)) {
		return err
	}
	known, found, err := w.room(c.Room)
	if err != nil || !found || known.Left {
		return err
	}
	member, err := w.tx.Get(memberKey(c.Room, e.Sender))
	if err != nil || known.Complete && string(member) != "join" {
		return err // whoever is not in the room has no key of it to withhold
	}
	detail := c.Code
	if codeReasons[c.Code] == "" {
		detail = c.Code + ": " + clip(c.Reason)
	}
	place := withheldKey(c.Room, c.Session) + string(e.Sender)
	if err := w.hold(w.withheldBound(), e.Sender, place); err != nil {
		return err
	}
	if err := e2ee.Store(w.tx, place, detail); err != nil {
		return err
	}
	return w.explain(c.Room, c.Session, e.Sender, detail)
}

// withheldKey is where the words on a session are, by who said them.
func withheldKey(room quinta.RoomID, session string) string {
	return "withheld/" + string(room) + "\x00" + session + "\x00"
}

// explain reports again the messages of a session that wait, now that it is
// known why.
func (w *work) explain(room quinta.RoomID, session string, sender quinta.UserID, detail string) error {
	for k, err := range e2ee.Records[roomEvent](w.tx, "kept/"+string(room)+"\x00"+session+"\x00") {
		if err != nil {
			return err
		}
		e := k.Value
		if e.Sender == sender {
			w.report(message(room, e), &failure{reason: quinta.ReasonWithheld, detail: detail, kept: true})
		}
	}
	return nil
}

// clip shortens the words of others.
func clip(s string) string {
	if len(s) > maxNames {
		return strings.ToValidUTF8(s[:maxNames], "")
	}
	return s
}

// noKey says why there is no key for an event, and asks for it.
func (w *work) noKey(room quinta.RoomID, session string, e roomEvent) (*failure, error) {
	detail, found, err := e2ee.Load[string](w.tx, withheldKey(room, session)+string(e.Sender))
	if err != nil {
		return nil, err
	}
	if found {
		return &failure{reason: quinta.ReasonWithheld, detail: detail, kept: true}, nil
	}
	if err := w.requestKey(room, session, e); err != nil {
		return nil, err
	}
	r, _, err := w.room(room)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Joined != 0 && e.Time < r.Joined:
		return &failure{reason: quinta.ReasonNotAMemberThen, kept: true}, nil
	case e.Time < w.meta.Created && w.meta.BackupLocked:
		return &failure{reason: quinta.ReasonBackupLocked, kept: true}, nil
	case e.Time < w.meta.Created:
		return &failure{reason: quinta.ReasonBeforeThisDevice, kept: true}, nil
	}
	return &failure{reason: quinta.ReasonNoKeyYet, kept: true}, nil
}
