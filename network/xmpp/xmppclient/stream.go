package xmppclient

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/sasl"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"
)

// Times of a connection.
const (
	connectWithin = 30 * time.Second
	answerWithin  = 30 * time.Second
	// closeWithin bounds how long the end of a stream waits for the server's.
	closeWithin = 2 * time.Second
)

// maxInbox bounds the stanzas that came and were not taken: with more the
// connection ends, and the archive has the rest.
const maxInbox = 5000

// A connection is one stream with the XMPP server.
type connection struct {
	session *xmpp.Session
	conn    *wire.Bounded
	self    jid.JID
	flow    *flow
	// ended ends when the stream does.
	ended context.Context
	end   context.CancelFunc

	asker wire.Asker
	// out keeps the stanzas that leave in the order of their numbers.
	out sync.Mutex
	// answered ends when the server has said whether it manages the stream;
	// settled ends it.
	answered context.Context
	settled  context.CancelFunc

	mu sync.Mutex
	// inbox are messages that came and were not taken; arrived wakes the
	// goroutine that takes them.
	inbox   []arrival
	arrived chan struct{}
	// pages collect the results of queries of archives, by query id.
	pages map[string]*archivePage
	// reflected are the messages whose room is waited for, by id.
	reflected map[string]chan bool
	// changed are rooms whose members have changed.
	changed map[quinta.RoomID]bool
}

// An arrival is a message with its number in the flow.
type arrival struct {
	*wire.Message
	number uint32
}

func newConnection(conn *wire.Bounded, self jid.JID) *connection {
	c := &connection{conn: conn, self: self, flow: newFlow(), arrived: make(chan struct{}, 1), pages: map[string]*archivePage{}, reflected: map[string]chan bool{}, changed: map[quinta.RoomID]bool{}}
	c.ended, c.end = context.WithCancel(context.Background())
	c.answered, c.settled = context.WithCancel(c.ended)
	return c
}

var errDropped = quinta.E(quinta.KindUnavailable, "speaking to the XMPP server", "the connection ended")

// connect logs in. last is the flow of the stream that was lost, which is
// resumed if the server still has it; it may be nil.
func connect(ctx context.Context, a *account, last *flow) (c *connection, resumed bool, err error) {
	const op = "logging in at the XMPP server"
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	self, err := jid.Parse(string(a.User) + "/quinta-" + string(a.Device))
	if err != nil {
		return nil, false, quinta.E(quinta.KindInvalid, op, "the user is not a JID such as romeo@example.org")
	}
	raw, local, err := reach(ctx, a.Server)
	if err != nil {
		return nil, false, &quinta.Error{Kind: quinta.KindUnavailable, Op: op, Err: errors.New("the server could not be reached")}
	}
	c = newConnection(&wire.Bounded{Conn: raw}, self)
	// Whatever the library waits for ends when the connection does.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if c.session, err = negotiate(ctx, a, self, c.conn, local, bindOr(last, &resumed)); err != nil {
		raw.Close()
		return nil, false, loginError(op, err)
	}
	c.self = c.session.LocalAddr()
	if resumed {
		c.flow, c.self = last, last.self
	}
	c.flow.self = c.self
	if c.self.Bare().String() != string(a.User) {
		raw.Close()
		return nil, false, quinta.E(quinta.KindMalformed, op, "the server logged in another user")
	}
	go c.serve()
	return c, resumed, nil
}

// negotiate logs in. TLS is required unless the server is on this machine, where
// it is used if it is offered and its certificate is not verified; there the
// password is never sent itself (SCRAM only).
func negotiate(ctx context.Context, a *account, self jid.JID, conn net.Conn, local bool, bind xmpp.StreamFeature) (*xmpp.Session, error) {
	conf := &tls.Config{ServerName: self.Domain().String(), MinVersion: tls.VersionTLS12, InsecureSkipVerify: local}
	startTLS := xmpp.StartTLS(conf)
	state := xmpp.SessionState(0)
	if direct(a.Server) {
		conf.NextProtos = []string{"xmpp-client"} // XEP-0368
		inner := tls.Client(conn, conf)
		if err := inner.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn, state = inner, xmpp.Secure
	}
	mechanisms := []sasl.Mechanism{sasl.ScramSha256, sasl.ScramSha1, sasl.Plain}
	if local {
		mechanisms = mechanisms[:2] // there may be no TLS
	}
	login := xmpp.SASL("", a.Password, mechanisms...)
	if local {
		login.Necessary &^= xmpp.Secure
	}
	return xmpp.NewSession(ctx, self.Domain(), self, conn, state, xmpp.NewNegotiator(func(*xmpp.Session, *xmpp.StreamConfig) xmpp.StreamConfig {
		return xmpp.StreamConfig{Features: []xmpp.StreamFeature{startTLS, login, bind}}
	}))
}

// loginError says why a login failed. The text of a SASL error is not repeated:
// it can hold bytes of the exchange.
func loginError(op string, err error) error {
	if se, ok := errors.AsType[stream.Error](err); ok {
		return quinta.E(quinta.KindUnavailable, op, "the server ended the connection: "+se.Err)
	}
	switch condition := saslCondition(err); condition {
	case "":
	case "temporary-auth-failure", "aborted":
		return quinta.E(quinta.KindUnavailable, op, "the server cannot log in users now")
	case "not-authorized", "account-disabled", "credentials-expired", "invalid-authzid":
		return quinta.E(quinta.KindUnauthenticated, op, "the user name or the password is wrong")
	default:
		return quinta.E(quinta.KindInvalid, op, "the server and this program share no way to log in")
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) {
		return quinta.E(quinta.KindUnavailable, op, "the server did not answer")
	}
	if certErr, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: certErr}
	}
	return quinta.E(quinta.KindUnavailable, op, "the login did not finish")
}

// saslCondition returns the condition of a SASL failure (RFC 6120, section 6.5),
// or "" for another error. The library's type for it is not exported.
func saslCondition(err error) string {
	failure, ok := errors.AsType[interface {
		error
		TokenReader() xml.TokenReader
	}](err)
	if !ok {
		return ""
	}
	r, inside := failure.TokenReader(), false
	for {
		tok, err := r.Token()
		if start, ok := tok.(xml.StartElement); ok {
			switch {
			case inside:
				return start.Name.Local
			case start.Name != xml.Name{Space: "urn:ietf:params:xml:ns:xmpp-sasl", Local: "failure"}:
				return ""
			}
			inside = true
		}
		if err != nil {
			return ""
		}
	}
}

// greet has the server count stanzas, tells it that the device is there, and
// asks for copies of what other devices get and send.
func (c *connection) greet(ctx context.Context, random io.Reader) error {
	if err := c.manage(ctx); err != nil {
		return err
	}
	if err := c.write(ctx, stanza.Presence{}.Wrap(nil)); err != nil {
		return errDropped
	}
	// A server without carbons has the archive.
	err := c.ask(ctx, random, jid.JID{}, stanza.SetIQ, xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: wire.NSCarbons, Local: "enable"}}), nil)
	if _, refused := errors.AsType[stanza.Error](err); err != nil && !refused {
		return err
	}
	return nil
}

// write sends a stanza.
func (c *connection) write(ctx context.Context, r xml.TokenReader) error {
	c.out.Lock()
	defer c.out.Unlock()
	c.flow.number()
	return c.session.Send(ctx, r)
}

// deliver sends a message, unless the server has it already, and returns when
// the server has taken it.
func (c *connection) deliver(ctx context.Context, random io.Reader, id quinta.MessageID, m any) error {
	if !c.flow.has(id) {
		c.out.Lock()
		c.flow.note(id, c.flow.number())
		err := c.session.Encode(ctx, m)
		c.out.Unlock()
		if err != nil {
			return c.broken(ctx)
		}
	}
	return c.ping(ctx, random)
}

// ping returns when the server has taken everything that was sent.
func (c *connection) ping(ctx context.Context, random io.Reader) error {
	ping := xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: wire.NSPing, Local: "ping"}})
	err := c.ask(ctx, random, c.self.Domain(), stanza.GetIQ, ping, nil)
	if _, refused := errors.AsType[stanza.Error](err); refused {
		return nil
	}
	return err
}

// serve reads the stream until it ends.
func (c *connection) serve() {
	defer c.end()
	defer c.conn.Close()
	_ = c.session.Serve(xmpp.HandlerFunc(func(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
		defer c.conn.Reset()
		if ok, err := c.counts(t, start); ok {
			return err
		}
		switch start.Name.Local {
		case "message":
			m := &wire.Message{}
			if err := xml.NewTokenDecoder(xmlstream.MultiReader(xmlstream.Token(*start), t)).Decode(m); err != nil {
				return err
			}
			return c.take(m)
		case "iq":
			c.flow.came()
			answer, err := c.asker.Answer(t, start)
			if !answer {
				c.flow.number() // the library refuses a request
			}
			return err
		case "presence":
			c.flow.came()
			p := &wire.Presence{}
			if err := xml.NewTokenDecoder(xmlstream.MultiReader(xmlstream.Token(*start), t)).Decode(p); err != nil {
				return err
			}
			c.presence(p)
		}
		return nil
	}))
}

// take puts a message where it is waited for.
func (c *connection) take(m *wire.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.Result != nil:
		// Only of a query of this stream, by the archive that was asked.
		if p := c.pages[m.Result.QueryID]; p != nil && (m.From == p.of || p.of == "" && c.own(m.From)) && len(p.list) <= pageOf {
			p.list = append(p.list, m)
		}
		c.flow.came()
		return nil
	case m.Type == stanza.ErrorMessage:
		c.settle(m.ID, false)
		c.flow.bounce(m.ID)
		c.flow.came()
		return nil
	case m.Type == stanza.GroupChatMessage:
		if !c.ofRoom(m) {
			c.flow.came()
			return nil
		}
	}
	if len(c.inbox) >= maxInbox {
		return errDropped
	}
	c.inbox = append(c.inbox, arrival{m, c.flow.wait()})
	c.wake()
	return nil
}

// own reports whether a stanza comes from this user's own account.
func (c *connection) own(from string) bool {
	return from == "" || from == c.self.Bare().String()
}

// pop takes what came, for the machine to commit.
func (c *connection) pop() (list []*wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.inbox {
		list = append(list, m.Message)
	}
	c.inbox = nil
	return list
}

// committed notes that the machine has committed what was taken, and tells the
// server so.
func (c *connection) committed(ctx context.Context) error {
	c.mu.Lock()
	next := uint32(0)
	if len(c.inbox) > 0 {
		next = c.inbox[0].number
	}
	c.flow.committed(next)
	c.mu.Unlock()
	return c.tell(ctx)
}

// alive reports whether the stream has not ended.
func (c *connection) alive() bool { return c.ended.Err() == nil }

// close ends the stream in order, so that the server delivers nothing more to
// it: what it hands to a connection that is gone can be lost.
func (c *connection) close() {
	if c.alive() && c.conn.SetWriteDeadline(time.Now().Add(closeWithin)) == nil && c.session.Close() == nil {
		c.flow.end()
		t := time.NewTimer(closeWithin)
		defer t.Stop()
		select {
		case <-c.ended.Done():
		case <-t.C:
		}
	}
	c.conn.Close()
	<-c.ended.Done()
}

// ask sends a request by IQ and decodes the answer's payload into v, which may
// be nil. A refusal is a stanza.Error.
func (c *connection) ask(ctx context.Context, random io.Reader, to jid.JID, kind stanza.IQType, payload xml.TokenReader, v any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	defer context.AfterFunc(c.ended, cancel)()
	id, err := newID(random)
	if err != nil {
		return err
	}
	err = c.asker.Ask(ctx, stanza.IQ{ID: id, Type: kind, To: to}, payload, v, func(r xml.TokenReader) error { return c.write(ctx, r) })
	if _, refused := errors.AsType[stanza.Error](err); err == nil || refused {
		return err
	}
	if errors.Is(err, wire.ErrAnswer) {
		return quinta.E(quinta.KindMalformed, "speaking to the XMPP server", "the answer to a request cannot be read")
	}
	return c.broken(ctx)
}

// broken says why there is no answer.
func (c *connection) broken(ctx context.Context) error {
	if !c.alive() {
		return errDropped
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	c.conn.Close() // it does not answer: the next request makes another one
	return quinta.E(quinta.KindUnavailable, "speaking to the XMPP server", "the server did not answer in time")
}

// newID makes the id of a request.
func newID(random io.Reader) (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
