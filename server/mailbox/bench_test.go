package mailbox_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/testkit/stores"
)

func cpu() int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// run carries op out from 64 callers and reports the processor time of each,
// and of an embedded store the fsyncs.
func run(b *testing.B, d *db.DB, op func(n int) error) {
	b.SetParallelism(32)
	b.ResetTimer()
	before, syncs := cpu(), d.Stats().Syncs
	var n atomic.Int64
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := op(int(n.Add(1)) - 1); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(cpu()-before)/1000/float64(b.N), "cpu-us/op")
	if d.Embedded() {
		b.ReportMetric(float64(d.Stats().Syncs-syncs)/float64(b.N), "fsyncs/op")
	}
}

// BenchmarkPut is an enqueue with its idempotency id: one message of 1 KB to
// one device, or a fan-out to fifty.
func BenchmarkPut(b *testing.B) {
	body := []byte(strings.Repeat("b", 1000))
	for _, engine := range stores.Engines {
		for _, many := range []int{1, 50} {
			b.Run(fmt.Sprintf("%s/%d", engine, many), func(b *testing.B) {
				d := stores.Open(b, stores.Config(b, engine), mailbox.Schema)
				run(b, d, func(n int) error {
					envs := make([]quinta.Envelope, many)
					for i := range envs {
						envs[i] = quinta.Envelope{From: alice, To: quinta.UserID(fmt.Sprintf("@user%d:example.org", (n*7+i)%500)), Device: "DEVICEAAAA", Type: "m.room.encrypted", Body: body}
					}
					return d.Update(b.Context(), func(tx *db.Tx) error {
						if _, err := mailbox.Once(tx, network, alice, "DEVICEAAAA", quinta.TxnID(fmt.Sprint(n))); err != nil {
							return err
						}
						return mailbox.Put(tx, network, 0, envs...)
					})
				})
			})
		}
	}
}

// BenchmarkReadAck reads a page of forty and acknowledges it.
func BenchmarkReadAck(b *testing.B) {
	body := []byte(strings.Repeat("b", 1000))
	for _, engine := range stores.Engines {
		b.Run(engine, func(b *testing.B) {
			d := stores.Open(b, stores.Config(b, engine), mailbox.Schema)
			for i := range b.N {
				envs := make([]quinta.Envelope, 40)
				for j := range envs {
					envs[j] = quinta.Envelope{From: alice, To: bob, Device: quinta.DeviceID(fmt.Sprint(i)), Type: "m.room.encrypted", Body: body}
				}
				if err := d.Update(b.Context(), func(tx *db.Tx) error { return mailbox.Put(tx, network, 0, envs...) }); err != nil {
					b.Fatal(err)
				}
			}
			run(b, d, func(n int) error {
				id := quinta.DeviceID(fmt.Sprint(n))
				var last quinta.Pos
				if err := d.View(b.Context(), func(tx *db.Tx) error {
					page, _, err := mailbox.Read(tx, network, bob, id, 0, 100)
					if err == nil && len(page) != 40 {
						err = fmt.Errorf("got %d messages, want 40", len(page))
					}
					if err == nil {
						last = page[39].Pos
					}
					return err
				}); err != nil {
					return err
				}
				return d.Update(b.Context(), func(tx *db.Tx) error { return mailbox.Ack(tx, network, bob, id, last) })
			})
		})
	}
}
