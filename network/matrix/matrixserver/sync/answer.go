package sync

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// An answer is the answer to a sync.
type answer struct {
	next     Place
	toDevice []mailbox.Message
	rest     rest
}

// rest is all of the answer but the messages to the device, which are
// written without looking into their contents.
type rest struct {
	Next        string           `json:"next_batch"`
	Rooms       *rooms           `json:"rooms,omitempty"`
	AccountData *eventList       `json:"account_data,omitempty"`
	DeviceLists *deviceLists     `json:"device_lists,omitempty"`
	OneTime     map[string]int64 `json:"device_one_time_keys_count"`
	Fallback    []string         `json:"device_unused_fallback_key_types"`
}

// deviceLists says whose devices to look up again, and whose not to
// follow any more.
type deviceLists struct {
	Changed []quinta.UserID `json:"changed"`
	Left    []quinta.UserID `json:"left"`
}

// rooms is the answer's part about rooms.
type rooms struct {
	Join   map[quinta.RoomID]*roomBody   `json:"join,omitempty"`
	Invite map[quinta.RoomID]*invitation `json:"invite,omitempty"`
	Knock  map[quinta.RoomID]*knock      `json:"knock,omitempty"`
	Leave  map[quinta.RoomID]*roomBody   `json:"leave,omitempty"`
}

// invitation is a room that the user is invited to.
type invitation struct {
	State eventList `json:"invite_state"`
}

// knock is a room that the user has knocked on.
type knock struct {
	State eventList `json:"knock_state"`
}

// roomBody is a room that the user is or was in.
type roomBody struct {
	Summary       *summary                               `json:"summary,omitempty"`
	State         *eventList                             `json:"state,omitempty"`
	StateAfter    *eventList                             `json:"state_after,omitempty"`
	UnstableAfter *eventList                             `json:"org.matrix.msc4222.state_after,omitempty"`
	Timeline      timeline                               `json:"timeline"`
	Ephemeral     *eventList                             `json:"ephemeral,omitempty"`
	AccountData   *eventList                             `json:"account_data,omitempty"`
	Unread        *wire.UnreadCount                      `json:"unread_notifications,omitempty"`
	Threads       map[quinta.MessageID]*wire.UnreadCount `json:"unread_thread_notifications,omitempty"`
}

// summary tells how to name a room that has no name (client-server API,
// "Calculating the display name for a room").
type summary struct {
	Heroes  []quinta.UserID `json:"m.heroes,omitempty"`
	Joined  int             `json:"m.joined_member_count"`
	Invited int             `json:"m.invited_member_count"`
}

// timeline is the newest part of a room's log. Limited says that there is
// more between it and what the device got before.
type timeline struct {
	eventList
	Limited bool   `json:"limited"`
	Prev    string `json:"prev_batch"`
}

// An eventList is a list of events in any of their forms.
type eventList struct {
	Events []any `json:"events"`
}

// add appends events and returns the list.
func (l *eventList) add(events ...any) *eventList {
	l.Events = append(l.Events, events...)
	return l
}

// newEventList returns an empty list; clients do not expect null.
func newEventList() *eventList { return &eventList{Events: []any{}} }

// empty reports whether the answer holds nothing that the device waits for.
func (a *answer) empty() bool {
	r := &a.rest
	return len(a.toDevice) == 0 && r.Rooms == nil && r.AccountData == nil && r.DeviceLists == nil
}

// encode writes the answer. The contents of messages to the device were
// checked when they were sent, and are copied as they are.
func (a *answer) encode() (json.RawMessage, error) {
	a.rest.Next = a.next.String()
	out, err := wire.Encode(&a.rest)
	if err != nil || len(a.toDevice) == 0 {
		return out, err
	}
	size := len(out) + 40
	for i := range a.toDevice {
		size += len(a.toDevice[i].Body) + len(a.toDevice[i].Type) + len(a.toDevice[i].From) + 50
	}
	b := append(make([]byte, 0, size), out[:len(out)-1]...)
	b = append(b, `,"to_device":{"events":[`...)
	for i := range a.toDevice {
		m := &a.toDevice[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendText(append(b, `{"type":`...), m.Type)
		b = wire.AppendText(append(b, `,"sender":`...), string(m.From))
		b = append(append(b, `,"content":`...), m.Body...)
		b = append(b, '}')
	}
	return append(b, `]}}`...), nil
}
