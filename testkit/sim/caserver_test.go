package sim_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/sim"
)

const (
	theDomain = "hs1"
)

// An authority is what a CA machine sees of its server, in memory: the
// directory of keys, the conversations and the mail drop. Every write has a
// position.
type authority struct {
	now    func() time.Time
	rand   io.Reader
	issuer *cert.Issuer
	pos    quinta.Pos
	// members are the users in each conversation, in order.
	members map[quinta.RoomID][]quinta.UserID
	boxes   map[sim.Seat][]letter
	keys    []*keyRow
	nonces  map[string]cert.Fingerprint
	crl     []byte
	crlAt   time.Time
	revoked []cert.Revoked
	// messages are those that were taken in, in order.
	messages []*taken
	byID     map[quinta.MessageID]*taken
	misused  []string
	// told are the devices that got to know a conversation.
	told map[told]bool
	// answered are those that an answer told, which may be lost: they count as
	// told with the next request that does not ask for the same.
	answered map[told]bool
	// late has the position at which a user left a conversation that a device
	// did not know by then.
	late map[told]quinta.Pos
}

type told struct {
	seat sim.Seat
	room quinta.RoomID
}

// A keyRow is a key in the directory.
type keyRow struct {
	ca.KeyInfo
	seat  sim.Seat
	cert  *x509.Certificate
	grace bool
	out   bool // revoked or retired
}

// A letter is an item in a mailbox, with the key that it is sealed for.
type letter struct {
	item ca.Item
	key  cert.Fingerprint
}

// A taken delivery is remembered, so that a repeat changes nothing.
type taken struct {
	item      ca.Item
	seat      sim.Seat
	sum       [32]byte
	ans       ca.Delivered
	sealedFor map[sim.Seat]bool
}

func newAuthority(out sim.Outside) *authority {
	a := &authority{now: out.Now, rand: out.Rand, boxes: map[sim.Seat][]letter{}, nonces: map[string]cert.Fingerprint{}, byID: map[quinta.MessageID]*taken{}, told: map[told]bool{}, late: map[told]quinta.Pos{}, answered: map[told]bool{}, members: map[quinta.RoomID][]quinta.UserID{}}
	rootKey, key := a.newKey(), a.newKey()
	// From the day before: clocks may be set back a little.
	since := a.now().Add(-24 * time.Hour)
	root := sure(cert.NewRoot(a.rand, theDomain, rootKey, since))
	a.issuer = &cert.Issuer{Root: root, Cert: sure(cert.NewIntermediate(a.rand, theDomain, key, root, rootKey, since)), Key: key, Rand: a.rand}
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	var raw [32]byte
	sure(io.ReadFull(a.rand, raw[:]))
	raw[0] = 0 // below the order of the group
	return sure(ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:]))
}

// sure returns v of a call that cannot fail here.
func sure[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func (a *authority) next() quinta.Pos { a.pos++; return a.pos }

func refuse(code string) ca.Ans {
	return ca.Ans{Code: code, Detail: "the simulated server refuses: " + code}
}

// handle answers a call of a device.
func (a *authority) handle(s sim.Seat, r ca.Req) ca.Ans {
	if r.Kind != ca.ReqConversations && r.Kind != ca.ReqConversation {
		for k := range a.answered {
			if k.seat == s {
				a.told[k] = true
				delete(a.answered, k)
			}
		}
	}
	switch r.Kind {
	case ca.ReqRoots:
		const week = 7 * 24 * 3600
		return ca.Ans{Roots: &ca.Roots{Domain: theDomain, Roots: [][]byte{a.issuer.Root.Raw}, Intermediates: [][]byte{a.issuer.Cert.Raw}, Grace: week}}
	case ca.ReqCRL:
		return ca.Ans{CRL: a.list()}
	case ca.ReqEnrol:
		return a.enrol(s, r.Enrol)
	case ca.ReqNonce:
		n := fmt.Sprint("nonce-", a.next())
		a.nonces[n] = r.Key
		return ca.Ans{Nonce: n}
	case ca.ReqRenew:
		return a.renew(s, r)
	case ca.ReqRetire:
		return a.retire(s, r.Key)
	case ca.ReqKeys:
		return ca.Ans{Keys: &ca.KeyList{User: r.User, Keys: a.listed(r.User)}}
	case ca.ReqConversations:
		var out []ca.Conversation
		for _, id := range slices.Sorted(maps.Keys(a.members)) {
			if a.member(id, s.User) {
				out = append(out, a.conversation(s, id))
			}
		}
		return ca.Ans{Conversations: out}
	case ca.ReqConversation:
		if !a.member(r.Conv, s.User) {
			return refuse(ca.CodeNotFound)
		}
		c := a.conversation(s, r.Conv)
		return ca.Ans{Conversation: &c}
	case ca.ReqMessage:
		return a.deliver(s, r)
	case ca.ReqHistory:
		return ca.Ans{History: a.history(r)}
	case ca.ReqAck:
		a.boxes[s] = slices.DeleteFunc(a.boxes[s], func(l letter) bool { return l.item.Pos <= r.UpTo })
		return ca.Ans{}
	case ca.ReqBackup:
		return refuse(ca.CodeNotFound)
	}
	return refuse("unknown call " + string(r.Kind))
}

// member reports whether a user is in a conversation.
func (a *authority) member(id quinta.RoomID, u quinta.UserID) bool {
	return slices.Contains(a.members[id], u)
}

// conversation describes a conversation to a device, which knows it then.
func (a *authority) conversation(s sim.Seat, id quinta.RoomID) ca.Conversation {
	a.answered[told{s, id}] = true
	return ca.Conversation{Conv: id, Profile: cert.ProfileSecure, Members: slices.Sorted(slices.Values(a.members[id]))}
}

// list is the present list of revoked certificates.
func (a *authority) list() []byte {
	if a.crl == nil || a.now().Sub(a.crlAt) > 12*time.Hour || a.now().Before(a.crlAt) {
		a.crlAt = a.now()
		a.crl = sure(a.issuer.NewCRL(int64(a.next()), a.revoked, a.now(), a.now().Add(24*time.Hour)))
	}
	return a.crl
}

// state is where a key stands now.
func (a *authority) state(k *keyRow) ca.State {
	switch {
	case k.out && k.grace:
		return "retired"
	case k.out:
		return "revoked"
	case !a.now().Before(k.Expires):
		return "expired"
	case k.grace:
		return "grace"
	}
	return "active"
}

func (a *authority) info(k *keyRow) ca.KeyInfo {
	i := k.KeyInfo
	i.State = a.state(k)
	return i
}

func (a *authority) listed(u quinta.UserID) []ca.KeyInfo {
	var out []ca.KeyInfo
	for _, k := range a.keys {
		if k.User == u {
			out = append(out, a.info(k))
		}
	}
	return out
}

func (a *authority) key(id cert.Fingerprint) *keyRow {
	for _, k := range a.keys {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// certify makes a row of a request for a certificate.
func (a *authority) certify(s sim.Seat, q *cert.Request, expires time.Time) *keyRow {
	c := sure(a.issuer.Issue(q, a.now(), expires.Sub(a.now())))
	return &keyRow{seat: s, cert: c, KeyInfo: ca.KeyInfo{
		User: s.User, Device: s.Device, ID: cert.KeyID(c), Use: string(q.Identity.Use), Profile: cert.ProfileSecure,
		NotBefore: c.NotBefore, Expires: c.NotAfter, Cert: c.Raw,
	}}
}

// enrol takes a device's key. One that follows on an expired one counts as
// approved by the user.
func (a *authority) enrol(s sim.Seat, e *ca.Enrol) ca.Ans {
	q, err := cert.ParseRequest(e.Pop, cert.Identity{User: s.User, Device: s.Device, Use: e.Use})
	if err != nil {
		return refuse("possession")
	}
	if have := a.key(cert.FingerprintOf(q.SPKI)); have != nil {
		if have.seat == s && a.state(have) == "active" {
			i := a.info(have)
			return ca.Ans{Key: &i}
		}
		if have.seat != s {
			a.misused = append(a.misused, fmt.Sprintf("%s enrols the key %s of %s", s, have.ID, have.seat))
		}
		return refuse(ca.CodeConflict)
	}
	for _, o := range a.keys {
		if o.seat == s && o.Use == string(e.Use) && a.state(o) == "active" {
			return refuse(ca.CodeState)
		}
	}
	return a.store(a.certify(s, q, a.now().Add(cert.Validity)))
}

// store puts a key into the directory and tells all others.
func (a *authority) store(k *keyRow) ca.Ans {
	a.keys = append(a.keys, k)
	a.tell(k, "enrolled")
	i := a.info(k)
	return ca.Ans{Key: &i}
}

func (a *authority) tell(k *keyRow, change string) {
	body := encode(map[string]any{"username": k.User, "device": k.Device, "keyId": k.ID, "use": k.Use, "profile": k.Profile, "change": change})
	for _, s := range a.seats() {
		if s != k.seat {
			a.boxes[s] = append(a.boxes[s], letter{item: ca.Item{Pos: a.next(), Kind: ca.KindKeys, Form: ca.FormJSON, Received: a.now(), Body: body}})
		}
	}
}

// seats returns the devices with a mailbox, in order.
func (a *authority) seats() []sim.Seat {
	return slices.SortedFunc(maps.Keys(a.boxes), func(x, y sim.Seat) int { return bytes.Compare([]byte(x.String()), []byte(y.String())) })
}

func (a *authority) renew(s sim.Seat, r ca.Req) ca.Ans {
	old := a.key(r.Key)
	if old == nil || old.seat != s {
		return refuse("forbidden")
	}
	q, err := cert.ParseRequest(r.Renew.CSR, cert.Identity{User: s.User, Device: s.Device, Use: cert.Use(old.Use)})
	if err != nil {
		return refuse("possession")
	}
	if have := a.key(cert.FingerprintOf(q.SPKI)); have != nil {
		if have.Replaces != old.ID {
			return refuse(ca.CodeConflict)
		}
		i := a.info(have)
		return ca.Ans{Key: &i}
	}
	if a.state(old) != "active" {
		return refuse(ca.CodeState)
	}
	var st cert.RenewalStatement
	decode(r.Renew.RenewalStatement, &st)
	re := &cert.Renewal{Statement: r.Renew.RenewalStatement, OldSignature: r.Renew.OldSignature, NewSignature: r.Renew.NewSignature}
	want := cert.RenewalStatement{Username: s.User, Device: s.Device, OldKeyID: old.ID, NewKey: cert.FingerprintOf(q.SPKI), Expires: st.Expires}
	nonce, err := re.Check(want, old.cert.PublicKey, q.Key, a.now())
	if err != nil {
		return refuse("possession")
	}
	if a.nonces[nonce] != old.ID {
		return refuse(ca.CodeNonce)
	}
	delete(a.nonces, nonce)
	k := a.certify(s, q, time.Unix(st.Expires, 0))
	k.Replaces, k.Renewal = old.ID, re
	if old.grace = true; old.Use == "sign" {
		a.revoke(old, cert.ReasonSuperseded)
	}
	a.keys = append(a.keys, k)
	a.tell(k, "renewed")
	i := a.info(k)
	return ca.Ans{Key: &i}
}

// revoke puts a key on the list.
func (a *authority) revoke(k *keyRow, why cert.Reason) {
	k.out, a.crl = true, nil
	a.revoked = append(a.revoked, cert.Revoked{Serial: k.cert.SerialNumber, At: a.now().Truncate(time.Second), Reason: why})
}

func (a *authority) retire(s sim.Seat, id cert.Fingerprint) ca.Ans {
	k := a.key(id)
	if k == nil || k.seat != s || !k.grace {
		return refuse(ca.CodeState)
	}
	if slices.ContainsFunc(a.boxes[s], func(l letter) bool { return l.key == id }) {
		return refuse(ca.CodeUndelivered)
	}
	if !k.out {
		a.revoke(k, cert.ReasonSuperseded)
		a.tell(k, "retired")
	}
	i := a.info(k)
	return ca.Ans{Key: &i}
}

// deliver takes a message in, by the rules of the mail drop: it must be sealed
// for every valid key of every member, and for no other.
func (a *authority) deliver(s sim.Seat, r ca.Req) ca.Ans {
	if !a.member(r.Conv, s.User) {
		return refuse(ca.CodeNotFound)
	}
	sum := sha256.Sum256(encode([]any{s, r.Deliver}))
	if t := a.byID[r.Message]; t != nil {
		if t.sum != sum {
			return refuse(ca.CodeConflict)
		}
		return ca.Ans{Delivered: &t.ans}
	}
	keys, ans := a.targets(s, r)
	if ans.Code != "" {
		return ans
	}
	it := ca.Item{
		Pos: a.next(), Kind: r.Deliver.Kind, Form: r.Deliver.Form, Conv: r.Conv, ID: r.Message, From: s.User, Device: s.Device,
		Received: a.now(), Body: bytes.Clone(r.Deliver.Body),
	}
	t := &taken{item: it, seat: s, sum: sum, ans: ca.Delivered{Pos: it.Pos, Received: it.Received}, sealedFor: map[sim.Seat]bool{}}
	a.byID[r.Message] = t
	if it.Kind == ca.KindMessage {
		a.messages = append(a.messages, t)
	}
	for _, k := range keys {
		t.sealedFor[k.seat] = true
		if k.seat == s || len(r.Deliver.Only) > 0 && !slices.Contains(r.Deliver.Only, ca.Target{User: k.User, Device: k.Device}) {
			continue
		}
		l := letter{it, k.ID}
		l.item.Pos = a.next()
		a.boxes[k.seat] = append(a.boxes[k.seat], l)
	}
	return ca.Ans{Delivered: &t.ans}
}

// targets returns the keys that a delivery is for, one of each device, or says
// which are missing and which are not good.
func (a *authority) targets(s sim.Seat, r ca.Req) ([]*keyRow, ca.Ans) {
	d := r.Deliver
	ans := ca.Ans{Code: ca.CodeStaleKeys, Detail: "seal it anew"}
	covered := map[sim.Seat]*keyRow{}
	for _, id := range d.Keys {
		k := a.key(id)
		if k == nil || k.Use == "sign" || !a.member(r.Conv, k.User) || a.state(k) != "active" && a.state(k) != "grace" {
			ans.Stale = append(ans.Stale, id)
			continue
		}
		covered[k.seat] = k
	}
	var out []*keyRow
	for _, k := range a.keys {
		if covered[k.seat] == k {
			out = append(out, k)
		}
		needed := d.Kind == ca.KindMessage && k.Use != "sign" && a.state(k) == "active" && k.seat != s && a.member(r.Conv, k.User)
		if needed && covered[k.seat] == nil && !slices.Contains(d.Withheld, k.ID) {
			ans.Missing = append(ans.Missing, k.ID)
		}
	}
	if len(ans.Missing)+len(ans.Stale) > 0 {
		return nil, ans
	}
	return out, ca.Ans{}
}

// history is a page of a conversation, newest first.
func (a *authority) history(r ca.Req) *ca.History {
	h := &ca.History{}
	for _, t := range slices.Backward(a.messages) {
		if t.item.Conv != r.Conv || r.Before != 0 && t.item.Pos >= r.Before {
			continue
		}
		if len(h.Items) == r.Limit {
			h.Before = h.Items[len(h.Items)-1].Pos
			break
		}
		h.Items = append(h.Items, t.item)
	}
	return h
}

// mailbox is what waits for a device after a position.
func (a *authority) mailbox(s sim.Seat, after quinta.Pos) ca.In {
	in := ca.In{After: after, Next: after}
	for _, l := range a.boxes[s] {
		if l.item.Pos > after {
			in.Items = append(in.Items, l.item)
			in.Next = l.item.Pos
		}
	}
	return in
}

// short names a hash in a trace.
func short(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
