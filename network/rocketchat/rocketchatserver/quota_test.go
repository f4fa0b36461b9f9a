package rocketchatserver_test

import (
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
)

// keeps returns what is kept for an account.
func (s *stage) keeps(name account.Name) quota.Used {
	s.t.Helper()
	u, err := s.Core.Usage(s.t.Context(), []account.Name{name})
	if err != nil {
		s.t.Fatal(err)
	}
	return u[name]
}

// TestAttackQuotaUploads: uploads end at the quota of the account, confirmed or
// not; a file that goes with its message is given back.
func TestAttackQuotaUploads(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		rid := alice.group("plan", bob)
		k := alice.begins(rid)
		up := func(by *person) *reply {
			return by.form("rooms.media/"+rid, by.seal(k, "about"), "f", make([]byte, 10_000))
		}
		file := up(alice).ok().text("file", "_id")
		up(alice).ok()
		up(alice).fails(507, "error-quota-exceeded")
		up(alice.logsIn()).fails(507, "error-quota-exceeded")
		up(bob).ok()
		message := alice.post("rooms.mediaConfirm/"+rid+"/"+file, object{"t": "e2e", "content": alice.seal(k, "the file")}).ok().text("message", "_id")
		before := s.keeps("alice")
		alice.post("chat.delete", object{"roomId": rid, "msgId": message}).ok()
		after := s.keeps("alice")
		if got := before[db.ClassMedia] - after[db.ClassMedia]; got < 10_000 || got > 11_000 {
			t.Errorf("got %d bytes of media back", got)
		}
		if after[db.ClassMessages] >= before[db.ClassMessages] {
			t.Errorf("got no bytes of the message back: %d and %d", before[db.ClassMessages], after[db.ClassMessages])
		}
		up(alice).ok()
	}, quintatest.Quotas(quota.Limits{db.ClassMedia: 25_000}))
}

// TestAttackQuotaMessages: what an account has said is bounded; the others continue.
func TestAttackQuotaMessages(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		rid := alice.group("plan", bob)
		k := alice.begins(rid)
		say := func(by *person) *reply {
			return by.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "content": by.seal(k, fmt.Sprintf("%2000d", 1))}})
		}
		refused := false
		for range 20 {
			r := say(alice)
			if refused = r.status != 200; refused {
				r.fails(507, "error-quota-exceeded")
				break
			}
		}
		if got := s.keeps("alice")[db.ClassMessages]; !refused || got > 12_000 || got < 8_000 {
			t.Errorf("refused %v with %d bytes of messages", refused, got)
		}
		say(bob).ok()
	}, quintatest.Quotas(quota.Limits{db.ClassMessages: 12_000}))
}
