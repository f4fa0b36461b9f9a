package xmppclient

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"
)

const keyServerJID = "keys.test.example"

// lone is a connection without a server, to look at what it makes of stanzas.
func lone() *connection {
	return newConnection(nil, jid.MustParse("juliet@test.example/a"))
}

// message reads a stanza.
func message(t *testing.T, text string) *wire.Message {
	t.Helper()
	m := &wire.Message{}
	if err := xml.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

const packet = `<encrypted xmlns="jabber:encrypted" objectid="o">AAAA</encrypted>`

func inner(from, to string) string {
	return `<forwarded xmlns="urn:xmpp:forward:0"><message xmlns="jabber:client" id="s" from="` + from + `" to="` + to + `" type="chat">` + packet + `</message></forwarded>`
}

// TestInput: whose message it is, and which conversation it belongs to.
func TestInput(t *testing.T) {
	t.Parallel()
	c := lone()
	for name, k := range map[string]struct {
		text string
		from quinta.UserID
		room quinta.RoomID
	}{
		"live":            {`<message id="s" from="romeo@test.example/x" to="juliet@test.example" type="chat">` + packet + `</message>`, "romeo@test.example", "romeo@test.example"},
		"bare":            {`<message id="s" from="romeo@test.example" to="juliet@test.example">` + packet + `</message>`, "romeo@test.example", "romeo@test.example"},
		"received carbon": {`<message from="juliet@test.example"><received xmlns="urn:xmpp:carbons:2">` + inner("romeo@test.example/x", "juliet@test.example/b") + `</received></message>`, "romeo@test.example", "romeo@test.example"},
		"sent carbon":     {`<message from="juliet@test.example"><sent xmlns="urn:xmpp:carbons:2">` + inner("juliet@test.example/b", "romeo@test.example") + `</sent></message>`, "juliet@test.example", "romeo@test.example"},
	} {
		in := c.inputOf([]*wire.Message{message(t, k.text)}, keyServerJID)
		if len(in.Items) != 1 || in.Items[0].From != k.from || in.Items[0].Room != k.room || in.Items[0].StanzaID != "s" || in.Items[0].ObjectID != "o" {
			t.Errorf("%s: got %+v", name, in)
		}
	}
	for name, text := range map[string]string{
		"in clear":  `<message id="s" from="romeo@test.example" type="chat"><body>hello</body></message>`,
		"no sender": `<message id="s" type="chat">` + packet + `</message>`,
	} {
		if in := c.inputOf([]*wire.Message{message(t, text)}, keyServerJID); len(in.Items) != 0 {
			t.Errorf("%s: got %+v, want nothing", name, in)
		}
	}
}

// TestAttack07ForgedCarbon: a carbon, a result of the archive and a hint count
// only from the one who may send them.
func TestAttack07ForgedCarbon(t *testing.T) {
	t.Parallel()
	c := lone()
	for _, from := range []string{"tybalt@test.example", "tybalt@test.example/x", "juliet@test.example.evil", "test.example"} {
		for _, kind := range []string{"received", "sent"} {
			in := c.inputOf([]*wire.Message{message(t, `<message from="`+from+`"><`+kind+` xmlns="urn:xmpp:carbons:2">`+inner("romeo@test.example/x", "juliet@test.example")+`</`+kind+`></message>`)}, keyServerJID)
			if len(in.Items) != 0 {
				t.Errorf("%s from %s: got %+v, want nothing", kind, from, in)
			}
		}
		in := c.inputOf([]*wire.Message{message(t, `<message from="`+from+`"><hint xmlns="urn:quinta:keysrv:0" wants="true" changed="romeo@test.example"/></message>`)}, keyServerJID)
		if in.Wants || len(in.Changed) != 0 {
			t.Errorf("a hint from %s: got %+v, want nothing", from, in)
		}
		c.pages["q"] = &archivePage{}
		if err := c.take(message(t, `<message from="`+from+`"><result xmlns="urn:xmpp:mam:2" queryid="q" id="1">`+inner("romeo@test.example/x", "juliet@test.example")+`</result></message>`)); err != nil || len(c.pages["q"].list) != 0 {
			t.Errorf("a result from %s was taken: %v", from, err)
		}
		in = c.inputOf([]*wire.Message{message(t, `<message id="s" from="romeo@test.example" type="chat">`+packet+`<stanza-id xmlns="urn:xmpp:sid:0" id="77" by="`+from+`"/></message>`)}, keyServerJID)
		if in.Archive != "" {
			t.Errorf("the archive's id by %s was believed", from)
		}
	}
	in := c.inputOf([]*wire.Message{message(t, `<message from="`+keyServerJID+`"><hint xmlns="urn:quinta:keysrv:0" wants="true" changed="romeo@test.example"/></message>`)}, keyServerJID)
	if !in.Wants || len(in.Changed) != 1 {
		t.Errorf("got %+v, want the hint", in)
	}
	// A result of a query that no one made.
	if err := c.take(message(t, `<message><result xmlns="urn:xmpp:mam:2" queryid="other" id="1">`+inner("romeo@test.example/x", "juliet@test.example")+`</result></message>`)); err != nil || len(c.inbox) != 0 {
		t.Error("a result that no one asked for was taken")
	}
}

// TestInboxIsBounded: a flood ends the connection; the archive has the rest.
func TestInboxIsBounded(t *testing.T) {
	t.Parallel()
	c := lone()
	m := message(t, `<message id="s" from="romeo@test.example" type="chat">`+packet+`</message>`)
	for range maxInbox {
		if err := c.take(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.take(m); !errors.Is(err, errDropped) {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// speaking is a connection to a server whose answers answer makes.
func speaking(t *testing.T, answer func(n int, id, query string) string) *connection {
	t.Helper()
	ours, theirs := net.Pipe()
	c := lone()
	c.conn = &wire.Bounded{Conn: ours}
	var err error
	c.session, err = xmpp.NewSession(t.Context(), c.self.Domain(), c.self, c.conn, xmpp.Secure|xmpp.Authn|xmpp.Ready, func(context.Context, *stream.Info, *stream.Info, *xmpp.Session, any) (xmpp.SessionState, io.ReadWriter, any, error) {
		return xmpp.Ready, nil, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	go c.serve()
	go func() {
		d := xml.NewDecoder(theirs)
		for n := 0; ; n++ {
			var q struct {
				XMLName xml.Name
				ID      string `xml:"id,attr"`
				Query   struct {
					ID string `xml:"queryid,attr"`
				} `xml:"urn:xmpp:mam:2 query"`
			}
			if d.Decode(&q) != nil {
				return
			}
			if _, err := io.WriteString(theirs, answer(n, q.ID, q.Query.ID)); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		theirs.Close()
		c.close()
	})
	return c
}

// page is a page of the archive with the ids from first to last.
func page(id, query string, first, last int, complete bool) string {
	var b strings.Builder
	for i := first; i <= last; i++ {
		fmt.Fprintf(&b, `<message xmlns="jabber:client" from="juliet@test.example"><result xmlns="urn:xmpp:mam:2" queryid="%s" id="%d">%s</result></message>`, query, i, inner("romeo@test.example/x", "juliet@test.example"))
	}
	fmt.Fprintf(&b, `<iq xmlns="jabber:client" type="result" id="%s"><fin xmlns="urn:xmpp:mam:2" complete="%v"><set xmlns="http://jabber.org/protocol/rsm"><last>%d</last></set></fin></iq>`, id, complete, last)
	return b.String()
}

// TestArchive reads two pages, and gives up on a server that gives the same page
// for ever.
func TestArchive(t *testing.T) {
	t.Parallel()
	c := speaking(t, func(n int, id, query string) string { return page(id, query, 3*n+1, 3*n+3, n == 1) })
	in, done, err := c.catchUp(t.Context(), rand.Reader, "")
	if err != nil || done || len(in.Items) != 3 || in.Archive != "3" {
		t.Fatalf("got %+v, %v, %v", in, done, err)
	}
	if in, done, err = c.catchUp(t.Context(), rand.Reader, in.Archive); err != nil || !done || in.Archive != "6" {
		t.Errorf("got %+v, %v, %v", in, done, err)
	}
	c = speaking(t, func(_ int, id, query string) string { return page(id, query, 1, 3, false) })
	after := ""
	for i := range 3 {
		in, _, err := c.catchUp(t.Context(), rand.Reader, after)
		if err != nil {
			if i != 1 || quinta.KindOf(err) != quinta.KindUnavailable {
				t.Errorf("page %d: got %v", i, err)
			}
			return
		}
		after = in.Archive
	}
	t.Error("a server gives the same page for ever, and nothing ends it")
}

// TestNoArchive: a server without one is not an error; an id that the archive
// does not know any more begins it again.
func TestNoArchive(t *testing.T) {
	t.Parallel()
	refuse := func(id, condition string) string {
		return `<iq xmlns="jabber:client" type="error" id="` + id + `"><error type="cancel"><` + condition + ` xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`
	}
	c := speaking(t, func(_ int, id, _ string) string { return refuse(id, "service-unavailable") })
	if in, done, err := c.catchUp(t.Context(), rand.Reader, ""); err != nil || !done || len(in.Items) != 0 {
		t.Errorf("got %+v, %v, %v", in, done, err)
	}
	c = speaking(t, func(n int, id, query string) string {
		if n == 0 {
			return refuse(id, "item-not-found")
		}
		return page(id, query, 1, 2, true)
	})
	if in, done, err := c.catchUp(t.Context(), rand.Reader, "gone"); err != nil || !done || in.Archive != "2" {
		t.Errorf("got %+v, %v, %v", in, done, err)
	}
}

// TestRefusal: an error of an answer keeps its condition.
func TestRefusal(t *testing.T) {
	t.Parallel()
	c := speaking(t, func(_ int, id, _ string) string {
		return `<iq xmlns="jabber:client" type="error" id="` + id + `"><token xmlns="urn:quinta:keysrv:0"/><error type="auth"><forbidden xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`
	})
	err := c.askWith(t.Context(), rand.Reader, jid.MustParse(keyServerJID), stanza.GetIQ, &wire.Token{}, &wire.Token{})
	if se, ok := errors.AsType[stanza.Error](err); !ok || se.Condition != stanza.Forbidden {
		t.Errorf("got %v, want forbidden", err)
	}
}

// TestNoAnswer: a stream that ends under a request is an error that passes.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	c := speaking(t, func(int, string, string) string { return "</stream:stream>" })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.askWith(ctx, rand.Reader, jid.JID{}, stanza.GetIQ, &wire.Items{}, nil); quinta.KindOf(err) != quinta.KindUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"example.org", "xmpp://127.0.0.1:5222", "xmpp://example.org", "xmpp://[::1]:5222/", "xmpps://example.org", "xmpps://127.0.0.1:5223"} {
		if err := checkServer(good); err != nil {
			t.Errorf("%s: got %v", good, err)
		}
	}
	for _, bad := range []string{"", "romeo@example.org", "https://example.org", "xmpp://", "xmpp://a@b", "xmpp://b/path", "a b", "xmpp://b?x=1", "xmpps://", "xmpps://a@b", "wss://b"} {
		if err := checkServer(bad); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("%s: got %v, want invalid", bad, err)
		}
	}
}

func conversationKey(t *testing.T) key.ConversationKey {
	t.Helper()
	k, err := key.GenerateSymmetric[key.Conversation](rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestOverhead: what a message costs over its text, which is the same for any
// number of devices.
func TestOverhead(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 256)
	cipher, err := keysrv.NewCipher(keysrv.SuiteGCM, conversationKey(t))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := keysrv.Seal(cipher, rand.Reader, keysrv.Binding{ObjectID: strings.Repeat("o", 22), From: "romeo@test.example", To: "juliet@test.example", StanzaID: "0123456789abcdef0123456789abcdef"},
		keysrv.Envelope{Device: "AAAAAAAAAAAAAAAA", Time: time.Now().UnixMilli(), Content: []byte(`{"text":"` + text + `"}`)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := xml.Marshal(wire.NewSent("0123456789abcdef0123456789abcdef", jid.MustParse("juliet@test.example"), false, &keysrv.Packet{ObjectID: strings.Repeat("o", 22), Payload: payload}))
	if err != nil {
		t.Fatal(err)
	}
	if over := len(raw) - len(text); over > 600 {
		t.Errorf("a message of 256 bytes has %d bytes more on the wire, want at most 600", over)
	}
}

// TestAttack03RoomNick: the sender in a room is whoever the room has said is behind
// the nickname now. What a message says of itself, and what the nickname of
// someone who left was, counts for nothing.
func TestAttack03RoomNick(t *testing.T) {
	t.Parallel()
	const room = "hall@rooms.test.example"
	c := lone()
	c.flow.rooms[room] = &occupancy{nicks: map[string]quinta.UserID{}, entered: make(chan struct{})}
	live := func(text string) keysrv.In {
		t.Helper()
		m := message(t, text)
		c.mu.Lock()
		ok := c.ofRoom(m)
		c.mu.Unlock()
		if !ok {
			return keysrv.In{}
		}
		return c.inputOf([]*wire.Message{m}, keyServerJID)
	}
	appear := func(nick, jid, kind string) {
		t.Helper()
		p := &wire.Presence{}
		if err := xml.Unmarshal([]byte(`<presence from="`+room+`/`+nick+`" type="`+kind+`"><x xmlns="http://jabber.org/protocol/muc#user"><item jid="`+jid+`" affiliation="member"/></x></presence>`), p); err != nil {
			t.Fatal(err)
		}
		c.presence(p)
	}
	const said = `<message id="s" from="` + room + `/nurse" type="groupchat">` + packet + `<stanza-id xmlns="urn:xmpp:sid:0" id="9" by="` + room + `"/>`
	appear("nurse", "tybalt@test.example/x", "")
	in := live(said + `<x xmlns="http://jabber.org/protocol/muc#user"><item jid="romeo@test.example"/></x></message>`)
	if len(in.Items) != 1 || in.Items[0].From != "tybalt@test.example" || !in.Items[0].Group || in.Items[0].Room != room || in.Archives[room] != "9" {
		t.Errorf("got %+v", in)
	}
	appear("nurse", "tybalt@test.example/x", "unavailable")
	if in := live(said + `</message>`); len(in.Items) != 1 || in.Items[0].From != "" {
		t.Errorf("the nickname of someone who left: got %+v", in)
	}
	appear("nurse", "juliet@test.example/y", "")
	if in := live(said + `</message>`); in.Items[0].From != "juliet@test.example" {
		t.Errorf("got %+v", in)
	}
	for name, text := range map[string]string{
		"another room":    `<message id="s" from="cave@rooms.test.example/nurse" type="groupchat">` + packet + `</message>`,
		"the room itself": `<message id="s" from="` + room + `" type="groupchat">` + packet + `</message>`,
	} {
		if in := live(text); len(in.Items) != 0 {
			t.Errorf("%s: got %+v, want nothing", name, in)
		}
	}
	// In the archive the room names the sender; two names are none.
	archived := func(x string) quinta.UserID { return archivedSender(message(t, `<message>`+x+`</message>`)) }
	item := `<x xmlns="http://jabber.org/protocol/muc#user"><item jid="romeo@test.example/x"/></x>`
	if archived(item) != "romeo@test.example" || archived(item+item) != "" || archived("") != "" || archived(strings.ReplaceAll(item, "romeo@", "")) != "" {
		t.Errorf("got %q, %q, %q", archived(item), archived(item+item), archived(""))
	}
	// A result of the archive of another room is not taken.
	c.pages["q"] = &archivePage{of: room}
	if err := c.take(message(t, `<message from="cave@rooms.test.example"><result xmlns="urn:xmpp:mam:2" queryid="q" id="1">`+inner("a@b/x", "c@d")+`</result></message>`)); err != nil || len(c.pages["q"].list) != 0 {
		t.Error("a result of another room's archive was taken")
	}
}

// TestInvitation: only a whole room's JID invites, and the inviter is the sender.
func TestInvitation(t *testing.T) {
	t.Parallel()
	c := lone()
	in := c.inputOf([]*wire.Message{message(t, `<message from="romeo@test.example/x"><x xmlns="jabber:x:conference" jid="hall@rooms.test.example"/></message>`)}, keyServerJID)
	if len(in.Invitations) != 1 || in.Invitations[0] != (keysrv.Invitation{Room: "hall@rooms.test.example", By: "romeo@test.example"}) {
		t.Errorf("got %+v", in)
	}
	for _, text := range []string{`<message from="romeo@test.example/x"><x xmlns="jabber:x:conference" jid="rooms.test.example"/></message>`,
		`<message from="romeo@test.example/x" type="groupchat"><x xmlns="jabber:x:conference" jid="hall@rooms.test.example"/></message>`,
		`<message from="romeo@test.example/x" type="error"><x xmlns="jabber:x:conference" jid="hall@rooms.test.example"/></message>`} {
		if in := c.inputOf([]*wire.Message{message(t, text)}, keyServerJID); len(in.Invitations) != 0 {
			t.Errorf("%s: got %+v", text, in)
		}
	}
}
