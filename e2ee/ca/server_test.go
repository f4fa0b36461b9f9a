package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/testkit/town"
)

// A keyRow is a key that was enrolled.
type keyRow struct {
	ca.KeyInfo
	cert    *x509.Certificate
	graced  bool
	retired bool
	revoked *cert.Revoked
}

// A mail is an item on its way to a device, with the key it is sealed for.
type mail struct {
	item ca.Item
	key  cert.Fingerprint
}

// A post is the server of a network in one process, under the control of a
// test: it certifies, lists, delivers and refuses by the rules of the protocol,
// unless the test bends it.
type post struct {
	t      testing.TB
	rand   *rand.ChaCha8
	now    time.Time
	issuer *cert.Issuer
	keys   []*keyRow
	nonces map[string]cert.Fingerprint
	convs  map[quinta.RoomID]*ca.Conversation
	// taken are the deliveries by conversation and id, with their hash and
	// position.
	taken   map[string]string
	history map[quinta.RoomID][]ca.Item
	boxes   map[string][]mail
	acked   map[string]quinta.Pos
	approve map[cert.Fingerprint]bool
	backup  map[quinta.UserID]ca.Backup
	pos     quinta.Pos
	crlAt   time.Time
	crlRaw  []byte
	stale   bool
	// bend, if it is set, may answer in the place of the server.
	bend func(d *device, r ca.Req) (ca.Ans, bool)
	// list, if it is set, changes what is listed of a user.
	list func(user quinta.UserID, keys []ca.KeyInfo) []ca.KeyInfo
}

const domain = "hs1"

func newPost(t testing.TB, seed byte) *post {
	t.Helper()
	p := &post{t: t, rand: rand.NewChaCha8([32]byte{seed}), now: now, nonces: map[string]cert.Fingerprint{}, convs: map[quinta.RoomID]*ca.Conversation{},
		taken: map[string]string{}, history: map[quinta.RoomID][]ca.Item{}, boxes: map[string][]mail{}, acked: map[string]quinta.Pos{},
		approve: map[cert.Fingerprint]bool{}, backup: map[quinta.UserID]ca.Backup{}}
	p.issuer = p.authority()
	return p
}

func (p *post) authority() *cert.Issuer {
	p.t.Helper()
	rootKey, key := town.Key(p.t), town.Key(p.t)
	root := must(cert.NewRoot(p.rand, domain, rootKey, p.now))
	mid := must(cert.NewIntermediate(p.rand, domain, key, root, rootKey, p.now))
	return &cert.Issuer{Root: root, Cert: mid, Key: key, Rand: p.rand}
}

func refuse(code, detail string) ca.Ans { return ca.Ans{Code: code, Detail: detail} }

// do carries out one call of a device.
func (p *post) do(d *device, r ca.Req) ca.Ans {
	if p.bend != nil {
		if a, ok := p.bend(d, r); ok {
			return a
		}
	}
	switch r.Kind {
	case ca.ReqRoots:
		return ca.Ans{Roots: &ca.Roots{Domain: domain, Roots: [][]byte{p.issuer.Root.Raw}, Intermediates: [][]byte{p.issuer.Cert.Raw}, Grace: 7 * 24 * 3600}}
	case ca.ReqCRL:
		return ca.Ans{CRL: p.crl()}
	case ca.ReqEnrol:
		return p.enrol(d, r)
	case ca.ReqNonce:
		n := fmt.Sprintf("nonce-%d", p.next())
		p.nonces[n] = r.Key
		return ca.Ans{Nonce: n}
	case ca.ReqRenew:
		return p.renew(d, r)
	case ca.ReqRetire:
		return p.retire(d, r)
	case ca.ReqRevoke:
		return p.revoke(d, r)
	case ca.ReqApprove:
		p.approve[r.Key] = true
		return ca.Ans{}
	case ca.ReqKeys:
		return ca.Ans{Keys: &ca.KeyList{User: r.User, Keys: p.listed(r.User)}}
	case ca.ReqConversations:
		var list []ca.Conversation
		for _, c := range p.convs {
			if slices.Contains(c.Members, d.user) {
				list = append(list, *c)
			}
		}
		return ca.Ans{Conversations: list}
	case ca.ReqConversation, ca.ReqLeave, ca.ReqMembers:
		return p.conversation(d, r)
	case ca.ReqPutConversation:
		return p.putConversation(d, r)
	case ca.ReqMessage:
		return p.deliver(d, r)
	case ca.ReqHistory:
		return p.page(r)
	case ca.ReqAck:
		key := d.String()
		p.acked[key] = max(p.acked[key], r.UpTo)
		p.boxes[key] = slices.DeleteFunc(p.boxes[key], func(m mail) bool { return m.item.Pos <= r.UpTo })
		return ca.Ans{}
	case ca.ReqBackup:
		b, ok := p.backup[d.user]
		if !ok {
			return refuse(ca.CodeNotFound, "there is no backup")
		}
		return ca.Ans{Backup: &b}
	case ca.ReqPutBackup:
		if p.backup[d.user].Tag != r.Backup.Tag {
			return refuse(ca.CodeConflict, "the backup was changed meanwhile")
		}
		sum := sha256.Sum256(r.Backup.Sealed)
		b := ca.Backup{Sealed: r.Backup.Sealed, Tag: hex.EncodeToString(sum[:8])}
		p.backup[d.user] = b
		return ca.Ans{Backup: &b}
	}
	p.t.Fatalf("a call that the server does not have: %q", r.Kind)
	return ca.Ans{}
}

func (p *post) next() quinta.Pos { p.pos++; return p.pos }

func (p *post) crl() []byte {
	if p.crlRaw == nil || p.stale || p.now.Sub(p.crlAt) > 12*time.Hour {
		var list []cert.Revoked
		for _, k := range p.keys {
			if k.revoked != nil {
				list = append(list, *k.revoked)
			}
		}
		p.crlRaw, p.crlAt, p.stale = must(p.issuer.NewCRL(int64(p.next()), list, p.now, p.now.Add(24*time.Hour))), p.now, false
	}
	return p.crlRaw
}

// state is where a key stands now.
func (p *post) state(k *keyRow) ca.State {
	switch {
	case k.revoked != nil && !k.retired:
		return "revoked"
	case k.retired:
		return "retired"
	case !p.now.Before(k.Expires):
		return "expired"
	case k.graced:
		return "grace"
	}
	return "active"
}

func (p *post) listed(user quinta.UserID) []ca.KeyInfo {
	var out []ca.KeyInfo
	for _, k := range p.keys {
		if k.User == user {
			i := k.KeyInfo
			i.State = p.state(k)
			out = append(out, i)
		}
	}
	if p.list != nil {
		out = p.list(user, out)
	}
	return out
}

func (p *post) key(id cert.Fingerprint) *keyRow {
	for _, k := range p.keys {
		if k.ID == id {
			return k
		}
	}
	return nil
}

func (p *post) info(k *keyRow) *ca.KeyInfo {
	i := k.KeyInfo
	i.State = p.state(k)
	return &i
}

func (p *post) enrol(d *device, r ca.Req) ca.Ans {
	e := r.Enrol
	if e.Profile == cert.ProfileLegacy {
		pub := must(cert.ParseLegacyKey(e.PublicKey))
		return p.store(d, &keyRow{KeyInfo: ca.KeyInfo{User: d.user, Device: d.id, ID: cert.FingerprintOf(e.PublicKey), Use: "both", Profile: cert.ProfileLegacy,
			PublicKey: must(cert.LegacySPKI(pub)), NotBefore: p.now, Expires: *e.Expires}})
	}
	q, err := cert.ParseRequest(e.Pop, cert.Identity{User: d.user, Device: d.id, Use: e.Use})
	if err != nil {
		return refuse("possession", err.Error())
	}
	return p.store(d, p.certify(q, p.now.Add(cert.Validity)))
}

func (p *post) certify(q *cert.Request, expires time.Time) *keyRow {
	c := must(p.issuer.Issue(q, p.now, expires.Sub(p.now)))
	return &keyRow{cert: c, KeyInfo: ca.KeyInfo{User: q.Identity.User, Device: q.Identity.Device, ID: cert.KeyID(c), Use: string(q.Identity.Use), Profile: cert.ProfileSecure,
		NotBefore: c.NotBefore, Expires: c.NotAfter, Cert: c.Raw}}
}

func (p *post) store(d *device, k *keyRow) ca.Ans {
	if have := p.key(k.ID); have != nil {
		if have.Device == d.id && p.state(have) == "active" {
			return ca.Ans{Key: p.info(have)}
		}
		return refuse(ca.CodeConflict, "this key was enrolled before")
	}
	was := false
	for _, o := range p.keys {
		if o.User != k.User || o.Device != k.Device || o.Use != k.Use || o.Profile != k.Profile {
			continue
		}
		if p.state(o) == "active" {
			return refuse(ca.CodeState, "the device has a valid key: renew it")
		}
		was = true
	}
	if was && !p.approve[k.ID] {
		return refuse(ca.CodeApproval, "another device must approve it")
	}
	p.keys = append(p.keys, k)
	p.tell(k, "enrolled")
	return ca.Ans{Key: p.info(k)}
}

func (p *post) renew(d *device, r ca.Req) ca.Ans {
	old := p.key(r.Key)
	if old == nil || old.Device != d.id || old.User != d.user {
		return refuse("forbidden", "the key does not belong to this device")
	}
	if old.Profile == cert.ProfileLegacy {
		if p.state(old) != "active" || cert.CheckLegacyRenewal(r.Renew.PublicKey, r.Renew.Signature, must(cert.ParseLegacyKey(old.PublicKey))) != nil {
			return refuse("possession", "the renewal is not signed by the old key")
		}
		k := &keyRow{KeyInfo: ca.KeyInfo{User: d.user, Device: d.id, ID: cert.FingerprintOf(r.Renew.PublicKey), Use: "both", Profile: cert.ProfileLegacy,
			PublicKey: r.Renew.PublicKey, NotBefore: p.now, Expires: *r.Renew.Expires, Replaces: old.ID}}
		old.graced = true
		p.keys = append(p.keys, k)
		p.tell(k, "renewed")
		return ca.Ans{Key: p.info(k)}
	}
	q, err := cert.ParseRequest(r.Renew.CSR, cert.Identity{User: d.user, Device: d.id, Use: cert.Use(old.Use)})
	if err != nil {
		return refuse("possession", err.Error())
	}
	if have := p.key(cert.FingerprintOf(q.SPKI)); have != nil && have.Replaces == old.ID {
		return ca.Ans{Key: p.info(have)}
	}
	if p.state(old) != "active" {
		return refuse(ca.CodeState, "the key is not valid any more")
	}
	var st cert.RenewalStatement
	if err := json.Unmarshal(r.Renew.RenewalStatement, &st); err != nil {
		return refuse("malformed", err.Error())
	}
	re := &cert.Renewal{Statement: r.Renew.RenewalStatement, OldSignature: r.Renew.OldSignature, NewSignature: r.Renew.NewSignature}
	nonce, err := re.Check(cert.RenewalStatement{Username: d.user, Device: d.id, OldKeyID: old.ID, NewKey: cert.FingerprintOf(q.SPKI), Expires: st.Expires}, old.cert.PublicKey, q.Key, p.now)
	if err != nil {
		return refuse("possession", err.Error())
	}
	if p.nonces[nonce] != old.ID {
		return refuse(ca.CodeNonce, "the nonce was used or not given")
	}
	delete(p.nonces, nonce)
	k := p.certify(q, time.Unix(st.Expires, 0))
	k.Replaces, k.Renewal = old.ID, re
	old.graced = true
	if old.Use == "sign" {
		p.out(old, cert.ReasonSuperseded)
		old.retired = true
	}
	p.keys = append(p.keys, k)
	p.tell(k, "renewed")
	return ca.Ans{Key: p.info(k)}
}

// out puts a key on the revocation list.
func (p *post) out(k *keyRow, why cert.Reason) {
	if k.cert != nil {
		k.revoked = &cert.Revoked{Serial: k.cert.SerialNumber, At: p.now.Truncate(time.Second), Reason: why}
	}
	p.stale = true
}

func (p *post) retire(d *device, r ca.Req) ca.Ans {
	k := p.key(r.Key)
	if k == nil || !k.graced {
		return refuse(ca.CodeState, "only a key in grace is retired")
	}
	for _, m := range p.boxes[d.String()] {
		if m.key == k.ID {
			return refuse(ca.CodeUndelivered, "messages for it wait")
		}
	}
	p.out(k, cert.ReasonSuperseded)
	k.retired = true
	p.tell(k, "retired")
	return ca.Ans{Key: p.info(k)}
}

func (p *post) revoke(d *device, r ca.Req) ca.Ans {
	k := p.key(r.Key)
	if k == nil || k.User != d.user {
		return refuse("forbidden", "the key is another user's")
	}
	p.out(k, cert.Reasons[r.Reason])
	p.tell(k, "revoked")
	return ca.Ans{Key: p.info(k)}
}

// tell says to all devices but the key's own that keys have changed.
func (p *post) tell(k *keyRow, change string) {
	body := must(json.Marshal(map[string]any{"username": k.User, "device": k.Device, "keyId": k.ID, "use": k.Use, "profile": k.Profile, "change": change}))
	for box := range p.boxes {
		if box != string(k.User)+" "+string(k.Device) {
			p.boxes[box] = append(p.boxes[box], mail{item: ca.Item{Pos: p.next(), Kind: ca.KindKeys, Form: ca.FormJSON, Received: p.now, Body: body}})
		}
	}
}

func (p *post) conversation(d *device, r ca.Req) ca.Ans {
	c := p.convs[r.Conv]
	if c == nil || !slices.Contains(c.Members, d.user) {
		return refuse(ca.CodeNotFound, "there is no such conversation")
	}
	switch r.Kind {
	case ca.ReqLeave:
		c.Members = slices.DeleteFunc(c.Members, func(u quinta.UserID) bool { return u == d.user })
		return ca.Ans{}
	case ca.ReqMembers:
		c.Members = append(c.Members, r.Members...)
		slices.Sort(c.Members)
		c.Members = slices.Compact(c.Members)
	}
	have := *c
	have.Members = slices.Clone(c.Members)
	return ca.Ans{Conversation: &have}
}

func (p *post) putConversation(d *device, r ca.Req) ca.Ans {
	members := append([]quinta.UserID{d.user}, r.Members...)
	slices.Sort(members)
	members = slices.Compact(members)
	c := p.convs[r.Conv]
	if c == nil {
		c = &ca.Conversation{Conv: r.Conv, Profile: r.Profile, Members: members}
		p.convs[r.Conv] = c
	}
	if c.Profile != r.Profile || !slices.Equal(c.Members, members) {
		return refuse(ca.CodeConflict, "there is another conversation of this id")
	}
	if r.Profile == cert.ProfileLegacy && !slices.Contains(c.Chosen, d.user) {
		c.Chosen = append(c.Chosen, d.user)
	}
	have := *c
	return ca.Ans{Conversation: &have}
}

// deliver takes a message in, by the rules of the mail drop.
func (p *post) deliver(d *device, r ca.Req) ca.Ans {
	c := p.convs[r.Conv]
	if c == nil || !slices.Contains(c.Members, d.user) {
		return refuse(ca.CodeNotFound, "there is no such conversation")
	}
	sum := sha256.Sum256(must(json.Marshal([]any{d.String(), r.Deliver})))
	id := string(r.Conv) + " " + string(r.Message)
	if have, ok := p.taken[id]; ok {
		if have != string(sum[:]) {
			return refuse(ca.CodeConflict, "there is another message of this id")
		}
		return ca.Ans{Delivered: &ca.Delivered{Received: p.now}}
	}
	if c.Profile == cert.ProfileLegacy && len(c.Chosen) != 2 {
		return refuse(ca.CodeNotChosen, "the members have not both chosen the legacy profile")
	}
	if r.Deliver.Form == ca.FormCMS {
		if n, err := cms.Recipients(r.Deliver.Body); err != nil || n != len(r.Deliver.Keys) {
			return refuse("invalid", "the number of keys that the body is sealed for differs from the number of named keys")
		}
	}
	targets, ans := p.targets(d, c, r.Deliver)
	if ans.Code != "" {
		return ans
	}
	p.taken[id] = string(sum[:])
	it := ca.Item{Pos: p.next(), Kind: r.Deliver.Kind, Form: r.Deliver.Form, Conv: r.Conv, ID: r.Message, From: d.user, Device: d.id, Received: p.now, Body: bytes.Clone(r.Deliver.Body)}
	if it.Kind == ca.KindMessage {
		p.history[r.Conv] = append(p.history[r.Conv], it)
	}
	for _, k := range targets {
		p.drop(string(k.User)+" "+string(k.Device), it, k.ID)
	}
	return ca.Ans{Delivered: &ca.Delivered{Pos: it.Pos, Received: p.now}}
}

// drop puts an item into a mailbox.
func (p *post) drop(box string, it ca.Item, key cert.Fingerprint) {
	it.Pos = p.next()
	p.boxes[box] = append(p.boxes[box], mail{item: it, key: key})
}

func (p *post) targets(d *device, c *ca.Conversation, q *ca.Deliver) ([]*keyRow, ca.Ans) {
	covered := map[string]*keyRow{}
	ans := ca.Ans{Code: ca.CodeStaleKeys, Detail: "seal it anew"}
	for _, id := range q.Keys {
		k := p.key(id)
		if k == nil || k.Use == "sign" || k.Profile != c.Profile || !slices.Contains(c.Members, k.User) || p.state(k) != "active" && p.state(k) != "grace" {
			ans.Stale = append(ans.Stale, id)
			continue
		}
		covered[string(k.User)+" "+string(k.Device)] = k
	}
	for _, k := range p.keys {
		box := string(k.User) + " " + string(k.Device)
		own := k.User == d.user && (k.Device == d.id || c.Profile == cert.ProfileLegacy)
		if q.Kind == ca.KindMessage && k.Use != "sign" && k.Profile == c.Profile && p.state(k) == "active" && !own &&
			slices.Contains(c.Members, k.User) && covered[box] == nil && !slices.Contains(q.Withheld, k.ID) {
			ans.Missing = append(ans.Missing, k.ID)
		}
	}
	if len(ans.Missing)+len(ans.Stale) > 0 {
		return nil, ans
	}
	var out []*keyRow
	for _, box := range slices.Sorted(mapsKeys(covered)) {
		k := covered[box]
		if box == d.String() || len(q.Only) > 0 && !slices.Contains(q.Only, ca.Target{User: k.User, Device: k.Device}) {
			continue
		}
		out = append(out, k)
	}
	return out, ca.Ans{}
}

func mapsKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (p *post) page(r ca.Req) ca.Ans {
	h := &ca.History{}
	for _, it := range slices.Backward(p.history[r.Conv]) {
		if r.Before != 0 && it.Pos >= r.Before {
			continue
		}
		if len(h.Items) == r.Limit {
			h.Before = h.Items[len(h.Items)-1].Pos
			break
		}
		h.Items = append(h.Items, it)
	}
	return ca.Ans{History: h}
}

// mailbox is what waits for a device after a position.
func (p *post) mailbox(d *device, after quinta.Pos) ca.In {
	in := ca.In{After: after, Next: after}
	for _, m := range p.boxes[d.String()] {
		if m.item.Pos > after {
			in.Items = append(in.Items, m.item)
			in.Next = m.item.Pos
		}
	}
	return in
}

// rogue certifies a key for a device, without the device.
func (p *post) rogue(user quinta.UserID, dev quinta.DeviceID, use cert.Use, key crypto.Signer) *keyRow {
	p.t.Helper()
	id := cert.Identity{User: user, Device: dev, Use: use}
	return p.certify(must(cert.ParseRequest(must(cert.NewRequest(p.rand, id, key)), id)), p.now.Add(cert.Validity))
}

// kindOfKey names the kind of a key pair.
func kindOfKey(t testing.TB, raw []byte) string {
	t.Helper()
	switch must(x509.ParseCertificate(raw)).PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "p256"
	case *rsa.PublicKey:
		return "rsa"
	}
	return strings.TrimSpace("another")
}
