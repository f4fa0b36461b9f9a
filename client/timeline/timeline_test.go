package timeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
)

const room quinta.RoomID = "!r"

type stage struct {
	t *testing.T
	s client.Store
}

func newStage(t *testing.T) *stage { t.Parallel(); return &stage{t, memory.New()} }

func (s *stage) apply(events ...e2ee.Event) {
	s.t.Helper()
	if err := s.s.Update(s.t.Context(), func(tx e2ee.Tx) error { return timeline.Apply(tx, events) }); err != nil {
		s.t.Fatal(err)
	}
}

// read returns the room as lines "id text (edited) [reason] {reactions}".
func (s *stage) read(q timeline.Query) []string {
	s.t.Helper()
	var out []string
	if err := s.s.View(s.t.Context(), func(tx e2ee.Tx) error {
		items, err := timeline.Read(tx, room, q)
		for _, it := range items {
			line := string(it.Message.ID) + " " + it.Message.Text
			if !it.Edited.IsZero() {
				line += " (edited)"
			}
			if it.Reason != "" {
				line += " [" + string(it.Reason) + "]"
			}
			if it.Redacted {
				line += " (redacted)"
			}
			for _, r := range it.Reactions {
				line += fmt.Sprintf(" {%s %s}", r.Key, r.Sender)
			}
			out = append(out, line)
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *stage) want(want ...string) {
	s.t.Helper()
	if got := s.read(timeline.Query{}); !slices.Equal(got, want) {
		s.t.Errorf("got  %q\nwant %q", got, want)
	}
}

func msg(id string, at int64, sender, text string, rel ...string) e2ee.Event {
	m := quinta.Message{ID: quinta.MessageID(id), Room: room, Sender: quinta.UserID(sender), Time: time.UnixMilli(at), Kind: quinta.MessageText, Text: text, Encrypted: true}
	if len(rel) > 0 {
		m.Relation = quinta.Relation{Kind: quinta.RelationKind(rel[0]), To: quinta.MessageID(rel[1])}
	}
	if len(rel) > 2 {
		m.Relation.Key = rel[2]
	}
	return e2ee.Event{Kind: e2ee.EventMessage, Message: m}
}

func unreadable(id string, at int64, sender string, r quinta.Reason) e2ee.Event {
	e := msg(id, at, sender, "")
	e.Kind, e.Reason = e2ee.EventUndecryptable, r
	return e
}

func TestOrderAndRange(t *testing.T) {
	s := newStage(t)
	s.apply(msg("$c", 30, "alice", "three"), msg("$z", 10, "bob", "one"), msg("$a", 20, "alice", "two"), msg("$b", 20, "alice", "two and a half"))
	s.want("$z one", "$a two", "$b two and a half", "$c three")
	for _, c := range []struct {
		q    timeline.Query
		want string
	}{
		{timeline.Query{Limit: 2}, "$b two and a half,$c three"},
		{timeline.Query{Before: time.UnixMilli(30), Limit: 1}, "$b two and a half"},
		{timeline.Query{After: time.UnixMilli(10), Before: time.UnixMilli(30)}, "$a two,$b two and a half"},
		{timeline.Query{After: time.UnixMilli(30)}, ""},
	} {
		if got := strings.Join(s.read(c.q), ","); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.q, got, c.want)
		}
	}
	// The same message again changes nothing, and another room is another room.
	other := msg("$o", 5, "bob", "elsewhere")
	other.Message.Room = "!r2"
	s.apply(msg("$a", 20, "alice", "two"), other)
	s.want("$z one", "$a two", "$b two and a half", "$c three")
}

func TestBurstKeepsItsOrder(t *testing.T) {
	s := newStage(t)
	var want []string
	for i := range 60 {
		id := fmt.Sprintf("$%02d", (i*37)%60)
		s.apply(msg(id, 7, "alice", fmt.Sprint(i)))
		want = append(want, id+" "+fmt.Sprint(i))
	}
	s.want(want...)
}

func TestEdits(t *testing.T) {
	s := newStage(t)
	s.apply(msg("$a", 10, "alice", "helo"), msg("$e2", 30, "alice", "hello!", "replace", "$a"), msg("$e1", 20, "alice", "hello", "replace", "$a"))
	s.want("$a hello! (edited)")
	s.apply(msg("$m", 40, "mallory", "I owe you", "replace", "$a"))
	s.want("$a hello! (edited)")
	clear := msg("$p", 50, "alice", "in clear", "replace", "$a")
	clear.Message.Encrypted = false
	s.apply(clear)
	s.want("$a hello! (edited)")
	// The original again, as after a second sync: the edit stays.
	s.apply(msg("$a", 10, "alice", "helo"))
	s.want("$a hello! (edited)")
}

func TestEditBeforeTheMessage(t *testing.T) {
	s := newStage(t)
	s.apply(msg("$e", 20, "alice", "new", "replace", "$a"), msg("$f", 30, "mallory", "evil", "replace", "$a"))
	s.want()
	s.apply(msg("$a", 10, "alice", "old"))
	s.want("$a new (edited)")
}

func TestReactions(t *testing.T) {
	s := newStage(t)
	s.apply(msg("$1", 5, "bob", "", "reaction", "$a", "👍"), msg("$a", 10, "alice", "cake?"), msg("$2", 20, "carol", "", "reaction", "$a", "👍"),
		msg("$3", 21, "bob", "", "reaction", "$a", "❤"), msg("$1", 5, "bob", "", "reaction", "$a", "👍"))
	s.want("$a cake? {❤ bob} {👍 bob} {👍 carol}")
	s.apply(msg("$4", 30, "bob", "", "redaction", "$3"))
	s.want("$a cake? {👍 bob} {👍 carol}")
}

func TestRedactions(t *testing.T) {
	s := newStage(t)
	s.apply(msg("$x", 5, "alice", "", "redaction", "$b"), msg("$a", 10, "alice", "oops"), msg("$b", 11, "alice", "oops too"), msg("$3", 21, "bob", "", "reaction", "$a", "❤"))
	s.apply(msg("$y", 30, "alice", "", "redaction", "$a"), msg("$e", 40, "alice", "back", "replace", "$a"), msg("$a", 10, "alice", "oops"))
	s.want("$a  (redacted)", "$b  (redacted)")
	if err := s.s.View(t.Context(), func(tx e2ee.Tx) error {
		for e, err := range tx.All("") {
			if err != nil {
				return err
			}
			if strings.Contains(string(e.Value), "oops") {
				t.Errorf("%q still holds the text", e.Key)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestUnreadable(t *testing.T) {
	s := newStage(t)
	s.apply(unreadable("$a", 10, "alice", quinta.ReasonNoKeyYet), msg("$b", 20, "bob", "?"))
	s.want("$a  [no-key-yet]", "$b ?")
	s.apply(unreadable("$a", 10, "alice", quinta.ReasonWithheld))
	s.want("$a  [withheld]", "$b ?")
	s.apply(msg("$e", 30, "alice", "edited", "replace", "$a"))
	s.apply(msg("$a", 10, "alice", "late"))
	s.want("$a edited (edited)", "$b ?")
	s.apply(unreadable("$b", 20, "bob", quinta.ReasonNoKeyYet))
	s.want("$a edited (edited)", "$b ?")
}

func TestReceipts(t *testing.T) {
	s := newStage(t)
	receipt := func(user, id string) e2ee.Event {
		return e2ee.Event{Kind: e2ee.EventReceipt, User: quinta.UserID(user), Message: quinta.Message{Room: room, ID: quinta.MessageID(id), Time: time.UnixMilli(1)}}
	}
	s.apply(receipt("bob", "$a"), receipt("alice", "$a"), receipt("bob", "$b"))
	if err := s.s.View(t.Context(), func(tx e2ee.Tx) error {
		rs, err := timeline.Receipts(tx, room)
		if len(rs) != 2 || rs[0].User != "alice" || rs[1].ID != "$b" {
			t.Errorf("got %+v", rs)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestFilesComeBack(t *testing.T) {
	s := newStage(t)
	e := msg("$f", 1, "alice", "look")
	e.Message.Kind, e.Message.File = quinta.MessageFile, &quinta.File{Name: "a.png", Size: 3, Ref: []byte("how to open")}
	s.apply(e)
	if err := s.s.View(t.Context(), func(tx e2ee.Tx) error {
		it, err := timeline.Get(tx, room, "$f")
		if err != nil {
			return err
		}
		if f := it.Message.File; f == nil || f.Name != "a.png" || string(f.Ref) != "how to open" {
			t.Errorf("got %+v", f)
		}
		if _, err := timeline.Get(tx, room, "$none"); quinta.KindOf(err) != quinta.KindNotFound {
			t.Errorf("no such message: got %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestHostileIDs(t *testing.T) {
	s := newStage(t)
	for _, e := range []e2ee.Event{
		msg("", 1, "alice", "x"),
		msg("$a\x00$b", 1, "alice", "x"),
		msg("$a", 1, "alice", "x", "replace", ""),
		msg("$a", 1, "alice", "x", "reaction", "$b\x00", "x"),
		msg("$a", 1, "al\x00ice", "x", "reaction", "$b", "x"),
	} {
		s.apply(e, msg("$after", 1, "bob", "kept"))
		s.want("$after kept")
	}
	old := msg("$old", 0, "alice", "before the beginning")
	old.Message.Time = time.UnixMilli(-5)
	s.apply(old)
	s.want("$old before the beginning", "$after kept")
}

func BenchmarkReadEnd(b *testing.B) {
	st := memory.New()
	// The store in memory looks through all it has for each message.
	for i := range 20 {
		var es []e2ee.Event
		for j := range 100 {
			es = append(es, msg(fmt.Sprintf("$%d-%d", i, j), int64(i*100+j), "alice", "hello there"))
		}
		if err := st.Update(b.Context(), func(tx e2ee.Tx) error { return timeline.Apply(tx, es) }); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := st.View(b.Context(), func(tx e2ee.Tx) error {
			_, err := timeline.Read(tx, room, timeline.Query{Limit: 20})
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}
