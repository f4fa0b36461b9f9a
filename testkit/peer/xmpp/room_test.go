//go:build peers

package xmpp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/server"
)

func (p *seat) talker() client.Talker {
	p.s.t.Helper()
	t, ok := client.As[client.Talker](p.Session)
	if !ok {
		p.s.t.Fatal("the session has no rooms")
	}
	return t
}

// creates makes a room.
func (p *seat) creates(name string, with ...*seat) quinta.RoomID {
	p.s.t.Helper()
	in := client.NewRoom{Name: name}
	for _, o := range with {
		in.Invite = append(in.Invite, o.user)
	}
	room, err := p.talker().Create(p.s.t.Context(), in)
	if err != nil {
		p.s.t.Fatal(err)
	}
	return room
}

// comesIn waits for the invitation to a room and joins it.
func (p *seat) comesIn(room quinta.RoomID) {
	p.s.t.Helper()
	p.until("the invitation", func(list []e2ee.Event) bool {
		for _, e := range list {
			if e.Kind == e2ee.EventRoom && e.Message.Room == room && e.Detail == "invited" {
				return true
			}
		}
		return false
	})
	if _, err := p.talker().Join(p.s.t.Context(), string(room)); err != nil {
		p.s.t.Fatal(err)
	}
}

// tells sends a text to a room and waits until it was sent.
func (p *seat) tells(room quinta.RoomID, text string) {
	p.s.t.Helper()
	if _, err := p.Send(p.s.t.Context(), room, client.Text(text)); err != nil {
		p.s.t.Fatal(err)
	}
	p.until("that it was sent: "+text, func(list []e2ee.Event) bool { return p.count(list, e2ee.EventSent, text) == 1 })
}

// texts returns the texts of a room on the device.
func (p *seat) texts(room quinta.RoomID) string {
	p.s.t.Helper()
	r, ok := client.As[client.Reader](p.Session)
	if !ok {
		p.s.t.Fatal("the session has no timeline")
	}
	items, err := r.Read(p.s.t.Context(), room, timeline.Query{})
	if err != nil {
		p.s.t.Fatal(err)
	}
	var out []string
	for _, it := range items {
		if it.Message.Text != "" {
			out = append(out, it.Message.Text)
		}
	}
	return strings.Join(out, " | ")
}

// lists waits until a device knows exactly these members.
func (p *seat) lists(room quinta.RoomID, want ...*seat) {
	p.s.t.Helper()
	l, ok := client.As[client.MemberLister](p.Session)
	if !ok {
		p.s.t.Fatal("the session lists no members")
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		have, err := l.Members(p.s.t.Context(), room)
		if err != nil {
			p.s.t.Fatal(err)
		}
		found := 0
		for _, m := range have {
			for _, w := range want {
				if m.User == w.user {
					found++
				}
			}
		}
		if found == len(want) && len(have) == len(want) {
			return
		}
		if time.Now().After(end) {
			p.s.t.Fatalf("%s sees the members %v", p.user, have)
		}
	}
}

// TestRoom: a room of three over an XMPP server: everyone reads everyone, from
// the room and from its archive; a second device reads all; someone who is
// removed reads nothing that is said after that, and a stranger never anything.
func TestRoom(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		romeo, juliet := s.login("romeo"), s.login("juliet")
		room := romeo.creates("Garden", juliet)
		juliet.comesIn(room)
		romeo.lists(room, romeo, juliet)
		romeo.tells(room, "who is there")
		if m := juliet.reads(romeo, "who is there"); !m.Encrypted || m.Trust != quinta.TrustPinned || m.Room != room || m.Device != romeo.Self().ID {
			t.Errorf("got %+v", m)
		}
		juliet.tells(room, "it is I")
		romeo.reads(juliet, "it is I")
		// Away, and back.
		juliet.stop()
		romeo.tells(room, "while away")
		juliet.close()
		juliet.run()
		juliet.reads(romeo, "while away")
		// Someone new reads what is said from then on.
		tybalt := s.login("tybalt")
		if err := romeo.talker().Invite(t.Context(), room, tybalt.user); err != nil {
			t.Fatal(err)
		}
		tybalt.comesIn(room)
		juliet.lists(room, romeo, juliet, tybalt)
		juliet.tells(room, "a third one")
		tybalt.reads(juliet, "a third one")
		romeo.reads(juliet, "a third one")
		if got := tybalt.texts(room); got != "a third one" {
			t.Errorf("the new member reads %q", got)
		}
		// A second device, approved by the first, reads everything.
		second := s.login("juliet")
		a, ok := client.As[client.Approver](juliet.Session)
		if !ok {
			t.Fatal("the session approves no one")
		}
		juliet.until("that a device is in doubt", func(list []e2ee.Event) bool {
			for _, e := range list {
				if e.Device == second.Self().ID {
					return true
				}
			}
			return false
		})
		if err := a.Approve(t.Context(), second.Self().ID); err != nil {
			t.Fatal(err)
		}
		second.reads(romeo, "who is there")
		second.reads(romeo, "while away")
		second.reads(juliet, "it is I")
		// Removed.
		m, ok := client.As[client.Moderator](romeo.Session)
		if !ok {
			t.Fatal("the session removes no one")
		}
		if err := m.Kick(t.Context(), room, tybalt.user, ""); err != nil {
			t.Fatal(err)
		}
		juliet.lists(room, romeo, juliet)
		juliet.tells(room, "without him")
		romeo.reads(juliet, "without him")
		second.reads(juliet, "without him")
		if got := tybalt.texts(room); strings.Contains(got, "without him") {
			t.Errorf("a removed member reads %q", got)
		}
		if strings.Contains(s.xmpp.Files(), "who is there") {
			t.Error("the XMPP server has the text in clear")
		}
		out, err := s.keys.Core.RunCommand(t.Context(), "xmpp audit", server.CommandInput{Flags: map[string]string{"user": string(tybalt.user), "conversation": "", "limit": "100"}})
		if err != nil || !strings.Contains(out, "joined") || !strings.Contains(out, "removed") {
			t.Errorf("got %v, %s", err, out)
		}
	})
}
