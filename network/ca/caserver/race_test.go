package caserver_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/testkit/crowd"
)

// raceGroup is how many members a conversation of TestRace has.
const raceGroup = 4

// A racer is one client of TestRace: what it did, and what came to it.
type racer struct {
	*user
	at, round int
	group     []*racer
	conv      quinta.RoomID
	trusts    *cert.Verifier
	after     quinta.Pos
	// spare is the device that it enrolled and has not revoked yet.
	spare *user
	// said are the messages that were taken in, in order; heard those that
	// came from each member, opened, in order.
	said  []string
	heard map[quinta.UserID][]string
	// stale is how often a key had changed between looking it up and sending.
	stale int
}

// call makes a call that must be answered with the status, and reads the
// answer into v.
func (u *user) call(ctx context.Context, status int, method, path string, body, v any) error {
	a, err := u.try(ctx, method, path, body)
	if err != nil {
		return err
	}
	if a.Status != status {
		return fmt.Errorf("%s: got %d %.300s, want %d", a.call, a.Status, a.Raw, status)
	}
	return wire.Decode(a.Raw, v)
}

// TestRace lets 64 clients work at one server at once: enrol devices, send,
// receive, acknowledge and revoke. Whatever they do between each other, a
// message that was taken in comes to every member once, in the order of its
// sender, and opens with the keys that the member's device has.
func TestRace(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		all := s.racers(t)
		turns := crowd.Run(t, len(all), func(ctx context.Context, i, round int) error {
			all[i].round = round
			return all[i].turn(ctx)
		})
		if t.Failed() {
			return
		}
		stale := 0
		for _, r := range all {
			if err := r.receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			stale += r.stale
		}
		t.Logf("%d turns, %d times keys that had changed", turns, stale)
		if stale == 0 {
			t.Error("no key changed under a sender: nothing met")
		}
		for _, r := range all {
			for _, from := range r.group {
				if got := r.heard[from.ID]; from != r && !slices.Equal(got, from.said) {
					t.Errorf("%s heard %v of %s, want %v", r.ID, got, from.ID, from.said)
				}
			}
		}
	})
}

// racers makes the clients, in conversations of four.
func (s *stage) racers(t *testing.T) []*racer {
	t.Helper()
	all := make([]*racer, crowd.Clients)
	crowd.Each(t, len(all), func(i int) error {
		name := fmt.Sprint("racer", i)
		if err := s.Core.AddAccount(t.Context(), name, password); err != nil {
			return err
		}
		u, err := s.device(t.Context(), name, "MAIN")
		all[i] = &racer{user: u, at: i, heard: map[quinta.UserID][]string{}}
		return err
	})
	for group := range slices.Chunk(all, raceGroup) {
		var others []quinta.UserID
		for _, r := range group {
			r.trusts, r.group, r.conv = s.verifier(), group, quinta.RoomID(fmt.Sprintf("race-conversation-%02d", group[0].at))
			others = append(others, r.ID)
		}
		group[0].put("/conversations/"+string(group[0].conv), wire.ConversationRequest{Members: others[1:], Profile: wire.ProfileSecure}).want(201)
	}
	return all
}

// device logs a device in and enrols both of its keys.
func (s *stage) device(ctx context.Context, name string, device quinta.DeviceID) (*user, error) {
	u := s.nobody()
	if err := u.call(ctx, 200, "POST", wire.PathLogin, wire.LoginRequest{Username: name, Password: password, Device: device}, &u.Login); err != nil {
		return nil, err
	}
	u.ID, u.Device, u.Token = u.Login.Username, u.Login.Device, u.Login.Token
	for use, p := range map[cert.Use]**pair{cert.UseSign: &u.sign, cert.UseEncrypt: &u.enc} {
		k, err := newP256()
		if err != nil {
			return nil, err
		}
		csr, err := cert.NewRequest(rand.Reader, u.identity(use), k)
		if err != nil {
			return nil, err
		}
		*p = &pair{key: k}
		if err := u.call(ctx, 201, "POST", wire.PathKeys, wire.EnrolRequest{Profile: wire.ProfileSecure, Use: use, Pop: csr}, &(*p).info); err != nil {
			return nil, err
		}
		if (*p).cert, err = x509.ParseCertificate((*p).info.Cert); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// turn is what a client does at a beat; every fourth of them changes keys.
func (r *racer) turn(ctx context.Context) error {
	if (r.at+r.round)%4 == 0 {
		if err := r.change(ctx); err != nil {
			return err
		}
	}
	if err := r.say(ctx); err != nil {
		return err
	}
	return r.receive(ctx)
}

// change enrols a second device, or revokes what it enrolled.
func (r *racer) change(ctx context.Context) (err error) {
	if r.spare == nil {
		r.spare, err = r.s.device(ctx, fmt.Sprint("racer", r.at), quinta.DeviceID(fmt.Sprint("SPARE", r.round)))
		return err
	}
	gone := r.spare
	r.spare = nil
	var info wire.KeyInfo
	if err := gone.call(ctx, 200, "POST", "/keys/"+string(gone.enc.id())+"/revoke", wire.RevokeRequest{Reason: "superseded"}, &info); err != nil {
		return err
	}
	if info.State != wire.StateRevoked {
		return fmt.Errorf("a revoked key is %s", info.State)
	}
	return r.call(ctx, 200, "DELETE", "/devices/"+string(gone.Device), wire.RemoveRequest{Password: password}, &wire.Empty{})
}

// say sends one message to the keys that the members have, which are others
// as soon as someone changes them, and does it once more: it is one message.
func (r *racer) say(ctx context.Context) error {
	id := quinta.MessageID(fmt.Sprint("m-", r.at, "-", r.round))
	for range 200 {
		d, err := r.sealed(ctx, id)
		if err != nil {
			return err
		}
		path := "/conversations/" + string(r.conv) + "/messages/" + string(id)
		a, err := r.try(ctx, "PUT", path, d)
		if err != nil {
			return err
		}
		if e := wire.ParseError(a.Status, a.Raw); a.Status == 409 && e.Code == wire.CodeStaleKeys {
			r.stale++
			continue
		}
		if a.Status != 200 {
			return fmt.Errorf("%s: got %d %.300s", a.call, a.Status, a.Raw)
		}
		r.said = append(r.said, string(id))
		return r.call(ctx, 200, "PUT", path, d, &wire.Delivered{})
	}
	return errors.New("the keys of the members changed 200 times")
}

// sealed makes the delivery of a message for all keys that the directory has
// for the members now.
func (r *racer) sealed(ctx context.Context, id quinta.MessageID) (wire.Deliver, error) {
	d := wire.Deliver{Kind: wire.KindMessage, Form: wire.FormCMS}
	c := seal.Content{Conv: r.conv, ID: id, Seq: uint64(r.round + 1), Time: r.s.clock.Now().UnixMilli()}
	var certs []*x509.Certificate
	for _, m := range r.group {
		var l wire.KeyList
		if err := r.call(ctx, 200, "GET", "/users/"+string(m.ID)+"/keys", nil, &l); err != nil {
			return d, err
		}
		for _, k := range l.Keys {
			if k.Use != string(cert.UseEncrypt) || k.State != wire.StateActive || k.Device == r.Device && m == r {
				continue
			}
			parsed, err := x509.ParseCertificate(k.Cert)
			if err != nil {
				return d, err
			}
			certs, d.Keys = append(certs, parsed), append(d.Keys, k.ID)
		}
		if m != r {
			c.To = append(c.To, m.ID)
		}
	}
	var err error
	if c.Body, err = json.Marshal(map[string]string{"text": string(id)}); err != nil {
		return d, err
	}
	d.Body, err = seal.Seal(rand.Reader, r.self(), c, certs)
	return d, err
}

// receive reads the mailbox, opens what came for this device and acknowledges
// it.
func (r *racer) receive(ctx context.Context) error {
	for {
		var m wire.Mailbox
		if err := r.call(ctx, 200, "GET", wire.PathMailbox+"?after="+text(r.after), nil, &m); err != nil {
			return err
		}
		for _, it := range m.Items {
			if it.Kind == wire.KindKeys {
				continue
			}
			o, err := seal.Open(it.Body, r.self(), r.trusts, seal.Expect{From: it.From, Conv: r.conv, Self: r.ID, Now: r.s.clock.Now(), Received: it.Received})
			if err != nil {
				return fmt.Errorf("the message %s of %s: %w", it.ID, it.From, err)
			}
			if o.Content.ID != it.ID {
				return fmt.Errorf("the message %s of %s is %s inside", it.ID, it.From, o.Content.ID)
			}
			r.heard[it.From] = append(r.heard[it.From], string(it.ID))
		}
		r.after = m.Next
		if err := r.call(ctx, 200, "POST", wire.PathAck, wire.AckRequest{UpTo: m.Next}, &wire.Empty{}); err != nil {
			return err
		}
		if !m.More {
			return nil
		}
	}
}
