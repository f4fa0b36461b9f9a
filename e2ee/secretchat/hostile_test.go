package secretchat

import (
	"bytes"
	"context"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// TestAttack01BadParameters: parameters that are not safe end the request, also
// under a version that was good before.
func TestAttack01BadParameters(t *testing.T) {
	p := newPlay(t, 101)
	p.open()
	p.group.g = 2 // does not generate the subgroup of this prime
	room := p.request()
	p.a.wantClosed(room, whyParams)
	if _, asked := p.chats[mustChat(t, room)]; asked {
		t.Error("a public value under bad parameters was sent")
	}
	p.group.g = 3
	room = p.request()
	p.group.p = bytes.Repeat([]byte{0xff}, Size)
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) })
	p.live()
	p.b.wantClosed(room, whyParams)
	p.a.wantClosed(room, whyPeer)
}

func mustChat(t testing.TB, room quinta.RoomID) ChatID {
	t.Helper()
	id, ok := chatID(room)
	if !ok {
		t.Fatalf("room %q", room)
	}
	return id
}

// degenerate are public values that would give a key that the server knows.
func degenerate() map[string][]byte {
	pr := new(big.Int).SetBytes(knownPrime[:])
	return map[string][]byte{
		"empty": nil, "0": {0}, "1": {1}, "p-1": new(big.Int).Sub(pr, big.NewInt(1)).Bytes(), "p": pr.Bytes(),
		"2^1984-1": new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1984), big.NewInt(1)).Bytes(), "257 bytes": append([]byte{1}, pr.Bytes()...),
	}
}

// TestAttack02BadPublicValues: at creation by either side, and at a re-key.
func TestAttack02BadPublicValues(t *testing.T) {
	for name, v := range degenerate() {
		p := newPlay(t, 102)
		room := p.request()
		p.b.alter(room, func(c *chat) { c.GA = v })
		p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) })
		p.live()
		p.b.wantClosed(room, whyPublic)

		p = newPlay(t, 103)
		room = p.request()
		p.a.queue = append(p.a.queue, Update{Chat: &Chat{ID: mustChat(t, room), Stage: StageOpen, Public: v}})
		p.live()
		p.a.wantClosed(room, whyPublic)

		p = newPlay(t, 104)
		room = p.open()
		p.a.inject(room, &schema.DecryptedMessageActionRequestKey{ExchangeID: 1, GA: v})
		p.live()
		p.b.wantClosed(room, whyPublic)

		p = newPlay(t, 105)
		room = p.open()
		p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.a.m.Rekey(tx, room) })
		id := p.a.record(room).Exchange.ID
		p.b.inject(room, &schema.DecryptedMessageActionAcceptKey{ExchangeID: id, GB: v})
		p.live()
		p.a.wantClosed(room, whyPublic)
		_ = name
	}
}

// TestAttack03ServerValueInKey: nothing that a server sends is in the key but
// the peer's public value. Both agree whatever randomness each was given.
func TestAttack03ServerValueInKey(t *testing.T) {
	p := newPlay(t, 106)
	p.random = bytes.Repeat([]byte{0xee}, Size)
	room := p.request()
	secret := p.a.record(room).Secret
	p.random = bytes.Repeat([]byte{0x11}, Size)
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) })
	due := p.b.due()
	ans := p.serve(p.b, due[0])
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Done(tx, due[0], ans) })
	gb := p.b.due()[0].Public
	p.live()
	s, err := ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.Agree(KnownGroup(), gb)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.a.record(room).Key; !bytes.Equal(got, want.Bytes()) || !bytes.Equal(got, p.b.record(room).Key) {
		t.Error("the key is not g^(ab)")
	}
}

// TestAttack05Fingerprint: two keys end the chat before anything is sealed.
func TestAttack05Fingerprint(t *testing.T) {
	p := newPlay(t, 107)
	room := p.request()
	s, _ := NewSecret(p.a.m.env.Rand, nil)
	public, err := s.Public(KnownGroup())
	if err != nil {
		t.Fatal(err)
	}
	p.a.says(room, "never sealed")
	p.a.queue = append(p.a.queue, Update{Chat: &Chat{ID: mustChat(t, room), Stage: StageOpen, Public: public, Fingerprint: 1}})
	p.live()
	p.a.wantClosed(room, whyPrint)
	if len(p.a.wire) != 0 {
		t.Error("something was sealed under a key that the peer does not have")
	}
}

// TestAttack06ForeignExchange: an exchange belongs to its chat.
func TestAttack06ForeignExchange(t *testing.T) {
	p := newPlay(t, 108)
	one, two := p.open(), p.open()
	for _, room := range []quinta.RoomID{one, two} {
		p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.a.m.Rekey(tx, room) })
	}
	foreign := p.a.record(two).Exchange.ID
	p.b.inject(one, &schema.DecryptedMessageActionAcceptKey{ExchangeID: foreign, GB: KnownGroup().P()})
	p.live()
	p.a.wantClosed(one, whyRekey)
	p.a.wantOpen(two)
}

// TestAttack09Reflection: what a device sent and gets back does not open, and
// an authentic message with the parity of the other side ends the chat.
func TestAttack09Reflection(t *testing.T) {
	p := newPlay(t, 109)
	room := p.open()
	p.a.says(room, "mirror")
	p.live()
	mirrored := p.a.wire[len(p.a.wire)-1]
	p.a.queue = append(p.a.queue, Update{Packet: &mirrored})
	p.live()
	p.a.wantRead()
	p.a.wantOpen(room)
	if e := p.a.events[len(p.a.events)-1]; e.Kind != e2ee.EventUndecryptable || e.Reason != quinta.ReasonTampered {
		t.Errorf("got %+v", e)
	}
	for name, h := range map[string]Header{"out": {73, 0, 2 * 2}, "in": {73, 1, 2*2 + 1}} {
		p := newPlay(t, 110)
		room := p.open()
		p.forge(p.a, room, h)
		if got := p.b.chat(room); got.State != StateClosed || got.Why != whySequence {
			t.Errorf("%s: wrong parity: the chat is %s (%q)", name, got.State, got.Why)
		}
	}
}

// forge has a device seal a message with numbers of its choice.
func (p *play) forge(d *device, room quinta.RoomID, h Header) {
	p.t.Helper()
	p.forgeObject(d, room, h, &schema.DecryptedMessage{RandomID: 77, Message: "forged"})
}

func (p *play) forgeObject(d *device, room quinta.RoomID, h Header, m schema.Message) {
	p.t.Helper()
	c := d.record(room)
	data, err := Seal(d.m.env.Rand, key(p.t, c.Key), c.Side, body(p.t, h, m))
	if err != nil {
		p.t.Fatal(err)
	}
	d.peer().queue = append(d.peer().queue, Update{Packet: &Packet{Chat: c.ID, RandomID: 77, Data: data}})
	p.live()
}

// TestAttack10Replay: the same packet, under the same or another outer id, is
// read once; an old position never moves the queue back.
func TestAttack10Replay(t *testing.T) {
	p := newPlay(t, 111)
	room := p.open()
	p.spoil = func(to *device, q Packet) []Packet {
		r := q
		r.RandomID++
		return []Packet{q, q, r}
	}
	p.a.says(room, "once")
	p.live()
	old := p.a.wire[len(p.a.wire)-1]
	for range 150 {
		p.a.inject(room, &schema.DecryptedMessageActionNoop{})
		p.live()
	}
	p.b.queue = append(p.b.queue, Update{Packet: &old}) // its key is gone by now
	p.live()
	p.b.wantRead("once")
	if n := p.b.count(e2ee.EventUndecryptable); n != 0 {
		t.Errorf("%d doubles were shown as unreadable", n)
	}
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Receive(tx, In{Qts: 90, Pts: 4}) })
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Receive(tx, In{Qts: 5, Pts: 3}) })
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		if qts, pts, err := p.b.m.Position(tx); qts != 90 || pts != 4 || err != nil {
			t.Errorf("position: got %d, %d, %v, want 90, 4", qts, pts, err)
		}
		return nil, nil
	})
	// Chat states that are past.
	c := p.b.record(room)
	for _, stage := range []Stage{StageRequested, StageOpen} {
		p.b.queue = append(p.b.queue, Update{Chat: &Chat{ID: c.ID, Stage: stage, Admin: 999, Participant: p.b.id, Public: KnownGroup().P()}})
		p.live()
	}
	if got := p.b.record(room); !bytes.Equal(got.Key, c.Key) || got.Peer.ID != p.a.id {
		t.Error("an old state of the chat changed it")
	}
}

// TestAttack11Drop: a message that a server drops is missed as soon as the next
// one comes, and fetched; one that it spoils is shown as unreadable, and heals.
func TestAttack11Drop(t *testing.T) {
	p := newPlay(t, 112)
	room := p.open()
	spoiled := false
	p.spoil = func(to *device, q Packet) []Packet {
		if to == p.b && !spoiled {
			spoiled = true
			q.Data = bytes.Clone(q.Data)
			q.Data[40] ^= 1
		}
		return []Packet{q}
	}
	p.a.says(room, "spoiled on the way")
	p.live()
	bad := p.b.events[len(p.b.events)-1]
	if bad.Kind != e2ee.EventUndecryptable || bad.Reason != quinta.ReasonTampered {
		t.Fatalf("got %+v", bad)
	}
	p.a.says(room, "next")
	p.live()
	p.b.wantRead("spoiled on the way", "next")
	for _, e := range p.b.events {
		if e.Kind == e2ee.EventMessage && e.Message.Text == "spoiled on the way" && e.Message.ID != bad.Message.ID {
			t.Error("the message that opened has another id than the one that did not")
		}
	}
}

// TestAttack12Delay: messages that a server holds back come in their order,
// and in_seq_no can neither fall nor be ahead of what was sent.
func TestAttack12Delay(t *testing.T) {
	p := newPlay(t, 113)
	room := p.open()
	var late []Packet
	hold := true
	p.spoil = func(to *device, q Packet) []Packet {
		if to == p.b && hold {
			late = append(late, q)
			return nil
		}
		return []Packet{q}
	}
	p.a.says(room, "one")
	p.a.says(room, "two")
	p.live()
	hold = false
	slices.Reverse(late)
	for i := range late {
		p.b.queue = append(p.b.queue, Update{Packet: &late[i]})
	}
	p.live()
	p.b.wantRead("one", "two")
	for name, in := range map[string]int{"fallen": 0, "ahead": 2 * 50} {
		p := newPlay(t, 114)
		room := p.open()
		p.b.says(room, "seen")
		p.live()
		p.a.says(room, "answer")
		p.live()
		p.forge(p.a, room, Header{144, in, 2*p.a.record(room).Out + 1})
		if got := p.b.chat(room); got.State != StateClosed || got.Why != whySequence {
			t.Errorf("%s: the chat is %s (%q)", name, got.State, got.Why)
		}
	}
}

// TestAttack13Downgrade: the peer's layer never falls, nothing below 73 is
// written, MTProto 1.0 does not open, a newer layer is said to be one.
func TestAttack13Downgrade(t *testing.T) {
	p := newPlay(t, 115)
	room := p.open()
	p.a.inject(room, &schema.DecryptedMessageActionNotifyLayer{Layer: 46})
	p.live()
	if got := p.b.chat(room).Layer; got != Layer {
		t.Errorf("layer: got %d, want %d", got, Layer)
	}
	for remote, want := range map[int]int{0: 73, 46: 73, 73: 73, 101: 101, 144: 144, 200: 144, math.MaxInt32: 144} {
		if got := writeLayer(remote); got != want {
			t.Errorf("to layer %d: wrote %d, want %d", remote, got, want)
		}
	}
	c := p.a.record(room)
	plain := body(t, Header{73, 2 * c.In, 2*c.Out + 1}, &schema.DecryptedMessage{Message: "old form"})
	old := sealV1(t, key(t, c.Key), plain, 15-(len(plain)+3)%16)
	p.b.queue = append(p.b.queue, Update{Packet: &Packet{Chat: c.ID, RandomID: 1, Data: old}})
	p.live()
	p.b.wantRead()
	p.forge(p.a, room, Header{145, 2 * c.In, 2*c.Out + 1})
	e := p.b.events[len(p.b.events)-1]
	if e.Kind != e2ee.EventUndecryptable || e.Reason != quinta.ReasonUnsupported || !strings.Contains(e.Detail, "update") {
		t.Errorf("layer 145: got %+v", e)
	}
	p.b.wantOpen(room)
}

// TestAttack14Rekey: each message of an exchange at the wrong time ends the
// chat, and the key is not changed by any of them.
func TestAttack14Rekey(t *testing.T) {
	good := func() []byte {
		s, err := NewSecret(chacha{newPlay(t, 0).a.m.env.Rand.(chacha).ChaCha8}, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Public(KnownGroup())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}()
	for name, hostile := range map[string]func(p *play, room quinta.RoomID){
		"accept without request": func(p *play, room quinta.RoomID) {
			p.a.inject(room, &schema.DecryptedMessageActionAcceptKey{ExchangeID: 1, GB: good})
		},
		"commit without accept": func(p *play, room quinta.RoomID) {
			p.a.inject(room, &schema.DecryptedMessageActionCommitKey{ExchangeID: 1, KeyFingerprint: 1})
		},
		"accept with a wrong id": func(p *play, room quinta.RoomID) {
			p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.Rekey(tx, room) })
			p.a.inject(room, &schema.DecryptedMessageActionAcceptKey{ExchangeID: p.b.record(room).Exchange.ID + 1, GB: good})
		},
		"accept with a wrong fingerprint": func(p *play, room quinta.RoomID) {
			p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.Rekey(tx, room) })
			p.a.inject(room, &schema.DecryptedMessageActionAcceptKey{ExchangeID: p.b.record(room).Exchange.ID, GB: good, KeyFingerprint: 5})
		},
		"commit with a wrong fingerprint": func(p *play, room quinta.RoomID) {
			p.a.inject(room, &schema.DecryptedMessageActionRequestKey{ExchangeID: 5, GA: good})
			p.a.inject(room, &schema.DecryptedMessageActionCommitKey{ExchangeID: 5, KeyFingerprint: 1})
		},
		"two open exchanges": func(p *play, room quinta.RoomID) {
			p.a.inject(room, &schema.DecryptedMessageActionRequestKey{ExchangeID: 5, GA: good})
			p.a.inject(room, &schema.DecryptedMessageActionRequestKey{ExchangeID: 6, GA: good})
		},
		"abort after accept": func(p *play, room quinta.RoomID) {
			p.a.inject(room, &schema.DecryptedMessageActionRequestKey{ExchangeID: 5, GA: good})
			p.a.inject(room, &schema.DecryptedMessageActionAbortKey{ExchangeID: 5})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t, 116)
			room := p.open()
			hostile(p, room)
			p.live()
			p.b.wantClosed(room, whyRekey)
		})
	}
	t.Run("equal ids", func(t *testing.T) {
		p := newPlay(t, 117)
		room := p.open()
		old := p.b.record(room).Key
		p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.Rekey(tx, room) })
		p.a.inject(room, &schema.DecryptedMessageActionRequestKey{ExchangeID: p.b.record(room).Exchange.ID, GA: good})
		// Alice's machine, that did not ask, would accept what bob asked for.
		p.a.queue = nil
		for _, r := range p.a.due() {
			ans := p.serve(p.a, r)
			p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Done(tx, r, ans) })
		}
		in := In{Updates: p.b.queue}
		p.b.queue = nil
		p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Receive(tx, in) })
		if c := p.b.record(room); c.Exchange != nil || !bytes.Equal(c.Key, old) || c.State != StateOpen {
			t.Errorf("equal ids: exchange %v, state %s", c.Exchange, c.State)
		}
	})
	t.Run("abort of a request", func(t *testing.T) {
		p := newPlay(t, 118)
		room := p.open()
		p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.b.m.Rekey(tx, room) })
		id := p.b.record(room).Exchange.ID
		p.a.inject(room, &schema.DecryptedMessageActionAbortKey{ExchangeID: id + 1})
		p.a.inject(room, &schema.DecryptedMessageActionAbortKey{ExchangeID: id})
		p.b.queue = nil
		for _, r := range p.a.due() {
			ans := p.serve(p.a, r)
			p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Done(tx, r, ans) })
		}
		in := In{Updates: p.b.queue}
		p.b.queue = nil
		p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Receive(tx, in) })
		if c := p.b.record(room); c.Exchange != nil || c.State != StateOpen {
			t.Errorf("after AbortKey: exchange %v, state %s", c.Exchange, c.State)
		}
	})
}

// TestAttack15Resend: ranges that are huge, reversed, of the other side, not
// sent yet or gone end the chat; a resend of a resend is harmless.
func TestAttack15Resend(t *testing.T) {
	for name, r := range map[string]schema.DecryptedMessageActionResend{
		"huge":              {StartSeqNo: 0, EndSeqNo: math.MaxInt32 - 1},
		"not sent yet":      {StartSeqNo: 0, EndSeqNo: 1000},
		"reversed":          {StartSeqNo: 2, EndSeqNo: 0},
		"negative":          {StartSeqNo: -2, EndSeqNo: 0},
		"parity":            {StartSeqNo: 1, EndSeqNo: 1},
		"acknowledged ones": {StartSeqNo: 0, EndSeqNo: 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t, 119)
			room := p.open()
			for range 3 {
				p.b.says(room, "x")
				p.live()
				p.a.says(room, "y")
				p.live()
			}
			p.a.inject(room, &r)
			p.live()
			p.b.wantClosed(room, whyResend)
		})
	}
	p := newPlay(t, 120)
	room := p.open()
	p.b.says(room, "kept")
	n := p.b.record(room).Out - 1
	for range 3 {
		p.a.inject(room, &schema.DecryptedMessageActionResend{StartSeqNo: 2 * n, EndSeqNo: 2 * n})
	}
	p.live()
	p.a.wantRead("kept")
	p.b.wantOpen(room)
}

// TestAttack17UnreadableObject: an authentic object that cannot be read is said
// to be malformed and keeps its place; the chat continues.
func TestAttack17UnreadableObject(t *testing.T) {
	p := newPlay(t, 121)
	room := p.open()
	c := p.a.record(room)
	bad := body(t, Header{144, 2 * c.In, 2*c.Out + 1}, &schema.DecryptedMessage{RandomID: 3, Message: "x"})
	bad = append(bad, 0, 0, 0, 0)
	data, err := Seal(p.a.m.env.Rand, key(t, c.Key), c.Side, bad)
	if err != nil {
		t.Fatal(err)
	}
	p.b.queue = append(p.b.queue, Update{Packet: &Packet{Chat: c.ID, RandomID: 3, Data: data}}, Update{Packet: &Packet{Chat: c.ID, RandomID: 4, Data: []byte("short")}})
	p.live()
	for i, e := range p.b.events[len(p.b.events)-2:] {
		if e.Kind != e2ee.EventUndecryptable || e.Reason != quinta.ReasonMalformed {
			t.Errorf("event %d: got %+v", i, e)
		}
	}
	p.a.alter(room, func(c *chat) { c.Out++ })
	p.a.says(room, "after")
	p.live()
	p.b.wantRead("after")
}

// TestAttack18OtherChat: a packet of another chat of the same two people does
// not open.
func TestAttack18OtherChat(t *testing.T) {
	p := newPlay(t, 122)
	one, two := p.open(), p.open()
	p.a.says(one, "for one")
	p.live()
	spliced := p.a.wire[len(p.a.wire)-1]
	spliced.Chat = mustChat(t, two)
	p.b.queue = append(p.b.queue, Update{Packet: &spliced})
	p.live()
	p.b.wantRead("for one")
	if e := p.b.events[len(p.b.events)-1]; e.Kind != e2ee.EventUndecryptable || e.Message.Room != two {
		t.Errorf("got %+v", e)
	}
}

// TestAttack19StolenDevice: the store of a device has no old key, no exponent
// and no message that the peer has acknowledged.
func TestAttack19StolenDevice(t *testing.T) {
	p := newPlay(t, 123)
	room := p.open()
	first := p.a.record(room).Key
	p.a.says(room, "an old secret")
	p.live()
	p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, p.a.m.Rekey(tx, room) })
	p.live()
	for _, d := range []*device{p.a, p.b} {
		holds := func(what string, b []byte) {
			d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
				for e, err := range tx.All("") {
					if err != nil {
						return nil, err
					}
					if bytes.Contains(e.Value, b) || bytes.Contains(e.Value, []byte(base64Of(b))) {
						t.Errorf("%s: %s is still at %s", d.name, what, e.Key)
					}
				}
				return nil, nil
			})
		}
		holds("the first key", first)
		holds("the text", []byte("an old secret"))
		holds("an exponent", []byte(`"secret"`))
	}
	p.a.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.a.m.Close(tx, room, false) })
	n := 0
	if err := p.a.store.View(context.Background(), func(tx e2ee.Tx) error {
		for _, prefix := range []string{"secretchat/sent/", "secretchat/held/"} {
			for range tx.All(prefix) {
				n++
			}
		}
		return nil
	}); err != nil || n != 0 {
		t.Errorf("a closed chat keeps %d packets (%v)", n, err)
	}
}
