package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var _ client.Verifier = (*Session)(nil)

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

// request notes the request of somebody else and reports whether it is worth
// asking the user. The lock is held.
func (s *Session) request(id string, l letter, m quinta.Message) bool {
	var c struct {
		Device quinta.DeviceID `json:"from_device"`
		To     quinta.UserID   `json:"to"`
		Time   int64           `json:"timestamp"`
	}
	now := s.env.Now()
	if json.Unmarshal(m.Body, &c) != nil || !validID(string(c.Device)) || c.Device == s.account.Device && m.Sender == s.account.User {
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
		m.Type == "m.room.message" && json.Unmarshal(m.Body, &c) == nil && c.MsgType == sas.TypeRequest
}

// Verify implements client.Verifier. Another user is asked in the
// conversation of two with him, which is made if there is none; an own device
// directly, and all own devices if id is empty.
func (s *Session) Verify(ctx context.Context, user quinta.UserID, id quinta.DeviceID, compare func(context.Context, client.ShortStrings) (bool, error)) error {
	if err := s.awaitRun(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sas.Lifetime)
	defer cancel()
	if user == "" {
		user = s.account.User
	}
	if err := s.refresh(ctx, user); err != nil {
		return err
	}
	if err := s.refresh(ctx, s.account.User); err != nil {
		return err
	}
	f := &flow{user: user, device: id, ours: true, begun: s.env.Now(), in: make(chan letter, maxLetters)}
	var err error
	if user == s.account.User {
		err = s.askDevices(ctx, f)
	} else {
		err = s.askInRoom(ctx, f)
	}
	if err != nil {
		return err
	}
	defer s.drop(f)
	machine, err := s.newFlow(ctx, f)
	if err != nil {
		return err
	}
	out, err := machine.Request()
	if err != nil {
		return verifyError("verifying", err)
	}
	if err := s.post(ctx, f, machine, out); err != nil {
		return err
	}
	return s.carry(ctx, f, machine, compare)
}

// askDevices chooses the own devices that are asked, and an id.
func (s *Session) askDevices(ctx context.Context, f *flow) error {
	const op = "verifying"
	known, err := s.knownDevices(ctx, f.user)
	if err != nil {
		return err
	}
	for _, d := range known {
		if d.ID != s.account.Device && (f.device == "" || d.ID == f.device) {
			f.asked = append(f.asked, d.ID)
		}
	}
	if len(f.asked) == 0 {
		return quinta.E(quinta.KindNotFound, op, "there is no such device that has keys")
	}
	txn, err := s.newTxn()
	if err != nil {
		return err
	}
	f.id = string(txn)
	return s.keep(f)
}

// askInRoom sends the request in a conversation of two; its event is the id.
func (s *Session) askInRoom(ctx context.Context, f *flow) error {
	const op = "verifying"
	own, err := s.identity(ctx, s.account.User, s.account.Device)
	if err != nil {
		return err
	}
	if f.room, err = s.directRoom(ctx, f.user); err != nil {
		return err
	}
	txn, err := s.newTxn()
	if err != nil {
		return err
	}
	sent := make(chan quinta.MessageID, 1)
	s.mu.Lock()
	s.sent[txn] = sent
	s.mu.Unlock()
	defer func() { s.mu.Lock(); delete(s.sent, txn); s.mu.Unlock() }()
	m := quinta.Message{Room: f.room, Txn: txn, Type: "m.room.message", Body: sas.RoomRequest(own, f.user, []string{sas.MethodSAS})}
	if err := s.put(ctx, m); err != nil {
		return err
	}
	select {
	case id := <-sent:
		f.id = string(id)
		return s.keep(f)
	case <-ctx.Done():
		return quinta.E(quinta.KindUnavailable, op, "the request could not be sent")
	}
}

// put puts a message of a verification into the outbox. It is sealed like any
// other: a room that is not encrypted is not used.
func (s *Session) put(ctx context.Context, m quinta.Message) error {
	err := s.st.Update(ctx, func(tx e2ee.Tx) error {
		if _, err := s.mayLeave(tx, m.Room, false); err != nil {
			return err
		}
		return s.machine.Send(tx, m)
	})
	if err != nil {
		return sendError(err)
	}
	s.loop.Wake()
	return nil
}

// directRoom returns the encrypted conversation with a user, or makes it.
func (s *Session) directRoom(ctx context.Context, user quinta.UserID) (quinta.RoomID, error) {
	rooms, err := s.Rooms(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range rooms {
		if !r.Direct || !r.Encrypted || r.Membership != "join" {
			continue
		}
		members, err := s.Members(ctx, r.ID)
		if err != nil {
			return "", err
		}
		with, others := false, 0
		for _, m := range members {
			if m.Membership != "join" && m.Membership != "invite" || m.User == s.account.User {
				continue
			}
			with = with || m.User == user
			others++
		}
		if with && others == 1 {
			return r.ID, nil
		}
	}
	return s.Create(ctx, client.NewRoom{Invite: []quinta.UserID{user}, Direct: true})
}

// AwaitVerify implements client.Verifier.
func (s *Session) AwaitVerify(ctx context.Context, accept func(quinta.Device) bool, compare func(context.Context, client.ShortStrings) (bool, error)) error {
	if err := s.awaitRun(ctx); err != nil {
		return err
	}
	for {
		var f *flow
		select {
		case f = <-s.asked:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.env.Now().Sub(f.begun) > sas.Lifetime {
			s.drop(f)
			continue
		}
		err := s.answer(ctx, f, accept, compare)
		s.drop(f)
		if !errors.Is(err, errTurnedDown) {
			return err
		}
	}
}

var errTurnedDown = errors.New("the request was turned down")

// answer carries out a verification that somebody else asked for.
func (s *Session) answer(ctx context.Context, f *flow, accept func(quinta.Device) bool, compare func(context.Context, client.ShortStrings) (bool, error)) error {
	const op = "verifying"
	ctx, cancel := context.WithTimeout(ctx, sas.Lifetime)
	defer cancel()
	if err := s.refresh(ctx, f.user); err != nil {
		return err
	}
	machine, err := s.newFlow(ctx, f)
	if err != nil {
		return err
	}
	if err := s.read(ctx, f, machine); err != nil {
		return err
	}
	if machine.State() == sas.StateCancelled {
		return errTurnedDown // answered elsewhere, or not worth an answer
	}
	other, _ := machine.Other()
	if !accept(quinta.Device{User: f.user, ID: other.Device}) {
		return errors.Join(errTurnedDown, s.post(ctx, f, machine, machine.Cancel()))
	}
	out, err := machine.Accept()
	if err != nil {
		return verifyError(op, err)
	}
	if err := s.post(ctx, f, machine, out); err != nil {
		return err
	}
	return s.carry(ctx, f, machine, compare)
}

// runsWithin is how long a verification waits for Run to begin, as both are
// often started together.
const runsWithin = 2 * time.Second

// awaitRun returns when Run is going on.
func (s *Session) awaitRun(ctx context.Context) error {
	end := time.NewTimer(runsWithin)
	defer end.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if s.live.Load() {
			return nil
		}
		select {
		case <-changed:
		case <-end.C:
			return quinta.E(quinta.KindConflict, "verifying", "the session must be running")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keep takes a flow up, so that what comes for it is led to it.
func (s *Session) keep(f *flow) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows[f.id] != nil || len(s.flows) >= maxFlows {
		return quinta.E(quinta.KindLimited, "verifying", "too many verifications at a time")
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
		Methods: []string{sas.MethodSAS},
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
	if who.Master != "" {
		if out.Master, err = key.ParseSigningPublic[key.Master](who.Master); err != nil {
			return out, err
		}
	}
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
			out.DeviceKey, err = key.ParseSigningPublic[key.Device](d.Ed25519)
			return out, err
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

// carry carries a verification to its end.
func (s *Session) carry(ctx context.Context, f *flow, m *sas.Flow, compare func(context.Context, client.ShortStrings) (bool, error)) (err error) {
	const op = "verifying"
	defer func() {
		if err != nil && m.State() != sas.StateCancelled && m.State() != sas.StateDone {
			// The other side is told that it is over, even if ctx has ended.
			tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = errors.Join(err, s.post(tell, f, m, m.Cancel()))
		}
	}()
	type verdict struct {
		same bool
		err  error
	}
	verdicts := make(chan verdict, 1)
	asking := false
	begin := time.NewTimer(startAfter)
	defer begin.Stop()
	start := f.ours
	compareCtx, stopCompare := context.WithCancel(ctx)
	defer stopCompare()
	for {
		var out []sas.Message
		var serr error
		switch st := m.State(); {
		case st == sas.StateReady && start:
			out, serr = m.StartSAS()
		case st == sas.StateCompare && !asking:
			asking = true
			shown := s.strings(f, m)
			go func() { same, err := compare(compareCtx, shown); verdicts <- verdict{same, err} }()
		case st == sas.StateDone:
			return s.believe(ctx, f, m)
		case st == sas.StateCancelled:
			return cancelled(m)
		}
		if serr != nil {
			return verifyError(op, serr)
		}
		if len(out) > 0 {
			if err := s.post(ctx, f, m, out); err != nil {
				return err
			}
			continue
		}
		select {
		case l := <-f.in:
			if err := s.post(ctx, f, m, m.Receive(l.from, l.typ, l.raw)); err != nil {
				return err
			}
		case v := <-verdicts:
			if v.err != nil {
				return v.err
			}
			end := m.Mismatch
			if v.same {
				end = m.Confirm
			}
			out, err := end()
			if err != nil {
				if m.State() == sas.StateCancelled {
					continue
				}
				return verifyError(op, err)
			}
			if err := s.post(ctx, f, m, out); err != nil {
				return err
			}
		case <-begin.C:
			start = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// strings are what the two people compare.
func (s *Session) strings(f *flow, m *sas.Flow) client.ShortStrings {
	other, _ := m.Other()
	out := client.ShortStrings{With: quinta.Device{User: f.user, ID: other.Device}}
	d := m.Decimals()
	out.Decimal = d[:]
	if emoji, ok := m.Emojis(); ok {
		for _, e := range emoji {
			out.Emoji = append(out.Emoji, client.Emoji{Symbol: e.Picture, Name: e.Name})
		}
	}
	return out
}

// believe stores what was verified.
func (s *Session) believe(ctx context.Context, f *flow, m *sas.Flow) error {
	other, _ := m.Other()
	v := m.Verified()
	return trustError("verifying", s.do(ctx, false, func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		if !v.Master.IsZero() {
			if events, err = s.machine.VerifyUser(tx, f.user, v.Master.String()); err != nil {
				return nil, err
			}
		}
		if v.Device.IsZero() {
			return events, nil
		}
		more, err := s.machine.Decide(tx, f.user, other.Device, v.Device.String(), matrix.Accept)
		return append(events, more...), err
	}))
}

// cancelled is the error of a verification that came to nothing.
func cancelled(m *sas.Flow) error {
	const op = "verifying"
	code, byUs := m.Cancelled()
	who := "the other side"
	if byUs {
		who = "this side"
	}
	kind := quinta.KindConflict
	if code == sas.CodeSAS || code == sas.CodeKeyMismatch || code == sas.CodeCommitment || code == sas.CodeUserMismatch {
		kind = quinta.KindForbidden
	}
	return quinta.E(kind, op, fmt.Sprintf("%s ended it (%s)", who, wire.Printable(code)))
}

func verifyError(op string, err error) error {
	return &quinta.Error{Kind: quinta.KindConflict, Op: op, Err: err}
}

// post sends messages of a verification.
func (s *Session) post(ctx context.Context, f *flow, m *sas.Flow, out []sas.Message) error {
	for _, l := range out {
		if f.room != "" {
			txn, err := s.newTxn()
			if err != nil {
				return err
			}
			if err := s.put(ctx, quinta.Message{Room: f.room, Txn: txn, Type: l.Type, Body: l.Content}); err != nil {
				return err
			}
			continue
		}
		to := f.asked
		if other, ok := m.Other(); ok {
			to = []quinta.DeviceID{other.Device}
		} else if f.device != "" {
			to = []quinta.DeviceID{f.device}
		}
		if err := s.toDevice(ctx, f.user, to, l); err != nil {
			return err
		}
	}
	if other, ok := m.Other(); ok && len(f.asked) > 1 {
		// One has answered: the others need not ask their user any more.
		var rest []quinta.DeviceID
		for _, d := range f.asked {
			if d != other.Device {
				rest = append(rest, d)
			}
		}
		f.asked = nil
		return s.toDevice(ctx, f.user, rest, sas.Cancellation(f.id, false, sas.CodeAccepted))
	}
	return nil
}

// toDevice sends one message to devices of a user, with the same id until the
// server has it.
func (s *Session) toDevice(ctx context.Context, user quinta.UserID, to []quinta.DeviceID, l sas.Message) error {
	const op = "verifying"
	if len(to) == 0 {
		return nil
	}
	txn, err := s.newTxn()
	if err != nil {
		return err
	}
	content := map[quinta.DeviceID]json.RawMessage{}
	for _, d := range to {
		content[d] = l.Content
	}
	body := map[string]any{"messages": map[quinta.UserID]any{user: content}}
	return s.retry(ctx, func() error {
		return s.link.ask(ctx, op, http.MethodPut, path("sendToDevice", l.Type, string(txn)), body, nil)
	})
}

// retry tries a few times while the server is not reached.
func (s *Session) retry(ctx context.Context, try func() error) error {
	wait := 250 * time.Millisecond
	for i := 0; ; i++ {
		err := try()
		k := quinta.KindOf(err)
		if err == nil || i == 5 || k != quinta.KindUnavailable && k != quinta.KindLimited {
			return err
		}
		pause := wait << i
		if re, ok := errors.AsType[*client.RetryError](err); ok {
			pause = min(max(pause, re.After), answerWithin)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}
