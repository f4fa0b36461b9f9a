package secretchat

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// TestChat is the life of a chat: asked for, accepted, spoken in, closed.
func TestChat(t *testing.T) {
	p := newPlay(t, 1)
	room := p.request()
	got := p.b.chat(room)
	if got.State != StateRequested || got.Peer.ID != p.a.id || got.Peer.Name != "Alice" || got.Created.Unix() != p.clock.Unix() {
		t.Fatalf("the request: got %+v", got)
	}
	if err := p.b.step(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, p.b.m.Send(tx, quinta.Message{Room: room, Kind: quinta.MessageText, Text: "early"})
	}); !errors.Is(err, ErrNotOpen) {
		t.Errorf("sending before accepting: got %v, want %v", err, ErrNotOpen)
	}
	p.a.says(room, "waits for the key")
	p.live()
	if n := len(p.a.wire); n != 0 {
		t.Fatalf("%d packets left before there was a key", n)
	}
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) })
	p.live()
	p.b.says(room, "hello")
	p.live()
	p.b.wantRead("waits for the key")
	p.a.wantRead("hello")
	ia, ib := p.a.chat(room), p.b.chat(room)
	if ia.Hash != ib.Hash || ia.Hash == (Hash{}) {
		t.Errorf("hashes: %x and %x", ia.Hash, ib.Hash)
	}
	if ia.Layer != Layer || ib.Layer != Layer {
		t.Errorf("layers: got %d and %d, want %d", ia.Layer, ib.Layer, Layer)
	}
	if p.a.count(e2ee.EventSent) != 1 || p.a.events[len(p.a.events)-1].Message.Sender == "" {
		t.Errorf("alice was told of %d sent messages, want 1", p.a.count(e2ee.EventSent))
	}
	p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Close(tx, room, true) })
	p.live()
	p.a.wantClosed(room, whyUser)
	p.b.wantClosed(room, whyPeer)
	if err := p.b.step(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, p.b.m.Send(tx, quinta.Message{Room: room, Kind: quinta.MessageText, Text: "late"})
	}); !errors.Is(err, ErrClosed) {
		t.Errorf("sending after the end: got %v, want %v", err, ErrClosed)
	}
}

// TestReject: a request that is declined closes on both sides, and nothing is
// accepted by itself.
func TestReject(t *testing.T) {
	p := newPlay(t, 2)
	room := p.request()
	p.a.says(room, "never read")
	p.live()
	if got := p.b.chat(room).State; got != StateRequested {
		t.Fatalf("without an answer of the user the chat is %s", got)
	}
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Close(tx, room, false) })
	p.live()
	p.a.wantClosed(room, whyPeer)
	if p.a.count(e2ee.EventFailed) != 1 {
		t.Errorf("alice was told of %d failed messages, want 1", p.a.count(e2ee.EventFailed))
	}
	if err := p.b.step(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) }); !errors.Is(err, ErrClosed) {
		t.Errorf("accepting what was declined: got %v", err)
	}
}

// TestElsewhere: the other devices of the callee see that one took the chat.
func TestElsewhere(t *testing.T) {
	p := newPlay(t, 3)
	room := p.request()
	id, _ := chatID(room)
	p.b.queue = append(p.b.queue, Update{Chat: &Chat{ID: id, Stage: StageClosed}})
	p.live()
	if got := p.b.chat(room); got.State != StateClosed || !strings.Contains(got.Why, whyElse) {
		t.Errorf("got %s (%q)", got.State, got.Why)
	}
}

// TestForms sends each kind of message and refuses the others with a reason.
func TestForms(t *testing.T) {
	p := newPlay(t, 4)
	room := p.open()
	p.a.says(room, "first")
	p.live()
	first := p.b.events[len(p.b.events)-1].Message
	file := FileRef{Key: make([]byte, 32), IV: make([]byte, 32), Size: 5, Upload: &Upload{ID: 9, Parts: 1, Fingerprint: 3}}
	p.b.send(quinta.Message{Room: room, Kind: quinta.MessageText, Text: "second", Relation: quinta.Relation{Kind: quinta.RelationReply, To: first.ID}})
	p.b.send(quinta.Message{Room: room, Kind: quinta.MessageFile, Text: "look", File: &quinta.File{Name: "a.txt", MediaType: "text/plain", Size: 5, Ref: e2ee.JSON(file)}})
	p.live()
	p.a.wantRead("second", "look")
	n := len(p.a.events)
	if got := p.a.events[n-2].Message.Relation; got.Kind != quinta.RelationReply || got.To != first.ID {
		t.Errorf("reply: got %+v", got)
	}
	got := p.a.events[n-1].Message
	if got.Kind != quinta.MessageFile || got.File == nil || got.File.Name != "a.txt" || got.File.Size != 5 || got.File.MediaType != "text/plain" {
		t.Fatalf("file: got %+v", got)
	}
	if !bytes.Contains(got.File.Ref, []byte(`"location":{"id":9`)) {
		t.Errorf("the file does not say where it is: %s", got.File.Ref)
	}
	if sent := p.b.events[len(p.b.events)-1]; sent.Kind != e2ee.EventSent || !bytes.Contains(sent.Message.File.Ref, []byte(`"location"`)) {
		t.Errorf("the sender's own file: got %+v", sent)
	}
	p.b.send(quinta.Message{Room: room, Kind: quinta.MessageRedaction, Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: got.ID}})
	p.live()
	if e := p.a.events[len(p.a.events)-1]; e.Message.Kind != quinta.MessageRedaction || e.Message.Relation.To != got.ID {
		t.Errorf("redaction: got %+v", e)
	}
	for _, bad := range []quinta.Message{
		{Kind: quinta.MessageText, Text: "x", Relation: quinta.Relation{Kind: quinta.RelationReplace, To: got.ID}},
		{Kind: quinta.MessageReaction, Relation: quinta.Relation{Kind: quinta.RelationReaction, To: got.ID, Key: "+"}},
		{Kind: quinta.MessageText}, {Kind: quinta.MessageEmote, Text: "x"}, {Type: "m.room.message", Body: []byte("{}")},
		{Kind: quinta.MessageText, Text: "x", Relation: quinta.Relation{Kind: quinta.RelationReply, To: "$event"}},
	} {
		bad.Room = room
		if err := p.a.step(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.a.m.Send(tx, bad) }); !errors.Is(err, ErrNoSuchForm) {
			t.Errorf("%+v: got %v, want %v", bad, err, ErrNoSuchForm)
		}
	}
	if p.a.record(room).Out != 2 {
		t.Error("a message that was refused took a number")
	}
}

// TestMedia reads each kind of media that other clients send.
func TestMedia(t *testing.T) {
	key, iv := make([]byte, 32), make([]byte, 32)
	for _, c := range []struct {
		media schema.Media
		kind  quinta.MessageKind
		text  string
		name  string
	}{
		{&schema.DecryptedMessageMediaPhoto{Size: 1, Key: key, IV: iv, Caption: "c"}, quinta.MessageFile, "c", "photo.jpg"},
		{&schema.DecryptedMessageMediaVideo{Size: 1, Key: key, IV: iv, Caption: "c"}, quinta.MessageFile, "c", "video"},
		{&schema.DecryptedMessageMediaAudio{Size: 1, Key: key, IV: iv}, quinta.MessageFile, "", "audio"},
		{&schema.DecryptedMessageMediaDocument46{Size: 1, Key: key, IV: iv, Attributes: []schema.Attribute{&schema.DocumentAttributeAudio{}}}, quinta.MessageFile, "", "audio"},
		{&schema.DecryptedMessageMediaDocument{Size: 1, Key: key, IV: iv, Attributes: []schema.Attribute{&schema.DocumentAttributeVideo{RoundMessage: true}}}, quinta.MessageFile, "", "video"},
		{&schema.DecryptedMessageMediaWebPage{URL: "https://example.org"}, quinta.MessageText, "", ""},
		{&schema.DecryptedMessageMediaGeoPoint{Lat: 1.5, Long: -2}, quinta.MessageOther, "geo:1.500000,-2.000000", ""},
		{&schema.DecryptedMessageMediaVenue{Lat: 1, Long: 2, Title: "T", Address: "A"}, quinta.MessageOther, "T, A (geo:1.000000,2.000000)", ""},
		{&schema.DecryptedMessageMediaContact{FirstName: "A", LastName: "B", PhoneNumber: "1"}, quinta.MessageOther, "A B 1", ""},
		{&schema.DecryptedMessageMediaExternalDocument{Thumb: &schema.PhotoSizeEmpty{}, Attributes: []schema.Attribute{&schema.DocumentAttributeSticker{Alt: "*", Stickerset: &schema.InputStickerSetEmpty{}}}}, quinta.MessageOther, "*", ""},
	} {
		var m quinta.Message
		content(&m, &schema.DecryptedMessage{RandomID: 5, Media: c.media}, &Location{ID: 1})
		name := ""
		if m.File != nil {
			name = m.File.Name
		}
		if m.ID != "5" || m.Kind != c.kind || m.Text != c.text || name != c.name {
			t.Errorf("%T: got %q %q %q, want %q %q %q", c.media, m.Kind, m.Text, name, c.kind, c.text, c.name)
		}
	}
}

// TestOldPeer: a peer that says nothing of its layer gets 73 and the forms of
// it; the layer that is known only rises.
func TestOldPeer(t *testing.T) {
	p := newPlay(t, 5)
	room := p.open()
	p.a.alter(room, func(c *chat) { c.Remote = 46 })
	p.a.says(room, "to an old one")
	body := openLast(t, p, p.a, room)
	if h, _, err := Parse(body); err != nil || h.Layer != LayerV2 {
		t.Errorf("layer: got %d, %v, want %d", h.Layer, err, LayerV2)
	}
	if got := p.b.chat(room).Layer; got != Layer {
		t.Errorf("the peer's layer fell to %d", got)
	}
	m := quinta.Message{Kind: quinta.MessageFile, File: &quinta.File{Name: "f", Ref: e2ee.JSON(FileRef{Size: 1 << 31, Key: make([]byte, 32), IV: make([]byte, 32)})}}
	if _, err := render(&m, 142, 0); !errors.Is(err, ErrNoSuchForm) {
		t.Errorf("2 GB to layer 142: got %v", err)
	}
	if got, err := render(&m, 143, 0); err != nil {
		t.Errorf("2 GB to layer 143: got %v, %v", got, err)
	}
}

// openLast opens the packet that d sent last, with the peer's key.
func openLast(t *testing.T, p *play, d *device, room quinta.RoomID) []byte {
	t.Helper()
	p.live()
	c := d.peer().record(room)
	body, err := Open(key(t, c.Key), c.Side.Peer(), d.wire[len(d.wire)-1].Data)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestRekey replaces the key after 100 messages, and after a week, from either
// side; what was compared stays, and the old key is gone from both stores.
func TestRekey(t *testing.T) {
	p := newPlay(t, 6)
	room := p.open()
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Verify(tx, room, true) })
	first, hash := p.a.record(room).Key, p.a.chat(room).Hash
	var want []string
	for i := range 101 {
		text := fmt.Sprint("message ", i)
		want = append(want, text)
		p.a.says(room, text)
		p.live()
	}
	p.b.wantRead(want...)
	second := rekeyed(t, p, room, first)
	p.b.says(room, "used")
	p.live()
	p.clock = p.clock.Add(maxAge + time.Second)
	p.live()
	third := rekeyed(t, p, room, second)
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.Rekey(tx, room) })
	p.live()
	rekeyed(t, p, room, third)
	if got := p.b.chat(room); got.Hash != hash || !got.Verified {
		t.Error("a new key changed what was compared")
	}
	p.a.says(room, "after all")
	p.live()
	p.b.wantRead(append(want, "after all")...)
}

// rekeyed checks that both have one key that is not old, and returns it.
func rekeyed(t *testing.T, p *play, room quinta.RoomID, old []byte) []byte {
	t.Helper()
	a, b := p.a.record(room), p.b.record(room)
	if !bytes.Equal(a.Key, b.Key) || bytes.Equal(a.Key, old) {
		t.Fatal("there is no new key that both have")
	}
	for _, c := range []chat{a, b} {
		if c.Old != nil || c.Next != nil || c.Exchange != nil {
			t.Fatalf("side %d still has an old key or an open exchange", c.Side)
		}
	}
	return a.Key
}

// TestRekeyBoth: both ask at once, and there is one key.
func TestRekeyBoth(t *testing.T) {
	for seed := range uint64(4) {
		p := newPlay(t, 70+seed)
		room := p.open()
		old := p.a.record(room).Key
		for _, d := range []*device{p.a, p.b} {
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.Rekey(tx, room) })
		}
		p.live()
		rekeyed(t, p, room, old)
	}
}

// TestGap: what is missing is asked for once, sent again with the same bytes,
// and everything is read in order.
func TestGap(t *testing.T) {
	p := newPlay(t, 8)
	room := p.open()
	lost := 0
	p.spoil = func(to *device, q Packet) []Packet {
		if to == p.b && lost < 3 {
			lost++
			return nil
		}
		return []Packet{q}
	}
	for _, text := range []string{"one", "two", "three", "four", "five"} {
		p.a.says(room, text)
	}
	before := len(p.b.wire)
	p.live()
	p.b.wantRead("one", "two", "three", "four", "five")
	if n := len(p.b.wire) - before; n != 1 {
		t.Errorf("%d packets asked for one hole, want 1", n)
	}
	sealed := map[string]int{}
	for _, q := range p.a.wire {
		sealed[string(q.Data)]++
	}
	again := 0
	for _, n := range sealed {
		if n > 1 {
			again++
		}
	}
	if again != 3 {
		t.Errorf("%d packets left twice with the same bytes, want the 3 that were lost", again)
	}
}

// TestHoles asks for each hole by itself.
func TestHoles(t *testing.T) {
	p := newPlay(t, 9)
	room := p.open()
	n := 0
	p.spoil = func(to *device, q Packet) []Packet {
		if to == p.b {
			if n++; n == 2 || n == 4 {
				return nil
			}
		}
		return []Packet{q}
	}
	for _, text := range []string{"1", "2", "3", "4", "5"} {
		p.a.says(room, text)
	}
	before := len(p.b.wire)
	p.live()
	p.b.wantRead("1", "2", "3", "4", "5")
	if n := len(p.b.wire) - before; n != 2 {
		t.Errorf("%d requests for two holes, want 2", n)
	}
}

// TestDeleteUnacknowledged: what is deleted before the peer has it never
// reaches the peer, also by a gap.
func TestDeleteUnacknowledged(t *testing.T) {
	p := newPlay(t, 10)
	room := p.open()
	drop := true
	p.spoil = func(to *device, q Packet) []Packet {
		if to == p.b && drop {
			return nil
		}
		return []Packet{q}
	}
	p.a.says(room, "regretted")
	p.live()
	id := p.a.events[len(p.a.events)-1].Message.ID
	drop = false
	p.a.send(quinta.Message{Room: room, Kind: quinta.MessageRedaction, Relation: quinta.Relation{Kind: quinta.RelationRedaction, To: id}})
	p.live()
	p.b.wantRead()
	p.b.wantOpen(room)
	p.a.says(room, "goes on")
	p.live()
	p.b.wantRead("goes on")
}

// TestRefused: a message that the server refuses fails, the chat continues.
func TestRefused(t *testing.T) {
	p := newPlay(t, 11)
	room := p.open()
	p.a.says(room, "too long")
	r := p.a.due()[0]
	p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Done(tx, r, Ans{Code: "DATA_TOO_LONG"}) })
	if p.a.count(e2ee.EventFailed) != 1 {
		t.Fatal("the user was not told")
	}
	p.a.says(room, "next")
	p.live()
	p.b.wantRead("next")
	p.a.wantOpen(room)
}

// TestTimers: both sides lose a message some time after it was read, and the
// timer of a file waits until the file is opened.
func TestTimers(t *testing.T) {
	p := newPlay(t, 12)
	room := p.open()
	p.a.says(room, "stays")
	p.live()
	p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.SetTimer(tx, room, 30*time.Second) })
	p.a.says(room, "goes")
	file := FileRef{Key: make([]byte, 32), IV: make([]byte, 32), Size: 5, Upload: &Upload{ID: 9, Parts: 1, Fingerprint: 3}}
	p.a.send(quinta.Message{Room: room, Kind: quinta.MessageFile, File: &quinta.File{Name: "f", Ref: e2ee.JSON(file)}})
	p.live()
	if got := p.b.chat(room).TTL; got != 30*time.Second {
		t.Fatalf("the peer's timer: got %s, want 30s", got)
	}
	var ids []quinta.MessageID
	for _, e := range p.b.events {
		if e.Kind == e2ee.EventMessage {
			ids = append(ids, e.Message.ID)
		}
	}
	gone := func(d *device) (out []quinta.MessageID) {
		for _, e := range d.events {
			if e.Message.Kind == quinta.MessageRedaction {
				out = append(out, e.Message.Relation.To)
			}
		}
		return out
	}
	tick := func(by time.Duration) {
		p.clock = p.clock.Add(by)
		for _, d := range []*device{p.a, p.b} {
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, In{}) })
		}
		p.live()
	}
	tick(time.Hour)
	if len(gone(p.a))+len(gone(p.b)) != 0 {
		t.Fatal("a message ended that no one has read")
	}
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.MarkRead(tx, room, p.clock.Unix()) })
	p.live()
	tick(29 * time.Second)
	// Reading again does not start it again.
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.MarkRead(tx, room, p.clock.Unix()) })
	p.live()
	if n := len(gone(p.b)); n != 0 {
		t.Fatalf("%d messages ended after 29 of 30 seconds", n)
	}
	tick(time.Second)
	for _, d := range []*device{p.a, p.b} {
		if got := gone(d); !slices.Equal(got, []quinta.MessageID{ids[1]}) {
			t.Fatalf("%s: ended: got %v, want the second of %v", d.name, got, ids)
		}
	}
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.Opened(tx, room, ids[2]) })
	p.live()
	tick(30 * time.Second)
	for _, d := range []*device{p.a, p.b} {
		if got := gone(d); !slices.Equal(got, ids[1:]) {
			t.Errorf("%s: ended: got %v, want %v", d.name, got, ids[1:])
		}
	}
	if err := p.a.step(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.SetTimer(tx, room, 8*24*time.Hour) }); !errors.Is(err, ErrNoSuchForm) {
		t.Errorf("a timer of 8 days: got %v", err)
	}
}

// TestReceipts: the peer's reading is reported for the last message that it
// covers.
func TestReceipts(t *testing.T) {
	p := newPlay(t, 13)
	room := p.open()
	p.a.says(room, "one")
	p.live()
	at := p.clock.Unix()
	p.clock = p.clock.Add(time.Minute)
	p.a.says(room, "two")
	p.live()
	var ids []quinta.MessageID
	for _, e := range p.a.events {
		if e.Kind == e2ee.EventSent {
			ids = append(ids, e.Message.ID)
		}
	}
	for i, date := range []int64{at, p.clock.Unix()} {
		p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.MarkRead(tx, room, date) })
		p.live()
		e := p.a.events[len(p.a.events)-1]
		if e.Kind != e2ee.EventReceipt || e.Message.ID != ids[i] || e.User != UserID(p.b.id) {
			t.Errorf("receipt %d: got %+v, want for %s", i, e, ids[i])
		}
	}
}

// TestRestored: an old copy of the store closes its chats and says why.
func TestRestored(t *testing.T) {
	p := newPlay(t, 14)
	room := p.open()
	p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Restored(tx) })
	p.live()
	p.a.wantClosed(room, whyRestored)
	p.b.wantClosed(room, whyPeer)
}

// TestRestoredFromBefore: a store that was put back to a copy from before a
// chat does not know it. Its peer learns that no one reads there, once.
func TestRestoredFromBefore(t *testing.T) {
	p := newPlay(t, 15)
	room := p.open()
	p.a.store = memory.New()
	p.a.boot(p.a.m.env.Rand)
	p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Restored(tx) })
	p.b.says(room, "into the void")
	p.b.says(room, "and again")
	p.live()
	p.a.wantRead()
	p.b.wantClosed(room, whyPeer)
	if n := len(p.a.due()); n != 0 {
		t.Errorf("got %d more calls, want none", n)
	}
}

// TestNegativeIDs: ids of other clients have all 32 and 64 bits, and their names
// have no sign.
func TestNegativeIDs(t *testing.T) {
	for _, id := range []ChatID{-1, -2147483648, 5} {
		room := quinta.RoomID(id.String())
		if got, ok := chatID(room); !ok || got != id || room[0] == '-' {
			t.Errorf("chat %d: got %q, %d", id, room, got)
		}
	}
	for _, id := range []int64{-1, -9223372036854775808, 5} {
		if got, ok := randomID(messageID(id)); !ok || got != id || messageID(id)[0] == '-' {
			t.Errorf("message %d: got %q, %d", id, messageID(id), got)
		}
	}
}

// TestOtherStore: the state of another device is refused.
func TestOtherStore(t *testing.T) {
	p := newPlay(t, 15)
	p.open()
	other := New(p.a.m.env, p.a.id, "another")
	if err := p.a.step(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, err := other.Chats(tx); return nil, err }); !errors.Is(err, ErrOtherUser) {
		t.Errorf("got %v, want %v", err, ErrOtherUser)
	}
}
