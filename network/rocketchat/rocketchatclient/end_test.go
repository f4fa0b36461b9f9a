package rocketchatclient_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client/bot"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// TestSignedOut: a session whose login was ended says so, and ends.
func TestSignedOut(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice := meets(t, srv.URL, "alice")
	meets(t, srv.URL, "bob")
	ended := make(chan error, 1)
	go func() { ended <- alice.s.Run(t.Context(), alice.hears) }()
	room := alice.opens("bob")
	alice.sends(room, "x")
	if err := alice.s.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if quinta.KindOf(err) != quinta.KindUnauthenticated {
			t.Errorf("got %v, want KindUnauthenticated", err)
		}
	case <-time.After(patience):
		t.Error("the session did not end")
	}
}

// TestBot: a bot answers in an encrypted room.
func TestBot(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	if err := srv.Core.AddAccount(t.Context(), "echo", password.Reveal()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	cfg := bot.Config{Server: srv.URL, User: "echo", Password: password.Reveal(), Dir: filepath.Join(t.TempDir(), "bot")}
	go func() {
		done <- bot.Run(ctx, rocketchatclient.Network{}, cfg, func(m bot.Message) error { return m.Reply("you said: " + m.Text) })
	}()
	alice := meets(t, srv.URL, "alice").runs()
	for { // until the bot has logged in
		list, err := alice.s.Devices(t.Context(), "echo")
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	room := alice.opens("echo")
	alice.sends(room, "hello bot")
	if m := alice.reads("you said: hello bot"); !m.Encrypted || m.Relation.Kind != quinta.RelationReply {
		t.Errorf("got %+v", m)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
