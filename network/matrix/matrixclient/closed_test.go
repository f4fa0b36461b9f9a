package matrixclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// never fails the test if one of the texts was seen on the wire.
func never(t *testing.T, p *middle.Proxy, texts ...string) {
	t.Helper()
	for _, r := range p.Seen() {
		for _, text := range texts {
			if bytes.Contains(r.Body, []byte(text)) || strings.Contains(r.Path+r.Query, text) {
				t.Errorf("%s %s: %q left in clear", r.Method, r.Path, text)
			}
		}
	}
}

// denyEncryption has the server deny that any room is encrypted.
func denyEncryption(p *middle.Proxy) {
	p.Answers(changeOf("/_matrix/", func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(`"m.room.encryption"`), []byte(`"m.room.nothing"`))
	}))
}

// TestServerDeniesEncryption has a server hide that a room is encrypted: from
// who made it, from who knew it, from who joins, and from who comes back.
func TestServerDeniesEncryption(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	pa, pb := middle.Start(t, url), middle.Start(t, url)
	alice, bob := meets(t, pa.URL, "alice").runs(), meets(t, pb.URL, "bob").runs()

	denyEncryption(pa)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	denied, err := alice.s.Create(ctx, client.NewRoom{Name: "denied", Invite: []quinta.UserID{"@bob:hs1"}})
	if err == nil || denied == "" {
		t.Fatalf("got %q, %v, want the room's name and an error: the server denies its encryption", denied, err)
	}
	for _, clear := range []bool{false, true} {
		_, err = alice.s.Send(t.Context(), denied, client.Draft{Text: "secret one", Clear: clear})
		wantKind(t, err, quinta.KindForbidden)
		_, err = alice.s.Send(t.Context(), denied, client.Draft{Clear: clear, File: &client.Upload{Name: "secret.txt", Size: -1, From: strings.NewReader("secret two")}})
		wantKind(t, err, quinta.KindForbidden)
	}

	denyEncryption(pb)
	joined, err := bob.s.Join(t.Context(), string(denied))
	if err != nil {
		t.Fatal(err)
	}
	// The invitation said it before it was denied, or not: either way nothing
	// leaves in clear without the user's word.
	if _, err = bob.s.Send(t.Context(), joined, client.Text("secret three")); err != nil {
		wantKind(t, err, quinta.KindForbidden)
	}

	pa.Answers(nil)
	pb.Answers(nil)
	room := alice.invites(bob)
	alice.sends(room, "sealed one")
	bob.reads("sealed one")
	denyEncryption(pa)
	bob.sends(room, "sealed two")
	alice.reads("sealed two")
	alice.sends(room, "sealed three")
	alice.stop()
	back := resumes(t, matrixclient.Network{}, alice.st).runs()
	back.sends(room, "sealed four")
	if m := bob.reads("sealed four"); !m.Encrypted {
		t.Errorf("got %+v, want it sealed", m)
	}
	for _, p := range []*middle.Proxy{pa, pb} {
		never(t, p, "secret", "sealed ")
	}
}

// TestEncryptionWeakened has a server change the encryption of a room.
func TestEncryptionWeakened(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "sealed one")
	for i, content := range []string{`{}`, `{"algorithm":"none"}`, `{"algorithm":7}`, `[]`, `{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_msgs":9007199254740991}`} {
		p.Answers(changeOf("/sync", func(b []byte) []byte {
			var v map[string]any
			if json.Unmarshal(b, &v) != nil {
				return b
			}
			rooms, _ := v["rooms"].(map[string]any)
			joins, _ := rooms["join"].(map[string]any)
			for _, r := range joins {
				if r, ok := r.(map[string]any); ok {
					e := map[string]any{"type": "m.room.encryption", "state_key": "", "sender": "@alice:hs1", "event_id": "$x", "origin_server_ts": 1, "content": json.RawMessage(content)}
					for _, at := range []string{"state_after", "org.matrix.msc4222.state_after", "state"} {
						if list, ok := r[at].(map[string]any); ok {
							events, _ := list["events"].([]any)
							list["events"] = append(events, e)
						}
					}
				}
			}
			out, err := json.Marshal(v)
			if err != nil {
				return b
			}
			return out
		}))
		text := "sealed " + strings.Repeat("x", i+2)
		bob.sends(room, "sealed by bob "+text) // brings a sync to alice
		alice.reads("sealed by bob " + text)
		alice.sends(room, text)
		bob.reads(text)
	}
	never(t, p, "sealed ")
}

// TestClearTakenBack queues messages in clear for a server that is not
// reached; meanwhile the room becomes encrypted.
func TestClearTakenBack(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	room, err := alice.s.Create(ctx, client.NewRoom{Clear: true, Invite: []quinta.UserID{"@bob:hs1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.s.Join(ctx, string(room)); err != nil {
		t.Fatal(err)
	}
	_, err = alice.s.Send(ctx, room, client.Text("secret: nobody allowed it"))
	wantKind(t, err, quinta.KindForbidden)
	open := alice.sendsDraft(room, client.Draft{Text: "allowed in clear", Clear: true})
	if m := bob.reads("allowed in clear"); m.Encrypted || m.ID != open.ID {
		t.Errorf("got %+v, want it in clear", m)
	}
	down := make(chan struct{})
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/send/m.room.message/") {
			return false
		}
		select {
		case <-down:
		default:
			close(down)
		}
		// The server is down for this request, and takes nothing of it.
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	txn, err := alice.s.Send(ctx, room, client.Draft{Text: "overtaken", Clear: true})
	if err != nil {
		t.Fatal(err)
	}
	<-down
	alice.encrypts(p.URL, room)
	sent := alice.sees("answer", func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn })
	if !sent.Message.Encrypted {
		t.Errorf("got %+v, want it sealed once the room is encrypted", sent.Message)
	}
	p.Before(nil)
	if m := bob.reads("overtaken"); !m.Encrypted {
		t.Errorf("got %+v, want it sealed once the room is encrypted", m)
	}
	never(t, p, "secret")
}

// TestEverythingIsSealed sends all kinds of drafts and looks at the wire.
func TestEverythingIsSealed(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice, bob := meets(t, p.URL, "alice").runs(), meets(t, p.URL, "bob").runs()
	room := alice.invites(bob)
	first := alice.sends(room, "secret 0")
	to := func(k quinta.RelationKind, key string) quinta.Relation {
		return quinta.Relation{Kind: k, To: first.ID, Key: key}
	}
	for _, d := range []client.Draft{
		{Kind: quinta.MessageEmote, Text: "secret 1"},
		{Text: "secret 2", Relation: to(quinta.RelationReplace, "")},
		{Text: "secret 3", Relation: to(quinta.RelationReply, "")},
		{Text: "secret 4", Relation: to(quinta.RelationThread, "")},
		{Kind: quinta.MessageReaction, Text: "secret 5", Relation: to(quinta.RelationReaction, "x")},
		{Type: "org.example.custom", Body: []byte(`{"secret 6":"secret 7"}`)},
		{Text: "secret 8", Clear: true},
		{Kind: quinta.MessageRedaction, Text: "secret 9", Relation: to(quinta.RelationRedaction, "")},
	} {
		alice.sendsDraft(room, d)
	}
	if _, err := alice.s.Send(t.Context(), room, client.Draft{Type: "m.room.encrypted", Body: []byte(`{"body":"secret 10"}`)}); err == nil {
		t.Error("got no error for a message that claims to be sealed")
	}
	bob.sees("custom", func(e e2ee.Event) bool { return e.Message.Type == "org.example.custom" && e.Message.Encrypted })
	never(t, p, "secret", "org.example.custom")
	for _, r := range p.Seen() {
		if i := strings.Index(r.Path, "/send/"); i > 0 && !strings.HasPrefix(r.Path[i:], "/send/m.room.encrypted/") {
			t.Errorf("got %s, want every message as m.room.encrypted", r.Path)
		}
	}
}

// TestNothingSecretOnTheWay looks for the password and the token where they
// have no business.
func TestNothingSecretOnTheWay(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	alice.sends(alice.invites(), "x")
	tokens := map[string]bool{}
	for _, r := range p.Seen() {
		if a, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			tokens[a] = true
		}
		if strings.Contains(string(r.Body), password.Reveal()) && !strings.HasSuffix(r.Path, "/register") {
			t.Errorf("%s %s: the password is in it", r.Method, r.Path)
		}
	}
	if len(tokens) != 1 {
		t.Fatalf("got %d tokens, want one", len(tokens))
	}
	for _, r := range p.Seen() {
		for tok := range tokens {
			if strings.Contains(r.Path+r.Query, tok) || strings.Contains(string(r.Body), tok) {
				t.Errorf("%s %s: the token is in the address or the body", r.Method, r.Path)
			}
		}
	}
}
