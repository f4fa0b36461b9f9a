package matrixserver_test

import (
	"fmt"
	"testing"
)

const dehydrated = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

// dehydrate makes a dehydrated device of the user's and returns it as one
// that makes no calls.
func (u *user) dehydrate(t *testing.T, id string, ids ...string) *user {
	t.Helper()
	d := &user{s: u.s, ID: u.ID, Device: id}
	keys := with(d.deviceKeys(newSigner(t)), "dehydrated", true)
	r := u.put(dehydrated, object{"device_id": id, "device_data": object{"algorithm": "org.matrix.msc3814.v2", "nonce": "n", "device_pickle": "p" + id},
		"device_keys": keys, "one_time_keys": oneTime(ids...), "fallback_keys": oneTime("F"), "initial_device_display_name": "Dehydrated"}).want(200)
	if r.text("device_id") != id {
		t.Errorf("got %s", r.Raw)
	}
	return d
}

func TestDehydratedDevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		alice.get(dehydrated).fails(404, "M_NOT_FOUND")
		alice.delete(dehydrated, nil).fails(404, "M_NOT_FOUND")
		d := alice.dehydrate(t, "DEHY", "A")
		same(t, "data", alice.get(dehydrated).want(200).Body, object{"device_id": "DEHY", "device_data": object{"algorithm": "org.matrix.msc3814.v2", "nonce": "n", "device_pickle": "pDEHY"}})
		bob.get(dehydrated).fails(404, "M_NOT_FOUND")

		// It is queried, claimed from and sent to like any other.
		keys := bob.query(alice).at("device_keys", alice.ID, "DEHY")
		if at(keys, "dehydrated") != true || at(keys, "unsigned", "device_display_name") != "Dehydrated" {
			t.Errorf("got %v", keys)
		}
		for _, want := range []string{"A", "F"} {
			if got := bob.claim(d); got != want {
				t.Errorf("claimed %q, want %q", got, want)
			}
		}
		for i := range 105 {
			bob.tell("m.test", fmt.Sprint(i), object{alice.ID: object{"DEHY": object{"n": i}}}).want(200)
		}
		for _, page := range []func(from string) *reply{
			func(from string) *reply {
				return alice.post(dehydrated+"/DEHY/events", object{"next_batch": from})
			},
			func(from string) *reply {
				return alice.get(dehydrated + "/DEHY/events?from=" + from)
			},
		} {
			first := page("").want(200)
			if n := len(first.Body["events"].([]any)); n != 100 {
				t.Errorf("got %d events, want 100", n)
			}
			second := page(first.text("next_batch")).want(200)
			events, _ := second.Body["events"].([]any)
			if len(events) != 5 || second.Body["next_batch"] != nil {
				t.Fatalf("got %s", second.Raw)
			}
			same(t, "last", events[4], object{"type": "m.test", "sender": bob.ID, "content": object{"n": 104}})
			page("nonsense").fails(400, "M_INVALID_PARAM")
		}
		alice.post(dehydrated+"/DEHY/events", nil).want(200)

		alice.post(dehydrated+"/"+alice.Device+"/events", object{}).fails(403, "M_FORBIDDEN")
		bob.get(dehydrated+"/DEHY/events").fails(404, "M_NOT_FOUND")
		bob.dehydrate(t, "BOBS")
		bob.get(dehydrated+"/DEHY/events").fails(403, "M_FORBIDDEN")

		// A new one takes its place, with an empty mailbox.
		alice.dehydrate(t, "NEXT")
		if keys, _ := bob.query(alice).at("device_keys", alice.ID).(object); keys["DEHY"] != nil || keys["NEXT"] == nil {
			t.Errorf("got devices %v", keys)
		}
		alice.dehydrate(t, "DEHY") // a name may come back
		same(t, "events", alice.get(dehydrated+"/DEHY/events").want(200).Body, object{"events": []any{}})

		same(t, "deleted", alice.delete(dehydrated, nil).want(200).Body, object{"device_id": "DEHY"})
		alice.get(dehydrated).fails(404, "M_NOT_FOUND")
		same(t, "keys", bob.query(alice).at("device_keys", alice.ID), object{})
	})
}

func TestDehydratedDeviceRemovedAsADevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		alice.dehydrate(t, "DEHY")
		r := alice.delete("/_matrix/client/v3/devices/DEHY", nil).want(401)
		alice.delete("/_matrix/client/v3/devices/DEHY", object{"auth": alice.auth(r)}).want(200)
		alice.get(dehydrated).fails(404, "M_NOT_FOUND")
	})
}

func TestDehydratedDeviceRefuses(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		d := &user{s: s, ID: alice.ID, Device: "DEHY"}
		good := object{"device_id": "DEHY", "device_data": object{"algorithm": "a"}, "device_keys": d.deviceKeys(newSigner(t))}
		for name, c := range map[string]struct {
			body object
			code string
		}{
			"no id": {with(good, "device_id", nil), "M_BAD_JSON"}, "id a number": {with(good, "device_id", 1), "M_BAD_JSON"},
			"no data": {with(good, "device_data", nil), "M_BAD_JSON"}, "data a text": {with(good, "device_data", "x"), "M_BAD_JSON"},
			"no algorithm": {with(good, "device_data", object{}), "M_BAD_JSON"}, "no keys": {with(good, "device_keys", nil), "M_BAD_JSON"},
			"keys of another device": {with(good, "device_id", "OTHER"), "M_BAD_JSON"},
			"keys of another user":   {with(good, "device_keys", (&user{s: s, ID: bob.ID, Device: "DEHY"}).deviceKeys(newSigner(t))), "M_BAD_JSON"},
			"bad one-time keys":      {with(good, "one_time_keys", []any{}), "M_BAD_JSON"},
			"name a number":          {with(good, "initial_device_display_name", 1), "M_BAD_JSON"},
			"a device with a login":  {object{"device_id": alice.Device, "device_data": object{"algorithm": "a"}, "device_keys": alice.deviceKeys(newSigner(t))}, "M_INVALID_PARAM"},
		} {
			if r := alice.put(dehydrated, c.body); r.Status != 400 || r.Body["errcode"] != c.code {
				t.Errorf("%s: got %d %s, want 400 %s", name, r.Status, r.Raw, c.code)
			}
		}
		alice.get(dehydrated).fails(404, "M_NOT_FOUND")
		s.nobody().get(dehydrated).fails(401, "M_MISSING_TOKEN")
	})
}
