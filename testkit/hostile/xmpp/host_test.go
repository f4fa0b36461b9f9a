package xmpp_test

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

// The name of the component, the domain whose users it serves, and the secret
// that it shares with the XMPP server.
const (
	component = "keys.test.example"
	domain    = "test.example"
	secret    = "a secret of the component"
)

// patience bounds the wait for the component.
const patience = 20 * time.Second

// A host is the XMPP server to which the component connects (XEP-0114). What it
// sends is the test's choice: it stands for a server that lets stanzas of any
// kind through.
type host struct {
	t    *testing.T
	l    net.Listener
	conn net.Conn
	in   *xml.Decoder
}

func newHost(t *testing.T) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, l: l}
	t.Cleanup(func() {
		l.Close()
		if h.conn != nil {
			h.conn.Close()
		}
	})
	return h
}

// secretFile writes the component's secret to a file.
func secretFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// accept takes the component's connection and its handshake.
func (h *host) accept() {
	h.t.Helper()
	conn, err := h.l.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		h.t.Fatal(err)
	}
	h.conn, h.in = conn, xml.NewDecoder(conn)
	h.start()
	h.write("<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='s1' from='" + component + "'>")
	var shake struct {
		XMLName xml.Name `xml:"handshake"`
		Text    string   `xml:",chardata"`
	}
	if err := h.in.DecodeElement(&shake, h.start()); err != nil {
		h.t.Fatal(err)
	}
	if sum := sha1.Sum([]byte("s1" + secret)); shake.Text != hex.EncodeToString(sum[:]) {
		h.t.Fatalf("the component's handshake is %q", shake.Text)
	}
	h.write("<handshake/>")
}

// start reads up to the start of an element.
func (h *host) start() *xml.StartElement {
	h.t.Helper()
	for {
		tok, err := h.in.Token()
		if err != nil {
			h.t.Fatalf("the component: %v", err)
		}
		if s, ok := tok.(xml.StartElement); ok {
			return &s
		}
	}
}

func (h *host) write(text string) {
	h.t.Helper()
	if _, err := io.WriteString(h.conn, text); err != nil {
		h.t.Fatal(err)
	}
}

// A reply is what the component answers.
type reply struct {
	XMLName xml.Name
	ID      string     `xml:"id,attr"`
	To      string     `xml:"to,attr"`
	Type    string     `xml:"type,attr"`
	Token   wire.Token `xml:"urn:quinta:keysrv:0 token"`
	Error   struct {
		Parts []struct {
			XMLName xml.Name
		} `xml:",any"`
	} `xml:"error"`
}

// send sends stanzas and returns the answers to them: the component has worked
// on all before it answers the ping that follows. The second result says that it
// closed the connection instead.
func (h *host) send(stanzas string) (answers []reply, closed bool) {
	h.t.Helper()
	if h.conn == nil {
		h.accept()
	}
	ping := "<iq type='get' id='last' from='" + domain + "' to='" + component + "'><ping xmlns='urn:xmpp:ping'/></iq>"
	if _, err := io.WriteString(h.conn, stanzas+ping); err != nil {
		return nil, h.end()
	}
	for {
		tok, err := h.in.Token()
		if err != nil {
			return answers, h.end()
		}
		s, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		var r reply
		if err := h.in.DecodeElement(&r, &s); err != nil {
			return answers, h.end()
		}
		switch {
		case r.XMLName.Local == "iq" && r.ID == "last":
			return answers, false
		case r.XMLName.Local == "iq": // what the component tells users by itself is no answer
			answers = append(answers, r)
		}
	}
}

// end forgets a connection that is closed.
func (h *host) end() bool {
	if err := h.conn.Close(); err != nil {
		h.t.Logf("closing: %v", err)
	}
	h.conn = nil
	return true
}

// got says in a word what stanzas got.
func (h *host) got(stanzas string) string {
	answers, closed := h.send(stanzas)
	switch {
	case closed:
		return "closed"
	case len(answers) == 0:
		return "no answer"
	case len(answers) > 1:
		return fmt.Sprintf("%d answers", len(answers))
	}
	r := answers[0]
	if r.Token.Value != "" {
		return "a token for " + r.To
	}
	for _, c := range r.Error.Parts {
		if c.XMLName.Local != "text" {
			return r.Type + " " + c.XMLName.Local
		}
	}
	return r.Type
}

// token asks for a token as the client at a full JID does.
func (h *host) token(from, thumbprint string) string {
	h.t.Helper()
	answers, closed := h.send("<iq type='get' id='t' from='" + from + "' to='" + component + "'><token xmlns='" + wire.NSKeys + "' jkt='" + thumbprint + "'/></iq>")
	if closed || len(answers) != 1 || answers[0].Token.Value == "" || answers[0].To != from {
		h.t.Fatalf("%s gets no token: %+v, closed: %v", from, answers, closed)
	}
	return answers[0].Token.Value
}
