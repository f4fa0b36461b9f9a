package sas

import (
	"crypto/subtle"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
)

const (
	keyPrefix = "ed25519:"
	keyIDs    = "KEY_IDS"
)

// Receive takes a message of the flow that the user from sent. It returns the
// messages to send in answer; a message that is wrong cancels the flow.
//
// Messages of other users are ignored. If in a room another device of the user answers
// the request, the flow ends here as accepted elsewhere.
func (f *Flow) Receive(from quinta.UserID, typ string, raw []byte) []Message {
	if f.ended() {
		return nil
	}
	if from != f.cfg.OtherUser {
		if from == f.cfg.Own.User && f.cfg.InRoom && !f.accepted && (typ == TypeReady || typ == TypeStart || typ == TypeAccept) {
			f.state, f.cancelled = StateCancelled, CodeAccepted
		}
		return nil
	}
	if typ == TypeCancel {
		f.onCancel(raw)
		return nil
	}
	if out := f.Tick(); f.ended() {
		return out
	}
	c, err := parseContent(raw)
	if err != nil {
		return f.cancel(CodeInvalidMessage)
	}
	handlers := map[string]func(content, []byte) []Message{
		TypeRequest: f.onRequest, TypeReady: f.onReady, TypeStart: f.onStart, TypeAccept: f.onAccept,
		TypeKey: f.onKey, TypeMAC: f.onMAC, TypeDone: f.onDone,
	}
	h := handlers[typ]
	if h == nil {
		return nil // of a later version of the framework
	}
	return h(c, raw)
}

func (f *Flow) onCancel(raw []byte) {
	code := CodeUser
	if c, err := parseContent(raw); err == nil && c.Code != "" {
		code = c.Code
	}
	f.state, f.cancelled, f.byUs = StateCancelled, code, false
	f.wipe()
}

func (f *Flow) onRequest(c content, _ []byte) []Message {
	if f.state != StateCreated {
		return f.cancel(CodeUnexpectedMessage)
	}
	if !f.cfg.InRoom && !Fresh(time.UnixMilli(c.Timestamp), f.env.Now()) {
		f.state, f.cancelled, f.byUs = StateCancelled, CodeTimeout, true // silently
		return nil
	}
	if f.cfg.InRoom && c.MessageTo != string(f.cfg.Own.User) {
		f.state, f.cancelled, f.byUs = StateCancelled, CodeUserMismatch, true
		return nil
	}
	f.state, f.methods = StateRequested, c.Methods
	if f.fix(quinta.DeviceID(c.FromDevice)) != nil {
		return f.cancel(CodeKeyMismatch)
	}
	return nil
}

func (f *Flow) onReady(c content, _ []byte) []Message {
	if f.state != StateRequested || !f.requester {
		return f.cancel(CodeUnexpectedMessage)
	}
	if f.fix(quinta.DeviceID(c.FromDevice)) != nil {
		return f.cancel(CodeKeyMismatch)
	}
	f.methods = c.Methods
	if len(f.Common()) == 0 {
		return f.cancel(CodeUnknownMethod)
	}
	f.state = StateReady
	return nil
}

func (f *Flow) onStart(c content, raw []byte) []Message {
	switch {
	case f.state == StateCreated:
		f.state = StateStarted // a start without request: the user has to accept
	case f.state == StateReady:
	case f.state == StateStarted && f.starter && (f.waiting == TypeAccept || f.waiting == TypeDone):
		if c.Method != f.method {
			return f.cancel(CodeUnexpectedMessage)
		}
		if f.ownFirst() {
			return nil // the other side drops its start
		}
	default:
		return f.cancel(CodeUnexpectedMessage)
	}
	if f.fix(quinta.DeviceID(c.FromDevice)) != nil {
		return f.cancel(CodeUserMismatch)
	}
	f.state = StateStarted
	f.method, f.starter, f.start = c.Method, false, raw
	switch c.Method {
	case MethodSAS:
		return f.onStartSAS(c)
	case MethodReciprocate:
		return f.onReciprocate(c)
	}
	return f.cancel(CodeUnknownMethod)
}

// ownFirst reports whether of two starts this device's counts: that of the
// smaller user id, for the same user that of the smaller device id.
func (f *Flow) ownFirst() bool {
	if f.cfg.Own.User != f.cfg.OtherUser {
		return f.cfg.Own.User < f.cfg.OtherUser
	}
	return f.cfg.Own.Device < f.other.Device
}

func (f *Flow) onStartSAS(c content) []Message {
	f.scheme = nil
	for _, s := range []string{stringDecimal, stringEmoji} {
		if slices.Contains(c.Strings, s) {
			f.scheme = append(f.scheme, s)
		}
	}
	if !slices.Contains(f.cfg.Methods, MethodSAS) || !slices.Contains(c.Agreements, agreementName) || !slices.Contains(c.Hashes, hashName) ||
		!slices.Contains(c.MACs, macName) || !slices.Contains(f.scheme, stringDecimal) {
		return f.cancel(CodeUnknownMethod)
	}
	if !f.accepted {
		return nil
	}
	out, err := f.accept()
	if err != nil {
		return f.cancel(CodeInvalidMessage)
	}
	return out
}

// accept answers the start that came.
func (f *Flow) accept() ([]Message, error) {
	var err error
	if f.private, err = key.GenerateAgreement[key.Verification](f.env.Rand); err != nil {
		return nil, err
	}
	promise, err := Commitment(f.private.Public(), f.start)
	if err != nil {
		return nil, err
	}
	f.waiting = TypeKey
	return f.send(TypeAccept, content{
		Method: MethodSAS, Agreement: agreementName, Hash: hashName, MACName: macName, Strings: f.scheme, Commitment: promise,
	}), nil
}

func (f *Flow) onAccept(c content, _ []byte) []Message {
	if f.state != StateStarted || f.waiting != TypeAccept {
		return f.cancel(CodeUnexpectedMessage)
	}
	if c.Agreement != agreementName || c.Hash != hashName || c.MACName != macName || len(c.Strings) == 0 {
		return f.cancel(CodeUnknownMethod)
	}
	for _, s := range c.Strings {
		if s != stringDecimal && s != stringEmoji {
			return f.cancel(CodeUnknownMethod)
		}
	}
	if b, err := base64text.Decode(c.Commitment); err != nil || len(b) != 32 {
		return f.cancel(CodeInvalidMessage)
	}
	f.scheme, f.promise = c.Strings, strings.TrimRight(c.Commitment, "=")
	private, err := key.GenerateAgreement[key.Verification](f.env.Rand)
	if err != nil {
		return f.cancel(CodeUser)
	}
	f.private, f.waiting = private, TypeKey
	return f.send(TypeKey, content{Key: private.Public().String()})
}

func (f *Flow) onKey(c content, _ []byte) []Message {
	if f.state != StateStarted || f.waiting != TypeKey {
		return f.cancel(CodeUnexpectedMessage)
	}
	public, err := key.ParseAgreementPublic[key.Verification](c.Key)
	if err != nil {
		return f.cancel(CodeInvalidMessage)
	}
	var out []Message
	if f.starter {
		if got, err := Commitment(public, f.start); err != nil || subtle.ConstantTimeCompare([]byte(got), []byte(f.promise)) != 1 {
			return f.cancel(CodeCommitment)
		}
	} else {
		out = f.send(TypeKey, content{Key: f.private.Public().String()})
	}
	if f.shared, err = Agree(f.private, public); err != nil {
		return f.cancel(CodeInvalidMessage)
	}
	f.public = public
	own, other := f.sides()
	if f.starter {
		f.code = f.shared.Bytes(own, other, f.cfg.ID)
	} else {
		f.code = f.shared.Bytes(other, own, f.cfg.ID)
	}
	f.state, f.waiting = StateCompare, TypeMAC
	return out
}

func (f *Flow) sides() (own, other Side) {
	return Side{f.cfg.Own.User, f.cfg.Own.Device, f.private.Public()}, Side{f.other.User, f.other.Device, f.public}
}

// macContent makes the MACs over this device's keys.
func (f *Flow) macContent() content {
	own, other := f.sides()
	keys := map[string]string{keyPrefix + string(f.cfg.Own.Device): f.cfg.Own.DeviceKey.String()}
	if m := f.cfg.Own.Master; !m.IsZero() && f.cfg.TrustsMaster {
		keys[keyPrefix+m.String()] = m.String()
	}
	c := content{MAC: map[string]string{}}
	for id, text := range keys {
		c.MAC[id] = f.shared.MAC(own, other, f.cfg.ID, id, text)
	}
	c.Keys = f.shared.MAC(own, other, f.cfg.ID, keyIDs, joined(keys))
	return c
}

func joined(keys map[string]string) string {
	return strings.Join(slices.Sorted(maps.Keys(keys)), ",")
}

// onMAC checks the MACs of the other side over the copies of its keys that
// are held here. A key that is not known here cannot be verified, and a
// message that has one is refused.
func (f *Flow) onMAC(c content, _ []byte) []Message {
	if f.state != StateCompare && f.state != StateConfirmed || f.waiting != TypeMAC {
		return f.cancel(CodeUnexpectedMessage)
	}
	own, other := f.sides()
	same := func(keyID, text, mac string) bool {
		want := f.shared.MAC(other, own, f.cfg.ID, keyID, text)
		return subtle.ConstantTimeCompare([]byte(want), []byte(strings.TrimRight(mac, "="))) == 1
	}
	ok := same(keyIDs, joined(c.MAC), c.Keys)
	var proven Verified
	for id, mac := range c.MAC {
		switch {
		case id == keyPrefix+string(f.other.Device):
			ok = same(id, f.other.DeviceKey.String(), mac) && ok
			proven.Device = f.other.DeviceKey
		case !f.other.Master.IsZero() && id == keyPrefix+f.other.Master.String():
			ok = same(id, f.other.Master.String(), mac) && ok
			proven.Master = f.other.Master
		default:
			ok = false
		}
	}
	if !ok || proven.Device.IsZero() {
		return f.cancel(CodeKeyMismatch)
	}
	f.macs, f.waiting = &proven, ""
	return f.finish()
}

// finish ends the flow if the user confirmed and the MACs of the other side
// were right.
func (f *Flow) finish() []Message {
	if f.state != StateConfirmed || f.macs == nil {
		return nil
	}
	f.verified, f.state = *f.macs, StateDone
	f.wipe()
	return f.send(TypeDone, content{})
}

func (f *Flow) onReciprocate(c content) []Message {
	if f.secret == nil {
		return f.cancel(CodeUnexpectedMessage)
	}
	got, err := base64text.Decode(c.Secret)
	if err != nil || subtle.ConstantTimeCompare(got, f.secret()) != 1 {
		return f.cancel(CodeKeyMismatch)
	}
	f.state = StateScanned
	return nil
}

func (f *Flow) onDone(content, []byte) []Message {
	if f.state != StateStarted || f.waiting != TypeDone {
		return f.cancel(CodeUnexpectedMessage)
	}
	f.verified, f.state = f.qrResult, StateDone
	return f.send(TypeDone, content{})
}
