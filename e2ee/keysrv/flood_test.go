package keysrv_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

// records counts the records of a device below each first part of their keys.
func (d *device) records() map[string]int {
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

// eve is a user whom no one knows.
const eve = quinta.UserID("eve@example.org")

// TestFloods: what others send without end, of each kind, does not make the
// store of a device grow without end, and does not push out what another user
// sent.
func TestFloods(t *testing.T) {
	t.Parallel()
	t.Run("messages under keys that never come", func(t *testing.T) {
		t.Parallel()
		const flood, of = 2050, 2000
		p, a, b, room := couple(t)
		a.says(room, "from romeo")
		refuse := true
		p.bend = func(d *device, r keysrv.Req) (keysrv.Ans, bool) {
			return keysrv.Ans{Refused: r.IDs}, refuse && d == b && r.Kind == keysrv.ReqObjects
		}
		b.settle()
		b.told(quinta.ReasonNotPermitted)
		genuine := p.archive[0].item
		b.flood(flood, func(it *keysrv.Item, i int) {
			it.From, it.Room = eve, quinta.RoomID(eve)
			it.ObjectID = fmt.Sprintf("%s%08x", genuine.ObjectID[:len(genuine.ObjectID)-8], i)
		})
		n := b.records()
		for _, kind := range []string{"wait", "need", "item"} {
			if n[kind] < of || n[kind] > of+1 {
				t.Errorf("%d messages of a stranger left %d records of %q, want %d and one of romeo's", flood, n[kind], kind, of)
			}
		}
		b.take()
		refuse = false
		p.later(time.Hour)
		b.hint(romeo)
		b.reads("from romeo")
	})
	t.Run("messages that never open", func(t *testing.T) {
		t.Parallel()
		const flood, of = 1100, 1000
		_, a, b, room := couple(t)
		a.says(room, "from romeo")
		b.settle()
		b.reads("from romeo")
		b.flood(flood, func(it *keysrv.Item, i int) { it.From, it.Room = eve, quinta.RoomID(eve) })
		if n := b.records(); n["item"] > of || n["wait"] != 0 {
			t.Errorf("%d messages of a stranger under a key of others left %v, want %d notes at most", flood, n, of)
		}
	})
	t.Run("copies that are wanted", func(t *testing.T) {
		t.Parallel()
		const of = 200
		p, a, b, room := couple(t)
		a.says(room, "from romeo")
		b.settle()
		id, round := p.archive[0].item.ObjectID, 0
		p.bend = func(d *device, r keysrv.Req) (ans keysrv.Ans, bent bool) {
			switch {
			case d != b:
				return ans, false
			case r.Kind == keysrv.ReqDevices:
				return keysrv.Ans{Code: "busy"}, true
			case r.Kind != keysrv.ReqWants:
				return ans, false
			}
			round++
			for i := range 300 {
				ans.Wants = append(ans.Wants, keysrv.Want{ObjectID: id, User: romeo, Device: someDevice(round*1000 + i).ID})
			}
			return ans, true
		}
		for range 3 {
			b.hint()
			p.later(time.Minute)
		}
		if n := b.records(); round < 3 || n["want"] == 0 || n["want"] > of {
			t.Errorf("%d answers of 300 wants left %d, want %d at most", round, n["want"], of)
		}
	})
}

// flood has a device receive variants of the first message of the archive.
func (d *device) flood(n int, change func(it *keysrv.Item, i int)) {
	d.p.t.Helper()
	genuine := d.p.archive[0].item
	var items []keysrv.Item
	for i := range n {
		it := genuine
		it.StanzaID = quinta.MessageID(fmt.Sprint("flood-", i))
		change(&it, i)
		items = append(items, it)
	}
	d.do(func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Receive(tx, keysrv.In{Items: items}) })
}

// someDevice returns the record of a device of Romeo's, by number.
func someDevice(i int) *keysrv.Device {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	signing, err := key.NewSigningPrivate[key.Device](seed[:])
	if err != nil {
		panic(err)
	}
	seed[31] = 8
	agreement, err := key.NewAgreementPrivate[key.Identity](seed[:])
	if err != nil {
		panic(err)
	}
	return keysrv.NewDevice(romeo, began.UnixMilli()+int64(i), signing, agreement.Public())
}

// TestGoneDevicesAreForgotten: a server that lists other devices with every
// answer does not make the record of a user grow without end. The device that
// was seen first stays, so that no other takes its place, and so does one that
// the user judged.
func TestGoneDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	p, a, b, room := couple(t)
	a.says(room, "from romeo")
	b.settle()
	judged := someDevice(1)
	p.devices[romeo] = append(p.devices[romeo], *judged)
	b.hint(romeo)
	b.do(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return b.m.Decide(tx, romeo, judged.ID, keysrv.DecideRejected)
	})
	for round := range 5 {
		p.devices[romeo] = nil
		for i := range 60 {
			p.devices[romeo] = append(p.devices[romeo], *someDevice(1000*(round+1) + i))
		}
		b.hint(romeo)
	}
	p.devices[romeo] = nil
	b.hint(romeo)
	var list []keysrv.DeviceInfo
	b.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) { list, _, err = b.m.Devices(tx, romeo); return nil, err })
	trust := map[quinta.DeviceID]quinta.Trust{}
	for _, d := range list {
		trust[d.ID] = d.Trust
	}
	if len(list) != 202 || trust[a.id] != quinta.TrustPinned || trust[judged.ID] != quinta.TrustRejected {
		t.Errorf("got %d devices, the first %v, the judged %v; want 200 and these two", len(list), trust[a.id], trust[judged.ID])
	}
}
