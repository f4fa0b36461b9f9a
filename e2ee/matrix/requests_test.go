package matrix

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/key"
)

// within runs f in a transaction over a new store.
func within(t *testing.T, f func(tx e2ee.Tx) error) {
	t.Helper()
	if err := memory.New().Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

// TestRequests: a request stays with its bytes until it is taken, and then
// nothing of it is left.
func TestRequests(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) error {
		q := newRequests(tx, new(e2ee.Seq))
		for _, r := range []record{{Kind: ReqKeysUpload, Body: []byte("one")}, {Kind: ReqMembers}, {Kind: ReqToDevice, Body: []byte("three")}} {
			if err := q.add(&r); err != nil {
				return err
			}
		}
		for name, q := range map[string]*requests{"the same call": q, "the next call": newRequests(tx, new(e2ee.Seq))} {
			var got []string
			for r, err := range q.all() {
				if err != nil {
					return err
				}
				body, err := q.body(r.Name)
				if err != nil {
					return err
				}
				got = append(got, string(r.Value.Kind)+" "+string(body))
			}
			if s := strings.Join(got, ", "); s != "keys-upload one, members , to-device three" {
				t.Errorf("%s: got %s", name, s)
			}
		}
		first := func(q *requests) string {
			for r, err := range q.all() {
				if err != nil {
					t.Fatal(err)
				}
				return r.Name
			}
			return ""
		}
		id := first(q)
		r, err := q.take(id)
		if err != nil || r == nil || r.Kind != ReqKeysUpload {
			t.Errorf("got %+v, %v", r, err)
		}
		if r, err := q.take(id); r != nil || err != nil {
			t.Errorf("taken twice: got %+v, %v", r, err)
		}
		if err := q.drop(first(q)); err != nil {
			return err
		}
		if there, err := q.any(func(r *record) bool { return r.Kind != ReqToDevice }); there || err != nil {
			t.Errorf("got %v, %v, want that one is left", there, err)
		}
		if err := q.drop(first(q)); err != nil {
			return err
		}
		left, err := e2ee.Entries(tx, "")
		if len(left) != 0 {
			t.Errorf("got %d entries of requests that are gone", len(left))
		}
		return err
	})
}

// TestPeers: what a call changes of the sessions is written once, and what it
// only read is not.
func TestPeers(t *testing.T) {
	t.Parallel()
	within(t, func(tx e2ee.Tx) error {
		curve := func(i byte) key.IdentityPublic {
			k, err := key.NewAgreementPublic[key.Identity](bytes.Repeat([]byte{i}, key.Size))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		one, two := curve(1), curve(2)
		p := newPeers(tx)
		a, err := p.get(one)
		if err != nil {
			return err
		}
		if again, err := p.get(one); again != a || err != nil {
			t.Errorf("read twice: got %p and %p, %v", a, again, err)
		}
		if _, err := p.get(two); err != nil {
			return err
		}
		for i := range maxSessions + 2 {
			a.add(olm.SessionID(rune('0'+i)), []byte{byte(i)}, int64(10+i))
		}
		if err := p.flush(); err != nil {
			return err
		}
		if list, err := e2ee.Entries(tx, "olm/"); len(list) != 1 || list[0].Key != "olm/"+one.String() {
			t.Errorf("got %v, %v, want what changed", list, err)
		}
		p = newPeers(tx)
		if a, err = p.get(one); err != nil {
			return err
		}
		if len(a.Sessions) != maxSessions || a.Sessions[0].ID != "2" {
			t.Errorf("got %d sessions from %s, want the %d that were used last", len(a.Sessions), a.Sessions[0].ID, maxSessions)
		}
		if s := a.current(); s == nil || s.ID != "6" || s.Received != 16 || s.State[0] != 6 {
			t.Errorf("got %+v, want the one that a message came in last", s)
		}
		if err := p.retireAll(); err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
		if a, err = newPeers(tx).get(one); err != nil {
			return err
		}
		if len(a.Sessions) != maxSessions || a.current() != nil {
			t.Errorf("got %d sessions and %+v to send with, want all of them and none", len(a.Sessions), a.current())
		}
		return nil
	})
}

// TestPeersDamaged: a record that is cut is an error, and no sessions.
func TestPeersDamaged(t *testing.T) {
	t.Parallel()
	r := new(peerRecord)
	r.add("id", []byte("state"), 1)
	whole := r.encode()
	for n := 1; n < len(whole); n++ {
		if got, err := decodePeer(whole[:n]); err == nil {
			t.Errorf("cut to %d bytes: got %+v", n, got)
		}
	}
}
