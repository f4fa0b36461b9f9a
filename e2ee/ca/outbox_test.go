package ca_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// messages returns the messages that are due.
func (d *device) messages() []ca.Req {
	d.p.t.Helper()
	var out []ca.Req
	for _, r := range d.due() {
		if r.Kind == ca.ReqMessage {
			out = append(out, r)
		}
	}
	return out
}

// TestStaleKeys: a device that the sender did not know makes the server refuse
// the message; it is sealed again for all, under the same id, and read once by
// each.
func TestStaleKeys(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	b.settle()
	b.take()
	second := p.login(bob, "B2", ca.Policy{}) // the notice of it is not taken in yet
	var tries []ca.Req
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
		if d == a && r.Kind == ca.ReqMessage {
			tries = append(tries, r)
		}
		return ca.Ans{}, false
	}
	a.says(conv, "two")
	if len(tries) != 2 || tries[0].Message != tries[1].Message || len(tries[1].Deliver.Keys) != len(tries[0].Deliver.Keys)+1 || bytes.Equal(tries[0].Deliver.Body, tries[1].Deliver.Body) {
		t.Errorf("got %d tries, want the second for one more key under the same id", len(tries))
	}
	for _, d := range []*device{b, second} {
		d.settle()
		d.reads("two")
	}
	if e := a.take(e2ee.EventSent); len(e) != 2 {
		t.Errorf("got %d sent, want 2", len(e))
	}
}

// TestStaleKeysWithoutEnd: a server that never takes a message does not keep
// the sender busy, and the sender learns of it.
func TestStaleKeysWithoutEnd(t *testing.T) {
	t.Parallel()
	p, a, _, conv := couple(t, ca.Policy{})
	n := 0
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
		if r.Kind != ca.ReqMessage {
			return ca.Ans{}, false
		}
		n++
		return ca.Ans{Code: ca.CodeStaleKeys, Missing: []cert.Fingerprint{"0"}}, true
	}
	a.says(conv, "never")
	if n > 5 {
		t.Errorf("got %d tries at once", n)
	}
	for range 30 {
		p.later(2 * time.Minute)
		a.flush()
	}
	e := a.take(e2ee.EventFailed)
	if n > 20 || len(e) != 1 || e[0].Message.Text != "never" || e[0].Message.Txn != "txn never" || !strings.Contains(e[0].Detail, ca.CodeStaleKeys) {
		t.Errorf("got %d tries and %+v, want an end that is told", n, e)
	}
}

// TestSameBytes: a message that may have been received is repeated as it was.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	a.post(conv, "two")
	first := a.messages()
	a.boot()
	p.later(time.Hour)
	second := a.messages()
	if len(first) != 1 || !reflect.DeepEqual(first, second) {
		t.Errorf("the request changed: %+v, %+v", first, second)
	}
	p.do(a, first[0]) // the answer is lost
	a.flush()
	b.settle()
	b.reads("one", "two")
}

// TestSealedAnewWhenTooOld: a message whose answer does not come for a week is
// sealed again, for its time would not be believed; whether the first one was
// taken in, it is read once.
func TestSealedAnewWhenTooOld(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} {
		p, a, b, conv := couple(t, ca.Policy{})
		a.says(conv, "one")
		a.post(conv, "two")
		first := a.messages()[0]
		if taken {
			p.do(a, first)
		}
		p.later(6*24*time.Hour + time.Hour)
		second := a.messages()
		if len(second) == 0 {
			a.flush() // the list is fetched first
		} else if second[0].Message != first.Message || bytes.Equal(second[0].Deliver.Body, first.Deliver.Body) {
			t.Errorf("taken %v: got another message or the same seal", taken)
		}
		a.flush()
		if e := a.take(e2ee.EventSent); len(e) != 2 || e[1].Message.ID != first.Message {
			t.Errorf("taken %v: got %+v, want both sent", taken, e)
		}
		b.settle()
		b.reads("one", "two")
	}
}

// TestOrder: messages leave in their order, one at a time for a conversation,
// whatever is refused in between.
func TestOrder(t *testing.T) {
	t.Parallel()
	p, a, b, conv := couple(t, ca.Policy{})
	n := 0
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
		if r.Kind != ca.ReqMessage {
			return ca.Ans{}, false
		}
		n++
		return ca.Ans{Code: ca.CodeStaleKeys}, n%2 == 1
	}
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprint("m", i))
		a.post(conv, want[i])
	}
	if got := a.messages(); len(got) > 1 {
		t.Errorf("got %d on their way, want one", len(got))
	}
	for range 10 {
		a.flush()
		p.later(2 * time.Minute)
	}
	b.settle()
	b.reads(want...)
}

// TestRefused: a refusal for good is told, with the message.
func TestRefused(t *testing.T) {
	t.Parallel()
	p, a, _, conv := couple(t, ca.Policy{})
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) { return refuse("too-large", "no"), r.Kind == ca.ReqMessage }
	a.says(conv, "x")
	if e := a.take(e2ee.EventFailed); len(e) != 1 || e[0].Message.Text != "x" || e[0].Detail != "too-large no" {
		t.Errorf("got %+v", e)
	}
}

// TestSendErrors: what cannot be sent is refused at once.
func TestSendErrors(t *testing.T) {
	t.Parallel()
	_, a, _, conv := couple(t, ca.Policy{})
	for name, c := range map[string]struct {
		m    quinta.Message
		want error
	}{
		"unknown conversation": {quinta.Message{Room: "nowhere", Text: "x"}, ca.ErrUnknownConversation},
		"no such kind":         {quinta.Message{Room: conv, Kind: "keys"}, cert.ErrMalformed},
		"other without a type": {quinta.Message{Room: conv, Kind: quinta.MessageOther}, cert.ErrMalformed},
		"no JSON":              {quinta.Message{Room: conv, Type: "x", Body: []byte("{")}, cert.ErrMalformed},
		"a fraction":           {quinta.Message{Room: conv, Type: "x", Body: []byte("1.5")}, cert.ErrMalformed},
		"too many mentions":    {quinta.Message{Room: conv, Mentions: make([]quinta.UserID, 1001)}, cert.ErrMalformed},
	} {
		if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Send(tx, c.m) }); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, a.m.Send(tx, quinta.Message{Room: conv, Text: strings.Repeat("x", seal.MaxContent)})
	})
	if quinta.KindOf(err) != quinta.KindTooLarge {
		t.Errorf("got %v, want too large", err)
	}
}

// TestWords: all that a message can say comes out as it went in.
func TestWords(t *testing.T) {
	t.Parallel()
	_, a, b, conv := couple(t, ca.Policy{})
	for _, want := range []quinta.Message{
		{Kind: quinta.MessageNotice, Text: "by a program", Mentions: []quinta.UserID{bob}},
		{Kind: quinta.MessageEmote, Text: "waves"},
		{Kind: quinta.MessageFile, Text: "look", File: &quinta.File{Name: "a.png", MediaType: "image/png", Size: -1, Ref: []byte{1, 2, 3}}},
		{Kind: quinta.MessageReaction, Relation: quinta.Relation{Kind: quinta.RelationReaction, To: "m", Key: "+1"}},
		{Kind: quinta.MessageText, Text: "better", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: "m"}},
		{Kind: quinta.MessageOther, Type: "org.example", Body: []byte(`{"a":[1,"b"]}`)},
	} {
		m := want
		m.Room = conv
		a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Send(tx, m) })
		a.flush()
		b.settle()
		e := b.take(e2ee.EventMessage)
		if len(e) != 1 {
			t.Fatalf("%+v: got %d messages", want, len(e))
		}
		got := e[0].Message
		if !reflect.DeepEqual([]any{got.Kind, got.Text, got.File, got.Relation, got.Mentions, got.Type, string(got.Body)},
			[]any{want.Kind, want.Text, want.File, want.Relation, want.Mentions, want.Type, string(want.Body)}) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestGroup: a conversation of several, to which a member is added. Each reads
// what was said since they joined.
func TestGroup(t *testing.T) {
	t.Parallel()
	p := newPost(t, 6)
	a, b, c := p.login(alice, "A1", ca.Policy{}), p.login(bob, "B1", ca.Policy{}), p.login(carol, "C1", ca.Policy{})
	var conv quinta.RoomID
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		conv, err = a.m.Create(tx, []quinta.UserID{bob})
		return nil, err
	})
	a.says(conv, "two of us")
	b.settle()
	b.reads("two of us")
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Add(tx, conv, []quinta.UserID{carol}) })
	a.flush()
	if has(a.take(), e2ee.EventRoom, "added "+string(carol)) == nil {
		t.Error("the new member was not told")
	}
	a.says(conv, "three of us")
	b.settle()
	c.settle()
	b.reads("three of us")
	c.reads("three of us")
	b.says(conv, "hi carol") // bob learns of carol by the server's refusal
	a.settle()
	c.settle()
	a.reads("hi carol")
	c.reads("hi carol")
	c.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, c.m.Leave(tx, conv) })
	c.settle()
	a.says(conv, "without carol")
	b.settle()
	c.settle()
	b.reads("without carol")
	c.reads()
	if err := c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, c.m.Send(tx, quinta.Message{Room: conv, Text: "x"})
	}); !errors.Is(err, ca.ErrUnknownConversation) {
		t.Errorf("got %v, want that carol is out", err)
	}
	var info ca.RoomInfo
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { info, err = a.m.Room(tx, conv); return nil, err })
	if len(info.Members) != 2 || info.Direct || info.Pending || info.Unsent != 0 {
		t.Errorf("got %+v", info)
	}
	two := a.direct(bob)
	if err := a.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, a.m.Add(tx, two, []quinta.UserID{carol}) }); !errors.Is(err, cert.ErrUnsupported) {
		t.Errorf("got %v, want that two stay two", err)
	}
}

// TestNothingInClear: no request of a conversation has the text, or anything of
// the store's secrets, outside of a seal.
func TestNothingInClear(t *testing.T) {
	t.Parallel()
	p := newPost(t, 8)
	var out bytes.Buffer
	p.bend = func(d *device, r ca.Req) (ca.Ans, bool) {
		raw := must(json.Marshal(r))
		out.Write(raw)
		if r.Deliver != nil {
			out.Write(r.Deliver.Body)
		}
		if r.Backup != nil {
			out.Write(r.Backup.Sealed)
		}
		return ca.Ans{}, false
	}
	a, b := p.login(alice, "A1", ca.Policy{Sessions: true}), p.login(bob, "B1", ca.Policy{Sessions: true})
	conv := a.direct(bob)
	a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, a.m.EnableBackup(tx, seal.FromRecovery([32]byte{1}))
	})
	for _, text := range []string{"attack at dawn", "attack at noon"} {
		a.says(conv, text)
		b.settle()
		b.reads(text)
	}
	if bytes.Contains(out.Bytes(), []byte("attack")) || bytes.Contains(out.Bytes(), []byte("secret")) || bytes.Contains(out.Bytes(), []byte("private")) {
		t.Error("something left in clear")
	}
}

// TestPeerWithoutKey: a message to someone who has no key to read it with waits
// for them; its sender is told.
func TestPeerWithoutKey(t *testing.T) {
	t.Parallel()
	p := newPost(t, 11)
	a := p.login(alice, "A1", ca.Policy{})
	conv := a.direct(bob)
	a.says(conv, "hello")
	a.settle()
	if has(a.take(), e2ee.EventTrouble, "waits until "+string(bob)) == nil || len(p.history[conv]) != 0 {
		t.Fatal("a message left that no one can read, or nobody was told")
	}
	b := p.login(bob, "B1", ca.Policy{})
	a.settle()
	b.settle()
	b.reads("hello")
	if e := a.take(e2ee.EventSent); len(e) != 1 {
		t.Errorf("got %+v, want it sent", e)
	}
}

// TestOutboxOfALostConversation: what cannot be sent any more is told, with the
// next page that comes.
func TestOutboxOfALostConversation(t *testing.T) {
	t.Parallel()
	p, a, _, conv := couple(t, ca.Policy{})
	a.says(conv, "one")
	p.bend = func(_ *device, r ca.Req) (ca.Ans, bool) { return refuse(ca.CodeStaleKeys, ""), r.Kind == ca.ReqMessage }
	a.post(conv, "two")
	p.convs[conv].Members = []quinta.UserID{bob}
	a.settle()
	a.settle()
	if e := a.take(e2ee.EventFailed); len(e) != 1 || e[0].Message.Text != "two" {
		t.Errorf("got %+v, want that it failed", e)
	}
}

// TestAddedInSilence: someone who is added to a conversation knows of it after
// a while, also if no one speaks.
func TestAddedInSilence(t *testing.T) {
	t.Parallel()
	p := newPost(t, 15)
	a, b := p.login(alice, "A1", ca.Policy{}), p.login(bob, "B1", ca.Policy{})
	var conv quinta.RoomID
	a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		conv, err = a.m.Create(tx, []quinta.UserID{bob})
		return nil, err
	})
	a.flush()
	p.later(2 * time.Hour)
	b.settle()
	b.says(conv, "i am here")
	a.settle()
	a.reads("i am here")
}
