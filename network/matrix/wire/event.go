package wire

import (
	"encoding/json"
	"strconv"

	"github.com/quinta-chat/quinta"
)

// An Event is an event in the form that clients get (client-server API,
// "Room Event Format").
type Event struct {
	Content  json.RawMessage  `json:"content"`
	ID       quinta.MessageID `json:"event_id,omitempty"`
	Time     int64            `json:"origin_server_ts"`
	Redacts  quinta.MessageID `json:"redacts,omitempty"`
	Room     quinta.RoomID    `json:"room_id,omitempty"`
	Sender   quinta.UserID    `json:"sender"`
	StateKey *string          `json:"state_key,omitempty"`
	Type     string           `json:"type"`
	Unsigned *Unsigned        `json:"unsigned,omitempty"`
}

// Chunk writes {"chunk": list}, of which the contents are copied as they
// were kept: a large room has thousands.
func Chunk(list []*Event) (json.RawMessage, error) {
	size := 16
	for _, e := range list {
		size += 256 + len(e.Content)
	}
	b := append(make([]byte, 0, size), `{"chunk":[`...)
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = e.Append(b); err != nil {
			return nil, err
		}
	}
	return append(b, `]}`...), nil
}

// Append appends an event as Encode writes it.
func (e *Event) Append(b []byte) ([]byte, error) {
	if !e.Unsigned.ageOnly() || len(e.Content) == 0 {
		raw, err := Encode(e)
		return append(b, raw...), err
	}
	text := func(name, s string) { b = AppendText(AppendMember(b, name), s) }
	b = append(b, '{')
	b = append(AppendMember(b, "content"), e.Content...)
	if e.ID != "" {
		text("event_id", string(e.ID))
	}
	b = strconv.AppendInt(AppendMember(b, "origin_server_ts"), e.Time, 10)
	if e.Redacts != "" {
		text("redacts", string(e.Redacts))
	}
	if e.Room != "" {
		text("room_id", string(e.Room))
	}
	text("sender", string(e.Sender))
	if e.StateKey != nil {
		text("state_key", *e.StateKey)
	}
	text("type", e.Type)
	if e.Unsigned != nil {
		b = append(AppendMember(b, "unsigned"), `{"age":`...)
		b = append(strconv.AppendInt(b, e.Unsigned.Age, 10), '}')
	}
	return append(b, '}'), nil
}

// Unsigned is what the server adds to an event for the one who reads it.
type Unsigned struct {
	Age         int64            `json:"age"`
	Membership  string           `json:"membership,omitempty"`
	PrevContent json.RawMessage  `json:"prev_content,omitempty"`
	PrevSender  quinta.UserID    `json:"prev_sender,omitempty"`
	Replaces    quinta.MessageID `json:"replaces_state,omitempty"`
	RedactedBy  *Event           `json:"redacted_because,omitempty"`
	Relations   map[string]any   `json:"m.relations,omitempty"`
	Txn         quinta.TxnID     `json:"transaction_id,omitempty"`
}

// ageOnly reports whether there is nothing but the age, or nothing at all.
func (u *Unsigned) ageOnly() bool {
	return u == nil || u.Membership == "" && u.PrevContent == nil && u.PrevSender == "" && u.Replaces == "" &&
		u.RedactedBy == nil && len(u.Relations) == 0 && u.Txn == ""
}

// A DataEvent is an event of account data, or one that is not kept, such as a
// receipt.
type DataEvent struct {
	Type    string          `json:"type"`
	Sender  quinta.UserID   `json:"sender,omitempty"`
	Content json.RawMessage `json:"content"`
}

// A StrippedEvent is a state event without the fields that only members get.
// Reading a complete event as one gives no StateKey if it is not a state event.
type StrippedEvent struct {
	Content  json.RawMessage `json:"content"`
	Sender   quinta.UserID   `json:"sender"`
	StateKey *string         `json:"state_key"`
	Type     string          `json:"type"`
}
