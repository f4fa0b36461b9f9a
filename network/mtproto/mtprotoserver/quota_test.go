package mtprotoserver_test

import (
	"testing"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/quota"
)

// keeps returns what is kept for an account.
func keeps(t *testing.T, s *quintatest.Server, name account.Name) quota.Used {
	t.Helper()
	u, err := s.Core.Usage(t.Context(), []account.Name{name})
	if err != nil {
		t.Fatal(err)
	}
	return u[name]
}

// TestAttackQuotaParts: parts of files end at the quota of the account, over all
// its devices; a part in the place of another counts once.
func TestAttackQuotaParts(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store, quintatest.Quotas(quota.Limits{db.ClassMedia: 45_000}))
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		part := func(file int64, n int32) *wire.SaveFilePart {
			return &wire.SaveFilePart{FileID: file, FilePart: n, Bytes: make([]byte, 16<<10)}
		}
		ask[bool](a, part(1, 0))
		ask[bool](a, part(1, 0))
		ask[bool](a, part(2, 0))
		a.refused(part(2, 1), 400, "STORAGE_QUOTA_EXCEEDED")
		ask[bool](a, part(2, 0))
		ask[bool](b, part(1, 0))
		if got := keeps(t, s, "alice")[db.ClassMedia]; got != 32<<10 {
			t.Errorf("got %d bytes of media", got)
		}
	})
}

// TestAttackQuotaQueue: what an account has sent and no one has received is
// bounded, with an answer that says to wait; what was received is given back.
func TestAttackQuotaQueue(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store, quintatest.Quotas(quota.Limits{db.ClassQueue: 10_000}))
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		ca, cb := opens(t, a, b, "bob", 81)
		n := int64(0)
		send := func(to *wire.InputEncryptedChat) *wire.SendEncrypted {
			n++
			return &wire.SendEncrypted{Peer: to, RandomID: n, Data: packet(t, 250)}
		}
		first := keeps(t, s, "alice")[db.ClassQueue]
		ask[*wire.SentEncryptedMessage](a, send(ca))
		each := keeps(t, s, "alice")[db.ClassQueue] - first
		if each < 1000 {
			t.Fatalf("a packet counts %d bytes", each)
		}
		more := (10_000-first)/each - 1
		for range more {
			ask[*wire.SentEncryptedMessage](a, send(ca))
		}
		a.refused(send(ca), 420, "FLOOD_WAIT_5")
		ask[*wire.SentEncryptedMessage](b, send(cb))
		d := b.difference(0, 0)
		b.do(&wire.ReceivedQueue{MaxQts: d.State.(*wire.State).Qts})
		// That they were sent is remembered for a week.
		if got, want := keeps(t, s, "alice")[db.ClassQueue], (1+more)*db.RowBytes; got != want {
			t.Errorf("got %d bytes that wait after all was received, want %d", got, want)
		}
		ask[*wire.SentEncryptedMessage](a, send(ca))
	})
}
