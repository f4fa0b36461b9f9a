package xmppserver_test

import (
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
)

// keeps returns what is kept for a user.
func (s *stage) keeps(user quinta.UserID) (u quota.Used) {
	s.t.Helper()
	if err := s.Core.View(s.t.Context(), func(tx *db.Tx) (err error) {
		u, err = quota.Of(tx, quota.Owner(db.UserOf("xmpp", user)))
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return u
}

// TestAttackQuotaKeys: the keys that a user makes are bounded, and the peer
// continues; the copies of a device that is retired are given back.
func TestAttackQuotaKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b := s.published(romeo), s.published(juliet)
		n := 0
		make := func(by *device, with quinta.UserID) *answer {
			n++
			in, _ := by.create(with, fmt.Sprintf("key-number-%012d", n), a, b)
			return by.call("POST", "/keys", in)
		}
		refused := false
		for range 50 {
			r := make(a, juliet)
			if refused = r.Status != 201; refused {
				r.refused(507, wire.CodeQuota)
				break
			}
		}
		before := s.keeps(romeo)[db.ClassData]
		if !refused || before > 5000 || before < 4000 {
			t.Errorf("refused %v with %d bytes of keys", refused, before)
		}
		make(b, romeo).status(201)
		b.call("DELETE", "/devices/"+string(b.rec.ID), nil).status(200)
		if got := s.keeps(romeo)[db.ClassData]; got >= before {
			t.Errorf("got %d bytes of keys after a device was retired, want less than %d", got, before)
		}
	}, quintatest.Quotas(quota.Limits{db.ClassData: 5000}))
}
