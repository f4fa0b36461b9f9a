package secretchat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
)

// A play is two people with a server between them that does what the tests
// ask of it.
type play struct {
	t     testing.TB
	clock time.Time
	rng   *rand.Rand
	a, b  *device
	// chats are the server's.
	chats map[ChatID]*serverChat
	seen  map[string]bool // random ids that were delivered
	// spoil, if not nil, may change, drop or double what is delivered to a
	// device.
	spoil func(to *device, p Packet) []Packet
	group struct {
		g int
		p []byte
	}
	random []byte
}

type serverChat struct {
	creator, other *device
	ga             []byte
	closed         bool
}

// A device is one machine with its store and its queue on the server.
type device struct {
	p      *play
	id     int64
	name   string
	m      *Machine
	store  *memory.Store
	queue  []Update
	events []e2ee.Event
	// crash, if not nil, says whether the process ends before a step commits.
	crash func() bool
	// wire keeps all packets that the device ever sent.
	wire []Packet
}

type chacha struct{ *rand.ChaCha8 }

func newPlay(t testing.TB, seed uint64) *play {
	t.Helper()
	p := &play{t: t, clock: time.UnixMilli(1_700_000_000_000), rng: rand.New(rand.NewPCG(seed, 1)), chats: map[ChatID]*serverChat{}, seen: map[string]bool{}}
	p.group.g, p.group.p = 3, KnownGroup().P()
	p.random = make([]byte, Size)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	src := chacha{rand.NewChaCha8(key)}
	p.a, p.b = &device{p: p, id: 101, name: "alice"}, &device{p: p, id: 202, name: "bob"}
	for _, d := range []*device{p.a, p.b} {
		d.store = memory.New()
		d.boot(src)
	}
	return p
}

// boot starts the process of a device from its store.
func (d *device) boot(r io.Reader) {
	d.m = New(e2ee.Env{Now: func() time.Time { return d.p.clock }, Rand: r}, d.id, "D")
}

var errCrash = errors.New("the process ended")

// step runs one step of the machine.
func (d *device) step(f func(tx e2ee.Tx) ([]e2ee.Event, error)) error {
	var events []e2ee.Event
	err := d.store.Update(context.Background(), func(tx e2ee.Tx) (err error) {
		if events, err = f(tx); err == nil && d.crash != nil && d.crash() {
			return errCrash
		}
		return err
	})
	if err == nil {
		d.events = append(d.events, events...)
	}
	return err
}

func (d *device) do(f func(tx e2ee.Tx) ([]e2ee.Event, error)) {
	d.p.t.Helper()
	if err := d.step(f); err != nil {
		d.p.t.Fatalf("%s: %v", d.name, err)
	}
}

func (d *device) peer() *device {
	if d == d.p.a {
		return d.p.b
	}
	return d.p.a
}

// serve is the server's answer to one call.
func (p *play) serve(d *device, r Req) Ans {
	c := p.chats[r.Chat]
	switch r.Method {
	case MethodDHConfig:
		return Ans{G: p.group.g, P: p.group.p, Version: 1, Random: p.random}
	case MethodRequest:
		if c == nil {
			p.chats[r.Chat] = &serverChat{creator: d, other: d.peer(), ga: r.Public}
			d.peer().queue = append(d.peer().queue, Update{Chat: &Chat{ID: r.Chat, Stage: StageRequested, Access: 7, Date: p.clock.Unix(), Admin: d.id, Participant: d.peer().id, Public: r.Public}})
		}
		return Ans{Chat: &Chat{ID: r.Chat, Access: 8}}
	case MethodAccept:
		if c.closed {
			return Ans{Code: "ENCRYPTION_ALREADY_DECLINED"}
		}
		d.peer().queue = append(d.peer().queue, Update{Chat: &Chat{ID: r.Chat, Stage: StageOpen, Access: 8, Public: r.Public, Fingerprint: r.Fingerprint}})
		return Ans{Chat: &Chat{ID: r.Chat, Access: 7}}
	case MethodDiscard:
		if c != nil && !c.closed {
			c.closed = true
			d.peer().queue = append(d.peer().queue, Update{Chat: &Chat{ID: r.Chat, Stage: StageClosed}})
		}
		return Ans{}
	case MethodRead:
		d.peer().queue = append(d.peer().queue, Update{Read: &Read{Chat: r.Chat, MaxDate: r.MaxDate}})
		return Ans{}
	}
	return p.carry(d, c, r)
}

// carry delivers a packet, once for each random_id.
func (p *play) carry(d *device, c *serverChat, r Req) Ans {
	if c == nil || c.closed {
		return Ans{Code: "ENCRYPTION_DECLINED"}
	}
	ans := Ans{Date: p.clock.Unix()}
	at := r.File
	if r.Upload != nil {
		at = &Location{ID: r.Upload.ID, Access: 5, Size: 16, DC: 2, Fingerprint: r.Upload.Fingerprint}
		ans.File = at
	}
	packet := Packet{Chat: r.Chat, RandomID: r.RandomID, Date: p.clock.Unix(), Data: r.Data, File: at}
	d.wire = append(d.wire, packet)
	once := fmt.Sprint(d.name, r.RandomID)
	if p.seen[once] {
		return ans
	}
	p.seen[once] = true
	out := []Packet{packet}
	if p.spoil != nil {
		out = p.spoil(d.peer(), packet)
	}
	for _, q := range out {
		d.peer().queue = append(d.peer().queue, Update{Packet: &q})
	}
	return ans
}

// live lets both devices speak and listen until nothing is left to do.
func (p *play) live() {
	p.t.Helper()
	for range 500 {
		busy := false
		for _, d := range []*device{p.a, p.b} {
			for _, r := range d.due() {
				busy = true
				ans := p.serve(d, r)
				d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, r, ans) })
			}
			if len(d.queue) > 0 {
				busy = true
				in := In{Updates: d.queue, People: []Person{{ID: p.a.id, Name: "Alice"}, {ID: p.b.id, Name: "Bob"}}}
				d.queue = nil
				d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, in) })
			}
		}
		if !busy {
			return
		}
	}
	p.t.Fatal("there is no end")
}

func (d *device) due() (due []Req) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { due, err = d.m.Outgoing(tx); return nil, err })
	return due
}

// chat is the chat of a room as a device has it.
func (d *device) chat(room quinta.RoomID) ChatInfo {
	d.p.t.Helper()
	var info ChatInfo
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { info, err = d.m.Chat(tx, room); return nil, err })
	return info
}

// record is the whole record of a chat.
func (d *device) record(room quinta.RoomID) chat {
	d.p.t.Helper()
	var c chat
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		c, _, err = e2ee.Load[chat](tx, preChat+string(room))
		return nil, err
	})
	return c
}

// open makes a chat between both.
func (p *play) open() quinta.RoomID {
	p.t.Helper()
	room := p.request()
	p.b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return p.b.m.Accept(tx, room) })
	p.live()
	for _, d := range []*device{p.a, p.b} {
		if got := d.chat(room); got.State != StateOpen {
			p.t.Fatalf("%s: the chat is %s (%s), want open", d.name, got.State, got.Why)
		}
	}
	return room
}

// request has alice ask bob for a chat.
func (p *play) request() quinta.RoomID {
	p.t.Helper()
	var id ChatID
	p.a.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		id, err = p.a.m.Create(tx, Person{ID: p.b.id, Access: 1})
		return nil, err
	})
	p.live()
	return quinta.RoomID(id.String())
}

// says has a device send a text.
func (d *device) says(room quinta.RoomID, text string) {
	d.p.t.Helper()
	d.send(quinta.Message{Room: room, Kind: quinta.MessageText, Text: text, Txn: quinta.TxnID(text)})
}

func (d *device) send(m quinta.Message) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, d.m.Send(tx, m) })
}

// inject has a device send an object that its own program would not.
func (d *device) inject(room quinta.RoomID, a schema.Action) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return d.m.run(tx, func(w *work) error {
			c, err := w.room(room)
			if err != nil {
				return err
			}
			return w.action(c, a)
		})
	})
}

// alter changes the record of a chat on one device, as a program would that
// keeps to no rule.
func (d *device) alter(room quinta.RoomID, f func(c *chat)) {
	d.p.t.Helper()
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return d.m.run(tx, func(w *work) error {
			c, err := w.room(room)
			if err == nil {
				f(c)
			}
			return err
		})
	})
}

// read are the texts that a device was told, in their order.
func (d *device) read() (texts []string) {
	for _, e := range d.events {
		if e.Kind == e2ee.EventMessage && e.Message.Kind != quinta.MessageRedaction {
			texts = append(texts, e.Message.Text)
		}
	}
	return texts
}

// count counts the events of a kind.
func (d *device) count(k e2ee.EventKind) (n int) {
	for _, e := range d.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

func (d *device) wantRead(want ...string) {
	d.p.t.Helper()
	if got := d.read(); !slices.Equal(got, want) {
		d.p.t.Fatalf("%s has read %q, want %q", d.name, got, want)
	}
}

// wantClosed checks that a chat was closed, and for that reason.
func (d *device) wantClosed(room quinta.RoomID, why string) {
	d.p.t.Helper()
	if got := d.chat(room); got.State != StateClosed || got.Why != why {
		d.p.t.Fatalf("%s: the chat is %s (%q), want closed (%q)", d.name, got.State, got.Why, why)
	}
	if c := d.record(room); c.Key != nil || c.Old != nil || c.Next != nil || c.Secret != nil || c.Exchange != nil {
		d.p.t.Errorf("%s: a closed chat still has a key", d.name)
	}
}

func (d *device) wantOpen(room quinta.RoomID) {
	d.p.t.Helper()
	if got := d.chat(room); got.State != StateOpen {
		d.p.t.Fatalf("%s: the chat is %s (%q), want open", d.name, got.State, got.Why)
	}
}
