package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/sessiondata"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// The reader of events and device lists: a device that shares one encrypted room
// with two users.
const (
	reader, readerDevice = quinta.UserID("@bob:x"), quinta.DeviceID("BOB")
	owner, other         = quinta.UserID("@eve:x"), quinta.UserID("@mallory:x")
	room                 = quinta.RoomID("!r:x")
)

// unread is the refusal of an event: the reason for which it cannot be read.
type unread quinta.Reason

func (u unread) Error() string { return "the event cannot be read: " + string(u) }

// marked is what an event is read with that is shown with a mark of its own.
type marked quinta.Weakness

func (m marked) Error() string { return "the event is marked " + string(m) }

// The refusals of device lists.
var (
	errNotTaken   = errors.New("the device is not taken")
	errKeyChanged = errors.New("the keys of the device have changed")
)

// A watcher is the device that reads.
type watcher struct {
	t       *testing.T
	m       *matrix.Machine
	store   *memory.Store
	events  []e2ee.Event
	since   string
	answers []json.RawMessage // to its queries for keys, the last one for good
}

// watch makes the device and lets it join the room.
func watch(t *testing.T, answers ...json.RawMessage) *watcher {
	t.Helper()
	now := func() time.Time { return began }
	w := &watcher{t: t, m: matrix.New(e2ee.Env{Now: now, Rand: rand.NewChaCha8([32]byte{5})}, reader, readerDevice), store: memory.New(), answers: answers}
	state := []json.RawMessage{json.RawMessage(`{"type":"m.room.encryption","state_key":"","sender":"@eve:x","event_id":"$s","content":{"algorithm":"m.megolm.v1.aes-sha2"}}`)}
	for i, u := range []quinta.UserID{reader, owner, other} {
		state = append(state, fmt.Appendf(nil, `{"type":"m.room.member","state_key":%q,"sender":%q,"event_id":"$m%d","content":{"membership":"join"}}`, u, u, i))
	}
	w.sync(map[string]any{"rooms": map[string]any{"join": map[string]any{string(room): map[string]any{"state": map[string]any{"events": state}}}}})
	return w
}

func (w *watcher) do(fn func(tx e2ee.Tx) ([]e2ee.Event, error)) {
	w.t.Helper()
	err := w.store.Update(context.Background(), func(tx e2ee.Tx) error {
		events, err := fn(tx)
		w.events = append(w.events, events...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// sync gives the device an answer of /sync and answers all that it asks for
// then.
func (w *watcher) sync(answer map[string]any) {
	w.t.Helper()
	answer["next_batch"] = w.since + "x"
	raw, err := json.Marshal(answer)
	if err != nil {
		w.t.Fatal(err)
	}
	in, err := matrix.ParseSync(w.since, raw)
	if err != nil {
		w.t.Fatal(err)
	}
	w.since += "x"
	w.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return w.m.Receive(tx, in) })
	for range 20 {
		var due []matrix.Req
		w.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { due, err = w.m.Outgoing(tx); return nil, err })
		if len(due) == 0 {
			return
		}
		for _, r := range due {
			w.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return w.m.Done(tx, r, w.answer(r)) })
		}
	}
}

func (w *watcher) answer(r matrix.Req) matrix.Ans {
	switch r.Kind {
	case matrix.ReqKeysUpload:
		return matrix.Ans{Body: []byte(`{"one_time_key_counts":{"signed_curve25519":50}}`)}
	case matrix.ReqKeysQuery:
		if len(w.answers) == 0 {
			return matrix.Ans{Body: []byte(`{"device_keys":{}}`)}
		}
		a := w.answers[0]
		if len(w.answers) > 1 {
			w.answers = w.answers[1:]
		}
		return matrix.Ans{Body: a}
	case matrix.ReqMembers:
		return matrix.Ans{Body: []byte(`{"chunk":[]}`)}
	}
	return matrix.Ans{Body: []byte(`{}`)}
}

// list reads an input that is a JSON array.
func list[T any](t *testing.T, f *vectors.File, name string) (out []T) {
	t.Helper()
	if raw := vectors.Input(t, f, name); len(raw) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// roomEvent reads an event of a room, after those that came before, with the
// sessions of an export and the devices of a keys/query.
func roomEvent(t *testing.T, f *vectors.File) ([]byte, error) {
	w := watch(t, vectors.Input(t, f, "devices"))
	var sessions []sessiondata.Session
	for _, raw := range list[json.RawMessage](t, f, "sessions") {
		sessions = append(sessions, must[sessiondata.Session](t)(sessiondata.Decode(raw)))
	}
	w.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		_, events, err := w.m.Import(tx, sessions)
		return events, err
	})
	events := append(list[json.RawMessage](t, f, "before"), f.Body)
	for i, e := range events {
		w.events = nil
		w.sync(map[string]any{"rooms": map[string]any{"join": map[string]any{string(room): map[string]any{"timeline": map[string]any{"events": []json.RawMessage{e}}}}}})
		if i < len(events)-1 && !has(w.events, e2ee.EventMessage) {
			t.Fatalf("event %d before is not read: %+v", i, w.events)
		}
	}
	for _, e := range w.events {
		switch e.Kind {
		case e2ee.EventUndecryptable:
			return nil, unread(e.Reason)
		case e2ee.EventMessage:
			if e.Message.Weakness != quinta.WeakKeySource { // that of every session from a file
				return nil, marked(e.Message.Weakness)
			}
			return []byte(e.Message.Text + relation(e.Message.Relation)), nil
		}
	}
	return nil, unread("nothing is shown")
}

// relation writes what a message says of another one.
func relation(r quinta.Relation) string {
	if r.Kind == "" {
		return ""
	}
	return fmt.Sprintf(" [%s %s]", r.Kind, r.To)
}

func has(events []e2ee.Event, kind e2ee.EventKind) bool {
	for _, e := range events {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// deviceList gives the device answers to its keys/query, the last of which is
// the one under test, and returns the Ed25519 key of the owner's device EVE.
func deviceList(t *testing.T, f *vectors.File) ([]byte, error) {
	answers := append(list[json.RawMessage](t, f, "before"), f.Body)
	w := watch(t, answers[0])
	for _, a := range answers[1:] {
		w.answers = []json.RawMessage{a}
		w.sync(map[string]any{"device_lists": map[string]any{"changed": []quinta.UserID{owner}}})
	}
	var devices []matrix.DeviceInfo
	w.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { devices, err = w.m.Devices(tx, owner); return nil, err })
	for _, d := range devices {
		if d.ID != "EVE" {
			continue
		}
		if d.Trust < quinta.TrustPinned {
			return nil, errKeyChanged
		}
		return d.Ed25519.Bytes(), nil
	}
	return nil, errNotTaken
}
