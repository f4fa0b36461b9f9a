package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

const upload = "/_matrix/client/v3/keys/upload"

func TestUploadKey(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		k := newSigner(t)
		keys := alice.deviceKeys(k)

		t.Run("Can upload device keys", func(t *testing.T) {
			r := alice.post(upload, object{"device_keys": keys, "one_time_keys": oneTime("AAAAHQ", "AAAAHg")}).want(200)
			same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 2}})
			alice.post("/_matrix/client/r0/keys/upload", object{"device_keys": keys}).want(200)
			alice.post("/_matrix/client/r0/keys/upload/"+esc(alice.Device), object{"device_keys": keys}).want(200)
			alice.post("/_matrix/client/r0/keys/upload/OTHER", object{}).fails(403, "M_FORBIDDEN")
		})
		t.Run("Rejects invalid device keys", func(t *testing.T) {
			for name, bad := range map[string]any{
				"no user_id": with(keys, "user_id", nil), "user_id a number": with(keys, "user_id", 7),
				"no device_id": with(keys, "device_id", nil), "no algorithms": with(keys, "algorithms", nil),
				"algorithms an object": with(keys, "algorithms", object{}), "algorithms of numbers": with(keys, "algorithms", []int{1}),
				"no keys": with(keys, "keys", nil), "keys a list": with(keys, "keys", []string{}),
				"a key that is a number": with(keys, "keys", object{"ed25519:X": 1}), "a key without algorithm": with(keys, "keys", object{"X": "x"}),
				"no signatures": with(keys, "signatures", nil), "signatures a text": with(keys, "signatures", "x"),
				"a signature that is a number": with(keys, "signatures", object{alice.ID: object{"ed25519:X": 1}}),
				"an entity that is a text":     with(keys, "signatures", object{alice.ID: "x"}),
				"a list":                       []any{}, "a text": "keys", "a fraction": with(keys, "extra", 1.5),
			} {
				if r := alice.post(upload, object{"device_keys": bad}); r.Status != 400 || r.Body["errcode"] != "M_BAD_JSON" {
					t.Errorf("%s: got %d %s, want 400 M_BAD_JSON", name, r.Status, r.Raw)
				}
			}
			alice.post(upload, `{"device_keys": {"user_id": "a", "user_id": "b"}}`).fails(400, "M_BAD_JSON")
			alice.post(upload, `{"device_keys": `).fails(400, "M_NOT_JSON")
		})
		t.Run("Should reject keys claiming to belong to a different user", func(t *testing.T) {
			alice.post(upload, object{"device_keys": with(keys, "user_id", bob.ID)}).fails(400, "M_BAD_JSON")
			alice.post(upload, object{"device_keys": with(keys, "device_id", "OTHER")}).fails(400, "M_BAD_JSON")
			bob.post(upload, object{"device_keys": keys}).fails(400, "M_BAD_JSON")
		})
		want := with(keys, "signatures", keys["signatures"])
		t.Run("Can query device keys using POST", func(t *testing.T) {
			r := bob.query(alice)
			same(t, "keys", r.at("device_keys", alice.ID), object{alice.Device: want})
			same(t, "failures", r.at("failures"), object{})
		})
		t.Run("Can query specific device keys using POST", func(t *testing.T) {
			r := bob.post("/_matrix/client/r0/keys/query", object{"device_keys": object{alice.ID: []string{alice.Device, "NONE"}}, "timeout": 10}).want(200)
			same(t, "keys", r.at("device_keys", alice.ID), object{alice.Device: want})
			r = bob.post("/_matrix/client/v3/keys/query", object{"device_keys": object{alice.ID: []string{"NONE"}}}).want(200)
			same(t, "another device", r.at("device_keys", alice.ID), object{})
		})
		t.Run("query for user with no keys returns empty key dict", func(t *testing.T) {
			same(t, "keys", alice.query(bob).at("device_keys"), object{bob.ID: object{}})
			same(t, "nobody", alice.query(&user{ID: "@nobody:hs1"}).at("device_keys"), object{})
		})
		t.Run("Can claim one time key using POST", func(t *testing.T) {
			r := bob.post("/_matrix/client/v3/keys/claim", object{"one_time_keys": object{alice.ID: object{alice.Device: "signed_curve25519"}}}).want(200)
			same(t, "key", r.Body, object{"failures": object{}, "one_time_keys": object{alice.ID: object{alice.Device: object{
				"signed_curve25519:AAAAHQ": oneTime("AAAAHQ")["signed_curve25519:AAAAHQ"]}}}})
		})
	})
}

// Clients and suites upload what no cryptographer would: it is kept as it is.
func TestUploadKeyKeepsOddForms(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		keys := object{"user_id": alice.ID, "device_id": alice.Device, "algorithms": []string{"x.invented"}, "keys": object{"weird:X": "not base64!"},
			"signatures": object{}, "dehydrated": true, "extra": object{"<&>": "\u2028"}}
		alice.post(upload, object{
			"device_keys":   with(keys, "unsigned", object{"device_display_name": "evil"}),
			"one_time_keys": object{"plain:1": "just text"},
			"fallback_keys": object{"odd:f": object{"key": "k", "fallback": true, "more": []int{1}}},
		}).want(200)
		same(t, "keys", bob.query(alice).at("device_keys", alice.ID, alice.Device), keys)
		r := bob.post("/_matrix/client/v3/keys/claim", object{"one_time_keys": object{alice.ID: object{alice.Device: "plain"}}}).want(200)
		same(t, "plain key", r.at("one_time_keys", alice.ID, alice.Device), object{"plain:1": "just text"})
		r = bob.post("/_matrix/client/v3/keys/claim", object{"one_time_keys": object{alice.ID: object{alice.Device: "odd"}}}).want(200)
		same(t, "fallback key", r.at("one_time_keys", alice.ID, alice.Device), object{"odd:f": object{"key": "k", "fallback": true, "more": []int{1}}})
	})
}

func TestUploadKeyRefusesBadOneTimeKeys(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	for name, bad := range map[string]any{
		"a list": []any{}, "no algorithm": object{"AAA": "x"}, "empty id": object{"alg:": "x"}, "empty algorithm": object{":AAA": "x"},
		"a number": object{"alg:1": 7}, "no key": object{"alg:1": object{}}, "key a number": object{"alg:1": object{"key": 1}},
		"signatures a list": object{"alg:1": object{"key": "k", "signatures": []any{}}}, "null": object{"alg:1": nil},
		"long id": object{"alg:" + strings.Repeat("x", 300): "k"}, "large": object{"alg:1": strings.Repeat("x", 17<<10)},
	} {
		for _, member := range []string{"one_time_keys", "fallback_keys"} {
			if r := alice.post(upload, object{member: bad}); r.Status != 400 || r.Body["errcode"] != "M_BAD_JSON" {
				t.Errorf("%s %s: got %d %.200s, want 400 M_BAD_JSON", member, name, r.Status, r.Raw)
			}
		}
	}
	many := object{}
	for i := range 1001 {
		many[fmt.Sprintf("alg:%d", i)] = "k"
	}
	alice.post(upload, object{"one_time_keys": many}).fails(400, "M_TOO_LARGE")
	alice.post(upload, object{"fallback_keys": many}).fails(400, "M_TOO_LARGE")
	alice.post(upload, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`).fails(413, "M_TOO_LARGE")
	alice.post(upload, strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 200)).fails(400, "M_BAD_JSON")
	alice.post(upload, `{"one_time_keys":{"alg:\u0000":"k"}}`).fails(400, "M_INVALID_PARAM")
	s.nobody().post(upload, object{}).fails(401, "M_MISSING_TOKEN")
	r := alice.post(upload, object{}).want(200)
	same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 0}})
}

func TestUploadKeyIdempotency(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		keys := oneTime("AAAAAAAAAAA", "AAAAAAAAAAQ")
		for range 2 {
			r := alice.post(upload, object{"one_time_keys": keys}).want(200)
			same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 2}})
		}
		// The same in another writing is the same.
		alice.post(upload, `{"one_time_keys":{"signed_curve25519:AAAAAAAAAAQ":  {"signatures":{"@x:y":{"ed25519:D":"sig"}}, "key":"key of AAAAAAAAAA\u0051"}}}`).want(200)
		changed := with(keys, "signed_curve25519:AAAAAAAAAAA", object{"key": "other"})
		alice.post(upload, object{"one_time_keys": changed}).fails(400, "M_UNKNOWN")
		r := alice.post(upload, object{}).want(200)
		same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 2}})
	})
}

func TestUploadKeyIdempotencyOverlap(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		alice.post(upload, object{"one_time_keys": oneTime("A", "B")}).want(200)
		r := alice.post(upload, object{"one_time_keys": oneTime("B", "C")}).want(200)
		same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 3}})
		// Overlap with one that differs: nothing of the upload is kept.
		alice.post(upload, object{"one_time_keys": object{"signed_curve25519:C": "other", "signed_curve25519:D": "new"}}).fails(400, "M_UNKNOWN")
		r = alice.post(upload, object{}).want(200)
		same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 3}})
	})
}

// A device whose identity changes begins again, with ids that may be the same.
func TestUploadOfAnotherIdentity(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		k1, k2 := newSigner(t), newSigner(t)
		alice.post(upload, object{"device_keys": alice.deviceKeys(k1), "one_time_keys": oneTime("A", "B"), "fallback_keys": oneTime("F")}).want(200)
		if got := bob.claim(alice); got != "A" {
			t.Errorf("got %q, want A", got)
		}
		r := alice.post(upload, object{"device_keys": alice.deviceKeys(k2), "one_time_keys": oneTime("A")}).want(200)
		same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 1}})
		for _, want := range []string{"A", ""} {
			if got := bob.claim(alice); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

func TestKeysOfARemovedDevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		phone := alice.login("PHONE")
		phone.post(upload, object{"device_keys": phone.deviceKeys(newSigner(t)), "one_time_keys": oneTime("A"), "fallback_keys": oneTime("F")}).want(200)
		bob.put("/_matrix/client/v3/sendToDevice/m.test/1", object{"messages": object{alice.ID: object{"PHONE": object{}}}}).want(200)
		phone.post("/_matrix/client/v3/logout", nil).want(200)
		same(t, "keys", bob.query(alice).at("device_keys", alice.ID), object{})
		if got := bob.claim(phone); got != "" {
			t.Errorf("claimed %q from a device that is gone", got)
		}
		again := alice.login("PHONE") // the same name, another device
		r := again.post(upload, object{"one_time_keys": oneTime("A")}).want(200)
		same(t, "counts", r.Body, object{"one_time_key_counts": object{"signed_curve25519": 1}})
		if got := bob.claim(again); got != "A" {
			t.Errorf("got %q, want A", got)
		}
	})
}
