package mtprotoclient_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoclient"
)

// TestVerify: both sides see the same 36 bytes and the same picture, and what was compared is
// trusted; what differs is refused.
func TestVerify(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.opens(bob)
	shown, drawn := map[*device][]string{}, map[*device][][]uint8{}
	verify := func(d *device, user string, same bool) error {
		return d.s.Verify(t.Context(), quinta.UserID(user), "", func(_ context.Context, s client.ShortStrings) (bool, error) {
			shown[d], drawn[d] = s.Words, s.Picture
			return same, nil
		})
	}
	if err := verify(alice, "@bob", true); err != nil {
		t.Fatal(err)
	}
	if err := verify(bob, string(alice.s.Self().User), false); !errors.Is(err, client.ErrMismatch) {
		t.Errorf("what differs: got %v, want %v", err, client.ErrMismatch)
	}
	if len(shown[alice]) != 18 || !slices.Equal(shown[alice], shown[bob]) {
		t.Errorf("shown: %q and %q", shown[alice], shown[bob])
	}
	if len(drawn[alice]) != 12 || !slices.EqualFunc(drawn[alice], drawn[bob], slices.Equal) {
		t.Errorf("drawn: %v and %v", drawn[alice], drawn[bob])
	}
	bob.says(id, "to whoever verified me")
	if got := alice.reads("to whoever verified me").Trust; got != quinta.TrustVerified {
		t.Errorf("trust: got %v, want verified", got)
	}
	if err := verify(alice, "@nobody", true); quinta.KindOf(err) != quinta.KindNotFound {
		t.Errorf("no one: got %v", err)
	}
}

// TestTimer: a message disappears from both devices the time after it was read.
func TestTimer(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.opens(bob)
	if err := alice.s.SetTimer(t.Context(), id, time.Second); err != nil {
		t.Fatal(err)
	}
	alice.says(id, "gone in a second")
	m := bob.reads("gone in a second")
	if err := bob.s.MarkRead(t.Context(), id, m.ID); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob} {
		d.until("the end of the message", func() bool {
			items, err := d.s.Read(t.Context(), id, timeline.Query{Limit: 10})
			if err != nil || len(items) != 1 {
				t.Fatalf("%s: %d messages, %v, want 1", d.name, len(items), err)
			}
			return items[0].Redacted && items[0].Message.Text == ""
		})
	}
}

// TestTimerWhileOff: a message whose time came while the device was off is gone
// when someone reads there, before the device has reached its server.
func TestTimerWhileOff(t *testing.T) {
	srv := start(t)
	alice, bob := login(t, srv, "alice"), login(t, srv, "bob")
	id := alice.opens(bob)
	if err := alice.s.SetTimer(t.Context(), id, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	alice.says(id, "gone while off")
	m := bob.reads("gone while off")
	if err := bob.s.MarkRead(t.Context(), id, m.ID); err != nil {
		t.Fatal(err)
	}
	bob.kill()
	st := bob.store()
	defer st.Close()
	late := env()
	late.Now = func() time.Time { return time.Now().Add(time.Minute) }
	s, err := (mtprotoclient.Network{}).Open(t.Context(), st, late)
	if err != nil {
		t.Fatal(err)
	}
	items, err := s.(*mtprotoclient.Session).Read(t.Context(), id, timeline.Query{Limit: 10})
	if err != nil || len(items) != 1 || !items[0].Redacted || items[0].Message.Text != "" {
		t.Errorf("got %+v, %v, want one message that has ended", items, err)
	}
}
