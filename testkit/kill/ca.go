package kill

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
)

// caUsers is how many users of the CA network load the server, each with one
// device that talks to all others in one conversation.
const caUsers = 3

// caConv is that conversation.
const caConv = "conversation-of-all"

// renewEvery is how long a device rests between two renewals of its keys.
const renewEvery = 50 * time.Millisecond

// A caDevice is one device, and what the server has promised to it.
type caDevice struct {
	*client

	mu sync.Mutex
	// keys are the pairs of the device by their use.
	keys map[cert.Use]*caKey
	// made are the ids of all keys that were acknowledged, oldest first, and
	// serials their serial numbers.
	made    []cert.Fingerprint
	serials []string
	// said are the positions of its acknowledged messages, in the order of
	// their numbers.
	said []quinta.Pos
	// next is the position up to which its mailbox was read.
	next quinta.Pos
	// heard is how many messages of each user came.
	heard map[quinta.UserID]int
}

type caKey struct {
	id  cert.Fingerprint
	key *ecdsa.PrivateKey
}

// now returns the id of the key for a use.
func (d *caDevice) now(use cert.Use) cert.Fingerprint {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys[use].id
}

// caPeople makes the users and their conversation.
func (l *Load) caPeople(ctx context.Context) error {
	var members []quinta.UserID
	for i := range caUsers {
		base := l.urls[i%len(l.urls)] + wire.Base
		d := &caDevice{client: &client{url: base, http: l.http}, keys: map[cert.Use]*caKey{}, heard: map[quinta.UserID]int{}}
		name := fmt.Sprintf("ca%d", i)
		q := wire.RegisterRequest{LoginRequest: wire.LoginRequest{Username: name, Password: "a good password for " + name}}
		var a wire.LoginAnswer
		if err := l.until(ctx, d.client, "POST", wire.PathRegister, q, &a); err != nil {
			return err
		}
		d.user, d.device, d.token = string(a.Username), string(a.Device), a.Token
		for _, use := range []cert.Use{cert.UseSign, cert.UseEncrypt} {
			if err := l.enrol(ctx, d, use); err != nil {
				return err
			}
		}
		l.ca = append(l.ca, d)
		members = append(members, a.Username)
	}
	return l.until(ctx, l.ca[0].client, "PUT", "/conversations/"+caConv, wire.ConversationRequest{Members: members, Profile: wire.ProfileSecure}, nil)
}

// startCA sets the devices to work.
func (l *Load) startCA(ctx context.Context) {
	for _, d := range l.ca {
		l.run(ctx, &l.work, func(ctx context.Context, n int) error { return l.caSay(ctx, d, n) })
		l.run(ctx, &l.work, func(ctx context.Context, n int) error {
			return l.caRenew(ctx, d, []cert.Use{cert.UseSign, cert.UseEncrypt}[n%2])
		})
		l.syncs.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.caListen(ctx, d, 2000); err != nil && ctx.Err() == nil {
					l.tb.Error(err)
					return
				}
			}
		})
	}
}

// request makes a key and the PKCS #10 request for it.
func (d *caDevice) request(use cert.Use) (*ecdsa.PrivateKey, []byte, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	raw, err := cert.NewRequest(rand.Reader, cert.Identity{User: quinta.UserID(d.user), Device: quinta.DeviceID(d.device), Use: use}, k)
	return k, raw, err
}

// has books a key that was acknowledged.
func (d *caDevice) has(use cert.Use, k *ecdsa.PrivateKey, i *wire.KeyInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[use] = &caKey{id: i.ID, key: k}
	d.made, d.serials = append(d.made, i.ID), append(d.serials, i.Serial)
}

func (l *Load) enrol(ctx context.Context, d *caDevice, use cert.Use) error {
	k, pop, err := d.request(use)
	if err != nil {
		return err
	}
	var i wire.KeyInfo
	if err := l.until(ctx, d.client, "POST", wire.PathKeys, wire.EnrolRequest{Profile: wire.ProfileSecure, Use: use, Pop: pop}, &i); err != nil {
		return err
	}
	d.has(use, k, &i)
	return nil
}

// caSay sends the n-th message of a device. Its body is no sealed text: the
// server looks at bodies of this form as little as at others. A key that was
// renewed meanwhile is in grace, so the message is taken in all the same.
func (l *Load) caSay(ctx context.Context, d *caDevice, n int) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	q := wire.Deliver{Kind: wire.KindMessage, Form: wire.FormSession, Body: body}
	for _, to := range l.ca {
		if to != d {
			q.Keys = append(q.Keys, to.now(cert.UseEncrypt))
		}
	}
	var a wire.Delivered
	if err := l.until(ctx, d.client, "PUT", "/conversations/"+caConv+"/messages/"+messageID(d.user, n), q, &a); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, a.Pos)
	return nil
}

func messageID(user string, n int) string { return url.PathEscape(user) + "-" + strconv.Itoa(n) }

// caRenew renews a key of a device.
func (l *Load) caRenew(ctx context.Context, d *caDevice, use cert.Use) error {
	d.mu.Lock()
	old := *d.keys[use]
	d.mu.Unlock()
	var nonce wire.Nonce
	if err := l.until(ctx, d.client, "POST", "/keys/"+string(old.id)+"/nonce", wire.Empty{}, &nonce); err != nil {
		return err
	}
	k, csr, err := d.request(use)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return err
	}
	now := time.Now()
	st := cert.RenewalStatement{Username: quinta.UserID(d.user), Device: quinta.DeviceID(d.device), OldKeyID: old.id, NewKey: cert.FingerprintOf(spki),
		Expires: now.Add(cert.Validity).Unix(), Nonce: nonce.Nonce, Time: now.UnixMilli()}
	r, err := cert.NewRenewal(rand.Reader, st, old.key, k)
	if err != nil {
		return err
	}
	var i wire.KeyInfo
	q := wire.RenewRequest{CSR: csr, RenewalStatement: r.Statement, OldSignature: r.OldSignature, NewSignature: r.NewSignature}
	if err := l.until(ctx, d.client, "POST", "/keys/"+string(old.id)+"/renew", q, &i); err != nil {
		return err
	}
	if i.Replaces != old.id {
		return fmt.Errorf("the renewal of %s gave a key that replaces %q", old.id, i.Replaces)
	}
	d.has(use, k, &i)
	select {
	case <-ctx.Done():
	case <-l.quit:
	case <-time.After(renewEvery):
	}
	return nil
}

// caListen fetches what waits for a device and acknowledges it.
func (l *Load) caListen(ctx context.Context, d *caDevice, timeout int) (int, error) {
	var m wire.Mailbox
	path := fmt.Sprintf("%s?after=%d&limit=500&timeout=%d", wire.PathMailbox, d.next, timeout)
	if err := l.until(ctx, d.client, "GET", path, nil, &m); err != nil {
		return 0, err
	}
	for _, it := range m.Items {
		if it.Pos <= d.next {
			return 0, fmt.Errorf("%s got position %d after %d", d.user, it.Pos, d.next)
		}
		d.next = it.Pos
		if it.Kind != wire.KindMessage {
			continue
		}
		var n int
		if err := json.Unmarshal(it.Body, &n); err != nil {
			return 0, err
		}
		if want := d.heard[it.From]; n != want {
			return 0, fmt.Errorf("%s got message %d of %s, want %d: it came twice, out of order, or one is lost", d.user, n, it.From, want)
		}
		d.heard[it.From]++
	}
	if len(m.Items) == 0 {
		return 0, nil
	}
	return len(m.Items), l.until(ctx, d.client, "POST", wire.PathAck, wire.AckRequest{UpTo: m.Next}, nil)
}

// checkCA compares what was promised with what the server has.
func (l *Load) checkCA(ctx context.Context) {
	l.tb.Helper()
	serials := map[string]bool{}
	for _, d := range l.ca {
		for {
			n, err := l.caListen(ctx, d, 0)
			if err != nil {
				l.tb.Error(err)
				return
			}
			if n == 0 {
				break
			}
		}
		for _, from := range l.ca {
			if got := d.heard[quinta.UserID(from.user)]; from != d && got != len(from.said) {
				l.tb.Errorf("%s got %d messages of %s, want the %d acknowledged", d.user, got, from.user, len(from.said))
			}
		}
		for _, s := range d.serials {
			if serials[s] {
				l.tb.Errorf("the serial number %s was given twice", s)
			}
			serials[s] = true
		}
		l.checkCAKeys(ctx, d)
	}
	l.checkCAHistory(ctx)
}

// checkCAKeys looks a device's keys up: they are those that were acknowledged,
// each once and in their order, and one for each use is in force.
func (l *Load) checkCAKeys(ctx context.Context, d *caDevice) {
	l.tb.Helper()
	var list wire.KeyList
	if err := l.until(ctx, d.client, "GET", "/users/"+url.PathEscape(d.user)+"/keys", nil, &list); err != nil {
		l.tb.Error(err)
		return
	}
	var ids []cert.Fingerprint
	active := 0
	for _, k := range list.Keys {
		ids = append(ids, k.ID)
		if k.State == wire.StateActive {
			active++
		}
	}
	if !slices.Equal(ids, d.made) || active != 2 {
		l.tb.Errorf("%s has %d keys, %d of them in force; %d were acknowledged, and two should be in force", d.user, len(ids), active, len(d.made))
	}
}

// checkCAHistory reads the conversation from its end: it holds just the
// acknowledged messages, at their positions.
func (l *Load) checkCAHistory(ctx context.Context) {
	l.tb.Helper()
	left := map[string][]quinta.Pos{}
	for _, d := range l.ca {
		left[d.user] = d.said
	}
	for before := quinta.Pos(1 << 60); before != 0; {
		var h wire.History
		if err := l.until(ctx, l.ca[0].client, "GET", fmt.Sprintf("/conversations/%s/messages?limit=500&before=%d", caConv, before), nil, &h); err != nil {
			l.tb.Error(err)
			return
		}
		for _, it := range h.Items {
			said := left[string(it.From)]
			if len(said) == 0 || said[len(said)-1] != it.Pos {
				l.tb.Errorf("the history has a message of %s at %d, where none was acknowledged", it.From, it.Pos)
				return
			}
			left[string(it.From)] = said[:len(said)-1]
		}
		before = h.Before
	}
	for user, said := range left {
		if len(said) > 0 {
			l.tb.Errorf("the history lacks %d messages of %s", len(said), user)
		}
	}
}

// CheckAudit compares the lines of the authority's audit with the keys that
// were acknowledged, after Stop: one line for each, and no other.
func (l *Load) CheckAudit(text string) {
	l.tb.Helper()
	lines := map[string]int{}
	issued := 0
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) > 4 && (w[1] == "enrolled" || w[1] == "renewed") {
			lines[w[4]]++
			issued++
		}
	}
	made := 0
	for _, d := range l.ca {
		for _, id := range d.made {
			made++
			if lines[string(id)] != 1 {
				l.tb.Errorf("the audit has %d lines of the key %s of %s, want 1", lines[string(id)], id, d.user)
			}
		}
	}
	if issued != made {
		l.tb.Errorf("the audit has %d keys, want the %d acknowledged", issued, made)
	}
}
