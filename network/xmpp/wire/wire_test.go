package wire_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
)

// TestKindsAreWhole: every kind of the core has a code of this network.
func TestKindsAreWhole(t *testing.T) {
	t.Parallel()
	for _, k := range quinta.Kinds() {
		if row := wire.Kinds[k]; row.Code == "" || row.Status < 400 {
			t.Errorf("%v: got %+v", k, row)
		}
	}
}

// TestPrinted reads the packet as the specification prints it.
func TestPrinted(t *testing.T) {
	t.Parallel()
	var m wire.Message
	if err := xml.Unmarshal([]byte(`<message to='juliet@test.com' from='romeo@test.com' id='send1'><encrypted xmlns = 'jabber:encrypted' objectid = '5YGC0FF90k'> 5MFUu9BmMxjkAhHs5OSqjQ== </encrypted></message>`), &m); err != nil {
		t.Fatal(err)
	}
	if m.Encrypted == nil || m.ID != "send1" || m.From != "romeo@test.com" || m.To != "juliet@test.com" {
		t.Fatalf("got %+v", m)
	}
	p, err := keysrv.ParsePacket(m.Encrypted.ObjectID, m.Encrypted.Text)
	if err != nil || p.ObjectID != "5YGC0FF90k" || len(p.Payload) != 16 {
		t.Errorf("got %+v, %v", p, err)
	}
}

// sent is the stanza of a text, sealed.
func sent(t *testing.T, text string) string {
	t.Helper()
	raw, err := xml.Marshal(wire.NewSent("0123456789abcdef0123456789abcdef", jid.MustParse("juliet@test.example"), false, &keysrv.Packet{ObjectID: "0123456789012345678901", Payload: []byte(text)}))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestSent: what is sent has the element of the specification, the hint to
// store, and the name of the encryption, and reads back the same.
func TestSent(t *testing.T) {
	t.Parallel()
	raw := sent(t, "sealed")
	for _, part := range []string{`type="chat"`, `<encrypted xmlns="jabber:encrypted" objectid="0123456789012345678901">`, `<store xmlns="urn:xmpp:hints">`, `<encryption xmlns="urn:xmpp:eme:0" namespace="jabber:encrypted">`} {
		if !strings.Contains(raw, part) {
			t.Errorf("got %s, want %s in it", raw, part)
		}
	}
	var m wire.Message
	if err := xml.Unmarshal([]byte(raw), &m); err != nil || m.Encrypted.Text != "c2VhbGVk" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestCarbonsAndArchive(t *testing.T) {
	t.Parallel()
	inner := strings.Replace(sent(t, "x"), "<message", `<message xmlns="jabber:client" from="romeo@test.example/a"`, 1)
	var m wire.Message
	if err := xml.Unmarshal([]byte(`<message from="juliet@test.example"><result xmlns="urn:xmpp:mam:2" queryid="q" id="28482"><forwarded xmlns="urn:xmpp:forward:0"><delay xmlns="urn:xmpp:delay" stamp="2026-05-01T12:00:00Z"/>`+inner+`</forwarded></result></message>`), &m); err != nil {
		t.Fatal(err)
	}
	f := m.Result.Forwarded
	if m.Result.ID != "28482" || f.Message == nil || f.Message.Encrypted == nil || f.Message.From != "romeo@test.example/a" || !f.Delay.Time().Equal(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", m.Result)
	}
	m = wire.Message{}
	if err := xml.Unmarshal([]byte(`<message from="juliet@test.example"><sent xmlns="urn:xmpp:carbons:2"><forwarded xmlns="urn:xmpp:forward:0">`+inner+`</forwarded></sent></message>`), &m); err != nil || m.SentOut == nil || m.SentOut.Forwarded.Message == nil || m.Received != nil {
		t.Errorf("got %+v, %v", m, err)
	}
	var fin wire.Fin
	if err := xml.Unmarshal([]byte(`<fin xmlns="urn:xmpp:mam:2" complete="true"><set xmlns="http://jabber.org/protocol/rsm"><last>28482</last></set></fin>`), &fin); err != nil || !fin.Complete || fin.Last != "28482" {
		t.Errorf("got %+v, %v", fin, err)
	}
	q, err := xml.Marshal(wire.NewArchiveQuery("q", "5", 10))
	if err != nil || string(q) != `<query xmlns="urn:xmpp:mam:2" queryid="q"><set xmlns="http://jabber.org/protocol/rsm"><max>10</max><after>5</after></set></query>` {
		t.Errorf("got %s, %v", q, err)
	}
}

// TestErrors: a refusal reads back as it was written; a page of something else
// has no code, and nothing of it is shown.
func TestErrors(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(wire.NewError(409, wire.CodeMode, "the conversation is sealed"))
	if err != nil {
		t.Fatal(err)
	}
	if e := wire.ParseError(409, raw); e.Code != wire.CodeMode || e.Detail != "the conversation is sealed" {
		t.Errorf("got %+v", e)
	}
	for _, page := range []string{"", "<html>", `{"type":"about:blank","detail":"canary"}`, `{"type":"urn:quinta:keysrv:error:` + strings.Repeat("x", 100) + `"}`} {
		if e := wire.ParseError(502, []byte(page)); e.Code != "" || strings.Contains(e.Detail, "canary") {
			t.Errorf("%q: got %+v", page, e)
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	var v wire.GetRequest
	for _, bad := range []string{"", "null", "[]", `{"ids":["a"],"ids":["b"]}`, `{"ids":[1]}`, `{"ids":["a"]} x`, `{"n":1.5}`, strings.Repeat(`{"a":`, 200)} {
		if err := wire.Decode([]byte(bad), &v); !errors.Is(err, keysrv.ErrMalformed) {
			t.Errorf("%.20q: got %v, want ErrMalformed", bad, err)
		}
	}
	if err := wire.Decode([]byte(`{"ids":["a"],"more":true}`), &v); err != nil || len(v.IDs) != 1 {
		t.Errorf("got %+v, %v", v, err)
	}
	if _, err := wire.Objects(make([]json.RawMessage, 101)); !errors.Is(err, keysrv.ErrMalformed) {
		t.Errorf("101 objects: got %v", err)
	}
}

// TestBounded: a stanza without an end ends the connection, and Reset begins
// the count again.
func TestBounded(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	go func() {
		for {
			if _, err := b.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	c := &wire.Bounded{Conn: a}
	buf := make([]byte, 64<<10)
	for range 100 {
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
		c.Reset()
	}
	for range 100 {
		if _, err := c.Read(buf); err != nil {
			if !errors.Is(err, wire.ErrStanza) {
				t.Errorf("got %v, want ErrStanza", err)
			}
			return
		}
	}
	t.Error("6 MiB without the end of a stanza were read")
}

// FuzzMessage reads stanzas: whatever comes, nothing but an error comes of it.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`<message><encrypted xmlns='jabber:encrypted' objectid='a'>AAAA</encrypted></message>`))
	f.Add([]byte(`<message><result xmlns="urn:xmpp:mam:2" id="1"><forwarded xmlns="urn:xmpp:forward:0"><message xmlns="jabber:client"/></forwarded></result></message>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m wire.Message
		if xml.Unmarshal(raw, &m) != nil || m.Encrypted == nil {
			return
		}
		if p, err := keysrv.ParsePacket(m.Encrypted.ObjectID, m.Encrypted.Text); err == nil && p.Text() == "" {
			t.Error("an empty payload")
		}
	})
}
