package rocketchatserver_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

var testRand = rand.Reader

// roomless makes a key pair that is not on the server.
func (p *person) roomless(t *testing.T) rocketchat.PrivateKey {
	t.Helper()
	k, err := rocketchat.GeneratePrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestAttack12NotOnesOwn: nothing private of others is given, and nothing is changed
// for them, in rooms that one is not in.
func TestAttack12NotOnesOwn(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, eve := s.keyed("alice"), s.keyed("bob"), s.keyed("eve")
		rid := alice.group("plan", bob)
		k := alice.begins(rid)
		m := alice.says(rid, k, "hello")
		wrapped := eve.wrap(k, eve)
		for _, a := range []*reply{
			eve.get("e2e.getUsersOfRoomWithoutKey", "rid", rid),
			eve.post("e2e.setRoomKeyID", object{"rid": rid, "keyID": "x"}),
			eve.post("e2e.updateGroupKey", object{"uid": bob.id, "rid": rid, "key": wrapped}),
			eve.post("e2e.updateGroupKey", object{"uid": eve.id, "rid": rid, "key": wrapped}),
			eve.post("e2e.resetRoomKey", object{"rid": rid, "e2eKey": wrapped, "e2eKeyId": k.ID()}),
			eve.post("e2e.updateGroupE2EKey", object{"uid": bob.id, "rid": rid, "key": wrapped}),
			eve.get("e2e.fetchGroupE2EKey", "rid", rid),
			eve.get("rooms.info", "roomId", rid),
			eve.get("rooms.info", "roomName", "plan"),
			eve.get("groups.members", "roomId", rid),
			eve.get("groups.history", "roomId", rid),
			eve.get("chat.syncMessages", "roomId", rid),
			eve.post("groups.invite", object{"roomId": rid, "userId": eve.id}),
			eve.post("groups.kick", object{"roomId": rid, "userId": bob.id}),
			eve.post("rooms.saveRoomSettings", object{"rid": rid, "encrypted": false}),
			eve.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "content": alice.seal(k, "x")}}),
		} {
			a.fails(400, "error-invalid-room")
		}
		for _, a := range []*reply{
			eve.get("chat.getMessage", "msgId", m),
			eve.post("chat.update", object{"roomId": rid, "msgId": m, "content": alice.seal(k, "x")}),
			eve.post("chat.delete", object{"roomId": rid, "msgId": m}),
			eve.post("chat.react", object{"messageId": m, "emoji": ":x:"}),
		} {
			a.fails(400, "error-message-not-found")
		}
		eve.post("e2e.acceptSuggestedGroupKey", object{"rid": rid}).fails(400, "error-subscription-not-found")
		if a := eve.get("e2e.fetchUsersWaitingForGroupKey", "roomIds[]", rid).ok(); strings.Contains(string(a.raw), bob.id) {
			t.Errorf("got %s", a.raw)
		}
		eve.post("e2e.provideUsersSuggestedGroupKeys", object{"usersSuggestedGroupKeys": object{rid: []object{{"_id": bob.id, "key": eve.wrap(k, bob)}}}}).ok()
		if a := bob.sub(rid); a.body["subscription"].(object)["E2ESuggestedKey"] != nil {
			t.Errorf("got a key of one who is not in the room: %s", a.raw)
		}
		if a := eve.sub(rid); a.body["subscription"] != nil {
			t.Errorf("got %s", a.raw)
		}
		if a := eve.get("users.info", "username", "alice").ok(); strings.Contains(string(a.raw), "private_key") || strings.Contains(string(a.raw), "public_key") {
			t.Errorf("got %s", a.raw)
		}
		eve.post("users.resetE2EKey", object{"userId": bob.id}).fails(403, "error-not-allowed")
		// Another member's own part is not shown either.
		if a := bob.get("rooms.info", "roomId", rid).ok(); strings.Contains(string(a.raw), "E2EKey\"") {
			t.Errorf("got %s", a.raw)
		}
	})
}

// TestAttack12Streams: no one hears the events of others.
func TestAttack12Streams(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, eve := s.keyed("alice"), s.keyed("bob"), s.keyed("eve")
		rid := alice.group("plan", bob)
		live := eve.connected()
		for _, sub := range [][2]string{
			{"stream-notify-user", bob.id + "/subscriptions-changed"}, {"stream-notify-user", bob.id + "/e2ekeyRequest"}, {"stream-room-messages", rid},
			{"stream-notify-room", rid + "/user-activity"}, {"stream-notify-room-users", rid + "/e2ekeyRequest"}, {"stream-other", "x"},
		} {
			if f := live.sub(sub[0], sub[1]); f["msg"] != "nosub" || code(f) != "not-allowed" {
				t.Errorf("%v: got %v", sub, f)
			}
		}
		if f := live.sub("stream-room-messages", "__my_messages__"); f["msg"] != "ready" {
			t.Errorf("got %v", f)
		}
		for _, f := range []object{
			live.method("stream-notify-room", rid+"/user-activity", "eve", []string{"user-typing"}, object{}),
			live.method("stream-notify-room", rid+"/user-activity", "bob", []string{"user-typing"}, object{}),
			live.method("stream-notify-room-users", rid+"/e2ekeyRequest", rid, "k"),
		} {
			if code(f) != "not-allowed" {
				t.Errorf("got %v", f)
			}
		}
		k := alice.begins(rid)
		alice.says(rid, k, "secret")
		mine := eve.group("mine")
		mk := eve.begins(mine)
		eve.says(mine, mk, "own")
		for { // what eve hears first is her own
			args := live.hears("stream-room-messages", "__my_messages__")
			m := args[0].(object)
			if m["rid"] != mine {
				t.Fatalf("got an event of %v", m["rid"])
			}
			if m["t"] == "e2e" {
				break
			}
		}
		// One who is removed hears no more.
		watch := bob.connected()
		watch.sub("stream-room-messages", rid)
		alice.post("groups.kick", object{"roomId": rid, "userId": bob.id}).ok()
		alice.says(rid, k, "without bob")
		bm := bob.group("bobs")
		bob.says(bm, bob.begins(bm), "own")
		watch.sub("stream-room-messages", bm)
		for _, f := range watch.kept {
			fields, _ := f["fields"].(object)
			args, _ := fields["args"].([]any)
			for _, a := range args {
				if o, ok := a.(object); ok && o["rid"] == rid && o["t"] == "e2e" {
					t.Errorf("got %v after the removal", o)
				}
			}
		}
	})
}

// TestAttack15Clear: an encrypted room takes nothing in clear, by any way.
func TestAttack15Clear(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		rid := alice.group("plan", bob)
		k := alice.begins(rid)
		m := alice.says(rid, k, "sealed")
		live := alice.connected()
		canary := "canary in clear"
		for i, a := range []*reply{
			alice.post("chat.sendMessage", object{"message": object{"rid": rid, "msg": canary}}),
			alice.post("chat.sendMessage", object{"message": object{"rid": rid, "msg": "/me " + canary}}),
			alice.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "msg": canary}}),
			alice.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "msg": canary, "content": alice.seal(k, "x")}}),
			alice.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "content": object{"algorithm": "none", "ciphertext": canary}}}),
			alice.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "content": alice.seal(k, "x"), "attachments": []object{{"text": canary}}}}),
			alice.post("chat.update", object{"roomId": rid, "msgId": m, "text": canary}),
			alice.post("chat.update", object{"roomId": rid, "msgId": m, "text": canary, "content": alice.seal(k, "x")}),
			alice.post("groups.setEncrypted", object{"roomId": rid, "encrypted": false}),
			alice.post("rooms.saveRoomSettings", object{"rid": rid, "encrypted": false}),
		} {
			if a.status != 400 {
				t.Errorf("%d: got %d %s", i, a.status, a.raw)
			}
		}
		if f := live.method("sendMessage", object{"rid": rid, "msg": canary}); code(f) != "error-not-allowed" {
			t.Errorf("got %v", f)
		}
		if a := bob.get("groups.history", "roomId", rid, "count", "50").ok(); strings.Contains(string(a.raw), canary) {
			t.Errorf("got %s", a.raw)
		}
	})
}

// TestCanary reads the whole of an embedded store: no word of an encrypted room, no
// room key and no private key is there in clear.
func TestCanary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := quintatest.Start(t, func(c *server.Config) { c.DB.Path = filepath.Join(dir, "store") })
	s := &stage{srv, t}
	alice, bob := s.keyed("alice"), s.keyed("bob")
	rid := alice.group("plan", bob)
	k := alice.begins(rid)
	alice.says(rid, k, "xyzzy-canary")
	var key struct{ K string }
	if err := json.Unmarshal([]byte(k.Secret()), &key); err != nil {
		t.Fatal(err)
	}
	var pair struct{ D string }
	if err := json.Unmarshal([]byte(alice.pair.Secret()), &pair); err != nil {
		t.Fatal(err)
	}
	files, read := 0, 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		files, read = files+1, read+len(raw)
		for _, secret := range []string{"xyzzy-canary", key.K, pair.D[:40], password, "twelve words or so"} {
			if bytes.Contains(raw, []byte(secret)) {
				t.Errorf("got a secret in %s", filepath.Base(path))
			}
		}
		return err
	})
	if err != nil || files == 0 || read < 4096 {
		t.Errorf("read %d bytes of %d files, %v", read, files, err)
	}
}

// TestAttackLogin: wrong logins of every kind look alike, a stolen hash is of no use,
// and a closed registration stays closed.
func TestAttackLogin(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.person("alice")
		n := s.nobody()
		var texts []string
		for _, in := range []object{
			{"user": "alice", "password": "wrong"}, {"user": "nobody", "password": password}, {"user": "alice", "password": object{"digest": digest("wrong"), "algorithm": "sha-256"}},
			{"user": "alice", "password": object{"digest": "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA", "algorithm": "sha-256"}}, {"user": "alice", "password": object{"digest": digest(password), "algorithm": "none"}},
			{"user": "alice"}, {"user": "alice@elsewhere.example", "password": password},
		} {
			a := n.post("login", in)
			a.fails(401, "")
			texts = append(texts, string(a.raw))
		}
		for _, x := range texts {
			if x != texts[0] {
				t.Errorf("got %s and %s", x, texts[0])
			}
		}
		n.post("login", object{"resume": "q_nosuchtoken"}).fails(401, "")
		n.post("login", object{"user": "alice", "password": object{"digest": digest(password), "algorithm": "sha-256"}}).ok()
		live := s.listens(nil)
		live.send(object{"msg": "connect", "version": "1", "support": []string{"1"}})
		f := live.method("login", object{"user": object{"username": "alice"}, "password": object{"digest": digest(password), "algorithm": "sha-256"}})
		r, _ := f["result"].(object)
		if r["id"] != alice.id || r["token"] == "" || r["tokenExpires"].(object)["$date"] == nil {
			t.Errorf("got %v", f)
		}
		live.waits("the user", func(f object) bool { return f["msg"] == "added" && f["collection"] == "users" && f["id"] == alice.id })
		// A token of one user is of no use with the id of another.
		bob := s.person("bob")
		(&person{s: s, id: alice.id, token: bob.token}).get("me").fails(401, "")
		alice.post("logout", nil).ok()
		alice.get("me").fails(401, "")
	})
}

// TestAttackRegistration: no one registers past a closed registration, nor without
// the invitation.
func TestAttackRegistration(t *testing.T) {
	t.Parallel()
	in := object{"username": "eve", "pass": password, "email": "e@example.org", "name": "eve"}
	closed := &stage{quintatest.Start(t, quintatest.Registration(server.RegistrationClosed)), t}
	closed.nobody().post("users.register", in).fails(403, "error-not-allowed")
	invite := &stage{quintatest.Start(t, quintatest.Registration(server.RegistrationInvite)), t}
	invite.nobody().post("users.register", in).fails(403, "error-not-allowed")
	in["secretURL"] = "wrong"
	invite.nobody().post("users.register", in).fails(403, "error-not-allowed")
}

// TestSecondFactor: a reset of the own keys asks for the password again, and ends all
// logins.
func TestSecondFactor(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.keyed("alice")
		other := alice.logsIn()
		a := alice.post("users.resetE2EKey", object{}).fails(400, "totp-required")
		if a.text("details", "method") != "password" {
			t.Errorf("got %s", a.raw)
		}
		head := http.Header{"X-2fa-Code": {digest("wrong")}, "X-2fa-Method": {"password"}}
		alice.request(http.MethodPost, "users.resetE2EKey", "application/json", strings.NewReader("{}"), head).fails(400, "totp-invalid")
		head["X-2fa-Code"] = []string{digest(password)}
		alice.request(http.MethodPost, "users.resetE2EKey", "application/json", strings.NewReader("{}"), head).ok()
		alice.get("me").fails(401, "")
		other.get("me").fails(401, "")
		if a := alice.logsIn().get("e2e.fetchMyKeys").ok(); a.body["public_key"] != nil {
			t.Errorf("got %s", a.raw)
		}
	})
}

// TestAttack11Race: many set the room key, or reset it, at the same time: one wins.
func TestAttack11Race(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.keyed("alice")
		rid := alice.group("plan")
		for _, what := range []string{"e2e.setRoomKeyID", "e2e.resetRoomKey"} {
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for range 8 {
				k := alice.roomKey()
				in := object{"rid": rid, "keyID": k.ID()}
				if what == "e2e.resetRoomKey" {
					in = object{"rid": rid, "e2eKey": alice.wrap(k, alice), "e2eKeyId": k.ID()}
				}
				wg.Go(func() {
					if a := alice.post(what, in); a.status == 200 {
						mu.Lock()
						won++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Errorf("%s: got %d winners, want 1", what, won)
			}
		}
	})
}

// TestBadInput: what is no call gets a refusal in the network's own form, and nothing
// is half done.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := &stage{quintatest.Start(t), t}
	alice := s.keyed("alice")
	rid := alice.group("plan")
	k := alice.roomKey()
	alice.post("nosuchcall", object{}).fails(404, "")
	alice.get("nosuchcall").fails(404, "")
	s.nobody().get("me").fails(401, "")
	alice.request(http.MethodPost, "chat.sendMessage", "application/json", strings.NewReader("{"), nil).fails(400, "error-invalid-body")
	alice.post("e2e.setRoomKeyID", object{"rid": rid, "keyID": "x", "more": 1}).fails(400, "error-invalid-params")
	alice.post("e2e.setRoomKeyID", object{"rid": rid, "keyID": ""}).fails(400, "error-invalid-params")
	alice.post("e2e.updateGroupKey", object{"uid": alice.id, "rid": rid, "key": "short"}).fails(400, "error-invalid-params")
	alice.post("e2e.setUserPublicAndPrivateKeys", object{"public_key": "{}", "private_key": "{}", "force": true}).fails(400, "error-invalid-params")
	blob := `{"iv":"AAAAAAAAAAAAAAAA","ciphertext":"` + strings.Repeat("A", 2000) + `","salt":"s","iterations":1000000000}`
	alice.post("e2e.setUserPublicAndPrivateKeys", object{"public_key": alice.pair.Public().String(), "private_key": blob, "force": true}).fails(400, "error-invalid-params")
	alice.post("e2e.setUserPublicAndPrivateKeys", object{"public_key": alice.pair.Public().String(), "private_key": strings.Replace(blob, "1000000000", "1000", 1), "force": true}).fails(400, "error-invalid-params")
	alice.post("e2e.setUserPublicAndPrivateKeys", object{"public_key": alice.pair.Public().String(), "private_key": strings.Replace(blob, "1000000000", "100000", 1)}).fails(400, "error-keys-already-set")
	q := make([]string, 0, 400)
	for range 200 {
		q = append(q, "roomIds[]", rid)
	}
	alice.get("e2e.fetchUsersWaitingForGroupKey", q...).fails(400, "error-invalid-params")
	alice.get("groups.history", "roomId", rid, "latest", "yesterday").fails(400, "error-invalid-params")
	alice.post("groups.create", object{"name": "a b"}).fails(400, "error-invalid-room-name")
	alice.post("groups.create", object{"name": "plan"}).fails(400, "error-duplicate-channel-name")
	alice.post("chat.sendMessage", object{"message": object{"_id": "a/b", "rid": rid, "t": "e2e", "content": alice.seal(k, "x")}}).fails(400, "error-invalid-params")
	deep := `{"message":{"rid":"` + rid + `","t":"e2e","content":{"algorithm":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}}}`
	alice.request(http.MethodPost, "chat.sendMessage", "application/json", strings.NewReader(deep), nil).fails(400, "")

	live := s.listens(nil)
	live.send("not json")
	live.waits("an error", func(f object) bool { return f["msg"] == "error" })
	live.send(object{"msg": "method", "method": "login", "id": "1", "params": []any{}})
	live.waits("an error", func(f object) bool { return f["msg"] == "error" && f["reason"] == "Must connect first" })
	live.send(object{"msg": "connect", "version": "pre2", "support": []string{"pre2"}})
	if f := live.waits("a refusal", func(f object) bool { return f["msg"] == "failed" }); f["version"] != "1" {
		t.Errorf("got %v", f)
	}
	live = alice.connected()
	if f := live.method("nosuchmethod"); code(f) != "404" {
		t.Errorf("got %v", f)
	}
	live.send(object{"msg": "method", "method": "fetchMyKeys", "id": "p", "params": object{}})
	if f := live.waits("a refusal", func(f object) bool { return f["id"] == "p" }); code(f) != "error-invalid-params" {
		t.Errorf("got %v", f)
	}
	if f := s.listens2(t).method("fetchMyKeys"); f["error"] == nil {
		t.Errorf("got %v without a login", f)
	}
	for i := range 1001 {
		f := live.sub("stream-notify-user", alice.id+"/e2ekeyRequest")
		if (f["msg"] == "ready") != (i < 1000) {
			t.Fatalf("%d: got %v", i, f)
		}
	}
	live.send(object{"msg": "ping", "id": "x"})
	live.waits("a pong", func(f object) bool { return f["msg"] == "pong" && f["id"] == "x" })
	live.ws.SetReadLimit(1 << 20)
	big := `{"msg":"ping","id":"` + strings.Repeat("x", 2<<20) + `"}`
	_ = live.ws.Write(t.Context(), 1, []byte(big))
	for range live.frames { // until the server has closed it
	}
}

// listens2 is a connection without a login.
func (s *stage) listens2(t *testing.T) *socket {
	t.Helper()
	c := s.listens(nil)
	c.send(object{"msg": "connect", "version": "1", "support": []string{"1"}})
	c.waits("the session", func(f object) bool { return f["msg"] == "connected" })
	return c
}

// TestAttackOrigin: a page of another origin opens no websocket.
func TestAttackOrigin(t *testing.T) {
	t.Parallel()
	s := &stage{quintatest.Start(t), t}
	r, err := http.NewRequest(http.MethodGet, s.URL+"/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Origin": {"https://evil.example"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %d, want 403", resp.StatusCode)
	}
}

// TestForcedEncryption: the setting makes private groups encrypted.
func TestForcedEncryption(t *testing.T) {
	t.Parallel()
	s := &stage{quintatest.Start(t, quintatest.Setting("rocketchat-force-encryption", "on")), t}
	alice := s.person("alice")
	alice.post("groups.create", object{"name": "clear", "extraData": object{"encrypted": false}}).fails(400, "error-encrypted-private-rooms-enforced")
	if a := alice.post("groups.create", object{"name": "sealed"}).ok(); a.at("group", "encrypted") != true {
		t.Errorf("got %s", a.raw)
	}
}

// TestRates: too much is refused in the network's own form, with the time to wait.
func TestRates(t *testing.T) {
	t.Parallel()
	s := &stage{quintatest.Start(t, quintatest.RateLimits()), t}
	n := s.nobody()
	for range 1000 {
		a := n.get("settings.public", "_id", "uniqueID")
		if a.status == http.StatusTooManyRequests {
			if a.body["errorType"] != "error-too-many-requests" || !strings.Contains(a.text("error"), "You must wait") || a.at("details", "timeToReset") == nil {
				t.Errorf("got %s", a.raw)
			}
			return
		}
	}
	t.Error("got no limit")
}
