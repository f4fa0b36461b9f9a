package rocketchatserver_test

import (
	"testing"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
)

var otrOn = quintatest.Setting("rocketchat-otr", "on")

// otrKey makes a public key for a session off the record.
func otrKey(t *testing.T) string {
	t.Helper()
	k, err := rocketchat.GenerateOTRKey(testRand)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

// otrText is a message of no session in the form of one.
const otrText = `{"$binary":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`

// offRecord counts what is left on the server of what was said off the record.
func (s *stage) offRecord() (n int) {
	s.t.Helper()
	if err := s.Core.View(s.t.Context(), func(tx *db.Tx) error {
		return tx.Row(`SELECT COUNT(*) FROM rocketchat_event WHERE otr <> '' AND stream = 'stream-room-messages'`).Scan(&n)
	}); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestOTR: what two people say off the record reaches the other one alone, is nowhere
// stored as a message, and what is left of it goes when a session ends.
func TestOTR(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		rid := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
		a, b := alice.connected(), bob.connected()
		b.sub("stream-notify-user", bob.id+"/otr")
		b.sub("stream-room-messages", rid)
		a.sub("stream-room-messages", rid)
		key := otrKey(t)
		if f := a.method("stream-notify-user", bob.id+"/otr", "handshake", object{"roomId": rid, "userId": alice.id, "publicKey": key, "refresh": true, "more": "dropped"}); f["error"] != nil {
			t.Fatalf("got %v", f)
		}
		args := b.hears("stream-notify-user", bob.id+"/otr")
		if data := args[1].(object); args[0] != "handshake" || data["userId"] != alice.id || data["publicKey"] != key || data["refresh"] != true || data["more"] != nil {
			t.Errorf("got %v", args)
		}
		if f := a.method("sendMessage", object{"_id": "OffTheRecord1", "rid": rid, "t": "otr", "msg": otrText}); f["error"] != nil {
			t.Fatalf("got %v", f)
		}
		if m := b.hears("stream-room-messages", rid)[0].(object); m["t"] != "otr" || m["msg"] != otrText || m["u"].(object)["_id"] != alice.id {
			t.Errorf("got %v", m)
		}
		a.hears("stream-room-messages", rid)
		// The reader acknowledges what the server has passed on, in its own words.
		if f := b.method("updateOTRAck", object{"message": object{"_id": "OffTheRecord1", "rid": rid, "msg": "forged", "u": object{"_id": "forged"}}, "ack": otrText}); f["error"] != nil {
			t.Fatalf("got %v", f)
		}
		if m := a.hears("stream-room-messages", rid)[0].(object); m["otrAck"] != otrText || m["msg"] != otrText || m["u"].(object)["_id"] != alice.id {
			t.Errorf("got %v", m)
		}
		// It is no message: it cannot be found, edited, deleted or reacted to.
		bob.get("chat.getMessage", "msgId", "OffTheRecord1").fails(400, "error-message-not-found")
		alice.post("chat.update", object{"roomId": rid, "msgId": "OffTheRecord1", "text": "in clear"}).fails(400, "error-message-not-found")
		alice.post("chat.react", object{"messageId": "OffTheRecord1", "emoji": ":wave:"}).fails(400, "error-message-not-found")
		if h := bob.get("im.history", "roomId", rid).ok(); len(h.at("messages").([]any)) != 0 {
			t.Errorf("got %s", h.raw)
		}
		left := s.offRecord
		if left() == 0 {
			t.Error("got no event")
		}
		if f := b.method("deleteOldOTRMessages", rid); f["error"] != nil || left() != 0 {
			t.Errorf("got %v, %d left", f, left())
		}
		alice.post("chat.otr", object{"roomId": rid, "type": "user_joined_otr"}).ok()
		if m := a.hears("stream-room-messages", rid)[0].(object); m["t"] != "user_joined_otr" {
			t.Errorf("got %v", m)
		}
		for _, kind := range []string{"deny", "end"} {
			if f := a.method("stream-notify-user", bob.id+"/otr", kind, object{"roomId": rid, "userId": alice.id}); f["error"] != nil {
				t.Errorf("%s: got %v", kind, f)
			}
			if args := b.hears("stream-notify-user", bob.id+"/otr"); args[0] != kind {
				t.Errorf("got %v", args)
			}
		}
	}, otrOn)
}

// TestAttack18Server: a handshake in another's name, from a third user, to a stranger or
// with a key that is none is refused, and so are messages and acknowledgements of others.
func TestAttack18Server(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, eve := s.person("alice"), s.person("bob"), s.keyed("eve")
		rid := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
		group := eve.post("groups.create", object{"name": "g", "members": []string{"bob"}, "extraData": object{"encrypted": true}}).ok().text("group", "_id")
		a, b, e := alice.connected(), bob.connected(), eve.connected()
		good := object{"roomId": rid, "userId": alice.id, "publicKey": otrKey(t)}
		with := func(k string, v any) object {
			o := object{}
			for n, x := range good {
				o[n] = x
			}
			o[k] = v
			return o
		}
		for name, f := range map[string]object{
			"in another's name":   e.method("stream-notify-user", bob.id+"/otr", "handshake", good),
			"of a third user":     e.method("stream-notify-user", bob.id+"/otr", "handshake", with("userId", eve.id)),
			"forged sender":       a.method("stream-notify-user", bob.id+"/otr", "handshake", with("userId", bob.id)),
			"to a stranger":       a.method("stream-notify-user", eve.id+"/otr", "handshake", good),
			"to oneself":          a.method("stream-notify-user", alice.id+"/otr", "handshake", good),
			"another event":       a.method("stream-notify-user", bob.id+"/force_logout", "handshake", good),
			"another kind":        a.method("stream-notify-user", bob.id+"/otr", "shout", good),
			"a bad key":           a.method("stream-notify-user", bob.id+"/otr", "handshake", with("publicKey", "{}")),
			"a large key":         a.method("stream-notify-user", bob.id+"/otr", "handshake", with("publicKey", string(make([]byte, 5000)))),
			"a group":             e.method("stream-notify-user", bob.id+"/otr", "end", object{"roomId": group, "userId": eve.id}),
			"message of a third":  e.method("sendMessage", object{"_id": "x1", "rid": rid, "t": "otr", "msg": otrText}),
			"message in a group":  e.method("sendMessage", object{"_id": "x2", "rid": group, "t": "otr", "msg": otrText}),
			"message in clear":    a.method("sendMessage", object{"_id": "x3", "rid": rid, "t": "otr", "msg": "in clear"}),
			"purge by a third":    e.method("deleteOldOTRMessages", rid),
			"ack of nothing":      b.method("updateOTRAck", object{"message": object{"_id": "x4", "rid": rid}, "ack": otrText}),
			"ack that is clear":   b.method("updateOTRAck", object{"message": object{"_id": "x4", "rid": rid}, "ack": "clear"}),
			"parameter of a type": a.method("stream-notify-user", 7, "handshake", good),
		} {
			if f["error"] == nil {
				t.Errorf("%s: got %v", name, f)
			}
		}
		if f := a.method("sendMessage", object{"_id": "OffTheRecord2", "rid": rid, "t": "otr", "msg": otrText}); f["error"] != nil {
			t.Fatalf("got %v", f)
		}
		for name, c := range map[string]*socket{"oneself": a, "a third user": e} {
			if f := c.method("updateOTRAck", object{"message": object{"_id": "OffTheRecord2", "rid": rid}, "ack": otrText}); f["error"] == nil {
				t.Errorf("acknowledged by %s: got %v", name, f)
			}
		}
		eve.post("chat.otr", object{"roomId": rid, "type": "user_joined_otr"}).fails(400, "")
		alice.post("chat.otr", object{"roomId": rid, "type": "anything"}).fails(400, "error-invalid-params")
		if e.sub("stream-notify-user", bob.id+"/otr")["msg"] != "nosub" || e.sub("stream-room-messages", rid)["msg"] != "nosub" {
			t.Error("got the events of others")
		}
	}, otrOn)
}

// TestOTROff: it is off unless the operator wants it.
func TestOTROff(t *testing.T) {
	t.Parallel()
	s := &stage{quintatest.Start(t), t}
	alice, bob := s.person("alice"), s.person("bob")
	rid := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
	a := alice.connected()
	if f := a.method("stream-notify-user", bob.id+"/otr", "handshake", object{"roomId": rid, "userId": alice.id, "publicKey": otrKey(t)}); f["error"] == nil {
		t.Errorf("got %v", f)
	}
	if f := a.method("sendMessage", object{"_id": "x1", "rid": rid, "t": "otr", "msg": otrText}); f["error"] == nil {
		t.Errorf("got %v", f)
	}
	if r := alice.get("settings.public", "_id", "OTR_Enable").ok(); r.at("settings", 0, "value") != false {
		t.Errorf("got %s", r.raw)
	}
}

// TestOTRConnectionEnds: when the connection of one side ends, such as that of a program
// that was killed, the server tells the other side and removes what was said.
func TestOTRConnectionEnds(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		rid := alice.post("im.create", object{"username": "bob"}).ok().text("room", "rid")
		a, b := alice.connected(), bob.connected()
		a.sub("stream-notify-user", alice.id+"/otr")
		b.sub("stream-notify-user", bob.id+"/otr")
		publish := func(c *socket, from, to *person, kind string) {
			t.Helper()
			data := object{"roomId": rid, "userId": from.id}
			if kind == "handshake" || kind == "acknowledge" {
				data["publicKey"] = otrKey(t)
			}
			if f := c.method("stream-notify-user", to.id+"/otr", kind, data); f["error"] != nil {
				t.Fatalf("%s: got %v", kind, f)
			}
		}
		publish(a, alice, bob, "handshake")
		publish(b, bob, alice, "acknowledge")
		a.hears("stream-notify-user", alice.id+"/otr")
		b.hears("stream-notify-user", bob.id+"/otr")
		if f := a.method("sendMessage", object{"_id": "OffTheRecord3", "rid": rid, "t": "otr", "msg": otrText}); f["error"] != nil {
			t.Fatalf("got %v", f)
		}
		if s.offRecord() == 0 {
			t.Error("got no event")
		}
		if err := a.ws.CloseNow(); err != nil {
			t.Fatal(err)
		}
		args := b.hears("stream-notify-user", bob.id+"/otr")
		if data := args[1].(object); args[0] != "end" || data["userId"] != alice.id || data["roomId"] != rid || s.offRecord() != 0 {
			t.Errorf("got %v, %d left", args, s.offRecord())
		}
		// A session that has ended is not ended again, by either side's connection.
		a = alice.connected()
		a.sub("stream-notify-user", alice.id+"/otr")
		for _, last := range []string{"deny", "end"} {
			publish(a, alice, bob, "handshake")
			b.hears("stream-notify-user", bob.id+"/otr")
			publish(b, bob, alice, last)
			if args := a.hears("stream-notify-user", alice.id+"/otr"); args[0] != last {
				t.Errorf("got %v, want %s", args, last)
			}
		}
		if err := a.ws.CloseNow(); err != nil {
			t.Fatal(err)
		}
		a = alice.connected()
		publish(a, alice, bob, "handshake")
		if args := b.hears("stream-notify-user", bob.id+"/otr"); args[0] != "handshake" {
			t.Errorf("got %v", args)
		}
	}, otrOn)
}
