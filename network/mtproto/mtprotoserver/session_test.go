package mtprotoserver_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/exchange"
	"github.com/gotd/td/mtproxy/obfuscator"
	"github.com/gotd/td/transport"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
)

// TestTransports: the client side of another make makes a key and a call over
// each framing, plain and obfuscated.
func TestTransports(t *testing.T) {
	s := start(t)
	for name, p := range map[string]transport.Protocol{"abridged": transport.Abridged, "intermediate": transport.Intermediate, "padded": transport.PaddedIntermediate, "full": transport.Full} {
		for _, hidden := range []bool{false, true} {
			if hidden && name == "full" {
				continue // it has no tag to hide
			}
			t.Run(name, func(t *testing.T) {
				raw := dial(t, s)
				var f framing
				var err error
				if hidden {
					tags := map[string][4]byte{"abridged": {0xef, 0xef, 0xef, 0xef}, "intermediate": {0xee, 0xee, 0xee, 0xee}, "padded": {0xdd, 0xdd, 0xdd, 0xdd}}
					o := obfuscator.Obfuscated2(rand.Reader, raw)
					if err := o.Handshake(tags[name], 2, secretNone); err != nil {
						t.Fatal(err)
					}
					f = tagless{codec: p.Codec(), conn: o}
				} else if f, err = p.Handshake(raw); err != nil {
					t.Fatal(err)
				}
				peer := &peer{t: t, f: f, key: agree(t, s, f, 2), session: 1}
				if got := ask[*wire.Config](peer, &wire.GetConfig{}); got.ThisDC != 2 {
					t.Errorf("this_dc: got %d, want 2", got.ThisDC)
				}
			})
		}
	}
}

// TestDCs: every DC is served on every address; the number is the one that the
// client names, and the addresses are those that are announced.
func TestDCs(t *testing.T) {
	s := start(t, quintatest.Setting("mtproto-announce", "192.0.2.7:443,3=192.0.2.9:5222"), quintatest.Setting("mtproto-dc", "4"))
	for header, want := range map[int]struct {
		dc   int32
		test bool
	}{1: {1, false}, 3: {3, false}, 10001: {1, true}, 10002: {2, true}, -3: {3, false}, 0: {4, false}, 9: {4, false}} {
		f := plain(t, s, header)
		p := &peer{t: t, f: f, key: agree(t, s, f, header), session: 1}
		got := ask[*wire.Config](p, &wire.GetConfig{})
		if got.ThisDC != want.dc || got.TestMode != want.test || len(got.DCOptions) != 5 {
			t.Errorf("header %d: got DC %d, test %v, %d options, want %+v", header, got.ThisDC, got.TestMode, len(got.DCOptions), want)
		}
		o := got.DCOptions[2].(*wire.DCOption)
		if o.ID != 3 || o.IPAddress != "192.0.2.9" || o.Port != 5222 || !o.ThisPortOnly {
			t.Errorf("header %d: DC 3: got %+v", header, o)
		}
		if o := got.DCOptions[0].(*wire.DCOption); o.IPAddress != "192.0.2.7" || o.Port != 443 {
			t.Errorf("header %d: DC 1: got %+v", header, o)
		}
	}
}

// TestWrappers: wrappers nest in any order, packed with gzip or with zlib.
func TestWrappers(t *testing.T) {
	s := start(t)
	p := join(t, s)
	query := marshal(t, &wire.GetConfig{})
	pack := func(w io.WriteCloser, b *bytes.Buffer) []byte {
		w.Write(query)
		w.Close()
		return marshal(t, &wire.GzipPacked{Data: b.Bytes()})
	}
	var g, z bytes.Buffer
	for name, packed := range map[string][]byte{"gzip": pack(gzip.NewWriter(&g), &g), "zlib": pack(zlib.NewWriter(&z), &z), "not packed": query} {
		inner := marshal(t, &wire.InitConnection{Params: &wire.JSONObject{Value: []any{&wire.JSONObjectValue{Key: "k", Value: &wire.JSONString{Value: "v"}}}}, Query: packed})
		body := marshal(t, &wire.InvokeAfterMsgs{MsgIDs: []int64{1}, Query: marshal(t, &wire.InvokeAfterMsg{MsgID: 1, Query: marshal(t, &wire.InvokeWithoutUpdates{Query: marshal(t, &wire.InvokeWithLayer{Layer: 228, Query: inner})})})})
		if _, ok := p.call(body).(*wire.Config); !ok {
			t.Errorf("%s: got no configuration", name)
		}
		if _, ok := p.call(packed).(*wire.Config); !ok {
			t.Errorf("%s, outside: got no configuration", name)
		}
	}
}

// TestAttack17Bombs: what unpacks to more than 10 MB, wrappers without end and a
// container in a container are refused, and the connection lives.
func TestAttack17Bombs(t *testing.T) {
	s := start(t)
	p := join(t, s)
	for name, w := range map[string]func(io.Writer) io.WriteCloser{"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, "zlib": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }} {
		var b bytes.Buffer
		z := w(&b)
		z.Write(make([]byte, 11<<20))
		z.Close()
		if e, ok := p.do(&wire.GzipPacked{Data: b.Bytes()}).(*wire.RPCError); !ok || e.Code != 400 {
			t.Errorf("%s: got %+v", name, e)
		}
	}
	deep := marshal(t, &wire.GetConfig{})
	for range 40 {
		deep = marshal(t, &wire.InvokeWithoutUpdates{Query: deep})
	}
	if e, ok := p.call(deep).(*wire.RPCError); !ok || e.Code != 400 {
		t.Errorf("40 wrappers: got %+v", e)
	}
	inner := wire.Container([]wire.Message{{ID: p.id, Body: marshal(t, &wire.Ping{PingID: 1})}})
	p.send(wire.Container([]wire.Message{{ID: p.id, Body: inner}}), false)
	if n, ok := p.receive()[0].(*wire.BadMsgNotification); !ok || n.ErrorCode != 64 {
		t.Errorf("container in container: got %+v", n)
	}
	ask[*wire.Config](p, &wire.GetConfig{})
}

// TestContainer answers each message of a container.
func TestContainer(t *testing.T) {
	s := start(t)
	p := join(t, s)
	ask[*wire.Config](p, &wire.GetConfig{}) // takes the salt
	ids := []int64{p.id + 4, p.id + 8}
	p.id += 8
	p.send(wire.Container([]wire.Message{
		{ID: ids[0], SeqNo: p.seq(true), Body: marshal(t, &wire.Ping{PingID: 11})},
		{ID: ids[1], SeqNo: p.seq(true), Body: marshal(t, &wire.GetConfig{})},
	}), false)
	pong, config, acked := false, false, 0
	for !pong || !config {
		for _, o := range p.receive() {
			switch o := o.(type) {
			case *wire.Pong:
				pong = o.PingID == 11 && o.MsgID == ids[0]
			case *wire.RPCResult:
				config = o.ReqMsgID == ids[1]
			case *wire.MsgsAck:
				acked += len(o.MsgIDs)
			}
		}
	}
	if acked != 2 {
		t.Errorf("%d messages were acknowledged, want 2", acked)
	}
}

// TestClocks: a salt and a msg_id that are wrong are answered with what leads
// the client back.
func TestClocks(t *testing.T) {
	s := start(t)
	p := join(t, s)
	ask[*wire.Config](p, &wire.GetConfig{})
	good := p.salt
	now := time.Now().Unix() << 32
	for _, c := range []struct {
		id   int64
		code int32
	}{{now - 400<<32, 16}, {now + 100<<32, 17}, {now + 1<<20 + 1, 18}} {
		p.raw(&wire.Message{Salt: good, Session: p.session, ID: c.id, SeqNo: 1, Body: marshal(t, &wire.GetConfig{})})
		if n, ok := p.receive()[0].(*wire.BadMsgNotification); !ok || n.ErrorCode != c.code || n.BadMsgID != c.id {
			t.Errorf("want code %d, got %+v", c.code, n)
		}
	}
	p.raw(&wire.Message{Salt: good + 1, Session: p.session, ID: now + 1<<21, SeqNo: 1, Body: marshal(t, &wire.GetConfig{})})
	if n, ok := p.receive()[0].(*wire.BadServerSalt); !ok || n.NewServerSalt != good {
		t.Errorf("a wrong salt: got %+v", n)
	}
	// A new session is announced, once, and also after a salt was refused.
	p.session++
	p.salt++
	p.send(marshal(t, &wire.Ping{PingID: 1}), false)
	if n, ok := p.receive()[0].(*wire.BadServerSalt); !ok {
		t.Errorf("a wrong salt: got %+v", n)
	}
	p.send(marshal(t, &wire.Ping{PingID: 1}), false)
	if n, ok := p.receive()[0].(*wire.NewSessionCreated); !ok || n.ServerSalt != good || n.FirstMsgID != p.id {
		t.Errorf("a new session: got %+v", n)
	}
}

// TestAttack10RepeatedCall: a msg_id that comes again gets the same answer and
// does nothing.
func TestAttack10RepeatedCall(t *testing.T) {
	s := start(t)
	p := logged(t, s, "alice")
	logged(t, s, "bob")
	bob := p.finds("bob")
	body := marshal(t, &wire.RequestEncryption{UserID: bob, RandomID: 77, GA: public(t)})
	if _, ok := p.call(body).(*wire.EncryptedChatWaiting); !ok {
		t.Fatal("the request was refused")
	}
	id := p.id
	for range 2 {
		p.raw(&wire.Message{Salt: p.salt, Session: p.session, ID: id, SeqNo: 1, Body: body})
		for got := false; !got; {
			for _, o := range p.receive() {
				if r, ok := o.(*wire.RPCResult); ok && r.ReqMsgID == id {
					got = true
				}
			}
		}
	}
}

// TestAttack08ExchangeFails: whatever is wrong in a key exchange, the answer is
// the one code, and the connection ends.
func TestAttack08ExchangeFails(t *testing.T) {
	s := start(t)
	key := serverKey(t, s)
	for name, spoil := range map[string]func(r *wire.ReqDHParams){
		"encrypted data":    func(r *wire.ReqDHParams) { r.EncryptedData[100] ^= 1 },
		"above the modulus": func(r *wire.ReqDHParams) { r.EncryptedData = bytes.Repeat([]byte{0xff}, 256) },
		"short data":        func(r *wire.ReqDHParams) { r.EncryptedData = r.EncryptedData[:200] },
		"long data":         func(r *wire.ReqDHParams) { r.EncryptedData = append(r.EncryptedData, 0) },
		"no data":           func(r *wire.ReqDHParams) { r.EncryptedData = nil },
		"nonce":             func(r *wire.ReqDHParams) { r.Nonce[0] ^= 1 },
		"server nonce":      func(r *wire.ReqDHParams) { r.ServerNonce[0] ^= 1 },
		"fingerprint":       func(r *wire.ReqDHParams) { r.Fingerprint++ },
	} {
		t.Run(name, func(t *testing.T) {
			f := plain(t, s, 2)
			res := exchangeStep[*wire.ResPQ](t, f, &wire.ReqPqMulti{Nonce: [16]byte{1}})
			r := &wire.ReqDHParams{Nonce: res.Nonce, ServerNonce: res.ServerNonce, Fingerprint: res.Fingerprints[0], EncryptedData: sealInner(t, key, res)}
			spoil(r)
			if got := exchangeCode(t, f, r); got != wire.CodeKeyUnknown {
				t.Errorf("got %d, want %d", got, wire.CodeKeyUnknown)
			}
		})
	}
	// Out of turn, and no exchange at all.
	f := plain(t, s, 2)
	if got := exchangeCode(t, f, &wire.SetClientDHParams{}); got != wire.CodeKeyUnknown {
		t.Errorf("out of turn: got %d", got)
	}
	// An authorization key that no one has, and bytes that do not open.
	p := join(t, s)
	p.key.Wipe()
	p.send(marshal(t, &wire.GetConfig{}), true)
	if got := p.receive()[0]; got != int32(wire.CodeKeyUnknown) {
		t.Errorf("an unknown key: got %v", got)
	}
}

// TestHostileFrames: frames of no length, of 64 MB and without an end close the
// connection and nothing else.
func TestHostileFrames(t *testing.T) {
	s := start(t)
	for name, b := range map[string][]byte{
		"zero":  {0xee, 0xee, 0xee, 0xee, 0, 0, 0, 0, 0, 0, 0, 0},
		"64 MB": {0xee, 0xee, 0xee, 0xee, 0, 0, 0, 4, 0, 0, 0, 0},
		"odd":   {0xee, 0xee, 0xee, 0xee, 3, 0, 0, 0, 0, 0, 0, 0},
		"noise": bytes.Repeat([]byte{0x55}, 64),
	} {
		c := dial(t, s)
		c.Write(b)
		if n, err := c.Read(make([]byte, 16)); err == nil || isTimeout(err) {
			t.Errorf("%s: got %d bytes, %v, want the end of the connection", name, n, err)
		}
	}
	ask[*wire.Config](join(t, s), &wire.GetConfig{})
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestOldLayer: a client of an older layer gets users in the form that it knows,
// also on a connection on which it did not say its layer again; and a login
// whose answer was lost is answered again.
func TestOldLayer(t *testing.T) {
	s := start(t)
	p := logged(t, s, "alice")
	number := command(t, s, "user number", nil, "alice")
	sign := &wire.SignIn{PhoneNumber: number, PhoneCode: "1"}
	if _, ok := ask[*wire.Authorization](p, sign).User.(*wire.User); !ok {
		t.Error("a client that names no layer: got no user of the newest form")
	}
	ask[*wire.Config](p, &wire.InvokeWithLayer{Layer: 227, Query: marshal(t, &wire.GetConfig{})})
	again := &peer{t: t, f: plain(t, s, 2), key: p.key, session: 9}
	if u, ok := ask[*wire.Authorization](again, sign).User.(*wire.User227); !ok || u.Username != "alice" || !u.Self {
		t.Errorf("a client of layer 227: got %+v", u)
	}
	ask[*wire.Config](again, &wire.InvokeWithLayer{Layer: 228, Query: marshal(t, &wire.GetConfig{})})
	if _, ok := ask[*wire.Authorization](again, sign).User.(*wire.User); !ok {
		t.Error("a client of layer 228: got no user of its form")
	}
	p.refused(&wire.SignIn{PhoneNumber: "+88899999999", PhoneCode: "1"}, 400, "ALREADY_LOGGED_IN")
}

// TestFirstSalt: the salt that a client computes itself when it has made a key is
// taken, and another one is answered with the right one.
func TestFirstSalt(t *testing.T) {
	s := start(t)
	f := plain(t, s, 2)
	r, err := exchange.NewExchanger(f, 2).WithRand(rand.Reader).Client([]exchange.PublicKey{{RSA: serverKey(t, s)}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k, err := secretchat.ParseKey(r.AuthKey.Value[:])
	if err != nil {
		t.Fatal(err)
	}
	answers := func(salt int64) (refused bool) {
		p := &peer{t: t, f: f, key: k, session: 7 + salt, salt: salt}
		id := p.send(marshal(t, &wire.GetConfig{}), true)
		for {
			for _, o := range p.receive() {
				switch o := o.(type) {
				case *wire.RPCResult:
					return o.ReqMsgID != id
				case *wire.BadServerSalt:
					return true
				}
			}
		}
	}
	if answers(r.ServerSalt) {
		t.Error("the salt of the key exchange is refused")
	}
	if !answers(r.ServerSalt + 1) {
		t.Error("another salt is taken")
	}
}

// TestAttack10ReplayedPacket: a packet that someone recorded is not worked on
// again on another connection, nor one from before the server's start.
func TestAttack10ReplayedPacket(t *testing.T) {
	s := start(t)
	p := logged(t, s, "alice")
	ask[*wire.State](p, &wire.GetState{})
	p.id = max(p.id+4, time.Now().Unix()<<32)
	m := &wire.Message{Salt: p.salt, Session: p.session, ID: p.id, SeqNo: p.seq(true), Body: marshal(t, &wire.LogOut{})}
	recorded, err := m.Seal(rand.Reader, p.key, wire.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(f framing) any {
		t.Helper()
		if err := f.Send(t.Context(), &bin.Buffer{Buf: recorded}); err != nil {
			t.Fatal(err)
		}
		q := &peer{t: t, f: f, key: p.key}
		for {
			for _, o := range q.receive() {
				if r, ok := o.(*wire.RPCResult); ok {
					o, err := wire.Schema.Unmarshal(r.Result)
					if err != nil {
						t.Fatal(err)
					}
					return o
				}
			}
		}
	}
	if o, ok := answer(p.f).(*wire.LoggedOut); !ok {
		t.Fatalf("got %+v", o)
	}
	again := &peer{t: t, f: plain(t, s, 2), key: p.key, session: 40}
	again.login(s, "alice")
	if o, ok := answer(plain(t, s, 2)).(*wire.RPCError); !ok || o.Code != 500 {
		t.Errorf("the recorded packet: got %+v, want 500", o)
	}
	ask[*wire.State](again, &wire.GetState{}) // it is still logged in

	old := &peer{t: t, f: plain(t, s, 2), key: p.key, session: 41, now: func() time.Time { return time.Now().Add(-2 * time.Minute) }}
	if n, ok := old.do(&wire.GetState{}).(*wire.BadMsgNotification); !ok || n.ErrorCode != 16 {
		t.Errorf("from before the start: got %+v, want code 16", n)
	}
}
