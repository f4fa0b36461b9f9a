package matrixserver_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
	"github.com/quinta-chat/quinta/testkit/stores"
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

// TestAttackQuotaMedia: uploads end at the quota of the account, on both ways to
// upload, and cost others nothing.
func TestAttackQuotaMedia(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		file := make([]byte, 10_000)
		for range 4 {
			alice.upload(file, "application/octet-stream", "")
		}
		alice.post(uploadPath, file).fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		alice.login("OTHER").put(uploadPath+"/"+alice.announce(), file).fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		// A file counts a block of the disk, however short it is.
		alice.upload([]byte("x"), "text/plain", "")
		alice.upload([]byte("x"), "text/plain", "")
		alice.post(uploadPath, []byte("x")).fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		bob.upload(file, "application/octet-stream", "")
		if got := s.keeps("alice")[db.ClassMedia]; got != 48_192 {
			t.Errorf("got %d bytes of media, want 48192", got)
		}
	}, quintatest.Quotas(quota.Limits{db.ClassMedia: 49_000}))
}

// TestAttackQuotaBackup: the keys and the versions of a backup end at the
// account's quota; a better key in the place of another counts once, and what is
// deleted is given back.
func TestAttackQuotaBackup(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		v := alice.newBackup()
		put := func(session string, first int) *reply {
			return alice.put(keyPath+"/"+esc("!r:hs1")+"/"+session+"?version="+v, backupKey(first, 0, false, object{"ciphertext": strings.Repeat("A", 9000)}))
		}
		for i := range 5 {
			put(fmt.Sprintf("session%d", i), 5).want(200)
		}
		put("another", 5).fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		put("session0", 4).want(200)
		before := s.keeps("alice")[db.ClassBackup]
		if before < 45_000 || before > 50_000 {
			t.Errorf("got %d bytes of backups, want the five keys", before)
		}
		alice.delete(keyPath+"/"+esc("!r:hs1")+"/session0?version="+v, nil).want(200)
		put("another", 5).want(200)
		alice.delete(backups+"/"+v, nil).want(200)
		if got := s.keeps("alice")[db.ClassBackup]; got != 0 {
			t.Errorf("got %d bytes of backups after all was deleted", got)
		}
		// New versions count too.
		refused := false
		for range 20 {
			r := alice.post(backups, object{"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": object{"public_key": "k", "pad": strings.Repeat("A", 5000)}})
			if refused = r.Status != http.StatusOK; refused {
				r.fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
				break
			}
		}
		if !refused {
			t.Error("versions without end were taken")
		}
	}, quintatest.Quotas(quota.Limits{db.ClassBackup: 50_000}))
}

// TestAttackQuotaAccountData: values end at the quota; what is deleted, and a
// shorter value in the place of a longer one, is given back.
func TestAttackQuotaAccountData(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice := s.register("alice")
		base := s.keeps("alice")[db.ClassData]
		path := func(n int) string {
			return fmt.Sprintf("/_matrix/client/v3/user/%s/account_data/org.test.%d", esc(alice.ID), n)
		}
		value := func(n int) object { return object{"v": strings.Repeat("x", n)} }
		alice.put(path(1), value(9000)).want(200)
		alice.put(path(2), value(9000)).want(200)
		alice.put(path(3), value(9000)).fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		alice.put(path(1), value(10)).want(200)
		alice.put(path(3), value(9000)).want(200)
		if got := s.keeps("alice")[db.ClassData] - base; got < 18_000 || got > 18_100 {
			t.Errorf("got %d bytes of data", got)
		}
	}, quintatest.Quotas(quota.Limits{db.ClassData: 20_000}))
}

// TestAttackQuotaQueue: what an account has sent and no one has received is
// bounded over all its devices and receivers, with an answer that says to try
// later; once it was received and removed there is room again.
func TestAttackQuotaQueue(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob, carol := s.register("alice"), s.register("bob"), s.register("carol")
		laptop := alice.login("LAPTOP")
		n := 0
		tell := func(by, to *user) *reply {
			n++
			return by.tell("m.test", fmt.Sprint(n), object{to.ID: object{"*": object{"v": strings.Repeat("x", 9000)}}})
		}
		tell(alice, bob).want(200)
		tell(laptop, carol).want(200)
		tell(alice, bob).fails(429, "M_LIMIT_EXCEEDED")
		tell(laptop, carol).fails(429, "M_LIMIT_EXCEEDED")
		tell(carol, bob).want(200)
		next := bob.get("/_matrix/client/v3/sync").want(200).text("next_batch")
		bob.get("/_matrix/client/v3/sync?since=" + next).want(200)
		if err := s.Core.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		tell(alice, bob).want(200)
	}, quintatest.Quotas(quota.Limits{db.ClassQueue: 20_000}))
}

// TestAttackQuotaMessages: what an account has said in rooms is bounded; the
// room continues for the others, and a redaction gives bytes back.
func TestAttackQuotaMessages(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		id := alice.post("/_matrix/client/v3/createRoom", object{"preset": "public_chat"}).want(200).text("room_id")
		bob.post("/_matrix/client/v3/join/"+esc(id), object{}).want(200)
		n := 0
		say := func(by *user) *reply {
			n++
			return by.put(fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/m.room.message/%d", esc(id), n), object{"msgtype": "m.text", "body": strings.Repeat("x", 9000)})
		}
		first := say(alice).want(200).text("event_id")
		say(alice).fails(507, "M_RESOURCE_LIMIT_EXCEEDED")
		say(bob).want(200)
		alice.put("/_matrix/client/v3/rooms/"+esc(id)+"/redact/"+esc(first)+"/r", object{}).want(200)
		say(alice).want(200)
	}, quintatest.Quotas(quota.Limits{db.ClassMessages: 15_000}))
}

// TestQuotaNodes: two nodes of one store together take no more than one would.
func TestQuotaNodes(t *testing.T) {
	t.Parallel()
	cfg := stores.Config(t, "postgres")
	media, secret := "file://"+t.TempDir(), "file://"+t.TempDir()+"/secrets.key"
	node := func() *stage {
		return newStage(t, quintatest.Database(cfg), quintatest.Quotas(quota.Limits{db.ClassMedia: 100_000}),
			quintatest.Configure(func(c *server.Config) { c.BlobURL, c.SecretsURL = media, secret }))
	}
	a := node()
	alice := a.register("alice")
	other := *alice
	other.s = node()
	results := make(chan int, 40)
	for i := range cap(results) {
		by := alice
		if i%2 == 1 {
			by = &other
		}
		go func() { results <- by.request("POST", uploadPath, bytes.NewReader(make([]byte, 9000))).Status }()
	}
	taken := 0
	for range cap(results) {
		switch status := <-results; status {
		case 200:
			taken++
		case 507:
		default:
			t.Errorf("got %d", status)
		}
	}
	if got := a.keeps("alice")[db.ClassMedia]; taken != 11 || got != 99_000 {
		t.Errorf("got %d files and a sum of %d, want 11 of 9000 bytes", taken, got)
	}
}

// TestAttackDiskFull: with less free disk than must be left nothing is stored,
// but messages are still acknowledged, and things can be removed.
func TestAttackDiskFull(t *testing.T) {
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			var free atomic.Int64
			free.Store(1 << 40)
			now := &shifted{}
			s := newStage(t, quintatest.Database(stores.Config(t, engine)), quintatest.Clock(now.now), quintatest.Configure(func(c *server.Config) {
				c.MinFreeDisk, c.FreeDisk = 1<<30, func() (int64, error) { return free.Load(), nil }
			}))
			alice, bob := s.register("alice"), s.register("bob")
			laptop := alice.login("LAPTOP")
			v := alice.newBackup()
			alice.tell("m.test", "1", object{bob.ID: object{"*": object{"v": 1}}}).want(200)
			free.Store(1<<30 - 1)
			now.add(3e9)
			alice.post(uploadPath, "x").fails(507, "M_UNKNOWN")
			alice.tell("m.test", "2", object{bob.ID: object{"*": object{"v": 1}}}).fails(507, "M_UNKNOWN")
			alice.put("/_matrix/client/v3/user/"+esc(alice.ID)+"/account_data/org.test", object{"v": 1}).fails(507, "M_UNKNOWN")
			alice.post("/_matrix/client/v3/createRoom", object{}).fails(507, "M_UNKNOWN")
			next := bob.get("/_matrix/client/v3/sync").want(200).text("next_batch")
			bob.get("/_matrix/client/v3/sync?since=" + next).want(200)
			bob.wantWaiting()
			alice.delete(backups+"/"+v, nil).want(200)
			laptop.post("/_matrix/client/v3/logout", object{}).want(200)
			free.Store(1 << 40)
			now.add(3e9)
			alice.post(uploadPath, "x").want(200)
		})
	}
}
