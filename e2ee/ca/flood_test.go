package ca_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// records counts the records of a device below each first part of their keys.
func (d *device) records() map[string]int {
	d.p.t.Helper()
	n := map[string]int{}
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		for e, err := range tx.All("") {
			if err != nil {
				return nil, err
			}
			first, _, _ := strings.Cut(e.Key, "/")
			n[first]++
		}
		return nil, nil
	})
	return n
}

// TestFloods: what a user who shares a conversation sends without end, of each
// kind of delivery, does not make the store of a device grow without end, and
// does not push out what another user sent.
func TestFloods(t *testing.T) {
	t.Parallel()
	signed := func(a, b *device, conv quinta.RoomID, i int, body any) []byte {
		raw, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		return a.seal(b, seal.Content{Conv: conv, ID: quinta.MessageID(fmt.Sprint("flood-", i)), Seq: uint64(1000 + i), Body: raw})
	}
	for name, c := range map[string]struct {
		flood int
		// kind is that of the records that are bounded, and most how many of
		// them the user who floods may leave.
		kind string
		most int
		make func(a, b, other *device, conv quinta.RoomID) func(i int, it *ca.Item)
	}{
		"messages that no key opens": {2050, "wait", 2000, func(a, b, other *device, conv quinta.RoomID) func(int, *ca.Item) {
			body := a.seal(other, seal.Content{Conv: conv, ID: "x"})
			return func(_ int, it *ca.Item) { it.Body = body }
		}},
		"packets of sessions that nobody offered": {2050, "wait", 2000, func(a, b, _ *device, conv quinta.RoomID) func(int, *ca.Item) {
			return func(i int, it *ca.Item) {
				offer := must(seal.NewOffer(rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})))
				s := must(seal.NewSession(offer, conv, alice, "A1", bob, now))
				it.Form, it.Body = ca.FormSession, must(s.Seal(seal.Small{ID: it.ID, Time: now.UnixMilli(), Body: []byte(`{}`)}))
			}
		}},
		"messages of conversations that nobody knows": {2050, "wait", 2000, func(_, _, _ *device, _ quinta.RoomID) func(int, *ca.Item) {
			return func(i int, it *ca.Item) {
				it.Conv, it.Body = quinta.RoomID(fmt.Sprintf("g_nobody-knows-%08d", i)), []byte("x")
			}
		}},
		"offers of sessions": {220, "session", 200, func(a, b, _ *device, conv quinta.RoomID) func(int, *ca.Item) {
			return func(i int, it *ca.Item) {
				offer := must(seal.NewOffer(rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})))
				it.Body = signed(a, b, conv, i, map[string]any{"kind": "text", "text": "x", "session": map[string]any{
					"kid": offer.KID, "secret": offer.Secret, "keys": []cert.Fingerprint{}}})
			}
		}},
		"notices of what could not be read": {100, "", 5, func(a, b, _ *device, conv quinta.RoomID) func(int, *ca.Item) {
			return func(i int, it *ca.Item) {
				it.Kind, it.Body = ca.KindNotice, signed(a, b, conv, i, map[string]any{"kind": "unread", "unread": []string{fmt.Sprint("m", i)}})
			}
		}},
		"keys that nobody asked for": {100, "", 5, func(a, b, _ *device, conv quinta.RoomID) func(int, *ca.Item) {
			return func(i int, it *ca.Item) {
				it.Kind, it.Body = ca.KindApproval, signed(a, b, conv, i, map[string]any{"kind": "keys", "keys": map[string]any{"v": 1, "keys": []any{}}})
			}
		}},
		"messages sealed again that never came": {100, "", 5, func(a, b, _ *device, conv quinta.RoomID) func(int, *ca.Item) {
			return func(i int, it *ca.Item) {
				it.Kind, it.Body = ca.KindReseal, signed(a, b, conv, i, map[string]any{"kind": "text", "text": "x"})
			}
		}},
		"changes of keys": {1000, "", 5, func(_, _, _ *device, _ quinta.RoomID) func(int, *ca.Item) {
			return func(i int, it *ca.Item) {
				it.Kind, it.Body = ca.KindKeys, fmt.Appendf(nil, `{"username":"u%d@hs1","change":"enrolled"}`, i)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, a, b, conv := couple(t, ca.Policy{})
			other := p.login(carol, "C1", ca.Policy{})
			withCarol := other.direct(bob)
			b.settle()
			waits := ca.Item{Conv: withCarol, ID: "first", From: carol, Device: "C1", Body: other.seal(a, seal.Content{Conv: withCarol, ID: "first"})}
			a.says(conv, "one")
			p.forge(b, waits)
			b.settle()
			before := b.records()
			if before["wait"] != 1 {
				t.Fatalf("%d items wait, want that of carol", before["wait"])
			}
			bend := c.make(a, b, other, conv)
			in := ca.In{}
			b.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { in.After, err = b.m.Since(tx); return nil, err })
			for i := range c.flood {
				it := ca.Item{Pos: in.After + quinta.Pos(i) + 1, Kind: ca.KindMessage, Form: ca.FormCMS, Conv: conv, From: alice, Device: "A1",
					ID: quinta.MessageID(fmt.Sprint("flood-", i)), Received: p.now.Add(time.Second)}
				bend(i, &it)
				in.Items = append(in.Items, it)
			}
			b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return b.m.Receive(tx, in) })
			after := b.records()
			total := 0
			for kind, n := range after {
				// Those that belong to a message that was read are as many as
				// the messages, and entries of bounds as the records.
				if c.kind == "" && kind != "bound" || kind == c.kind {
					total += n - before[kind]
				}
			}
			if total > c.most || c.kind != "" && total < c.most {
				t.Errorf("%d deliveries left %d records more, want %d: %v, before %v", c.flood, total, c.most, after, before)
			}
			if c.kind == "wait" && after["waitid"] > c.most+1 || after["req"] > c.most+1 || after["held"] > c.most+1 {
				t.Errorf("notes on items that wait are left: %v", after)
			}
			var kept bool
			b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
				v, err := tx.Get("waitid/" + string(withCarol) + "\x00first")
				kept = v != nil
				return nil, err
			})
			if !kept {
				t.Error("what carol sent was pushed out")
			}
		})
	}
}
