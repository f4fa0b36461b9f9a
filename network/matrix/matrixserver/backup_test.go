package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

const (
	backups = "/_matrix/client/v3/room_keys/version"
	keyPath = "/_matrix/client/v3/room_keys/keys"
)

// newBackup makes a version of the user's backup.
func (u *user) newBackup() string {
	u.s.t.Helper()
	return u.post(backups, object{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": object{"public_key": "k", "signatures": object{}}}).want(200).text("version")
}

// backupKey returns a KeyBackupData.
func backupKey(first, forwarded int, verified bool, data any) object {
	return object{"first_message_index": first, "forwarded_count": forwarded, "is_verified": verified, "session_data": data}
}

func TestKeyBackup(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		var v string
		t.Run("Can create backup version", func(t *testing.T) {
			alice.get(backups).fails(404, "M_NOT_FOUND")
			v = alice.post(backups, object{"algorithm": "x.any", "auth_data": object{"any": []any{"thing"}}}).want(200).text("version")
			for _, path := range []string{backups, backups + "/" + v, "/_matrix/client/r0/room_keys/version"} {
				same(t, path, alice.get(path).want(200).Body, object{"algorithm": "x.any", "auth_data": object{"any": []any{"thing"}}, "count": 0, "etag": "0", "version": v})
			}
		})
		t.Run("Can update backup version", func(t *testing.T) {
			alice.put(backups+"/"+v, object{"algorithm": "x.any", "auth_data": object{"new": 1}, "version": v}).want(200)
			same(t, "auth", alice.get(backups).at("auth_data"), object{"new": 1})
			alice.put(backups+"/"+v, object{"algorithm": "x.other", "auth_data": object{}}).fails(400, "M_INVALID_PARAM")
			alice.put(backups+"/"+v, object{"algorithm": "x.any", "auth_data": object{}, "version": "7"}).fails(400, "M_INVALID_PARAM")
			alice.put(backups+"/77", object{"algorithm": "x.any", "auth_data": object{}}).fails(404, "M_NOT_FOUND")
		})
		t.Run("Responds correctly when backup is empty", func(t *testing.T) {
			same(t, "all", alice.get(keyPath+"?version="+v).want(200).Body, object{"rooms": object{}})
			same(t, "room", alice.get(keyPath+"/!r?version="+v).want(200).Body, object{"sessions": object{}})
			alice.get(keyPath+"/!r/s?version="+v).fails(404, "M_NOT_FOUND")
			alice.get(keyPath+"?version=99").fails(404, "M_NOT_FOUND")
			alice.get(keyPath).fails(400, "M_MISSING_PARAM")
		})
		k1, k2 := backupKey(3, 1, false, object{"ciphertext": "c1"}), backupKey(3, 1, false, "text")
		t.Run("Can backup keys", func(t *testing.T) {
			r := alice.put(keyPath+"/!r/s1?version="+v, k1).want(200)
			same(t, "answer", r.Body, object{"count": 1, "etag": "1"})
			alice.put(keyPath+"/!r?version="+v, object{"sessions": object{"s2": k2}}).want(200)
			r = alice.put(keyPath+"?version="+v, object{"rooms": object{"!q": object{"sessions": object{"s/3": k1, "s4": k2}}, "!r": object{"sessions": object{"s1": k1}}}}).want(200)
			same(t, "answer", r.Body, object{"count": 4, "etag": "3"})
			same(t, "key", alice.get(keyPath+"/!r/s1?version="+v).want(200).Body, k1)
			same(t, "key with a slash", alice.get(keyPath+"/!q/s%2F3?version="+v).want(200).Body, k1)
			same(t, "room", alice.get(keyPath+"/!r?version="+v).want(200).Body, object{"sessions": object{"s1": k1, "s2": k2}})
			same(t, "all", alice.get(keyPath+"?version="+v).want(200).Body, object{"rooms": object{"!r": object{"sessions": object{"s1": k1, "s2": k2}}, "!q": object{"sessions": object{"s/3": k1, "s4": k2}}}})
			same(t, "count", alice.get(backups).at("count"), 4)
		})
		t.Run("Can update keys with better versions", func(t *testing.T) {
			better := backupKey(1, 1, false, "better")
			r := alice.put(keyPath+"/!r/s1?version="+v, better).want(200)
			same(t, "answer", r.Body, object{"count": 4, "etag": "4"})
			same(t, "key", alice.get(keyPath+"/!r/s1?version="+v).Body, better)
		})
		t.Run("Will not update keys with worse versions", func(t *testing.T) {
			r := alice.put(keyPath+"/!r/s1?version="+v, backupKey(2, 0, false, "worse")).want(200)
			same(t, "answer", r.Body, object{"count": 4, "etag": "4"})
			same(t, "key", alice.get(keyPath+"/!r/s1?version="+v).at("session_data"), "better")
		})
		next := alice.newBackup()
		t.Run("Will not back up to an old backup version", func(t *testing.T) {
			for _, old := range []string{v, "99", "nonsense"} {
				r := alice.put(keyPath+"/!r/s1?version="+old, k1).fails(403, "M_WRONG_ROOM_KEYS_VERSION")
				same(t, "current version", r.at("current_version"), next)
			}
			alice.delete(keyPath+"?version="+v, nil).fails(403, "M_WRONG_ROOM_KEYS_VERSION")
			same(t, "the old one can be read", alice.get(keyPath+"/!q/s4?version="+v).want(200).Body, k2)
		})
		t.Run("Can delete backup", func(t *testing.T) {
			alice.delete(backups+"/"+next, nil).want(200)
			alice.delete(backups+"/"+next, nil).want(200)
			alice.delete(backups+"/99", nil).fails(404, "M_NOT_FOUND")
			alice.get(backups+"/"+next).fails(404, "M_NOT_FOUND")
			same(t, "the one before is the latest", alice.get(backups).want(200).at("version"), v)
			alice.put(keyPath+"/!r/s9?version="+v, k1).want(200)
		})
		t.Run("Deleted & recreated backups are empty", func(t *testing.T) {
			alice.delete(backups+"/"+v, nil).want(200)
			alice.get(backups).fails(404, "M_NOT_FOUND")
			alice.put(keyPath+"/!r/s1?version="+v, k1).fails(404, "M_NOT_FOUND")
			third := alice.newBackup()
			if third == v || third == next {
				t.Errorf("got the version %s again", third)
			}
			same(t, "keys", alice.get(keyPath+"?version="+third).want(200).Body, object{"rooms": object{}})
		})
		t.Run("Can create more than 10 backup versions", func(t *testing.T) {
			seen := map[string]bool{}
			last := ""
			for range 12 {
				last = alice.newBackup()
				seen[last] = true
			}
			if len(seen) != 12 {
				t.Errorf("got %d versions, want 12", len(seen))
			}
			same(t, "latest", alice.get(backups).at("version"), last)
		})
	})
}

// TestE2EKeyBackupReplaceRoomKeyRules: is_verified, then
// first_message_index, then forwarded_count decide, whichever comes first.
func TestE2EKeyBackupReplaceRoomKeyRules(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		v := alice.newBackup()
		// From the best to the worst.
		ladder := []object{
			backupKey(1, 0, true, "a"), backupKey(1, 3, true, "b"), backupKey(5, 0, true, "c"), backupKey(5, 1, true, "d"),
			backupKey(0, 0, false, "e"), backupKey(0, 9, false, "f"), backupKey(9, 0, false, "g"),
		}
		for i, a := range ladder {
			for j, b := range ladder {
				path := fmt.Sprintf("%s/!r/%d-%d?version=%s", keyPath, i, j, v)
				alice.put(path, a).want(200)
				alice.put(path, b).want(200)
				if got, want := alice.get(path).at("session_data"), ladder[min(i, j)]["session_data"]; got != want {
					t.Errorf("%v then %v: got %v, want %v", a, b, got, want)
				}
			}
		}
		if got := alice.get(backups).at("count"); got != float64(len(ladder)*len(ladder)) {
			t.Errorf("got count %v", got)
		}
	})
}

func TestDeleteBackupKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		v := alice.newBackup()
		k := backupKey(0, 0, true, "x")
		alice.put(keyPath+"?version="+v, object{"rooms": object{"!a": object{"sessions": object{"1": k, "2": k}}, "!b": object{"sessions": object{"1": k, "2": k}}, "!c": object{"sessions": object{"1": k}}}}).want(200)
		for _, c := range []struct {
			path string
			left int
			etag string
		}{{"/!a/1", 4, "2"}, {"/!a/1", 4, "2"}, {"/!b", 2, "3"}, {"", 0, "4"}} {
			r := alice.delete(keyPath+c.path+"?version="+v, nil).want(200)
			same(t, "after "+c.path, r.Body, object{"count": c.left, "etag": c.etag})
		}
		same(t, "all", alice.get(keyPath+"?version="+v).Body, object{"rooms": object{}})
		alice.put(keyPath+"/!a/1?version="+v, k).want(200)
		// An empty segment is not the whole backup.
		alice.delete(keyPath+"/?version="+v, nil).fails(400, "M_INVALID_PARAM")
		alice.delete(keyPath+"/!a/?version="+v, nil).fails(400, "M_INVALID_PARAM")
		same(t, "count", alice.get(backups).at("count"), 1)
	})
}

func TestBackupIsTheOwnersAlone(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		v := alice.newBackup()
		alice.put(keyPath+"/!r/s?version="+v, backupKey(0, 0, true, "secret")).want(200)
		for _, path := range []string{backups, backups + "/" + v, keyPath + "?version=" + v, keyPath + "/!r?version=" + v, keyPath + "/!r/s?version=" + v} {
			bob.get(path).fails(404, "M_NOT_FOUND")
			s.nobody().get(path).fails(401, "M_MISSING_TOKEN")
		}
		bob.put(backups+"/"+v, object{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": object{"evil": 1}}).fails(404, "M_NOT_FOUND")
		bob.put(keyPath+"/!r/s?version="+v, backupKey(0, 0, true, "evil")).fails(404, "M_NOT_FOUND")
		bob.delete(keyPath+"?version="+v, nil).fails(404, "M_NOT_FOUND")
		bob.delete(backups+"/"+v, nil).fails(404, "M_NOT_FOUND")
		if bob.newBackup() == "" { // his own of the same number is another one
			t.Error("got no version")
		}
		bob.put(keyPath+"/!r/s?version="+v, backupKey(0, 0, true, "bob's")).want(200)
		same(t, "alice's key", alice.get(keyPath+"/!r/s?version="+v).at("session_data"), "secret")
	})
}

func TestBackupRefuses(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	v := alice.newBackup()
	for _, bad := range []any{object{}, object{"algorithm": "a"}, object{"algorithm": 1, "auth_data": object{}}, object{"algorithm": "a", "auth_data": "x"},
		object{"algorithm": "", "auth_data": object{}}, object{"algorithm": "a", "auth_data": object{}, "version": 1}} {
		alice.post(backups, bad).fails(400, "M_BAD_JSON")
	}
	alice.post(backups, "x").fails(400, "M_NOT_JSON")
	alice.post(backups, object{"algorithm": "a", "auth_data": object{"x": strings.Repeat("x", 65<<10)}}).fails(413, "M_TOO_LARGE")
	good := backupKey(0, 0, true, object{})
	for name, bad := range map[string]any{
		"no index": with(good, "first_message_index", nil), "negative": with(good, "first_message_index", -1), "a text": with(good, "first_message_index", "1"),
		"a fraction": with(good, "forwarded_count", 1.5), "no count": with(good, "forwarded_count", nil), "verified a text": with(good, "is_verified", "true"),
		"no verified": with(good, "is_verified", nil), "no data": with(good, "session_data", nil), "data a number": with(good, "session_data", 1), "a list": []any{},
	} {
		if r := alice.put(keyPath+"/!r/s?version="+v, bad); r.Status != 400 || r.Body["errcode"] != "M_BAD_JSON" {
			t.Errorf("%s: got %d %s", name, r.Status, r.Raw)
		}
		// One bad key keeps the good ones out too.
		alice.put(keyPath+"/!r?version="+v, object{"sessions": object{"good": good, "bad": bad}}).fails(400, "M_BAD_JSON")
	}
	alice.put(keyPath+"?version="+v, object{"rooms": object{"": object{"sessions": object{"s": good}}}}).fails(400, "M_BAD_JSON")
	alice.put(keyPath+"?version="+v, object{"rooms": object{"!r": object{"sessions": object{"": good}}}}).fails(400, "M_BAD_JSON")
	alice.put(keyPath+"?version="+v, object{"rooms": object{"!r": object{}}}).fails(400, "M_BAD_JSON")
	alice.put(keyPath+"?version="+v, object{}).fails(400, "M_BAD_JSON")
	alice.put(keyPath, good).fails(400, "M_MISSING_PARAM")
	many := object{}
	for i := range 5001 {
		many[fmt.Sprint(i)] = good
	}
	alice.put(keyPath+"/!r?version="+v, object{"sessions": many}).fails(413, "M_TOO_LARGE")
	same(t, "count", alice.get(backups).at("count"), 0)
}
