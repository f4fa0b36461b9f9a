package rocketchatclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/bot"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
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

// A noNetwork refuses every request and counts them.
type noNetwork struct{ asked atomic.Int32 }

func (n *noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	n.asked.Add(1)
	return nil, errors.New("there is no network")
}

// TestOpenPush: a push with the ciphertext opens with the keys of the device, without
// any network; one with an id alone is fetched with the device's own login.
func TestOpenPush(t *testing.T) {
	t.Parallel()
	srv := quintatest.Start(t)
	alice, bob := meets(t, srv.URL, "alice").runs(), meets(t, srv.URL, "bob").runs()
	room := alice.opens("bob")
	alice.sends(room, "so that bob has the key")
	bob.reads("so that bob has the key")
	bob.rests()
	m := alice.sends(room, "for the lock screen")
	fetch := func(p *person, call string, q url.Values, out any) {
		t.Helper()
		raw, err := rocketchatclient.Fetch(t.Context(), p.s, call, q)
		if err != nil || json.Unmarshal(raw, out) != nil {
			t.Fatalf("got %s, %v", raw, err)
		}
	}
	var got struct {
		Data struct {
			Notification struct {
				Payload json.RawMessage `json:"payload"`
			} `json:"notification"`
		} `json:"data"`
	}
	fetch(bob, "push.get", url.Values{"id": {string(m.ID)}}, &got)
	payload := got.Data.Notification.Payload
	if strings.Contains(string(payload), "lock screen") {
		t.Fatalf("got %s", payload)
	}
	open := func(st client.Store, raw []byte) (e2ee.Event, *noNetwork) {
		t.Helper()
		none := &noNetwork{}
		s, err := rocketchatclient.Network{Transport: none}.Open(t.Context(), st, env)
		if err != nil {
			t.Fatal(err)
		}
		opener, ok := client.As[client.PushOpener](s)
		if !ok {
			t.Fatal("got a session that opens no pushes")
		}
		e, err := opener.OpenPush(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		return e, none
	}
	wrapped, err := json.Marshal(map[string]string{"ejson": string(payload)})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"object": payload, "ejson": wrapped} {
		e, none := open(bob.st.(*memory.Store).Snapshot(), raw)
		if e.Kind != e2ee.EventMessage || e.Message.Text != "for the lock screen" || e.Message.Sender != "alice" || e.Message.Room != room || !e.Message.Encrypted || none.asked.Load() != 0 {
			t.Errorf("%s: got %+v after %d requests", name, e, none.asked.Load())
		}
	}
	// Without the keys there is a reason.
	locked := another(t, srv.URL, "bob").runs()
	locked.waits("the room", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Message.Room == room })
	locked.rests()
	if e, none := open(locked.st.(*memory.Store).Snapshot(), payload); e.Kind != e2ee.EventUndecryptable || e.Reason != quinta.ReasonBackupLocked || none.asked.Load() != 0 {
		t.Errorf("got %+v on a locked device", e)
	}
	stranger := meets(t, srv.URL, "carol")
	if e, _ := open(stranger.st.(*memory.Store).Snapshot(), payload); e.Kind != e2ee.EventUndecryptable || e.Reason != quinta.ReasonNoKeyYet {
		t.Errorf("got %+v for a stranger", e)
	}
	// An id alone is fetched; Run tells of the message all the same.
	id := []byte(`{"host":"https://elsewhere.example.org","messageId":"` + string(m.ID) + `","notificationType":"message-id-only"}`)
	if e, err := bob.s.OpenPush(t.Context(), id); err != nil || e.Message.Text != "for the lock screen" {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := stranger.s.OpenPush(t.Context(), id); quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("got %v, want KindForbidden for a stranger", err)
	}
	again := resumes(t, bob.st).runs()
	again.reads("for the lock screen")
	// The same ciphertext under another id is an old message that someone says again.
	forged := bytes.ReplaceAll(payload, []byte(m.ID), []byte("AnotherMessageId1"))
	if e, err := again.s.OpenPush(t.Context(), forged); err != nil || e.Reason != quinta.ReasonReplayed {
		t.Errorf("got %+v, %v, want replayed", e, err)
	}
	for name, raw := range map[string]string{"nothing": "", "no object": "[]", "no id": `{"notificationType":"message-id-only"}`, "another kind": `{"messageId":"x","notificationType":"y"}`, "no room": `{"messageId":"x","notificationType":"message"}`} {
		if _, err := again.s.OpenPush(t.Context(), []byte(raw)); quinta.KindOf(err) != quinta.KindMalformed {
			t.Errorf("%s: got %v, want KindMalformed", name, err)
		}
	}
}
