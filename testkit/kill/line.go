package kill

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/gotd/td/bin"
	"github.com/gotd/td/exchange"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// A line is one connection of a device of the secret chat network, dialled
// again whenever it is lost. One goroutine uses it at a time.
type line struct {
	l   *Load
	url string
	key *secretchat.Key

	f       *wire.Frames
	salt    int64
	session int64
	last    int64
	content int32
}

// framing gives the exchange of keys its connection.
type framing struct{ *wire.Frames }

func (f framing) Send(_ context.Context, b *bin.Buffer) error { return f.Write(b.Buf) }
func (f framing) Recv(_ context.Context, b *bin.Buffer) error {
	p, _, err := f.Read()
	b.ResetTo(p)
	return err
}

// dial opens the connection and begins a session, if there is none.
func (c *line) dial(ctx context.Context) error {
	if c.f != nil {
		return nil
	}
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(c.url, "http")+wire.PathWebsocket, &websocket.DialOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return err
	}
	ws.SetReadLimit(wire.MaxFrame + 64)
	conn := websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary)
	f, err := wire.Dial(conn, rand.Reader, 2)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	var b [8]byte
	rand.Read(b[:])
	c.f, c.session, c.content = f, int64(binary.LittleEndian.Uint64(b[:])), 0
	return nil
}

// hangUp ends the connection.
func (c *line) hangUp() {
	if c.f != nil {
		c.f.Close()
		c.f = nil
	}
}

// agree makes the key of the device.
func (c *line) agree(ctx context.Context, pub exchange.PublicKey) error {
	if err := c.dial(ctx); err != nil {
		return err
	}
	r, err := exchange.NewExchanger(framing{c.f}, 2).WithRand(rand.Reader).Client([]exchange.PublicKey{pub}).Run(ctx)
	if err != nil {
		return err
	}
	c.key, err = secretchat.ParseKey(r.AuthKey.Value[:])
	return err
}

// call makes a call until it is answered, over as many connections as that
// takes. An error of the server (420, 5xx) is no answer; any other is returned
// as the object.
func (c *line) call(ctx context.Context, req any) (any, error) {
	body, err := wire.Schema.Marshal(req)
	if err != nil {
		return nil, err
	}
	for {
		got, err := c.once(ctx, body)
		refusal, _ := got.(*wire.RPCError)
		switch {
		case err == nil && (refusal == nil || refusal.Code < 500 && refusal.Code != 420):
			c.l.answered()
			return got, nil
		case err == nil:
			c.l.refused.Add(1)
		case errors.Is(err, errBroken):
			return nil, err
		default:
			c.hangUp()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (c *line) once(ctx context.Context, body []byte) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := c.dial(ctx); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { c.f.Conn().SetDeadline(time.Unix(1, 0)) })()
	id, err := c.send(body)
	for err == nil {
		var all []any
		if all, err = c.receive(); err != nil {
			break
		}
		for _, o := range all {
			switch o := o.(type) {
			case *wire.BadServerSalt:
				c.salt = o.NewServerSalt
				if o.BadMsgID == id {
					id, err = c.send(body)
				}
			case *wire.BadMsgNotification:
				return nil, fmt.Errorf("%w: message refused with %d", errBroken, o.ErrorCode)
			case *wire.RPCResult:
				if o.ReqMsgID == id {
					return wire.Schema.Unmarshal(o.Result)
				}
			}
		}
	}
	return nil, err
}

// send seals a call as the next message of the session.
func (c *line) send(body []byte) (int64, error) {
	now := time.Now()
	c.last = max(c.last+4, now.Unix()<<32|int64(now.Nanosecond())<<2)
	m := &wire.Message{Salt: c.salt, Session: c.session, ID: c.last, SeqNo: 2*c.content + 1, Body: body}
	c.content++
	packet, err := m.Seal(rand.Reader, c.key, wire.FromClient)
	if err != nil {
		return 0, err
	}
	return c.last, c.f.Write(packet)
}

// receive returns the objects of the next packet.
func (c *line) receive() ([]any, error) {
	packet, _, err := c.f.Read()
	if err != nil {
		return nil, err
	}
	m, err := wire.OpenMessage(c.key, wire.FromServer, packet)
	if err != nil {
		return nil, err
	}
	all, err := m.Contained()
	if err != nil {
		return nil, err
	}
	var out []any
	for _, one := range all {
		o, err := wire.Schema.Unmarshal(one.Body)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}
