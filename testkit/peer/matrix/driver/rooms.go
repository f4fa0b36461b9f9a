package driver

import (
	"encoding/base64"

	"github.com/quinta-chat/quinta"
)

// Room says how a room is made. It is always encrypted.
type Room struct {
	Invite []quinta.UserID `json:"invite,omitempty"`
	// Rotation is rotation_period_msgs; zero leaves the default.
	Rotation int `json:"rotation,omitempty"`
	// Visibility is the history visibility; empty leaves the default.
	Visibility string `json:"visibility,omitempty"`
	Name       string `json:"name,omitempty"`
	// Direct marks the room as a direct conversation.
	Direct bool `json:"direct,omitempty"`
}

// An Event is an event of a room as a client holds it.
type Event struct {
	ID     quinta.MessageID
	Sender quinta.UserID
	// Type is the opened type, Wire the type that went over the wire.
	Type, Wire    string
	Body, Msgtype string
	// Session and Algorithm are those of the encrypted event.
	Session, Algorithm string
	// Failure is the client's code for why it cannot read the event; empty if
	// it can.
	Failure string
	// Clear says that the event was not encrypted.
	Clear bool
}

// A where names an event: by its id, or a readable text by its body.
type where struct {
	Room quinta.RoomID    `json:"room"`
	ID   quinta.MessageID `json:"id,omitempty"`
	Body *string          `json:"body,omitempty"`
}

// CreateRoom makes an encrypted room.
func (d *Device) CreateRoom(r Room) quinta.RoomID {
	d.tb.Helper()
	var made struct{ Room quinta.RoomID }
	d.must("createRoom", r, &made)
	return made.Room
}

// A member names a user in a room.
type member struct {
	Room       quinta.RoomID `json:"room"`
	User       quinta.UserID `json:"user,omitempty"`
	Membership string        `json:"membership,omitempty"`
}

// Invite invites user.
func (d *Device) Invite(room quinta.RoomID, user quinta.UserID) {
	d.tb.Helper()
	d.must("invite", member{Room: room, User: user}, nil)
}

// Join waits for an invitation, accepts it, and waits to see the room.
func (d *Device) Join(room quinta.RoomID) {
	d.tb.Helper()
	d.must("join", member{Room: room}, nil)
}

// Leave leaves the room.
func (d *Device) Leave(room quinta.RoomID) {
	d.tb.Helper()
	d.must("leave", member{Room: room}, nil)
}

// Kick removes user from the room.
func (d *Device) Kick(room quinta.RoomID, user quinta.UserID) {
	d.tb.Helper()
	d.must("kick", member{Room: room, User: user}, nil)
}

// UntilMembership returns when this client sees user's membership as given.
func (d *Device) UntilMembership(room quinta.RoomID, user quinta.UserID, membership string) {
	d.tb.Helper()
	d.must("untilMembership", member{room, user, membership}, nil)
}

// A text is a message to send.
type text struct {
	Room    quinta.RoomID `json:"room"`
	Body    string        `json:"body"`
	Patient bool          `json:"patient,omitempty"`
}

// SendText sends a text and returns the id of its event.
func (d *Device) SendText(room quinta.RoomID, body string) quinta.MessageID {
	d.tb.Helper()
	var sent struct{ ID quinta.MessageID }
	d.must("sendText", text{Room: room, Body: body}, &sent)
	return sent.ID
}

// SendPatiently sends a text, again and again under one transaction id if the
// server is away.
func (d *Device) SendPatiently(room quinta.RoomID, body string) quinta.MessageID {
	d.tb.Helper()
	var sent struct{ ID quinta.MessageID }
	d.must("sendText", text{room, body, true}, &sent)
	return sent.ID
}

// A burst is several messages.
type burst struct {
	Room    quinta.RoomID `json:"room"`
	Bodies  []string      `json:"bodies"`
	Patient bool          `json:"patient,omitempty"`
}

// SendBurst sends texts without waiting between them.
func (d *Device) SendBurst(room quinta.RoomID, bodies []string) []quinta.MessageID {
	d.tb.Helper()
	var sent struct{ IDs []quinta.MessageID }
	d.must("sendBurst", burst{Room: room, Bodies: bodies}, &sent)
	return sent.IDs
}

// Read waits until a text with this body can be read.
func (d *Device) Read(room quinta.RoomID, body string) Event {
	d.tb.Helper()
	var e Event
	d.must("read", where{Room: room, Body: &body}, &e)
	return e
}

// ReadID waits until the event with this id can be read.
func (d *Device) ReadID(room quinta.RoomID, id quinta.MessageID) Event {
	d.tb.Helper()
	var e Event
	d.must("read", where{Room: room, ID: id}, &e)
	return e
}

// ReadAll waits until every one of the bodies can be read.
func (d *Device) ReadAll(room quinta.RoomID, bodies []string) {
	d.tb.Helper()
	d.must("readAll", burst{Room: room, Bodies: bodies}, nil)
}

// Unreadable waits until the event is there and cannot be read, for this
// reason if one is given, and returns it.
func (d *Device) Unreadable(room quinta.RoomID, id quinta.MessageID, reason string) Event {
	d.tb.Helper()
	var e Event
	d.must("unreadable", struct {
		where
		Reason string `json:"reason,omitempty"`
	}{where{Room: room, ID: id}, reason}, &e)
	return e
}

// Timeline returns what the client holds of a room and its own membership.
func (d *Device) Timeline(room quinta.RoomID) (events []Event, membership string) {
	d.tb.Helper()
	var r struct {
		Membership string
		Events     []Event
	}
	d.must("timeline", member{Room: room}, &r)
	return r.Events, r.Membership
}

// Scrollback fetches all older events of the room.
func (d *Device) Scrollback(room quinta.RoomID) {
	d.tb.Helper()
	d.must("scrollback", member{Room: room}, nil)
}

// DiscardSession makes the next message begin a new Megolm session.
func (d *Device) DiscardSession(room quinta.RoomID) {
	d.tb.Helper()
	d.must("discardSession", member{Room: room}, nil)
}

// SendFile seals data, uploads it and sends it; it returns the event and the
// mxc URL.
func (d *Device) SendFile(room quinta.RoomID, name string, data []byte) (id quinta.MessageID, url string) {
	d.tb.Helper()
	var sent struct {
		ID  quinta.MessageID
		URL string
	}
	d.must("sendFile", map[string]any{"room": room, "name": name, "data": base64.StdEncoding.EncodeToString(data)}, &sent)
	return sent.ID, sent.URL
}

// ReadFile waits for a file message, downloads and opens it.
func (d *Device) ReadFile(room quinta.RoomID, id quinta.MessageID) (name string, data []byte) {
	d.tb.Helper()
	var r struct {
		Name string
		Data []byte
	}
	d.must("readFile", where{Room: room, ID: id}, &r)
	return r.Name, r.Data
}
