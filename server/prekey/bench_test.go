package prekey_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/testkit/stores"
)

func cpu() int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// run carries op out from 64 callers and reports the processor time of each.
func run(b *testing.B, op func(n int) error) {
	b.SetParallelism(32)
	b.ResetTimer()
	before := cpu()
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
}

func realKeys(from, n int) []prekey.Key {
	ks := make([]prekey.Key, n)
	for i := range ks {
		ks[i] = prekey.Key{Algorithm: alg, ID: fmt.Sprintf("AAAA%06d", from+i), Body: []byte(strings.Repeat("k", 250))}
	}
	return ks
}

func device(i int) quinta.UserID { return quinta.UserID(fmt.Sprintf("@user%d:example.org", i)) }

// BenchmarkClaim claims one key of one device, out of a hundred devices.
func BenchmarkClaim(b *testing.B) {
	for _, engine := range stores.Engines {
		for _, many := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/%d", engine, many), func(b *testing.B) {
				d := stores.Open(b, stores.Config(b, engine), prekey.Schema)
				each := b.N*many/100 + 2
				for i := range 100 {
					for j := 0; j < each; j += 1000 {
						if err := d.Update(b.Context(), func(tx *db.Tx) error {
							return prekey.Put(tx, network, device(i), "DEVICEAAAA", realKeys(j, min(1000, each-j)))
						}); err != nil {
							b.Fatal(err)
						}
					}
				}
				run(b, func(n int) error {
					wants := make([]prekey.Want, many)
					for i := range wants {
						wants[i] = prekey.Want{User: device((n + i) % 100), Device: "DEVICEAAAA", Algorithm: alg}
					}
					return d.Update(b.Context(), func(tx *db.Tx) error {
						got, err := prekey.Claim(tx, network, wants)
						if err == nil && len(got) != many {
							err = fmt.Errorf("got %d keys, want %d", len(got), many)
						}
						return err
					})
				})
			})
		}
	}
}

// BenchmarkPut uploads fifty keys and counts them.
func BenchmarkPut(b *testing.B) {
	for _, engine := range stores.Engines {
		b.Run(engine, func(b *testing.B) {
			d := stores.Open(b, stores.Config(b, engine), prekey.Schema)
			run(b, func(n int) error {
				ks := realKeys(n*50, 50)
				return d.Update(b.Context(), func(tx *db.Tx) error {
					if err := prekey.Put(tx, network, device(n%100), "DEVICEAAAA", ks); err != nil {
						return err
					}
					_, err := prekey.Counts(tx, network, device(n%100), "DEVICEAAAA")
					return err
				})
			})
		})
	}
}
