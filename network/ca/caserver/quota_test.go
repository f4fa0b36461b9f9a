package caserver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/ca/wire"
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

// TestAttackQuotaFiles: files end at the quota of the account.
func TestAttackQuotaFiles(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		file := make([]byte, 10_000)
		alice.post(wire.PathFiles, file).want(201)
		alice.post(wire.PathFiles, file).want(201)
		alice.post(wire.PathFiles, file).fails(507, wire.CodeQuota)
		s.login("alice", "OTHER").post(wire.PathFiles, file).fails(507, wire.CodeQuota)
		bob.post(wire.PathFiles, file).want(201)
		if got := s.keeps("alice")[db.ClassMedia]; got != 20_000 {
			t.Errorf("got %d bytes of media", got)
		}
	}, quintatest.Quotas(quota.Limits{db.ClassMedia: 25_000}))
}

// TestAttackQuotaBackup: the sealed backup is bounded, and what is deleted is
// given back.
func TestAttackQuotaBackup(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		sealed := func(n int) wire.Backup { return wire.Backup{Sealed: []byte(`{"v":"` + strings.Repeat("x", n) + `"}`)} }
		alice.put(wire.PathBackup, sealed(9000)).fails(507, wire.CodeQuota)
		alice.put(wire.PathBackup, sealed(7000)).want(200)
		if got := s.keeps("alice")[db.ClassData]; got < 7000 || got > 8000 {
			t.Errorf("got %d bytes of data", got)
		}
		alice.delete(wire.PathBackup, nil).want(200)
		if got := s.keeps("alice")[db.ClassData]; got != 0 {
			t.Errorf("got %d bytes of data after all was deleted", got)
		}
	}, quintatest.Quotas(quota.Limits{db.ClassData: 8000}))
}

// TestAttackQuotaPackets: what an account has sent to conversations is bounded;
// others continue.
func TestAttackQuotaPackets(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.person("alice"), s.person("bob")
		conv := alice.talk(bob)
		refused := false
		for i := range 20 {
			id := quinta.MessageID(fmt.Sprintf("m%d", i))
			r := alice.deliver(conv, id, alice.seal(conv, id, strings.Repeat("x", 5000), bob))
			if refused = r.Status != 200; refused {
				r.fails(507, wire.CodeQuota)
				break
			}
		}
		if got := s.keeps("alice")[db.ClassMessages]; !refused || got > 30_000 || got < 20_000 {
			t.Errorf("refused %v with %d bytes of messages", refused, got)
		}
		bob.says(conv, "b1", "still here", alice)
	}, quintatest.Quotas(quota.Limits{db.ClassMessages: 30_000}))
}
