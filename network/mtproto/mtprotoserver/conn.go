package mtprotoserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/tl"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// beginWithin bounds how long a client takes to say what it wants, and
	// silentFor how long it may be silent afterwards.
	beginWithin = 30 * time.Second
	silentFor   = 5 * time.Minute
)

// A way is how packets reach a client.
type way interface {
	Write(packet []byte) error
	QuickAck(token uint32) error
	Close() error
}

// A conn is one connection, or one session over HTTP. It has one authorization
// key at a time.
type conn struct {
	s *mtprotoServer
	f way
	// life ends with the connection.
	life context.Context
	// addr is the client's address without a port, local the one that it
	// connected to.
	addr  string
	local net.Addr
	// named is the number of the DC that the client gave, 0 if none.
	named int
	exch  *exchange
	// outbox, if it is not nil, takes the messages of a session over HTTP.
	outbox *outbox

	// key is the authorization key of the packets, authID its id. keyID is that
	// of the device for which it speaks: the same, or with a temporary key the
	// one that it is bound to, 0 if there is none yet.
	key    *secretchat.Key
	authID int64
	temp   tempKey
	keyID  int64

	// model is what the client calls its device, layer the layer of the API that
	// it speaks, 0 if it did not say.
	model string
	layer int32
	// quiet says that the client wants no updates on this connection.
	quiet bool
	// pushing says that updates are pushed.
	pushing bool
	// leaving says that the device logs out on this connection, which therefore
	// still gets its answer.
	leaving atomic.Bool
	wait    sync.WaitGroup

	mu       sync.Mutex
	session  int64 // the one that was heard last
	fresh    bool  // it was not announced yet
	lastID   int64 // the last msg_id that was given
	contents int32 // messages that need an acknowledgement
	// answered are the calls of the session that were answered, with the answers.
	answered map[int64][]byte
	order    []int64
	// qts and pts are up to where updates were pushed or asked for.
	qts, pts int64
}

// serve serves one connection until it ends. accept begins its framing.
func (s *mtprotoServer) serve(ctx context.Context, raw net.Conn, accept func(net.Conn) (*wire.Frames, error)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { raw.SetReadDeadline(time.Now()) })
	defer stop()
	go func() {
		select {
		case <-s.Draining():
			cancel()
		case <-ctx.Done():
		}
	}()
	raw.SetReadDeadline(time.Now().Add(beginWithin))
	f, err := accept(raw)
	if err != nil {
		return
	}
	host, _, err := net.SplitHostPort(raw.RemoteAddr().String())
	if err != nil {
		host = raw.RemoteAddr().String()
	}
	c := &conn{s: s, f: f, life: ctx, addr: host, local: raw.LocalAddr(), named: f.DC, answered: map[int64][]byte{}}
	defer c.wait.Wait()
	defer cancel()
	for ctx.Err() == nil {
		packet, ack, err := f.Read()
		if err != nil {
			return
		}
		if err := c.packet(ctx, packet, ack); err != nil {
			if code, ok := errors.AsType[closing](err); ok {
				f.Write(wire.ErrorPacket(int32(code)))
			} else if ctx.Err() == nil {
				s.Log.Debug("mtproto: a connection was closed", "addr", host, "err", err)
			}
			return
		}
		if ctx.Err() == nil {
			raw.SetReadDeadline(time.Now().Add(silentFor))
		}
	}
}

// closing is an error code with which a connection ends.
type closing int32

// Error implements error.
func (c closing) Error() string { return "mtproto: the connection was refused" }

// packet works on one packet.
func (c *conn) packet(ctx context.Context, packet []byte, ack bool) error {
	if len(packet) < 8 {
		return wire.ErrFrame
	}
	id := int64(binary.LittleEndian.Uint64(packet))
	if id == 0 {
		return c.plain(ctx, packet)
	}
	if c.key == nil || c.authID != id {
		if err := c.use(ctx, id); err != nil {
			return err
		}
	}
	if c.temp.expires != 0 && c.s.Now().UnixMilli() >= c.temp.expires {
		return closing(wire.CodeKeyUnknown)
	}
	m, err := wire.OpenMessage(c.key, wire.FromClient, packet)
	if err != nil {
		// A packet that does not open is answered like one under an unknown key,
		// so that the two cases cannot be distinguished.
		return closing(wire.CodeKeyUnknown)
	}
	if ack {
		if err := c.f.QuickAck(wire.QuickAckToken(c.key, packet)); err != nil {
			return err
		}
	}
	return c.message(ctx, m)
}

// plain answers a message of a key exchange.
func (c *conn) plain(ctx context.Context, packet []byte) error {
	body, err := wire.ParsePlain(packet)
	if err != nil {
		return closing(wire.CodeKeyUnknown)
	}
	answer, err := c.exchange(ctx, body)
	if errors.Is(err, errExchange) {
		return closing(wire.CodeKeyUnknown)
	}
	if err != nil || answer == nil {
		return err
	}
	b, err := wire.Schema.Marshal(answer)
	if err != nil {
		return err
	}
	return c.f.Write(wire.Plain(c.newID(answerID), b))
}

// use takes up an authorization key.
func (c *conn) use(ctx context.Context, id int64) error {
	if c.pushing {
		return closing(wire.CodeKeyUnknown) // one key for each connection
	}
	sec, err := c.s.secrets(ctx)
	if err != nil {
		return err
	}
	var sealed []byte
	var layer int64
	var temp tempKey
	err = c.s.View(ctx, func(tx *db.Tx) (err error) {
		sealed, layer, temp, err = loadKey(tx, id)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return closing(wire.CodeKeyUnknown)
	} else if err != nil {
		return err
	}
	raw, err := sec.open(id, sealed)
	if err != nil {
		return err
	}
	c.key, err = secretchat.ParseKey(raw)
	c.authID, c.keyID, c.temp, c.layer = id, id, temp, int32(layer)
	if temp.expires != 0 {
		c.keyID = temp.device
	}
	return err
}

// The kinds of msg_id of the server, modulo 4.
const (
	answerID = 1
	otherID  = 3
)

// newID gives the next msg_id.
func (c *conn) newID(kind int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextID(kind)
}

func (c *conn) nextID(kind int64) int64 {
	now := c.s.Now()
	id := now.Unix()<<32 | int64(now.Nanosecond())<<2&^3
	if id <= c.lastID {
		id = c.lastID&^3 + 4
	}
	id |= kind
	c.lastID = id
	return id
}

// send seals objects as one packet, in a container if they are several.
func (c *conn) send(kind int64, content bool, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &wire.Message{Session: c.session, ID: c.nextID(kind), SeqNo: 2 * c.contents, Body: body}
	if content {
		m.SeqNo++
		c.contents++
	}
	sec := c.s.kept
	m.Salt = sec.salt(c.authID, c.s.Now(), 0)
	if c.outbox != nil {
		return c.outbox.put(m)
	}
	packet, err := m.Seal(c.s.Rand, c.key, wire.FromServer)
	if err != nil {
		return err
	}
	// Under the lock, so that packets leave in the order of their ids.
	return c.f.Write(packet)
}

// sendObject is send for an object of the session layer.
func (c *conn) sendObject(kind int64, content bool, o any) error {
	b, err := wire.Schema.Marshal(o)
	if err != nil {
		return err
	}
	return c.send(kind, content, b)
}

// randomID draws a number.
func (s *mtprotoServer) randomID() (int64, error) {
	var b [8]byte
	_, err := io.ReadFull(s.Rand, b[:])
	return int64(binary.LittleEndian.Uint64(b[:])), err
}

// The limits of a client's msg_id against the clock.
const (
	maxAhead  = 30 * time.Second
	maxBehind = 300 * time.Second
)

// message works on one decrypted message.
func (c *conn) message(ctx context.Context, m *wire.Message) error {
	c.mu.Lock()
	if c.session != m.Session {
		c.session, c.fresh, c.contents = m.Session, true, 0
		clear(c.answered)
		c.order = nil
	}
	c.mu.Unlock()
	now := c.s.Now()
	sec := c.s.kept
	code := checkID(m.ID, now)
	if code == 0 && c.s.heard.old(c.authID, m.ID) {
		code = badTooLow
	}
	if code != 0 {
		return c.sendObject(otherID, false, &wire.BadMsgNotification{BadMsgID: m.ID, BadMsgSeqNo: m.SeqNo, ErrorCode: code})
	}
	if !c.takesSalt(m.Salt, now) {
		return c.sendObject(otherID, false, &wire.BadServerSalt{BadMsgID: m.ID, BadMsgSeqNo: m.SeqNo, ErrorCode: badSalt, NewServerSalt: sec.salt(c.authID, now, 0)})
	}
	all, err := m.Contained()
	if err != nil {
		return c.sendObject(otherID, false, &wire.BadMsgNotification{BadMsgID: m.ID, BadMsgSeqNo: m.SeqNo, ErrorCode: badContainer})
	}
	if c.fresh {
		c.fresh = false
		unique, err := c.s.randomID()
		if err != nil {
			return err
		}
		if err := c.sendObject(otherID, true, &wire.NewSessionCreated{FirstMsgID: all[0].ID, UniqueID: unique, ServerSalt: sec.salt(c.authID, now, 0)}); err != nil {
			return err
		}
	}
	var acks []int64
	for i := range all {
		if all[i].NeedsAck() {
			acks = append(acks, all[i].ID)
		}
	}
	if len(acks) > 0 {
		if err := c.sendObject(otherID, false, &wire.MsgsAck{MsgIDs: acks}); err != nil {
			return err
		}
	}
	for i := range all {
		if err := c.one(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

// The codes of bad_msg_notification.
const (
	badTooLow    = 16
	badTooHigh   = 17
	badNotClient = 18
	badSalt      = 48
	badContainer = 64
)

// checkID returns what is wrong with a msg_id, or 0.
func checkID(id int64, now time.Time) int32 {
	at := time.Unix(id>>32, 0)
	switch {
	case id%4 != 0:
		return badNotClient
	case at.Before(now.Add(-maxBehind)):
		return badTooLow
	case at.After(now.Add(maxAhead)):
		return badTooHigh
	}
	return 0
}

// maxAnswered bounds the answers that are kept for repetition, and their bytes.
const (
	maxAnswered = 100
	maxAnswer   = 64 << 10
)

// one works on one message that is no container.
func (c *conn) one(ctx context.Context, m *wire.Message) error {
	body := m.Body
	if tl.Peek(body) == gzipID {
		o, err := wire.Schema.Unmarshal(body)
		if g, ok := o.(*wire.GzipPacked); err == nil && ok {
			if body, err = wire.Unpack(g.Data); err != nil {
				return c.answer(m.ID, rpcError(400, "INPUT_REQUEST_INVALID"))
			}
		}
	}
	if handled, err := c.service(m.ID, body); handled || err != nil {
		return err
	}
	c.mu.Lock()
	again, done := c.answered[m.ID]
	c.mu.Unlock()
	if done {
		return c.send(answerID, true, again)
	}
	if !c.s.heard.first(c.authID, heardCall{m.Session, m.ID}, c.s.Now()) {
		return c.sendObject(answerID, true, &wire.RPCResult{ReqMsgID: m.ID, Result: repeated})
	}
	return c.answer(m.ID, c.call(ctx, body))
}

// repeated is the answer to a call that was worked on on another connection, or
// so long ago that its answer is not kept: the client may ask again, and no one
// can have it done twice.
var repeated = func() []byte {
	b, err := wire.Schema.Marshal(rpcError(500, "CALL_REPEATED"))
	if err != nil {
		panic("mtproto: internal error: " + err.Error())
	}
	return b
}()

var gzipID = wire.Schema.ID(wire.GzipPacked{})

// answer sends the result of a call and keeps it for a repetition.
func (c *conn) answer(id int64, result any) error {
	b, err := wire.Schema.Marshal(result)
	if err != nil {
		c.s.Log.Error("mtproto: an answer cannot be written", "err", err)
		if b, err = wire.Schema.Marshal(rpcError(500, "INTERNAL")); err != nil {
			return err
		}
	}
	if b, err = wire.Schema.Marshal(&wire.RPCResult{ReqMsgID: id, Result: b}); err != nil {
		return err
	}
	if len(b) <= maxAnswer {
		c.mu.Lock()
		c.answered[id] = b
		c.order = append(c.order, id)
		if len(c.order) > maxAnswered {
			delete(c.answered, c.order[0])
			c.order = c.order[1:]
		}
		c.mu.Unlock()
	}
	return c.send(answerID, true, b)
}

// service answers the messages of the session layer. What needs no answer is
// ignored.
func (c *conn) service(id int64, body []byte) (handled bool, err error) {
	o, err := wire.Schema.Unmarshal(body)
	if err != nil {
		return false, nil
	}
	switch r := o.(type) {
	case *wire.Ping:
		return true, c.sendObject(answerID, false, &wire.Pong{MsgID: id, PingID: r.PingID})
	case *wire.PingDelayDisconnect:
		return true, c.sendObject(answerID, false, &wire.Pong{MsgID: id, PingID: r.PingID})
	case *wire.GetFutureSalts:
		return true, c.send(answerID, false, c.futureSalts(id, r.Num))
	case *wire.DestroySession:
		return true, c.sendObject(answerID, false, &wire.DestroySessionOk{SessionID: r.SessionID})
	case *wire.MsgsStateReq:
		return true, c.sendObject(answerID, false, &wire.MsgsStateInfo{ReqMsgID: id, Info: c.states(r.MsgIDs)})
	case *wire.RPCDropAnswer:
		return true, c.answer(id, &wire.RPCAnswerUnknown{})
	case *wire.HTTPWait:
		if c.outbox != nil {
			c.outbox.hold = *r
		}
		return true, nil
	case *wire.MsgsAck, *wire.MsgResendReq:
		return true, nil
	}
	return false, nil
}

// maxSalts bounds the salts of one answer.
const maxSalts = 64

// futureSalts are the salts of the next hours.
func (c *conn) futureSalts(id int64, n int32) []byte {
	now := c.s.Now()
	life := int64(saltLife / time.Second)
	begin := now.Unix() / life * life
	n = min(max(n, 1), maxSalts)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, wire.FutureSaltsID)
	b = le.AppendUint64(b, uint64(id))
	b = le.AppendUint32(b, uint32(now.Unix()))
	b = le.AppendUint32(b, uint32(n))
	for i := range int64(n) {
		b = le.AppendUint32(b, uint32(begin+i*life))
		b = le.AppendUint32(b, uint32(begin+(i+2)*life))
		b = le.AppendUint64(b, uint64(c.s.kept.salt(c.authID, now, i)))
	}
	return b
}

// states says of messages whether they were received.
func (c *conn) states(ids []int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := make([]byte, len(ids))
	for i, id := range ids {
		if info[i] = 1; c.answered[id] != nil {
			info[i] = 4
		}
	}
	return info
}
