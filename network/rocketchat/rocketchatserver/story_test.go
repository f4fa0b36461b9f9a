package rocketchatserver_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
)

// TestKeysAndRoom is the whole way of two clients that know the wire alone: keys,
// a room, its key, the waiting queue, messages, an edit, a deletion, live events.
func TestKeysAndRoom(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		if a := s.person("carol").get("e2e.fetchMyKeys").ok(); a.body["public_key"] != nil {
			t.Errorf("got %s of one without keys", a.raw)
		}
		rid := alice.group("plan", bob)
		live := bob.connected()
		for _, sub := range [][2]string{{"stream-notify-user", bob.id + "/subscriptions-changed"}, {"stream-room-messages", "__my_messages__"}, {"stream-notify-room", rid + "/deleteMessage"}} {
			if f := live.sub(sub[0], sub[1]); f["msg"] != "ready" {
				t.Fatalf("got %v", f)
			}
		}
		k := alice.begins(rid)
		a := alice.get("e2e.getUsersOfRoomWithoutKey", "rid", rid).ok()
		if a.text("users", 0, "_id") != bob.id || a.text("users", 0, "e2e", "public_key") != bob.pair.Public().String() {
			t.Errorf("got %s", a.raw)
		}
		if a := alice.get("e2e.fetchUsersWaitingForGroupKey", "roomIds[]", rid, "roomIds[]", "nosuchroom").ok(); a.text("usersWaitingForE2EKeys", rid, 0, "_id") != bob.id {
			t.Errorf("got %s", a.raw)
		}
		alice.post("e2e.provideUsersSuggestedGroupKeys", object{"usersSuggestedGroupKeys": object{rid: []object{{"_id": bob.id, "key": alice.wrap(k, bob)}}}}).ok()
		args := live.hears("stream-notify-user", bob.id+"/subscriptions-changed")
		sub, _ := args[1].(object)
		for sub["E2ESuggestedKey"] == nil {
			args = live.hears("stream-notify-user", bob.id+"/subscriptions-changed")
			sub, _ = args[1].(object)
		}
		if got, err := rocketchat.Unwrap(bob.pair, sub["E2ESuggestedKey"].(string)); err != nil || !got.Equal(k) || args[0] != "updated" {
			t.Errorf("got %v, %v", args[0], err)
		}
		if ts, _ := sub["ts"].(object); ts["$date"] == nil {
			t.Errorf("got ts %v, want a date of EJSON", sub["ts"])
		}
		bob.post("e2e.acceptSuggestedGroupKey", object{"rid": rid}).ok()
		bob.post("e2e.acceptSuggestedGroupKey", object{"rid": rid}).fails(400, "error-no-suggested-key-available")
		if a := alice.get("e2e.fetchUsersWaitingForGroupKey", "roomIds", rid).ok(); strings.Contains(string(a.raw), bob.id) {
			t.Errorf("got %s, want no one waiting", a.raw)
		}
		m := alice.says(rid, k, "hello")
		live.hears("stream-room-messages", "__my_messages__") // that bob was added comes first or this
		alice.post("chat.update", object{"roomId": rid, "msgId": m, "content": alice.seal(k, "hello again")}).ok()
		h := bob.get("groups.history", "roomId", rid, "count", "50").ok()
		var list struct{ Messages []rocketchat.Message }
		if err := json.Unmarshal(h.raw, &list); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, x := range list.Messages {
			if string(x.ID) != m {
				continue
			}
			c, err := rocketchat.ParseContent(x.Content)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := rocketchat.OpenContent(k, c)
			found = err == nil && string(plain) == `{"msg":"hello again"}` && x.Edited != 0 && x.User.Name == "alice" && x.Msg == ""
		}
		if !found {
			t.Errorf("got %s", h.raw)
		}
		bob.post("chat.delete", object{"roomId": rid, "msgId": m}).fails(400, "error-not-allowed")
		alice.post("chat.delete", object{"roomId": rid, "msgId": m}).ok()
		if args := live.hears("stream-notify-room", rid+"/deleteMessage"); args[0].(object)["_id"] != m {
			t.Errorf("got %v", args)
		}
		bob.get("chat.getMessage", "msgId", m).fails(400, "error-message-not-found")
		sync := bob.get("chat.syncMessages", "roomId", rid, "lastUpdate", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)).ok()
		if sync.text("result", "deleted", 0, "_id") != m {
			t.Errorf("got %s", sync.raw)
		}
	})
}

// TestSendOnce: the same message again is the same message; another one under its id
// is refused.
func TestSendOnce(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		rid := alice.group("plan", bob)
		k := alice.begins(rid)
		m := object{"_id": "abcdefghijklmnopq", "rid": rid, "t": "e2e", "content": alice.seal(k, "x")}
		first := alice.post("chat.sendMessage", object{"message": m}).ok()
		again := alice.post("chat.sendMessage", object{"message": m}).ok()
		if first.text("message", "ts") != again.text("message", "ts") {
			t.Errorf("got %s and %s", first.raw, again.raw)
		}
		m["content"] = alice.seal(k, "y")
		alice.post("chat.sendMessage", object{"message": m}).fails(400, "error-duplicate-message-id")
		bob.post("chat.sendMessage", object{"message": m}).fails(400, "error-duplicate-message-id")
	})
}

// TestRoomKeyReset: old copies are kept for their owners, all but the caller wait, a
// second reset within the lock is refused, and the same one again is no second one.
func TestRoomKeyReset(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		rid := alice.group("plan", bob)
		old := alice.begins(rid)
		k := alice.roomKey()
		in := object{"rid": rid, "e2eKey": alice.wrap(k, alice), "e2eKeyId": k.ID()}
		bob.post("e2e.resetRoomKey", in).fails(403, "error-not-allowed")
		alice.post("e2e.resetRoomKey", in).ok()
		alice.post("e2e.resetRoomKey", in).ok()
		other := alice.roomKey()
		alice.post("e2e.resetRoomKey", object{"rid": rid, "e2eKey": alice.wrap(other, alice), "e2eKeyId": other.ID()}).fails(400, "error-e2e-key-reset-in-progress")
		a := alice.sub(rid)
		got, err := rocketchat.Unwrap(alice.pair, a.text("subscription", "E2EKey"))
		if err != nil || !got.Equal(k) {
			t.Errorf("got %v", err)
		}
		if prev, err := rocketchat.Unwrap(alice.pair, a.text("subscription", "oldRoomKeys", 0, "E2EKey")); err != nil || !prev.Equal(old) || a.text("subscription", "oldRoomKeys", 0, "e2eKeyId") != old.ID() {
			t.Errorf("got %s, %v", a.raw, err)
		}
		if r := alice.get("rooms.info", "roomId", rid).ok(); r.text("room", "e2eKeyId") != k.ID() || r.text("room", "usersWaitingForE2EKeys", 0, "userId") != bob.id {
			t.Errorf("got %s", r.raw)
		}
		in["e2eKeyId"] = "another"
		alice.post("e2e.resetRoomKey", in).fails(400, "error-invalid-params")
	})
}

// TestFiles: a sealed file is seen by members only, confirmed once, and goes with its
// message.
func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, eve := s.keyed("alice"), s.keyed("bob"), s.keyed("eve")
		rid := alice.group("plan", bob)
		k := alice.begins(rid)
		a := alice.form("rooms.media/"+rid, alice.seal(k, "about the file"), rocketchat.HashName("notes.txt"), []byte("sealed bytes")).ok()
		link, file := a.text("file", "url"), a.text("file", "_id")
		confirm := object{"t": "e2e", "content": alice.seal(k, "the file")}
		alice.post("rooms.mediaConfirm/"+rid+"/"+file, object{"t": "e2e"}).fails(400, "error-invalid-params")
		alice.post("rooms.mediaConfirm/"+rid+"/"+file, object{"msg": "in clear"}).fails(400, "error-invalid-params")
		first := alice.post("rooms.mediaConfirm/"+rid+"/"+file, confirm).ok()
		again := alice.post("rooms.mediaConfirm/"+rid+"/"+file, confirm).ok()
		if m := first.text("message", "_id"); m == "" || m != again.text("message", "_id") {
			t.Errorf("got %s and %s, want one message", first.raw, again.raw)
		}
		if got := bob.request(http.MethodGet, link, "", nil, nil); got.status != 200 || string(got.raw) != "sealed bytes" {
			t.Errorf("got %d %q", got.status, got.raw)
		}
		// TestAttack14: the link of a file is of no use to a stranger.
		eve.request(http.MethodGet, link, "", nil, nil).fails(403, "error-not-allowed")
		s.nobody().request(http.MethodGet, link, "", nil, nil).fails(401, "")
		eve.form("rooms.media/"+rid, alice.seal(k, "x"), "x", []byte("x")).fails(400, "error-invalid-room")
		alice.form("rooms.media/"+rid, nil, "x", []byte("x")).fails(400, "error-invalid-params")
		alice.post("chat.delete", object{"roomId": rid, "msgId": first.text("message", "_id")}).ok()
		bob.request(http.MethodGet, link, "", nil, nil).fails(404, "error-file-not-found")
	})
}

// TestUpdatedSince: what changed is given, and what was left.
func TestUpdatedSince(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		one, two := alice.group("one", bob), alice.group("two", bob)
		all := bob.get("subscriptions.get").ok()
		if l, _ := all.at("update").([]any); len(l) != 2 {
			t.Fatalf("got %s", all.raw)
		}
		time.Sleep(5 * time.Millisecond)
		since := time.Now().UTC().Format(time.RFC3339Nano)
		if a := bob.get("rooms.get", "updatedSince", since).ok(); len(a.at("update").([]any)) != 0 {
			t.Errorf("got %s, want nothing", a.raw)
		}
		alice.post("groups.kick", object{"roomId": one, "userId": bob.id}).ok()
		alice.begins(two)
		a := bob.get("rooms.get", "updatedSince", since).ok()
		if a.text("update", 0, "_id") != two || a.text("remove", 0, "_id") != one || len(a.at("update").([]any)) != 1 {
			t.Errorf("got %s", a.raw)
		}
		bob.get("groups.history", "roomId", one).fails(400, "error-invalid-room")
	})
}

// TestDraftNames: the names of the specification's draft, as DDP methods and routes.
func TestDraftNames(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.person("bob")
		live := bob.connected()
		bob.pair = alice.roomless(t)
		blob, err := rocketchat.SealPrivateKeyV1(testRand, bob.pair, "twelve words or so", bob.id)
		if err != nil {
			t.Fatal(err)
		}
		if f := live.method("addKeyToChain", object{"RSA-PubKey": bob.pair.Public().String(), "RSA-EPrivKey": blob}); f["error"] != nil || f["result"] != nil {
			t.Errorf("addKeyToChain: got %v, want null", f)
		}
		if f := live.method("fetchMyKeys"); f["result"].(object)["RSA-EPrivKey"] != blob {
			t.Errorf("fetchMyKeys: got %v", f)
		}
		f := live.method("fetchKeychain", alice.id)
		if r := f["result"].(object); r["RSA-PubKey"] != alice.pair.Public().String() || r["RSA-EPrivKey"] != nil {
			t.Errorf("fetchKeychain: got %v, want the public key alone", r)
		}
		if a := alice.get("e2e.fetchKeychain", "uid", bob.id).ok(); a.text("RSA-PubKey") != bob.pair.Public().String() || a.body["RSA-EPrivKey"] != nil {
			t.Errorf("got %s", a.raw)
		}
		a := alice.post("im.create", object{"username": "bob"}).ok()
		rid := a.text("room", "rid")
		if f := live.method("getUsersOfRoom", rid); f["result"].(object)["total"] != 2.0 || len(f["result"].(object)["records"].([]any)) != 2 {
			t.Errorf("getUsersOfRoom: got %v", f)
		}
		k := alice.begins(rid)
		wrapped := alice.wrap(k, bob)
		if a := alice.post("e2e.updateGroupE2EKey", object{"uid": bob.id, "rid": rid, "key": wrapped}).ok(); a.text("subscription", "E2ESuggestedKey") != wrapped {
			t.Errorf("got %s", a.raw)
		}
		if f := live.method("fetchGroupE2EKey", rid); f["result"] != wrapped {
			t.Errorf("fetchGroupE2EKey: got %v", f)
		}
		if f := live.method("updateGroupE2EKey", rid, bob.id, wrapped); f["result"].(object)["E2EKey"] != wrapped {
			t.Errorf("updateGroupE2EKey: got %v", f)
		}
		// Another key than the room's is not taken; the first one in a room without a key is.
		other, err := rocketchat.GenerateRoomKeyV1(testRand)
		if err != nil {
			t.Fatal(err)
		}
		if f := live.method("updateGroupE2EKey", rid, bob.id, bob.wrap(other, bob)); code(f) != rocketchat.CodeRoomKeyExists {
			t.Errorf("updateGroupE2EKey with another key: got %v", f)
		}
		fresh := bob.post("groups.create", object{"name": "fresh", "members": []string{"alice"}, "extraData": object{"encrypted": true}}).ok().text("group", "_id")
		if f := live.method("updateGroupE2EKey", fresh, bob.id, bob.wrap(other, bob)); f["error"] != nil {
			t.Errorf("updateGroupE2EKey in a new room: got %v", f)
		}
		if a := bob.get("rooms.info", "roomId", fresh).ok(); a.text("room", "e2eKeyId") != other.ID() {
			t.Errorf("got %s, want the key to be that of the room", a.raw)
		}
		if f := live.method("emptyKeychain"); f["error"] != nil {
			t.Errorf("emptyKeychain: got %v", f)
		}
		if f := live.method("fetchMyKeys"); len(f["result"].(object)) != 0 {
			t.Errorf("fetchMyKeys after it: got %v", f)
		}
		if a := bob.get("e2e.fetchMyKeys").ok(); a.body["public_key"] != nil || a.body["RSA-PubKey"] != nil {
			t.Errorf("got %s", a.raw)
		}
	})
}

// TestInfo: the release is a setting, and public settings are those of today.
func TestInfo(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		n := s.nobody()
		if a := n.get("/api/info").ok(); a.text("version") != "8.5.1" {
			t.Errorf("got %s", a.raw)
		}
		a := n.get("settings.public", "_id", "E2E_Enable,E2E_Allow_Unencrypted_Messages").ok()
		want := map[string]any{"E2E_Enable": true, "E2E_Allow_Unencrypted_Messages": false}
		list, _ := a.at("settings").([]any)
		for _, x := range list {
			if o := x.(object); want[o["_id"].(string)] != o["value"] {
				t.Errorf("got %v", o)
			}
		}
		if len(list) != 2 {
			t.Errorf("got %s", a.raw)
		}
		if a := n.get("settings.public", "query", `{"_id":"uniqueID"}`).ok(); len(a.text("settings", 0, "value")) != 24 {
			t.Errorf("got %s", a.raw)
		}
	})
}
