package rocketchatclient

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// otrLines is how many lines wait to be taken.
const otrLines = 100

// maxUnread bounds what waits to be acknowledged.
const maxUnread = 1000

// An offRecord is one conversation off the record. It is in memory alone.
type offRecord struct {
	s      *Session
	stream *stream
	room   quinta.RoomID
	peer   rocketchat.Author
	lines  chan client.OffLine
	over   context.Context // ends with the conversation
	stop   context.CancelFunc

	mu sync.Mutex
	// now is the session; before is the one before the keys were refreshed, for
	// what was on its way then. next is one's own key of a refresh that is not
	// answered yet.
	now, before *rocketchat.OTR
	next        *rocketchat.OTRKey
	// unread are the texts that the peer has not acknowledged, by the id of their
	// message, with what acknowledges them.
	unread map[quinta.MessageID][2]string
}

// begin makes the conversation and lets it run.
func (s *Session) begin(ctx context.Context, st *stream, room quinta.RoomID, peer rocketchat.Author, key rocketchat.OTRKey, theirs string) (*client.OffRecord, error) {
	session, err := rocketchat.NewOTR(key, theirs, quinta.UserID(s.account.User.ID), quinta.UserID(peer.ID))
	if err != nil {
		return nil, err
	}
	o := &offRecord{s: s, stream: st, room: room, peer: peer, lines: make(chan client.OffLine, otrLines), now: session, unread: map[quinta.MessageID][2]string{}}
	o.over, o.stop = context.WithCancel(context.WithoutCancel(ctx))
	o.lines <- client.OffLine{Kind: client.OffSafety, Text: strings.Join(session.SafetyNumber(), " ")}
	done := make(chan struct{})
	go func() { defer close(done); o.run() }()
	end := sync.OnceValue(func() error {
		ectx, cancel := context.WithTimeout(o.over, dial.AnswerWithin)
		defer cancel()
		err := errors.Join(s.signal(ectx, st, peer.ID, wire.OTREnd, room, "", false), o.purge(ectx))
		o.stop()
		<-done
		return err
	})
	return &client.OffRecord{With: quinta.UserID(printable.Line(peer.Name)), Lines: o.lines, Say: o.say, Refresh: o.refresh, End: func(context.Context) error {
		if o.over.Err() != nil {
			<-done
			return nil
		}
		return end()
	}}, nil
}

// purge has the server remove what is left of the session.
func (o *offRecord) purge(ctx context.Context) error {
	_, err := o.stream.method(ctx, "deleteOldOTRMessages", o.room)
	return err
}

// tell gives a line to whoever reads the conversation.
func (o *offRecord) tell(kind client.OffKind, text string) {
	select {
	case o.lines <- client.OffLine{Kind: kind, Text: text}:
	case <-o.over.Done():
	}
}

// run takes what comes until the conversation ends; then the keys are gone.
func (o *offRecord) run() {
	defer func() {
		o.stop()
		o.stream.close()
		o.mu.Lock()
		o.now, o.before, o.next, o.unread = nil, nil, nil, nil
		o.mu.Unlock()
		close(o.lines)
	}()
	for {
		select {
		case <-o.over.Done():
			return
		case <-o.stream.gone:
			o.tell(client.OffEnded, "the connection ended")
			return
		case f := <-o.stream.events:
			if sig, ok := o.s.signalOf(f); ok {
				if sig.User == o.peer.ID && sig.Room == o.room && !o.take(sig) {
					return
				}
			} else {
				o.hear(f)
			}
		}
	}
}

// take takes a signal of the peer's and reports whether the conversation continues.
func (o *offRecord) take(sig signal) bool {
	ctx, cancel := context.WithTimeout(o.over, dial.AnswerWithin)
	defer cancel()
	switch sig.kind {
	case wire.OTREnd, wire.OTRDeny:
		o.ended(ctx, "the other user ended it")
		return false
	case wire.OTRHandshake:
		if !sig.Refresh {
			o.ended(ctx, "the other user started again")
			return false
		}
		return o.refreshed(ctx, sig)
	case wire.OTRAcknowledge:
		o.mu.Lock()
		key := o.next
		o.next = nil
		o.mu.Unlock()
		if key != nil { // else no one asked: it is said again
			o.replace(*key, sig.Public)
		}
	}
	return true
}

func (o *offRecord) ended(ctx context.Context, why string) {
	if err := o.purge(ctx); err != nil {
		why += "; the server may still have what was said last"
	}
	o.tell(client.OffEnded, why)
}

// refreshed answers a refresh of the peer's.
func (o *offRecord) refreshed(ctx context.Context, sig signal) bool {
	o.mu.Lock()
	mine := o.next != nil
	o.mu.Unlock()
	if mine && o.s.account.User.ID > o.peer.ID {
		return true // of two that cross, the one of the higher id counts
	}
	key, err := o.s.newOTRKey(ctx, o.stream, o.room)
	if err == nil && rocketchat.CheckOTRKey(sig.Public) != nil {
		o.tell(client.OffTrouble, "an invalid key was refused")
		return true
	}
	if err == nil {
		o.mu.Lock()
		o.next = nil
		o.mu.Unlock()
		err = o.s.signal(ctx, o.stream, o.peer.ID, wire.OTRAcknowledge, o.room, key.Public(), true)
	}
	if err != nil {
		o.tell(client.OffEnded, "the keys could not be refreshed: "+err.Error())
		return false
	}
	o.replace(key, sig.Public)
	return true
}

// replace begins to use new keys.
func (o *offRecord) replace(key rocketchat.OTRKey, theirs string) {
	session, err := rocketchat.NewOTR(key, theirs, quinta.UserID(o.s.account.User.ID), quinta.UserID(o.peer.ID))
	if err != nil {
		o.tell(client.OffTrouble, "an invalid key was refused")
		return
	}
	o.mu.Lock()
	o.before, o.now = o.now, session
	o.mu.Unlock()
	o.tell(client.OffSafety, strings.Join(session.SafetyNumber(), " "))
}

// hear takes a message, or the acknowledgement of one.
func (o *offRecord) hear(f wire.Frame) {
	var e wire.Event
	var m wire.OTRMessage
	if f.Msg != "changed" || f.Collection != "stream-room-messages" || json.Unmarshal(f.Fields, &e) != nil || e.Name != string(o.room) || len(e.Args) == 0 ||
		json.Unmarshal(e.Args[0], &m) != nil || m.Type != rocketchat.TypeOTR || m.Room != o.room {
		return
	}
	switch {
	case m.User.ID == o.s.account.User.ID && m.Ack != "":
		o.acknowledged(m)
	case m.User.ID == o.peer.ID && m.Ack == "":
		o.said(m, e.Args[0])
	}
}

func (o *offRecord) said(m wire.OTRMessage, raw json.RawMessage) {
	o.mu.Lock()
	session := o.now
	body, err := session.Open(m.ID, m.Msg)
	if err != nil && o.before != nil {
		if b, err2 := o.before.Open(m.ID, m.Msg); err2 == nil {
			session, body, err = o.before, b, nil
		}
	}
	ack := ""
	if err == nil {
		ack, err = session.SealAck(o.s.env.Rand, body.Ack)
	}
	o.mu.Unlock()
	if err != nil {
		o.tell(client.OffTrouble, "a message was refused: "+err.Error())
		return
	}
	o.tell(client.OffSaid, body.Text)
	ctx, cancel := context.WithTimeout(o.over, dial.AnswerWithin)
	defer cancel()
	_, err = o.stream.method(ctx, "updateOTRAck", map[string]any{"message": raw, "ack": ack})
	// A server that has purged the message meanwhile refuses: it stays unread there.
	if _, _, refused := codeOf(err); err != nil && !refused && o.over.Err() == nil {
		o.tell(client.OffTrouble, "the other side could not be told that a message was read")
	}
}

func (o *offRecord) acknowledged(m wire.OTRMessage) {
	if text, ok := o.read(m); ok {
		o.tell(client.OffRead, text)
	}
}

// read returns the text that an acknowledgement is for.
func (o *offRecord) read(m wire.OTRMessage) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	want, waits := o.unread[m.ID]
	for _, session := range []*rocketchat.OTR{o.now, o.before} {
		if session == nil || !waits {
			continue
		}
		if ack, err := session.OpenAck(m.Ack); err == nil && ack == want[1] {
			delete(o.unread, m.ID)
			return want[0], true
		}
	}
	return "", false
}

// say sends a text.
func (o *offRecord) say(ctx context.Context, text string) error {
	const op = "sending off the record"
	if o.over.Err() != nil {
		return quinta.E(quinta.KindUnavailable, op, "the conversation has ended")
	}
	id, err := rocketchat.NewID(o.s.env.Rand)
	if err != nil {
		return err
	}
	ack, err := rocketchat.NewID(o.s.env.Rand)
	if err != nil {
		return err
	}
	o.mu.Lock()
	if o.now == nil {
		o.mu.Unlock()
		return quinta.E(quinta.KindUnavailable, op, "the conversation has ended")
	}
	msg, err := o.now.Seal(o.s.env.Rand, rocketchat.OTRBody{ID: quinta.MessageID(id), Text: text, Ack: ack, Time: o.s.env.Now()})
	if err == nil && len(o.unread) < maxUnread {
		o.unread[quinta.MessageID(id)] = [2]string{text, ack}
	}
	o.mu.Unlock()
	if err != nil {
		return errorOf(op, err)
	}
	_, err = o.stream.method(ctx, "sendMessage", map[string]any{"_id": id, "rid": o.room, "t": rocketchat.TypeOTR, "msg": msg})
	return err
}

// refresh asks the peer for new keys.
func (o *offRecord) refresh(ctx context.Context) error {
	key, err := o.s.newOTRKey(ctx, o.stream, o.room)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.next = &key
	o.mu.Unlock()
	return o.s.signal(ctx, o.stream, o.peer.ID, wire.OTRHandshake, o.room, key.Public(), true)
}
