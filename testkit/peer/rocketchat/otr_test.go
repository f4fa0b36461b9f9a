//go:build peers

package rocketchat_test

import (
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/quintad"
	"github.com/quinta-chat/quinta/testkit/peer/rocketchat/sdk"
)

// TestOffTheRecord: a client that has the exchange and the cipher on WebCrypto talks with
// quinta off the record, whichever of the two invites. Both hear of the end, also when
// the connection of one of them is cut.
func TestOffTheRecord(t *testing.T) {
	t.Parallel()
	url := quintad.Start(t, quintad.Config{Args: []string{"--rocketchat-otr", "on"}}).URL()
	alice := &peer{t: t, p: sdk.Start(t), name: "alice"}
	alice.call("specRegister", map[string]string{"server": url, "username": "alice", "password": password}, nil)
	bob := runs(t, url, "bob")
	alice.call("otrListen", nil, nil)

	got := make(chan *client.OffRecord, 1)
	invite := func() *client.OffRecord {
		go func() {
			o, err := bob.s.InviteOffRecord(t.Context(), "alice")
			if err != nil {
				t.Error(err)
			}
			got <- o
		}()
		alice.call("otrAccept", nil, nil)
		return <-got
	}
	o := invite()
	if o == nil {
		t.Fatal("got no conversation")
	}
	talksOff(t, alice, o)
	if err := o.End(t.Context()); err != nil {
		t.Error(err)
	}
	alice.call("otrEnded", nil, nil)

	if o = invite(); o == nil {
		t.Fatal("got no conversation")
	}
	talksOff(t, alice, o)
	alice.call("otrEnd", nil, nil)
	hears(t, o, client.OffEnded)

	// The other side invites, once it is known that quinta waits.
	var opened struct{ Room quinta.RoomID }
	alice.call("specOpen", map[string]string{"username": "bob"}, &opened)
	waits := make(chan struct{})
	go func() {
		close(waits)
		o, err := bob.s.AwaitOffRecord(t.Context(), func(from quinta.UserID) bool { return from == "alice" })
		if err != nil {
			t.Error(err)
		}
		got <- o
	}()
	<-waits
	alice.call("otrInvite", map[string]any{"room": opened.Room, "username": "bob"}, nil)
	if o = <-got; o == nil {
		t.Fatal("got no conversation")
	}
	talksOff(t, alice, o)
	alice.call("otrCut", nil, nil)
	hears(t, o, client.OffEnded)
}

// talksOff has both say something, and checks that each heard that it was read.
func talksOff(t *testing.T, p *peer, o *client.OffRecord) {
	t.Helper()
	if o.With != quinta.UserID(p.name) {
		t.Errorf("got a conversation with %q", o.With)
	}
	var said struct{ Acknowledged bool }
	p.call("otrSay", map[string]string{"text": "from the web: Grüße"}, &said)
	if text := hears(t, o, client.OffSaid); text != "from the web: Grüße" || !said.Acknowledged {
		t.Errorf("got %q, %+v", text, said)
	}
	if err := o.Say(t.Context(), "from quinta: 東京"); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Text    string
		Matches bool
	}
	p.call("otrRead", nil, &got)
	if got.Text != "from quinta: 東京" || !got.Matches {
		t.Errorf("got %+v", got)
	}
	if text := hears(t, o, client.OffRead); text != "from quinta: 東京" {
		t.Errorf("got %q as read", text)
	}
}

// hears returns the next line of a kind; a line of trouble fails the test.
func hears(t *testing.T, o *client.OffRecord, kind client.OffKind) string {
	t.Helper()
	end := time.After(driver.Patience)
	for {
		select {
		case l, more := <-o.Lines:
			switch {
			case !more || l.Kind == client.OffTrouble:
				t.Fatalf("got %+v, want %s", l, kind)
			case l.Kind == kind:
				return l.Text
			}
		case <-end:
			t.Fatalf("got no %s", kind)
		}
	}
}
