package rocketchatserver_test

import "testing"

// TestThreadOverDDP: a thread is read over DDP by the members of its room alone.
func TestThreadOverDDP(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, eve := s.keyed("alice"), s.keyed("bob"), s.person("eve")
		rid := alice.group("plan", bob)
		k := alice.begins(rid)
		root := alice.says(rid, k, "the question")
		answer := alice.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "tmid": root, "content": alice.seal(k, "the answer")}}).ok().text("message", "_id")
		alice.says(rid, k, "something else")
		list, _ := bob.connected().method("getThreadMessages", object{"tmid": root, "limit": 10})["result"].([]any)
		if len(list) != 1 || list[0].(object)["_id"] != answer {
			t.Errorf("got %v, want the one answer", list)
		}
		if f := eve.connected().method("getThreadMessages", object{"tmid": root}); code(f) != "error-message-not-found" {
			t.Errorf("got %v for one who is not in the room", f)
		}
	})
}
