package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

// olmPayload is the plaintext of an Olm message.
type olmPayload struct {
	Type          string            `json:"type"`
	Content       json.RawMessage   `json:"content"`
	Sender        quinta.UserID     `json:"sender"`
	Recipient     quinta.UserID     `json:"recipient"`
	RecipientKeys map[string]string `json:"recipient_keys"`
	Keys          map[string]string `json:"keys"`
	SenderDevice  json.RawMessage   `json:"sender_device_keys,omitempty"`
}

// olmContent is the content of an Olm event.
type olmContent struct {
	Algorithm  string               `json:"algorithm"`
	SenderKey  string               `json:"sender_key"`
	Ciphertext map[string]olmCipher `json:"ciphertext"`
}

type olmCipher struct {
	Type olm.Type `json:"type"`
	Body string   `json:"body"`
}

// A letter is a payload that is the same for all recipients but for their
// names: its parts are made once.
type letter struct{ head, middle, tail []byte }

// letter makes the letter of one event type and content.
func (w *work) letter(typ string, content []byte) letter {
	return letter{
		head: fmt.Appendf(nil, `{"type":%s,"content":%s,"sender":%s,"keys":{"ed25519":"%s"},"sender_device_keys":%s,"recipient":`,
			e2ee.JSON(typ), content, e2ee.JSON(w.m.user), w.acc.Signing(), w.meta.Keys),
		middle: []byte(`,"recipient_keys":{"ed25519":"`),
		tail:   []byte(`"}}`),
	}
}

// A sealJob is one letter to be sealed with one session.
type sealJob struct {
	to      target
	ed25519 key.DeviceSigningPublic
	peer    *peerRecord
	session *peerSession
	rand    io.Reader

	state   []byte
	content []byte
	err     error
}

// sealAll seals a letter for devices that have a session, and returns the
// contents of the events.
func (w *work) sealAll(l letter, ts []target) ([]deviceMessage, error) {
	var out []deviceMessage
	for len(ts) > 0 {
		// Two devices may claim one Curve25519 key, and so share a session. It
		// must never seal two messages from one state: one after the other.
		var now, later []target
		seen := map[key.IdentityPublic]bool{}
		for _, t := range ts {
			if seen[t.Curve] {
				later = append(later, t)
				continue
			}
			seen[t.Curve] = true
			now = append(now, t)
		}
		sealed, err := w.sealOnce(l, now)
		if err != nil {
			return nil, err
		}
		out, ts = append(out, sealed...), later
	}
	return out, nil
}

// sealOnce is sealAll for devices that have different sessions.
func (w *work) sealOnce(l letter, ts []target) ([]deviceMessage, error) {
	jobs := make([]*sealJob, len(ts))
	for i, t := range ts {
		u, err := w.user(t.User)
		if err != nil {
			return nil, err
		}
		p, err := w.peers.get(t.Curve)
		if err != nil {
			return nil, err
		}
		// The ratchet turns with 32 bytes, if it does.
		rand, err := w.draw(key.Size)
		if err != nil {
			return nil, err
		}
		jobs[i] = &sealJob{to: t, ed25519: u.Devices[t.Device].Ed25519, peer: p, session: p.current(), rand: rand}
	}
	own := w.acc.Identity().String()
	spread(len(jobs), func(_, i int) { jobs[i].run(l, own) })
	out := make([]deviceMessage, len(ts))
	for i, j := range jobs {
		if j.err != nil {
			return nil, j.err
		}
		j.session.State, j.session.Used, j.peer.dirty = j.state, w.now.UnixMilli(), true
		out[i] = deviceMessage{j.to, j.content}
	}
	return out, nil
}

func (j *sealJob) run(l letter, own string) {
	s, err := olm.DecodeSession(j.session.State)
	if err != nil {
		j.err = err
		return
	}
	defer s.Wipe()
	user := e2ee.JSON(j.to.User)
	theirs := j.ed25519.String()
	text := make([]byte, 0, len(l.head)+len(user)+len(l.middle)+len(theirs)+len(l.tail))
	text = append(append(append(append(append(text, l.head...), user...), l.middle...), theirs...), l.tail...)
	sealed, err := s.Seal(j.rand, text)
	clear(text)
	if err != nil {
		j.err = err
		return
	}
	j.state = s.Encode()
	body := make([]byte, 0, len(sealed.Body)*4/3+256)
	body = append(append(body, `{"algorithm":"`+algorithmOlm+`","sender_key":"`...), own...)
	body = append(append(body, `","ciphertext":{"`...), j.to.Curve.String()...)
	body = append(strconv.AppendInt(append(body, `":{"type":`...), int64(sealed.Type), 10), `,"body":"`...)
	body = base64text.Append(body, sealed.Body)
	j.content = append(body, `"}}}`...)
}

// errWedged is the error of an Olm message that no session opens.
var errWedged = errors.New("matrix: undecryptable olm message")

// open opens an Olm event and returns its payload, which is not checked yet.
// A one-time key is given up only together with the session that it made.
func (w *work) open(c olmContent, sender key.IdentityPublic) ([]byte, error) {
	cipher, ok := c.Ciphertext[w.acc.Identity().String()]
	if !ok {
		return nil, ErrMalformed // not for this device
	}
	if len(cipher.Body) > olm.MaxMessage*4/3+4 {
		return nil, ErrMalformed
	}
	body, err := base64text.Decode(cipher.Body)
	if err != nil {
		return nil, ErrMalformed
	}
	p, err := w.peers.get(sender)
	if err != nil {
		return nil, err
	}
	switch cipher.Type {
	case olm.TypePreKey:
		return w.openPreKey(p, sender, body)
	case olm.TypeNormal:
		m, err := olm.ParseMessage(body)
		if err != nil {
			return nil, errWedged
		}
		for _, ps := range slices.Backward(p.Sessions) {
			if text, err := w.openWith(p, ps, m); err == nil || !isOlm(err) {
				return text, err
			}
		}
		return nil, errWedged
	}
	return nil, ErrMalformed
}

func (w *work) openPreKey(p *peerRecord, sender key.IdentityPublic, body []byte) ([]byte, error) {
	m, err := olm.ParsePreKeyMessage(body)
	if err != nil {
		return nil, errWedged
	}
	if m.Identity != sender {
		return nil, ErrMalformed
	}
	for _, ps := range p.Sessions {
		if ps.ID != m.SessionID() {
			continue
		}
		text, err := w.openWith(p, ps, &m.Message)
		if isOlm(err) {
			return nil, errWedged
		}
		return text, err
	}
	s, text, err := w.acc.NewInbound(sender, m)
	if err != nil {
		return nil, errWedged
	}
	defer s.Wipe()
	w.accChanged = true
	p.add(s.ID(), s.Encode(), w.now.UnixMilli())
	return text, nil
}

// openWith opens m with one session and keeps its state if that succeeds.
func (w *work) openWith(p *peerRecord, ps *peerSession, m *olm.Message) ([]byte, error) {
	s, err := olm.DecodeSession(ps.State)
	if err != nil {
		return nil, err
	}
	defer s.Wipe()
	text, err := s.Open(m)
	if err != nil {
		return nil, err
	}
	ps.State, p.dirty = s.Encode(), true
	if ps.Used = w.now.UnixMilli(); ps.Received != retired {
		ps.Received = ps.Used
	}
	// The last of equals is the one to send with.
	i := slices.Index(p.Sessions, ps)
	p.Sessions = append(slices.Delete(p.Sessions, i, i+1), ps)
	return text, nil
}

// isOlm reports whether err says that a session does not open a message.
func isOlm(err error) bool {
	return err != nil && !errors.Is(err, olm.ErrBadState)
}

// checkPayload compares a payload with the event that brought it: all checks
// that need no device list ("m.olm.v1.curve25519-aes-sha2", and 2.9 for
// sender_device_keys). It returns the device that the payload itself proves,
// or nil.
func (w *work) checkPayload(p olmPayload, sender quinta.UserID, curve key.IdentityPublic) (*deviceRecord, quinta.DeviceID, error) {
	ed, err := key.ParseSigningPublic[key.Device](p.Keys["ed25519"])
	if err != nil || p.Sender != sender || p.Recipient != w.m.user || p.RecipientKeys["ed25519"] != w.acc.Signing().String() {
		return nil, "", ErrMismatch
	}
	if p.SenderDevice == nil {
		return nil, "", nil
	}
	var s signedDevice
	if err := exactjson.Unmarshal(p.SenderDevice, &s); err != nil {
		return nil, "", ErrMismatch
	}
	d, err := parseDevice(p.SenderDevice, sender, s.Device)
	if err != nil || d.Curve != curve || d.Ed25519 != ed {
		return nil, "", ErrMismatch
	}
	return d, s.Device, nil
}
