//go:build peers

package matrix_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/mautrix"
)

// ownLongest is the length of a long text of our own client, which leaves more
// room in the event than others do.
const ownLongest = 43_000

// An own is a device of our own client half.
type own struct {
	t *testing.T
	*matrixclient.Session

	mu     sync.Mutex
	events []e2ee.Event
	came   chan struct{}
}

// own makes an account and a device of our own client on it, connected.
func (h *house) own(name string) *own {
	h.t.Helper()
	return h.owns(name, matrixclient.Network{}.Register)
}

// owns makes a device of our own client on an account, connected; enter
// registers or logs in.
func (h *house) owns(name string, enter func(context.Context, client.Store, e2ee.Env, client.Credentials) (quinta.Device, error)) *own {
	h.t.Helper()
	env := e2ee.Env{Now: time.Now, Rand: rand.Reader}
	a := h.account(name)
	in := client.Credentials{Server: a.Server, User: name, Password: client.NewSecret(a.Password), DeviceName: "own"}
	st := memory.New()
	var n matrixclient.Network
	if _, err := enter(h.t.Context(), st, env, in); err != nil {
		h.t.Fatal(err)
	}
	s, err := n.Open(h.t.Context(), st, env)
	if err != nil {
		h.t.Fatal(err)
	}
	o := &own{t: h.t, Session: s.(*matrixclient.Session), came: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx, o.on) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("our client ended with %v", err)
		}
	})
	return o
}

func (o *own) on(e e2ee.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	close(o.came)
	o.came = make(chan struct{})
}

// sees waits for an event.
func (o *own) sees(what string, is func(e2ee.Event) bool) e2ee.Event {
	o.t.Helper()
	late := time.After(driver.Patience)
	for seen := 0; ; {
		o.mu.Lock()
		all, came := o.events, o.came
		o.mu.Unlock()
		for ; seen < len(all); seen++ {
			if is(all[seen]) {
				return all[seen]
			}
		}
		select {
		case <-came:
		case <-late:
			o.t.Fatalf("%s saw no %s", o.Self().User, what)
		}
	}
}

// reads waits for a message by its id and checks its text and sender.
func (o *own) reads(id quinta.MessageID, from quinta.UserID, text string) quinta.Message {
	o.t.Helper()
	m := o.sees("message "+string(id), func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && e.Message.ID == id }).Message
	if m.Text != text || m.Sender != from {
		o.t.Fatalf("got %q from %s, want %q from %s", clip(m.Text), m.Sender, clip(text), from)
	}
	return m
}

// send sends a draft and waits for its id.
func (o *own) send(room quinta.RoomID, d client.Draft) quinta.MessageID {
	o.t.Helper()
	txn, err := o.Send(o.t.Context(), room, d)
	if err != nil {
		o.t.Fatal(err)
	}
	e := o.sees("answer to a message", func(e e2ee.Event) bool {
		return (e.Kind == e2ee.EventSent || e.Kind == e2ee.EventFailed) && e.Message.Txn == txn
	})
	if e.Kind == e2ee.EventFailed {
		o.t.Fatalf("a message was not sent: %s", e.Detail)
	}
	return e.Message.ID
}

// says sends a text and has the others read it.
func (o *own) says(room quinta.RoomID, text string, to ...*driver.Device) driver.Event {
	o.t.Helper()
	id := o.send(room, client.Text(text))
	var e driver.Event
	for _, d := range to {
		e = d.ReadID(room, id)
		if e.Body != text || e.Sender != o.Self().User || e.Clear || e.Wire != "m.room.encrypted" {
			o.t.Fatalf("got %+v, want %q from %s, encrypted", e, clip(text), o.Self().User)
		}
	}
	return e
}

// joins accepts an invitation to a room.
func (o *own) joins(room quinta.RoomID) {
	o.t.Helper()
	if _, err := o.Join(o.t.Context(), string(room)); err != nil {
		o.t.Fatal(err)
	}
}

// TestOwnClient: our own client talks with both other makes on our server.
func TestOwnClient(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob := h.user("alice"), h.own("bob")
		carol := mautrix.Start(t).Register(t, "carol", h.account("carol")).Start()
		others := []*driver.Device{alice, carol}

		theirs := alice.CreateRoom(driver.Room{Invite: []quinta.UserID{bob.Self().User, carol.User}, Rotation: 3})
		bob.joins(theirs)
		carol.Join(theirs)
		ours, err := bob.Create(t.Context(), client.NewRoom{Name: "ours", Invite: []quinta.UserID{alice.User, carol.User}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range others {
			d.Join(ours)
		}
		alice.UntilKnown(bob.Self().User, bob.Self().ID)
		for _, room := range []quinta.RoomID{theirs, ours} {
			for _, d := range others {
				d.UntilMembership(room, bob.Self().User, "join")
			}
			alice.UntilMembership(room, carol.User, "join")
			carol.UntilMembership(room, alice.User, "join")
			for i, text := range []string{"hello", "Grüße, ñandú, 日本語 \U0001F3E1", strings.Repeat("0123456789", ownLongest/10), "after the rotation"} {
				for _, d := range others {
					body := fmt.Sprintf("%s %d", text, i)
					bob.reads(d.SendText(room, body), d.User, body)
				}
				bob.says(room, text, others...)
			}
			data := bytes.Repeat([]byte("sealed "), 20_000)
			id, _ := alice.SendFile(room, "from-js.bin", data)
			m := bob.reads(id, alice.User, "")
			if m.File == nil || m.File.Name != "from-js.bin" {
				t.Fatalf("got %+v, want the file", m.File)
			}
			var got bytes.Buffer
			if err := bob.Fetch(t.Context(), m.File, &got); err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Fatalf("got %d bytes, %v, want the file", got.Len(), err)
			}
			id = bob.send(room, client.Draft{Kind: quinta.MessageFile, File: &client.Upload{Name: "ours.bin", MediaType: "application/octet-stream", Size: int64(len(data)), From: bytes.NewReader(data)}})
			for _, d := range others {
				if name, got := d.ReadFile(room, id); name != "ours.bin" || !bytes.Equal(got, data) {
					t.Errorf("%s got %q with %d bytes, want the file", d.User, name, len(got))
				}
			}
		}
	})
}

// TestOwnClientVerify: our own client and matrix-js-sdk compare emoji, asked
// by either side.
func TestOwnClientVerify(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob := h.user("alice"), h.own("bob")
		alice.Bootstrap()
		room := alice.CreateRoom(driver.Room{Invite: []quinta.UserID{bob.Self().User}})
		bob.joins(room)
		alice.UntilMembership(room, bob.Self().User, "join")
		alice.UntilKnown(bob.Self().User, bob.Self().ID)
		bob.reads(alice.SendText(room, "shall we?"), alice.User, "shall we?")

		shown := make(chan []string, 1)
		compare := func(_ context.Context, s client.ShortStrings) (bool, error) {
			var names []string
			for _, e := range s.Emoji {
				names = append(names, e.Name)
			}
			shown <- names
			return true, nil
		}
		ended := make(chan error, 1)
		go func() {
			ended <- bob.AwaitVerify(t.Context(), func(quinta.Device) bool { return true }, compare)
		}()
		self := bob.Self()
		flow := alice.AskVerification(driver.Target{User: self.User, Device: self.ID})
		alice.StartVerification(flow)
		emoji := alice.FlowEmoji(flow)
		if got := <-shown; len(got) != 7 || !slices.Equal(got, emoji) {
			t.Fatalf("got emoji %q and %q, want the same seven", got, emoji)
		}
		alice.ConfirmFlow(flow)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

// TestOwnClientKicked: our own client, removed, reads no further, and the rest
// go on under a new key.
func TestOwnClientKicked(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		alice, bob := h.user("alice"), h.own("bob")
		carol := h.user("carol")
		room := h.meet(driver.Room{}, alice, carol)
		alice.Invite(room, bob.Self().User)
		bob.joins(room)
		alice.UntilMembership(room, bob.Self().User, "join")
		alice.UntilKnown(bob.Self().User, bob.Self().ID)
		before := says(t, room, alice, "all three", carol)
		bob.reads(before.ID, alice.User, "all three")
		alice.Kick(room, bob.Self().User)
		alice.UntilMembership(room, bob.Self().User, "leave")
		after := says(t, room, alice, "two of us", carol)
		if after.Session == before.Session {
			t.Error("the session did not change when a member was removed")
		}
		// What comes in another room afterwards shows that Bob has synced.
		other := alice.CreateRoom(driver.Room{Invite: []quinta.UserID{bob.Self().User}})
		bob.joins(other)
		alice.UntilMembership(other, bob.Self().User, "join")
		bob.reads(alice.SendText(other, "still friends"), alice.User, "still friends")
		bob.mu.Lock()
		defer bob.mu.Unlock()
		for _, e := range bob.events {
			if e.Message.ID == after.ID {
				t.Errorf("bob holds %+v, which came after he was removed", e)
			}
		}
	})
}
