package matrixclient

import (
	"context"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

const (
	// maxAsked bounds the requests of others that wait, and maxFlows all
	// verifications at a time.
	maxAsked = 8
	maxFlows = 32
	// maxLetters bounds the messages of one verification that wait.
	maxLetters = 64
	// startAfter is how long the side that was asked waits for the other one
	// to begin.
	startAfter = 5 * time.Second
)

// A letter is one message of a verification that came.
type letter struct {
	from quinta.UserID
	typ  string
	raw  []byte
}

// A flow is one verification, to-device or in a room.
type flow struct {
	id   string
	user quinta.UserID
	// room is empty if the messages go from device to device.
	room quinta.RoomID
	// device is the other side's, as far as it is known.
	device quinta.DeviceID
	ours   bool
	begun  time.Time
	in     chan letter
	// methods are what this side offers.
	methods []string
	// asked are the devices that got the request; one of them answers.
	asked []quinta.DeviceID
}

// verification takes an event of a verification, and reports whether the user
// need not see it. It is called in the order of events and never waits.
func (s *Session) verification(e e2ee.Event) bool {
	m := e.Message
	if e.Kind == e2ee.EventSent {
		return s.ownVerification(m)
	}
	if e.Kind != e2ee.EventVerification {
		return false
	}
	id, typ := sas.FlowID(m.Body), m.Type
	if typ == "m.room.message" {
		typ = sas.TypeRequest
		id = string(m.ID)
	}
	l := letter{m.Sender, typ, m.Body}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flows[id]
	switch {
	case f != nil && f.room == m.Room:
		select {
		case f.in <- l:
		default: // no honest side sends so many
		}
		return true
	case f != nil || id == "" || typ != sas.TypeRequest:
		return true
	}
	return !s.request(id, l, m)
}

// request notes the request of someone else and reports whether it is worth
// asking the user. The lock is held.
func (s *Session) request(id string, l letter, m quinta.Message) bool {
	var c struct {
		Device quinta.DeviceID `json:"from_device"`
		To     quinta.UserID   `json:"to"`
		Time   int64           `json:"timestamp"`
	}
	now := s.env.Now()
	if exactjson.Unmarshal(m.Body, &c) != nil || !validID(string(c.Device)) || c.Device == s.account.Device && m.Sender == s.account.User {
		return false
	}
	sent := time.UnixMilli(c.Time)
	if m.Room != "" {
		sent = m.Time
		if c.To != s.account.User || m.Sender == s.account.User {
			return false
		}
	}
	if !sas.Fresh(sent, now) {
		return false
	}
	for id, f := range s.flows {
		if now.Sub(f.begun) > sas.Lifetime {
			delete(s.flows, id)
		}
	}
	if len(s.flows) >= maxFlows {
		return false
	}
	f := &flow{id: id, user: m.Sender, room: m.Room, device: c.Device, begun: now, in: make(chan letter, maxLetters)}
	f.in <- l
	select {
	case s.asked <- f:
		s.flows[id] = f
		return true
	default:
		return false
	}
}

// ownVerification reports whether a message of ours that was sent belongs to a
// verification, and tells who waits for its id.
func (s *Session) ownVerification(m quinta.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.sent[m.Txn]; c != nil {
		c <- m.ID
		delete(s.sent, m.Txn)
	}
	return ofVerification(m)
}

// ofVerification reports whether a message belongs to a verification.
func ofVerification(m quinta.Message) bool {
	var c struct {
		MsgType string `json:"msgtype"`
	}
	return strings.HasPrefix(m.Type, "m.key.verification.") ||
		m.Type == "m.room.message" && exactjson.Unmarshal(m.Body, &c) == nil && c.MsgType == sas.TypeRequest
}

// keep takes a flow up, so that what comes for it is led to it.
func (s *Session) keep(f *flow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows[f.id] != nil || len(s.flows) >= maxFlows {
		return quinta.E(quinta.KindLimited, "verifying", "too many verifications at once")
	}
	s.flows[f.id] = f
	return nil
}

func (s *Session) drop(f *flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows[f.id] == f {
		delete(s.flows, f.id)
	}
}

// newFlow makes the verification itself, with the keys as they are known now.
func (s *Session) newFlow(ctx context.Context, f *flow) (*sas.Flow, error) {
	own, err := s.identity(ctx, s.account.User, s.account.Device)
	if err != nil {
		return nil, err
	}
	known := map[quinta.DeviceID]sas.Identity{}
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		devices, err := s.machine.Devices(tx, f.user)
		for _, d := range devices {
			if id, err := s.identityOf(tx, f.user, d.ID); err == nil {
				known[d.ID] = id
			}
		}
		return err
	}); err != nil {
		return nil, err
	}
	var trusts bool
	if err := s.look(ctx, func(tx e2ee.Tx) error {
		id, err := s.machine.UserIdentity(tx, s.account.User)
		trusts = id.Verified
		return err
	}); err != nil {
		return nil, err
	}
	m, err := sas.New(s.env, sas.Config{
		ID: f.id, InRoom: f.room != "", Own: own, TrustsMaster: trusts, OtherUser: f.user,
		Device:  func(d quinta.DeviceID) (sas.Identity, bool) { id, ok := known[d]; return id, ok },
		Methods: f.methods,
	})
	if err != nil {
		return nil, verifyError("verifying", err)
	}
	return m, nil
}

// identity returns the keys of a device and its owner as they are known here.
func (s *Session) identity(ctx context.Context, user quinta.UserID, device quinta.DeviceID) (id sas.Identity, err error) {
	err = s.look(ctx, func(tx e2ee.Tx) error {
		id, err = s.identityOf(tx, user, device)
		return err
	})
	return id, err
}

func (s *Session) identityOf(tx e2ee.Tx, user quinta.UserID, device quinta.DeviceID) (sas.Identity, error) {
	out := sas.Identity{User: user, Device: device}
	who, err := s.machine.UserIdentity(tx, user)
	if err != nil {
		return out, err
	}
	out.Master = who.Master
	if user == s.account.User && device == s.account.Device {
		self, err := s.machine.Identity(tx)
		out.DeviceKey = self.Ed25519
		return out, err
	}
	devices, err := s.machine.Devices(tx, user)
	if err != nil {
		return out, err
	}
	for _, d := range devices {
		if d.ID == device {
			out.DeviceKey = d.Ed25519
			return out, nil
		}
	}
	return out, sas.ErrIdentity
}

// read takes in the letters that came.
func (s *Session) read(ctx context.Context, f *flow, m *sas.Flow) error {
	for {
		select {
		case l := <-f.in:
			if err := s.post(ctx, f, m, m.Receive(l.from, l.typ, l.raw)); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
