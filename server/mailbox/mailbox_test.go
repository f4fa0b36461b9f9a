package mailbox_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// network is the network of these tests.
const network quinta.NetworkName = "n"

const (
	alice = quinta.UserID("@alice:hs1")
	bob   = quinta.UserID("@bob:hs1")
)

// A post is a store with a clock of its own.
type post struct {
	*db.DB
	t     *testing.T
	clock atomic.Int64
}

func each(t *testing.T, fn func(p *post)) {
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			p := &post{t: t}
			p.clock.Store(1_700_000_000_000)
			cfg := stores.Config(t, engine)
			cfg.Now = func() time.Time { return time.UnixMilli(p.clock.Load()) }
			p.DB = stores.Open(t, cfg, mailbox.Schema)
			fn(p)
		})
	}
}

func (p *post) update(fn func(tx *db.Tx) error) {
	p.t.Helper()
	if err := p.Update(p.t.Context(), fn); err != nil {
		p.t.Fatal(err)
	}
}

// put puts one message with the body for each device of bob.
func (p *post) put(body string, expires int64, devices ...quinta.DeviceID) {
	p.t.Helper()
	var envs []quinta.Envelope
	for _, d := range devices {
		envs = append(envs, quinta.Envelope{From: alice, To: bob, Device: d, Type: "m.test", Body: []byte(body)})
	}
	p.update(func(tx *db.Tx) error { return mailbox.Put(tx, network, expires, envs...) })
}

// read returns the bodies of a page, with "..." if there is more.
func (p *post) read(d quinta.DeviceID, after quinta.Pos, limit int) (string, quinta.Pos) {
	p.t.Helper()
	var bodies []string
	last := after
	err := p.View(p.t.Context(), func(tx *db.Tx) error {
		page, more, err := mailbox.Read(tx, network, bob, d, after, limit)
		for _, m := range page {
			if m.Pos <= last {
				p.t.Errorf("got position %d after %d", m.Pos, last)
			}
			last = m.Pos
			if m.From != alice || m.To != bob || m.Device != d || m.Type != "m.test" {
				p.t.Errorf("got %+v", m.Envelope)
			}
			bodies = append(bodies, string(m.Body))
		}
		if more {
			bodies = append(bodies, "...")
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Join(bodies, " "), last
}

func (p *post) wantRead(d quinta.DeviceID, after quinta.Pos, limit int, want string) quinta.Pos {
	p.t.Helper()
	got, last := p.read(d, after, limit)
	if got != want {
		p.t.Errorf("%s after %d: got %q, want %q", d, after, got, want)
	}
	return last
}

func (p *post) ack(d quinta.DeviceID, upTo quinta.Pos) {
	p.t.Helper()
	p.update(func(tx *db.Tx) error { return mailbox.Ack(tx, network, bob, d, upTo) })
}

// rows counts all rows of the table, swept or not.
func (p *post) rows(table string) int {
	p.t.Helper()
	n := 0
	if err := p.View(p.t.Context(), func(tx *db.Tx) error {
		return tx.Row(`SELECT COUNT(*) FROM ` + table).Scan(&n)
	}); err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *post) sweep(limit int) (rounds int) {
	p.t.Helper()
	for more := true; more; rounds++ {
		if rounds > 1000 {
			p.t.Fatal("the sweep does not end")
		}
		p.update(func(tx *db.Tx) (err error) {
			more, err = mailbox.Sweep(tx, limit)
			return err
		})
	}
	return rounds
}

func TestReadInOrderUntilAcknowledged(t *testing.T) {
	each(t, func(p *post) {
		p.wantRead("A", 0, 10, "")
		p.put("one", 0, "A", "B")
		p.put("two", 0, "A")
		p.put("three", 0, "A")
		p.wantRead("A", 0, 10, "one two three")
		last := p.wantRead("A", 0, 2, "one two ...")
		p.wantRead("A", last, 2, "three")
		p.wantRead("A", 0, 3, "one two three")
		p.ack("A", last)
		p.wantRead("A", 0, 10, "three")
		p.ack("A", last-1) // a cursor never goes back
		p.wantRead("A", 0, 10, "three")
		p.wantRead("B", 0, 10, "one")
	})
}

func TestUnacked(t *testing.T) {
	each(t, func(p *post) {
		check := func(upTo quinta.Pos, want bool) {
			t := p.t
			t.Helper()
			if err := p.View(t.Context(), func(tx *db.Tx) error {
				got, err := mailbox.Unacked(tx, network, bob, "A", upTo)
				if got != want {
					t.Errorf("up to %d: got %v, want %v", upTo, got, want)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		check(100, false)
		p.put("one", 0, "A")
		_, last := p.read("A", 0, 1)
		check(last-1, false)
		check(last, true)
		p.ack("A", last)
		check(last, false)
		check(last+100, false)
	})
}

func TestAckOfTheFutureLosesNothing(t *testing.T) {
	each(t, func(p *post) {
		p.put("one", 0, "A")
		p.ack("A", 1<<60)
		p.wantRead("A", 0, 10, "")
		p.put("two", 0, "A")
		p.wantRead("A", 0, 10, "two")
	})
}

func TestExpiry(t *testing.T) {
	each(t, func(p *post) {
		p.put("short", p.clock.Load()+1000, "A")
		p.put("long", 0, "A")
		p.wantRead("A", 0, 10, "short long")
		p.clock.Add(1000)
		p.wantRead("A", 0, 10, "long")
		p.sweep(10)
		if got := p.rows("mailbox_message"); got != 1 {
			p.t.Errorf("got %d rows after the sweep, want 1", got)
		}
	})
}

func TestSweepRemovesOnlyWhatIsAcknowledged(t *testing.T) {
	each(t, func(p *post) {
		for i := range 25 {
			p.put(fmt.Sprint(i), 0, "A", "B")
		}
		_, last := p.read("A", 0, 20)
		p.ack("A", last)
		if got := p.rows("mailbox_message"); got != 50 {
			p.t.Errorf("got %d rows before the sweep, want 50", got)
		}
		if rounds := p.sweep(6); rounds < 3 {
			p.t.Errorf("got %d rounds: a sweep does not keep to its limit", rounds)
		}
		if got := p.rows("mailbox_message"); got != 30 {
			p.t.Errorf("got %d rows, want 30", got)
		}
		p.wantRead("A", 0, 10, "20 21 22 23 24")
		p.wantRead("B", 0, 2, "0 1 ...")
		if rounds := p.sweep(6); rounds != 1 {
			p.t.Errorf("got %d rounds where nothing is left to do", rounds)
		}
	})
}

func TestRemove(t *testing.T) {
	each(t, func(p *post) {
		p.put("old", 0, "A")
		p.update(func(tx *db.Tx) error {
			if _, err := mailbox.Once(tx, network, bob, "A", "t"); err != nil {
				return err
			}
			return mailbox.Remove(tx, network, bob, "A")
		})
		p.wantRead("A", 0, 10, "")
		p.put("new", 0, "A") // a device of the same name came
		p.wantRead("A", 0, 10, "new")
		p.sweep(10)
		p.wantRead("A", 0, 10, "new")
		if got := p.rows("mailbox_cursor"); got != 0 {
			p.t.Errorf("got %d cursors, want none", got)
		}
		p.update(func(tx *db.Tx) error {
			first, err := mailbox.Once(tx, network, bob, "A", "t")
			if !first {
				p.t.Error("the transaction of a removed device is remembered")
			}
			return err
		})
	})
}

func TestOnce(t *testing.T) {
	each(t, func(p *post) {
		once := func(user quinta.UserID, d quinta.DeviceID, txn quinta.TxnID) (first bool) {
			p.update(func(tx *db.Tx) (err error) {
				first, err = mailbox.Once(tx, network, user, d, txn)
				return err
			})
			return first
		}
		for _, c := range []struct {
			user quinta.UserID
			dev  quinta.DeviceID
			txn  quinta.TxnID
			want bool
		}{
			{alice, "A", "1", true}, {alice, "A", "1", false}, {alice, "B", "1", true}, {bob, "A", "1", true}, {alice, "A", "2", true},
		} {
			if got := once(c.user, c.dev, c.txn); got != c.want {
				p.t.Errorf("%+v: got first %v", c, got)
			}
		}
		p.clock.Add(mailbox.TxnLife + 1)
		p.sweep(2)
		if got := p.rows("mailbox_txn"); got != 0 {
			p.t.Errorf("got %d old transactions, want none", got)
		}
	})
}

// A failing request keeps neither its message nor its idempotency id.
func TestPutAndOnceAreOneTransaction(t *testing.T) {
	each(t, func(p *post) {
		want := quinta.E(quinta.KindLimited, "test", "no")
		err := p.Update(p.t.Context(), func(tx *db.Tx) error {
			if _, err := mailbox.Once(tx, network, alice, "A", "1"); err != nil {
				return err
			}
			if err := mailbox.Put(tx, network, 0, quinta.Envelope{From: alice, To: bob, Device: "A"}); err != nil {
				return err
			}
			return want
		})
		if quinta.KindOf(err) != quinta.KindLimited {
			p.t.Fatalf("got %v", err)
		}
		p.wantRead("A", 0, 10, "")
		if got := p.rows("mailbox_txn"); got != 0 {
			p.t.Errorf("got %d transactions, want none", got)
		}
	})
}

func TestPageIsBoundedInBytes(t *testing.T) {
	each(t, func(p *post) {
		big := strings.Repeat("x", mailbox.MaxPage)
		p.put(big, 0, "A")
		p.put("small", 0, "A")
		got, last := p.read("A", 0, 100)
		if got != big+" ..." {
			p.t.Errorf("got a page of %d bytes", len(got))
		}
		p.wantRead("A", last, 100, "small")
	})
}

func TestFanOut(t *testing.T) {
	each(t, func(p *post) {
		var devices []quinta.DeviceID
		for i := range 333 {
			devices = append(devices, quinta.DeviceID(fmt.Sprintf("D%03d", i)))
		}
		p.put("x", 0, devices...)
		for _, d := range devices {
			p.wantRead(d, 0, 10, "x")
		}
	})
}
