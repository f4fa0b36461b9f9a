package xmppserver

import (
	"context"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/component"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"
)

// Times of the component's connection.
const (
	minBackOff = time.Second
	maxBackOff = time.Minute
	// connectWithin bounds a connection with its handshake.
	connectWithin = 20 * time.Second
	// pingEvery is how often the XMPP server is asked whether it is there, and
	// pingWithin how long it may take.
	pingEvery  = 60 * time.Second
	pingWithin = 30 * time.Second
)

// Run holds the component's connection, on one node of those that share the
// store. The connection is opened again when the XMPP server restarts.
func (s *xmppServer) Run(ctx context.Context) error {
	if s.component.name == "" {
		<-ctx.Done()
		return nil
	}
	return s.OnOneNode(ctx, "xmpp component", s.hold)
}

func (s *xmppServer) hold(ctx context.Context) error {
	wait := minBackOff
	for ctx.Err() == nil {
		began := s.Now()
		err := s.connection(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if s.Now().Sub(began) > maxBackOff {
			wait = minBackOff
		}
		if refusedSecret(err) {
			wait = maxBackOff
		}
		s.Log.Warn("xmpp: the component is not connected", "component", s.component.name, "server", s.component.addr, "err", text(err), "again_in", wait)
		if !s.pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, maxBackOff)
	}
	return nil
}

// pause waits for between a half and the whole of d.
func (s *xmppServer) pause(ctx context.Context, d time.Duration) bool {
	var b [4]byte
	if _, err := io.ReadFull(s.Rand, b[:]); err != nil {
		return false
	}
	t := time.NewTimer(d/2 + time.Duration(uint64(d/2)*uint64(binary.BigEndian.Uint32(b[:]))>>32))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

var (
	errSecret = errors.New("the XMPP server refuses the component's secret: it must be the one in the server's configuration")
	errUnable = errors.New("the XMPP server does not know a component of this name: add it to the server's configuration")
	errGone   = errors.New("the XMPP server closed the connection")
)

// text says what ended a connection, in words that hold no secret.
func text(err error) string {
	if err == nil {
		return errGone.Error()
	}
	return err.Error()
}

func refusedSecret(err error) bool {
	return errors.Is(err, errSecret) || errors.Is(err, errUnable)
}

// translate puts the refusals of the handshake into words.
func translate(err error) error {
	se, ok := errors.AsType[stream.Error](err)
	if !ok {
		return err
	}
	switch se.Err {
	case "not-authorized":
		return errSecret
	case "host-unknown", "conflict":
		return errUnable
	}
	return errors.New("the XMPP server ended the connection: " + se.Err)
}

// connection connects once, and serves until the connection ends.
func (s *xmppServer) connection(ctx context.Context) error {
	secret, err := s.componentSecret(ctx)
	if err != nil {
		return err
	}
	addr, err := jid.Parse(s.component.name)
	if err != nil {
		return quinta.E(quinta.KindInvalid, "xmpp", "the name of the component is not a JID")
	}
	within, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(within, "tcp", s.component.addr)
	if err != nil {
		return err
	}
	conn := &wire.Bounded{Conn: raw}
	defer conn.Close()
	// Whatever the library waits for ends when the connection does.
	stop := context.AfterFunc(within, func() { conn.Close() })
	session, err := component.NewSession(within, addr, []byte(secret), conn)
	if err != nil {
		return translate(err)
	}
	stop()
	conn.Reset()
	s.Log.Info("xmpp: the component is connected", "component", s.component.name, "server", s.component.addr)
	return s.serveComponent(ctx, session, conn)
}

// serveComponent answers stanzas and gives hints out until the connection ends.
func (s *xmppServer) serveComponent(ctx context.Context, session *xmpp.Session, conn *wire.Bounded) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s.rooms.use(session)
	defer s.rooms.use(nil)
	wg.Go(func() { s.giveHints(ctx, session) })
	wg.Go(func() {
		if err := s.watchRooms(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("xmpp: rooms are not watched", "err", err)
			cancel()
		}
	})
	wg.Go(func() {
		s.pings(ctx, session)
		cancel() // the other side is not there any more
	})
	err := session.Serve(xmpp.HandlerFunc(func(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
		defer conn.Reset()
		return s.stanza(ctx, t, start)
	}))
	return translate(err)
}

// giveHints sends what users are to be told.
func (s *xmppServer) giveHints(ctx context.Context, session *xmpp.Session) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-s.hints:
			to, err := jid.Parse(string(h.to))
			if err != nil {
				continue
			}
			msg := struct {
				stanza.Message
				Hint wire.Hint
			}{stanza.Message{To: to, From: session.LocalAddr(), Type: stanza.HeadlineMessage}, h.what}
			if err := session.Encode(ctx, msg); err != nil {
				return
			}
		}
	}
}

// pings asks the XMPP server now and then whether it is there, and returns when
// it does not answer.
func (s *xmppServer) pings(ctx context.Context, session *xmpp.Session) {
	_, parent, _ := strings.Cut(s.component.name, ".")
	to, err := jid.Parse(parent)
	if err != nil {
		return
	}
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		within, cancel := context.WithTimeout(ctx, pingWithin)
		r, err := session.SendIQElement(within, xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: wire.NSPing, Local: "ping"}}),
			stanza.IQ{Type: stanza.GetIQ, To: to, From: session.LocalAddr()})
		cancel()
		if err != nil {
			return
		}
		if err := r.Close(); err != nil {
			return
		}
	}
}

// An iq is a request by IQ.
type iq struct {
	XMLName xml.Name      `xml:"iq"`
	ID      string        `xml:"id,attr"`
	From    string        `xml:"from,attr"`
	To      string        `xml:"to,attr"`
	Type    stanza.IQType `xml:"type,attr"`
	Token   *wire.Token   `xml:"urn:quinta:keysrv:0 token"`
	Info    *struct{}     `xml:"http://jabber.org/protocol/disco#info query"`
	Items   *struct{}     `xml:"http://jabber.org/protocol/disco#items query"`
	Ping    *struct{}     `xml:"urn:xmpp:ping ping"`
}

// stanza answers one stanza. Only requests by IQ have an answer: a token is
// never asked for or given in a message.
func (s *xmppServer) stanza(ctx context.Context, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	if start.Name.Local != "iq" {
		return s.notice(t, start)
	}
	if ok, err := s.rooms.asker.Answer(t, start); ok {
		return err
	}
	var in iq
	if err := xml.NewTokenDecoder(xmlstream.MultiReader(xmlstream.Token(*start), t)).Decode(&in); err != nil {
		return err
	}
	from, err := jid.Parse(in.From)
	if err != nil {
		return nil
	}
	to, err := jid.Parse(in.To)
	if err != nil {
		return nil
	}
	answer := struct {
		stanza.IQ
		Payload any
	}{IQ: stanza.IQ{ID: in.ID, To: from, From: to, Type: stanza.ResultIQ}}
	switch {
	case to.Localpart() != "" || to.Resourcepart() != "":
		answer.Payload = refusal(stanza.ItemNotFound, "")
	case in.Token != nil && in.Type == stanza.GetIQ:
		answer.Payload, err = s.tokenByIQ(ctx, from, in.Token)
		if err != nil {
			answer.Payload = s.refuseToken(in.From, err)
		}
	case in.Info != nil && in.Type == stanza.GetIQ:
		answer.Payload = &wire.Info{Identities: []wire.Identity{{Category: "component", Type: "generic", Name: "Quinta key server"}},
			Features: []wire.Feature{{Var: wire.NSInfo}, {Var: wire.NSItems}, {Var: wire.NSPing}, {Var: wire.NSKeys}}}
	case in.Items != nil && in.Type == stanza.GetIQ:
		answer.Payload = &wire.Items{}
	case in.Ping != nil && in.Type == stanza.GetIQ:
	default:
		answer.Payload = refusal(stanza.ServiceUnavailable, "")
	}
	if _, ok := answer.Payload.(stanza.Error); ok {
		answer.Type = stanza.ErrorIQ
	}
	return t.Encode(answer)
}

func refusal(c stanza.Condition, text string) stanza.Error {
	e := stanza.Error{Type: stanza.Cancel, Condition: c}
	if text != "" {
		e.Text = map[string]string{"en": text}
	}
	return e
}

var errNoURL = quinta.E(quinta.KindUnavailable, "token", "the key server has no address for clients: its operator sets public-url")

// tokenByIQ makes a token for the user whose name the XMPP server has put on the
// request. Nothing else of the request says whose it is.
func (s *xmppServer) tokenByIQ(ctx context.Context, from jid.JID, in *wire.Token) (*wire.Token, error) {
	if from.Resourcepart() == "" || from.Localpart() == "" {
		return nil, quinta.E(quinta.KindForbidden, "token", "only a user's client can get a token")
	}
	base := s.ClientURL()
	if base == "" {
		return nil, errNoURL
	}
	user := quinta.UserID(from.Bare().String())
	if wait := s.Calls.Allow("xmpp mint", server.ByUser(network, user), rateWrite, 1); wait > 0 {
		return nil, quinta.E(quinta.KindLimited, "token", "too many requests")
	}
	token, expires, err := s.mint(ctx, user, in.Thumbprint)
	if err != nil {
		return nil, err
	}
	return &wire.Token{Href: base + wire.Base, Expires: expires.UTC().Format(time.RFC3339),
		Now: s.Now().UTC().Format(time.RFC3339Nano), Value: token}, nil
}

// refuseToken gives the refusal of a token its form.
func (s *xmppServer) refuseToken(from string, err error) stanza.Error {
	switch quinta.KindOf(err) {
	case quinta.KindForbidden:
		return refusal(stanza.Forbidden, words(err))
	case quinta.KindInvalid:
		return refusal(stanza.BadRequest, words(err))
	case quinta.KindLimited:
		e := refusal(stanza.PolicyViolation, words(err))
		e.Type = stanza.Wait
		return e
	}
	s.Log.Error("xmpp: a token could not be made", "err", err)
	e := refusal(stanza.InternalServerError, "the key server cannot make tokens now")
	if errors.Is(err, errNoURL) {
		e.Text = map[string]string{"en": words(err)}
	}
	return e
}

// words is the sentence of an error of the core.
func words(err error) string {
	if e, ok := errors.AsType[*quinta.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return "the request is refused"
}
