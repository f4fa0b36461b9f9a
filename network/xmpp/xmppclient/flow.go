package xmppclient

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
)

// A flow counts the stanzas of a stream in both directions (XEP-0198). It
// outlives a stream that was lost: the next one resumes it, and each side
// repeats what the other did not acknowledge. A message that came is
// acknowledged once the machine has committed it.
type flow struct {
	mu sync.Mutex
	// id is the name under which the server resumes the stream; it is empty
	// if the server does not.
	id string
	// managed says that the server counts.
	managed bool
	self    jid.JID

	// seen is how many stanzas came, and told the last count that the server
	// was told. first is the number of the first message that is not
	// committed, if open holds.
	seen, told, first uint32
	open              bool
	// sent is how many stanzas left. numbers are those of messages that the
	// server has not been seen to take, and arrived are messages that it had
	// taken before the stream was resumed.
	sent    uint32
	numbers map[quinta.MessageID]uint32
	arrived map[quinta.MessageID]bool
	// rooms are the rooms that were entered.
	rooms map[quinta.RoomID]*occupancy
	// bounced are the ids of stanzas that came back with an error.
	bounced map[string]bool

	// caughtUp says that the archive was read to its end since the flow
	// began, and again is when that is done once more; it is zero if it was.
	// Only the receiving goroutine uses them.
	caughtUp bool
	again    time.Time
}

func newFlow() *flow {
	return &flow{numbers: map[quinta.MessageID]uint32{}, arrived: map[quinta.MessageID]bool{}, bounced: map[string]bool{}, rooms: map[quinta.RoomID]*occupancy{}}
}

// came counts a stanza that came and is dealt with.
func (f *flow) came() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
}

// wait counts a message that came, which is not acknowledged until it is
// committed, and returns its number.
func (f *flow) wait() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	if !f.open {
		f.open, f.first = true, f.seen
	}
	return f.seen
}

// committed notes that the machine has committed what it was given. next is the
// number of the first message that waits after that; 0 if none waits.
func (f *flow) committed(next uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open, f.first = next != 0, next
}

// handled is how many stanzas are acknowledged.
func (f *flow) handled() uint32 {
	if f.open {
		return f.first - 1
	}
	return f.seen
}

// due reports whether the server can be told more than it was, and how much.
func (f *flow) due() (h uint32, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h = f.handled()
	ok = f.managed && h != f.told
	f.told = h
	return h, ok
}

// number counts stanzas on their way out.
func (f *flow) number() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent++
	return f.sent
}

// note remembers the number of a message on its way out.
func (f *flow) note(id quinta.MessageID, n uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.numbers[id] = n
}

// has reports whether the server has, or is being sent, a message already.
func (f *flow) has(id quinta.MessageID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, sent := f.numbers[id]
	return sent || f.arrived[id]
}

// done forgets a message that the server has taken, and reports whether it came
// back.
func (f *flow) done(id quinta.MessageID) (bounced bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bounced = f.bounced[string(id)]
	delete(f.bounced, string(id))
	delete(f.numbers, id)
	delete(f.arrived, id)
	return bounced
}

// bounce notes that a stanza came back.
func (f *flow) bounce(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bounced) < maxInbox {
		f.bounced[id] = true
	}
}

var errCount = errors.New("xmpp: the server acknowledges stanzas that were not sent")

// rewind begins a resumed stream: the server has taken h stanzas, and repeats
// those that were not acknowledged to it.
func (f *flow) rewind(h uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int32(f.sent-h) < 0 {
		return errCount
	}
	for id, n := range f.numbers {
		if int32(h-n) >= 0 {
			f.arrived[id] = true
		}
		delete(f.numbers, id)
	}
	f.sent = h
	f.seen = f.handled()
	f.open, f.told = false, f.seen
	return nil
}

// resumable reports whether a new stream can resume this one.
func (f *flow) resumable() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id != ""
}

// end makes the flow one that is not resumed: its stream was closed in order.
func (f *flow) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.id = ""
}

// isManaged reports whether the server counts.
func (f *flow) isManaged() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.managed
}

// bindOr is the stream feature that resumes a flow, and binds a resource if
// there is none to resume or the server does not know it any more. resumed
// tells which.
func bindOr(f *flow, resumed *bool) xmpp.StreamFeature {
	feature := xmpp.BindResource()
	bind := feature.Negotiate
	feature.Negotiate = func(ctx context.Context, s *xmpp.Session, data any) (xmpp.SessionState, io.ReadWriter, error) {
		if f != nil && f.resumable() {
			ok, err := f.resume(s)
			if err != nil {
				return 0, nil, err
			}
			if ok {
				*resumed = true
				return xmpp.Ready, nil, nil
			}
		}
		return bind(ctx, s, data)
	}
	return feature
}

// resume asks the server to continue the stream that was lost.
func (f *flow) resume(s *xmpp.Session) (bool, error) {
	f.mu.Lock()
	attrs := []xml.Attr{{Name: xml.Name{Local: "h"}, Value: strconv.FormatUint(uint64(f.handled()), 10)}, {Name: xml.Name{Local: "previd"}, Value: f.id}}
	f.mu.Unlock()
	w := s.TokenWriter()
	_, err := xmlstream.Copy(w, xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: wire.NSManaged, Local: "resume"}, Attr: attrs}))
	if err := errors.Join(err, w.Close()); err != nil {
		return false, err
	}
	r := s.TokenReader()
	defer r.Close()
	d := xml.NewTokenDecoder(r)
	for {
		tok, err := d.Token()
		if err != nil {
			return false, err
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		var m wire.Managed
		if err := d.DecodeElement(&m, &start); err != nil {
			return false, err
		}
		if start.Name != (xml.Name{Space: wire.NSManaged, Local: "resumed"}) {
			return false, nil
		}
		return true, f.rewind(m.H)
	}
}

// manage has the server count, if it can, and keep the stream for a while when
// it is lost.
func (c *connection) manage(ctx context.Context) error {
	if _, ok := c.session.Feature(wire.NSManaged); !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	enable := xml.StartElement{Name: xml.Name{Space: wire.NSManaged, Local: "enable"}, Attr: []xml.Attr{{Name: xml.Name{Local: "resume"}, Value: "true"}}}
	if err := c.session.Send(ctx, xmlstream.Wrap(nil, enable)); err != nil {
		return errDropped
	}
	select {
	case <-c.answered.Done():
		if !c.alive() {
			return errDropped
		}
		return nil
	case <-ctx.Done():
		return c.broken(ctx)
	}
}

// counts takes the elements by which both sides count; ok is false for others.
func (c *connection) counts(t xmlstream.TokenReadEncoder, start *xml.StartElement) (ok bool, err error) {
	if start.Name.Space != wire.NSManaged {
		return false, nil
	}
	var m wire.Managed
	if err := xml.NewTokenDecoder(xmlstream.MultiReader(xmlstream.Token(*start), t)).Decode(&m); err != nil {
		return true, err
	}
	f := c.flow
	switch start.Name.Local {
	case "r":
		c.out.Lock() // counts leave in their order
		defer c.out.Unlock()
		h, _ := f.due()
		if err := t.Encode(wire.NewCount(h)); err != nil && !errors.Is(err, xmpp.ErrOutputStreamClosed) {
			return true, err // a stream that is being closed answers nothing more
		}
	case "enabled":
		f.begin(m)
		c.settled()
	case "failed":
		c.settled()
	}
	return true, nil
}

// begin begins to count.
func (f *flow) begin(m wire.Managed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.managed {
		return // no one asked
	}
	f.managed, f.sent, f.seen, f.told = true, 0, 0, 0
	if m.Resume {
		f.id = m.ID
	}
}

// tell tells the server what was handled, if it does not know.
func (c *connection) tell(ctx context.Context) error {
	c.out.Lock()
	defer c.out.Unlock()
	h, ok := c.flow.due()
	if !ok {
		return nil
	}
	if err := c.session.Encode(ctx, wire.NewCount(h)); err != nil {
		return c.broken(ctx)
	}
	return nil
}
