package mtprotoserver_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/exchange"
	"github.com/gotd/td/transport"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoserver"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// turns bounds how many of these tests run at a time: clients of other makes
// give an exchange of keys half a minute, and each takes the processor for a
// second.
var turns = make(chan struct{}, 2)

// start starts a server that takes clients of secret chats.
func start(t testing.TB, opts ...quintatest.Option) *quintatest.Server {
	t.Helper()
	turns <- struct{}{}
	t.Cleanup(func() { <-turns })
	return quintatest.StartNetworks(t, []server.Network{mtprotoserver.Network}, append([]quintatest.Option{quintatest.Setting("mtproto-listen", "127.0.0.1:0")}, opts...)...)
}

// each runs fn with a server's store on every engine, beside other tests.
func each(t *testing.T, fn func(t *testing.T, store quintatest.Option)) {
	t.Helper()
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, quintatest.Database(stores.Config(t, engine)))
		})
	}
}

// command runs a command of the operator.
func command(t testing.TB, s *quintatest.Server, name string, flags map[string]string, args ...string) string {
	t.Helper()
	out, err := s.Core.RunCommand(t.Context(), name, server.CommandInput{Args: args, Flags: flags})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(out)
}

// serverKey is the server's public key.
func serverKey(t testing.TB, s *quintatest.Server) *rsa.PublicKey {
	t.Helper()
	text, _, _ := strings.Cut(command(t, s, "mtproto key", nil), "fingerprint")
	k, err := wire.ParsePublicKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A framing is a connection that tells packets apart, of whatever make.
type framing = transport.Conn

// ours makes a framing of a connection of package wire.
type ours struct{ *wire.Frames }

func (o ours) Send(_ context.Context, b *bin.Buffer) error { return o.Write(b.Buf) }
func (o ours) Recv(_ context.Context, b *bin.Buffer) error {
	p, _, err := o.Read()
	b.ResetTo(p)
	return err
}

// dial opens a connection to the server.
func dial(t testing.TB, s *quintatest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr(t, "mtproto"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// plain dials with the framing of package wire, and names a DC.
func plain(t testing.TB, s *quintatest.Server, dc int) framing {
	t.Helper()
	f, err := wire.Dial(dial(t, s), rand.Reader, dc)
	if err != nil {
		t.Fatal(err)
	}
	return ours{f}
}

// agree makes an authorization key with another make's client.
func agree(t testing.TB, s *quintatest.Server, f framing, dc int) *secretchat.Key {
	t.Helper()
	r, err := exchange.NewExchanger(f, dc).WithRand(rand.Reader).Client([]exchange.PublicKey{{RSA: serverKey(t, s)}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k, err := secretchat.ParseKey(r.AuthKey.Value[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A peer is a client that does what the tests ask of it.
type peer struct {
	t       testing.TB
	f       framing
	key     *secretchat.Key
	salt    int64
	session int64
	id      int64
	n       int32
	pushed  []any // updates that came by themselves
	now     func() time.Time
}

// join makes a key and a session on a new connection.
func join(t testing.TB, s *quintatest.Server) *peer {
	t.Helper()
	f := plain(t, s, 2)
	return &peer{t: t, f: f, key: agree(t, s, f, 2), session: 7}
}

// logged makes an account if there is none, and logs a new device in.
func logged(t testing.TB, s *quintatest.Server, name string) *peer {
	t.Helper()
	if err := s.Core.AddAccount(t.Context(), name, "a long password"); err != nil && !strings.Contains(err.Error(), "taken") {
		t.Fatal(err)
	}
	p := join(t, s)
	p.login(s, name)
	return p
}

func (p *peer) login(s *quintatest.Server, name string) {
	p.t.Helper()
	number := command(p.t, s, "user number", nil, name)
	sent := ask[*wire.SentCode](p, &wire.SendCode{PhoneNumber: number, APIHash: "x", Settings: &wire.CodeSettings{}})
	ask[*wire.Authorization](p, &wire.SignIn{PhoneNumber: number, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: command(p.t, s, "user code", nil, name)})
}

// send seals a body as one message and returns its id.
func (p *peer) send(body []byte, content bool) int64 {
	p.t.Helper()
	now := time.Now
	if p.now != nil {
		now = p.now
	}
	p.id = max(p.id+4, now().Unix()<<32)
	p.raw(&wire.Message{Salt: p.salt, Session: p.session, ID: p.id, SeqNo: p.seq(content), Body: body})
	return p.id
}

func (p *peer) seq(content bool) int32 {
	n := 2 * p.n
	if content {
		n++
		p.n++
	}
	return n
}

func (p *peer) raw(m *wire.Message) {
	p.t.Helper()
	packet, err := m.Seal(rand.Reader, p.key, wire.FromClient)
	if err == nil {
		err = p.f.Send(p.t.Context(), &bin.Buffer{Buf: packet})
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// receive returns the objects of the next packet.
func (p *peer) receive() []any {
	p.t.Helper()
	var b bin.Buffer
	if err := p.f.Recv(p.t.Context(), &b); err != nil {
		p.t.Fatal(err)
	}
	if len(b.Buf) == 4 {
		return []any{int32(binary.LittleEndian.Uint32(b.Buf))}
	}
	m, err := wire.OpenMessage(p.key, wire.FromServer, b.Buf)
	if err != nil {
		p.t.Fatal(err)
	}
	all, err := m.Contained()
	if err != nil {
		p.t.Fatal(err)
	}
	var out []any
	for _, c := range all {
		o, err := wire.Schema.Unmarshal(c.Body)
		if err != nil {
			p.t.Fatal(err)
		}
		if s, ok := o.(*wire.BadServerSalt); ok {
			p.salt = s.NewServerSalt
		}
		if u, ok := o.(*wire.Updates); ok {
			p.pushed = append(p.pushed, u.Updates...)
		}
		out = append(out, o)
	}
	return out
}

// call makes a call and returns its result; a salt that was refused is taken.
func (p *peer) call(body []byte) any {
	p.t.Helper()
	id := p.send(body, true)
	for range 1000 {
		for _, o := range p.receive() {
			switch o := o.(type) {
			case *wire.BadServerSalt:
				id = p.send(body, true)
			case *wire.BadMsgNotification:
				return o
			case int32:
				return o
			case *wire.RPCResult:
				if o.ReqMsgID != id {
					continue
				}
				if len(o.Result) > 8 && binary.LittleEndian.Uint32(o.Result) == 0x1cb5c415 {
					return o.Result // a vector
				}
				r, err := wire.Schema.Unmarshal(o.Result)
				if err != nil {
					p.t.Fatal(err)
				}
				return r
			}
		}
	}
	p.t.Fatal("there is no answer")
	return nil
}

// do is call for an object of the schema.
func (p *peer) do(req any) any {
	p.t.Helper()
	return p.call(marshal(p.t, req))
}

func marshal(t testing.TB, o any) []byte {
	t.Helper()
	b, err := wire.Schema.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask makes a call whose answer must be a T.
func ask[T any](p *peer, req any) T {
	p.t.Helper()
	got, ok := p.do(req).(T)
	if !ok {
		p.t.Fatalf("%T: got %+v", req, p.do(req))
	}
	return got
}

// refused makes a call that must be refused.
func (p *peer) refused(req any, code int32, message string) {
	p.t.Helper()
	if e, ok := p.do(req).(*wire.RPCError); !ok || e.Code != code || e.Message != message {
		p.t.Errorf("%T: got %+v, want %d %s", req, e, code, message)
	}
}

// finds asks for a user by name.
func (p *peer) finds(name string) *wire.InputUser {
	p.t.Helper()
	u := ask[*wire.ResolvedPeer](p, &wire.ResolveUsername{Username: name}).Users[0].(*wire.User)
	return &wire.InputUser{UserID: u.ID, AccessHash: u.AccessHash}
}

// public makes a public value.
func public(t *testing.T) []byte {
	t.Helper()
	s, err := secretchat.NewSecret(rand.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Public(secretchat.KnownGroup())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// packet makes bytes of the form of a sealed message.
func packet(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, 24+16*n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// difference asks for what came after a position.
func (p *peer) difference(qts, pts int32) *wire.Difference {
	p.t.Helper()
	switch d := p.do(&wire.GetDifference{Qts: qts, Pts: pts, Date: 1}).(type) {
	case *wire.Difference:
		return d
	case *wire.DifferenceSlice:
		return &wire.Difference{NewEncryptedMessages: d.NewEncryptedMessages, OtherUpdates: d.OtherUpdates, Users: d.Users, State: d.IntermediateState}
	case *wire.DifferenceEmpty:
		return &wire.Difference{State: &wire.State{Qts: qts, Pts: pts}}
	default:
		p.t.Fatalf("got %+v", d)
		return nil
	}
}

// chatOf finds a chat among the updates of a difference.
func chatOf[T any](p *peer) T {
	p.t.Helper()
	for _, u := range p.difference(0, 0).OtherUpdates {
		if e, ok := u.(*wire.UpdateEncryption); ok {
			if c, ok := e.Chat.(T); ok {
				return c
			}
		}
	}
	p.t.Fatal("the chat is not among the updates")
	panic("unreachable")
}

// opens makes a chat between two devices.
func opens(t *testing.T, a, b *peer, name string, id int32) (ca, cb *wire.InputEncryptedChat) {
	t.Helper()
	w := ask[*wire.EncryptedChatWaiting](a, &wire.RequestEncryption{UserID: a.finds(name), RandomID: id, GA: public(t)})
	r := chatOf[*wire.EncryptedChatRequested](b)
	cb = &wire.InputEncryptedChat{ChatID: r.ID, AccessHash: r.AccessHash}
	ask[*wire.EncryptedChat](b, &wire.AcceptEncryption{Peer: cb, GB: public(t), KeyFingerprint: 5})
	return &wire.InputEncryptedChat{ChatID: w.ID, AccessHash: w.AccessHash}, cb
}
