package mtprotoserver_test

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gotd/td/bin"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// FuzzCalls sends any bytes as a call of a device that is logged in: the server
// answers a ping after it, over the same connection or, where it ended that
// one, over a new one with the same key.
func FuzzCalls(f *testing.F) {
	s := start(f)
	p := logged(f, s, "alice")
	for _, o := range []any{&wire.GetDHConfig{RandomLength: 256}, &wire.SendCode{PhoneNumber: "1", Settings: &wire.CodeSettings{}}, &wire.SignIn{PhoneNumber: "1"},
		&wire.RequestEncryption{UserID: &wire.InputUser{UserID: 1}, GA: make([]byte, 256)}, &wire.SendEncrypted{Peer: &wire.InputEncryptedChat{ChatID: 1}, Data: make([]byte, 64)}, &wire.Ping{PingID: 1}} {
		f.Add(marshal(f, o))
	}
	f.Add(wire.Container([]wire.Message{{ID: 4, Body: []byte("body")}}))
	f.Add([]byte("\xa1\xcf\x72\x30\xfe\xff\xff\xff\x1f\x8b"))
	again := func(t *testing.T) {
		c, err := net.Dial("tcp", s.Addr(t, "mtproto"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fr, err := wire.Dial(c, rand.Reader, 2)
		if err != nil {
			t.Fatal(err)
		}
		p.f = ours{fr}
		p.session++
		p.n = 0
	}
	first := true
	f.Fuzz(func(t *testing.T, body []byte) {
		p.t = t
		if first {
			first = false
			again(t)
		}
		if len(body) == 0 || len(body)%4 != 0 {
			body = append(body, make([]byte, 4-len(body)%4)...)
		}
		for try := range 3 {
			if p.answers(t, body, uint64(try)+1) {
				return
			}
			p.f.Close()
			again(t)
			body = marshal(t, &wire.Ping{PingID: 2}) // the first may have ended the connection
		}
		t.Errorf("the server does not answer after %x", body)
	})
}

// answers sends a call and a ping, and reports whether the pong came before the
// connection ended.
func (p *peer) answers(t *testing.T, body []byte, number uint64) bool {
	t.Helper()
	send := func(body []byte) bool {
		p.id = max(p.id+4, time.Now().Unix()<<32)
		m := &wire.Message{Salt: p.salt, Session: p.session, ID: p.id, SeqNo: p.seq(true), Body: body}
		packet, err := m.Seal(rand.Reader, p.key, wire.FromClient)
		if err != nil {
			t.Fatal(err)
		}
		return p.f.Send(t.Context(), &bin.Buffer{Buf: packet}) == nil
	}
	ping := marshal(t, &wire.Ping{PingID: int64(number) << 40})
	if !send(body) || !send(ping) {
		return false
	}
	for range 100 {
		var b bin.Buffer
		if err := p.f.Recv(t.Context(), &b); err != nil {
			if err != io.EOF {
				t.Logf("the connection ended: %v", err)
			}
			return false
		}
		if len(b.Buf) == 4 {
			t.Logf("the server refuses the key: %d", int32(binary.LittleEndian.Uint32(b.Buf)))
			return false
		}
		m, err := wire.OpenMessage(p.key, wire.FromServer, b.Buf)
		if err != nil {
			t.Fatal(err)
		}
		all, err := m.Contained()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			o, err := wire.Schema.Unmarshal(c.Body)
			if err != nil {
				t.Fatalf("an answer that is no object of the schema: %x, %v", c.Body, err)
			}
			switch o := o.(type) {
			case *wire.BadServerSalt:
				p.salt = o.NewServerSalt
				send(ping)
			case *wire.Pong:
				if o.PingID == int64(number)<<40 {
					return true
				}
			}
		}
	}
	return false
}
