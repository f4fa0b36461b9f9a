package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// tell sends to-device messages.
func (u *user) tell(typ, txn string, messages object) *reply {
	u.s.t.Helper()
	return u.put("/_matrix/client/v3/sendToDevice/"+esc(typ)+"/"+esc(txn), object{"messages": messages})
}

// waiting shows what waits for the device, as the set hands it on.
func (u *user) waiting() string {
	u.s.t.Helper()
	var out []string
	if err := u.s.Core.View(u.s.t.Context(), func(tx *db.Tx) error {
		page, _, err := mailbox.Read(tx, "matrix", quinta.UserID(u.ID), quinta.DeviceID(u.Device), 0, 1000)
		for _, m := range page {
			out = append(out, fmt.Sprintf("%s %s %s", m.Type, m.From, m.Body))
		}
		return err
	}); err != nil {
		u.s.t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func (u *user) wantWaiting(want ...string) {
	u.s.t.Helper()
	if got := u.waiting(); got != strings.Join(want, "\n") {
		u.s.t.Errorf("%s %s: got\n%s\nwant\n%s", u.ID, u.Device, got, strings.Join(want, "\n"))
	}
}

func TestSendToDevice(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		phone := bob.login("PHONE")
		alice.tell("m.test", "1", object{bob.ID: object{bob.Device: object{"n": 1}}}).want(200)
		alice.tell("m.test/slash", "2", object{bob.ID: object{"PHONE": object{"n": 2}}, alice.ID: object{alice.Device: object{"n": 3}}}).want(200)
		same(t, "answer", alice.tell("m.test", "3", object{}).want(200).Body, object{})
		bob.wantWaiting(`m.test @alice:hs1 {"n":1}`)
		phone.wantWaiting(`m.test/slash @alice:hs1 {"n":2}`)
		alice.wantWaiting(`m.test/slash @alice:hs1 {"n":3}`)
	})
}

func TestSendToDeviceWildcard(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		phone := bob.login("PHONE")
		alice.tell("m.all", "1", object{bob.ID: object{"*": object{"n": 1}}}).want(200)
		alice.tell("m.all", "2", object{bob.ID: object{"*": object{"n": 2}, "PHONE": object{"own": true}}}).want(200)
		bob.wantWaiting(`m.all @alice:hs1 {"n":1}`, `m.all @alice:hs1 {"n":2}`)
		phone.wantWaiting(`m.all @alice:hs1 {"n":1}`, `m.all @alice:hs1 {"own":true}`)
	})
}

// The sender is whose token it is, whatever the request says.
func TestSendToDeviceWithAMadeUpSender(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		alice.put("/_matrix/client/v3/sendToDevice/m.test/1?user_id="+esc(bob.ID)+"&sender="+esc(bob.ID), object{"sender": bob.ID,
			"messages": object{bob.ID: object{bob.Device: object{"sender": bob.ID}, "sender": object{}}}}).want(200)
		bob.wantWaiting(`m.test @alice:hs1 {"sender":"@bob:hs1"}`)
	})
}

// A device that does not exist gets nothing, and a later device with the same
// name does not either.
func TestSendToDeviceOfNobody(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		alice.tell("m.test", "1", object{bob.ID: object{"LATER": object{}}, "@nobody:hs1": object{"*": object{}}, "@bob:elsewhere": object{"*": object{}}, "bad": object{"*": object{}}}).want(200)
		bob.login("LATER").wantWaiting("")
	})
}

func TestSendToDeviceIsIdempotent(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		other := alice.login("OTHER")
		to := func(n int) object { return object{bob.ID: object{bob.Device: object{"n": n}}} }
		alice.tell("m.test", "1", to(1)).want(200)
		alice.tell("m.test", "1", to(1)).want(200)
		alice.tell("m.test", "1", to(2)).want(200) // the same id with another content: the first answer again
		other.tell("m.test", "1", to(3)).want(200) // another device has its own ids
		alice.tell("m.other", "1", to(4)).want(200)
		bob.wantWaiting(`m.test @alice:hs1 {"n":1}`, `m.test @alice:hs1 {"n":3}`, `m.other @alice:hs1 {"n":4}`)
	})
}

func TestSendToDeviceRefuses(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	const path = "/_matrix/client/v3/sendToDevice/m.test/1"
	for _, bad := range []any{object{}, object{"messages": []any{}}, object{"messages": object{alice.ID: "x"}}, object{"messages": object{alice.ID: object{"D": "x"}}},
		object{"messages": object{alice.ID: object{"D": object{"f": 1.5}}}}} {
		alice.put(path, bad).fails(400, "M_BAD_JSON")
	}
	alice.put(path, "{").fails(400, "M_NOT_JSON")
	alice.put(path, `{"messages":`+strings.Repeat(`{"a":`, 200)+"1"+strings.Repeat("}", 201)).fails(400, "M_BAD_JSON")
	long := strings.Repeat("x", 256)
	alice.tell(long, "1", object{}).fails(400, "M_INVALID_PARAM")
	alice.tell("m.test", long, object{}).fails(400, "M_INVALID_PARAM")
	alice.tell("m.test", "1", object{alice.ID: object{alice.Device: object{"x": strings.Repeat("x", 257<<10)}}}).fails(413, "M_TOO_LARGE")
	alice.put(path, `{"x":"`+strings.Repeat("x", 9<<20)+`"}`).fails(413, "M_TOO_LARGE")
	many := object{}
	for i := range 5001 {
		many[fmt.Sprint(i)] = object{}
	}
	alice.tell("m.test", "1", object{alice.ID: many}).fails(413, "M_TOO_LARGE")
	s.nobody().tell("m.test", "1", object{}).fails(401, "M_MISSING_TOKEN")
	// What was refused has not used its id up.
	alice.tell("m.test", "1", object{alice.ID: object{alice.Device: object{}}}).want(200)
	alice.wantWaiting(`m.test @alice:hs1 {}`)
}

// One content to all of many devices must not become more than the server
// can take.
func TestSendToDeviceBoundsWhatAllGet(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	for i := range 140 {
		alice.login(fmt.Sprint(i))
	}
	alice.tell("m.test", "1", object{alice.ID: object{"*": object{"x": strings.Repeat("x", 250<<10)}}}).fails(413, "M_TOO_LARGE")
	alice.wantWaiting("")
}

func TestToDeviceIsRateLimited(t *testing.T) {
	s := newStage(t, quintatest.RateLimits())
	alice := s.register("alice")
	many := object{}
	for i := range 5000 {
		many[fmt.Sprint(i)] = object{}
	}
	var last *reply
	for i := range 8 {
		if last = alice.tell("m.test", fmt.Sprint(i), object{alice.ID: many}); last.Status != 200 {
			break
		}
	}
	last.fails(429, "M_LIMIT_EXCEEDED")
}
