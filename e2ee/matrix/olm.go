package matrix

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
)

// maxSessions is how many Olm sessions with one device are kept; the least
// recently used goes first. The specification asks for at least four.
const maxSessions = 5

// A peerRecord holds the Olm sessions with one device, by its Curve25519 key.
type peerRecord struct {
	Sessions []*peerSession

	dirty bool
}

// A peerSession is one session. Received is when a message was last opened
// with it, or when it was made, or retired; Used is when it last did anything.
type peerSession struct {
	ID       olm.SessionID
	State    []byte
	Received int64
	Used     int64
}

// retired is the time Received of a session that opens messages and seals none
// any more.
const retired = -1

// encode writes the sessions as length-prefixed fields: there are many
// records, and each message changes one.
func (p *peerRecord) encode() []byte {
	size := 0
	for _, s := range p.Sessions {
		size += len(s.ID) + len(s.State) + 4*binary.MaxVarintLen64
	}
	b := make([]byte, 0, size)
	for _, s := range p.Sessions {
		b = binary.AppendUvarint(b, uint64(len(s.ID)))
		b = append(b, s.ID...)
		b = binary.AppendUvarint(b, uint64(len(s.State)))
		b = append(b, s.State...)
		b = binary.AppendVarint(b, s.Received)
		b = binary.AppendVarint(b, s.Used)
	}
	return b
}

// decodePeer reads what encode wrote.
func decodePeer(b []byte) (*peerRecord, error) {
	p := new(peerRecord)
	field := func() []byte {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			b = nil
			return nil
		}
		f := b[k : k+int(n)]
		b = b[k+int(n):]
		return f
	}
	for len(b) > 0 {
		s := &peerSession{ID: olm.SessionID(field()), State: field()}
		for _, v := range []*int64{&s.Received, &s.Used} {
			n, k := binary.Varint(b)
			if k <= 0 {
				return nil, damaged("olm/")
			}
			*v, b = n, b[k:]
		}
		p.Sessions = append(p.Sessions, s)
	}
	return p, nil
}

func (w *work) peer(curve string) (*peerRecord, error) {
	if p := w.peers[curve]; p != nil {
		return p, nil
	}
	b, err := w.tx.Get("olm/" + curve)
	if err != nil {
		return nil, err
	}
	p, err := decodePeer(b)
	if err != nil {
		return nil, err
	}
	w.peers[curve] = p
	return p, nil
}

// add keeps a new session, and drops the least recently used one if there are
// too many.
func (p *peerRecord) add(id olm.SessionID, state []byte, now int64) {
	p.Sessions = append(p.Sessions, &peerSession{ID: id, State: state, Received: now, Used: now})
	if len(p.Sessions) > maxSessions {
		oldest := 0
		for i, s := range p.Sessions {
			if s.Used < p.Sessions[oldest].Used {
				oldest = i
			}
		}
		p.Sessions = slices.Delete(p.Sessions, oldest, oldest+1)
	}
	p.dirty = true
}

// current returns the session to send with: the one on which a message was
// last received. Of two that are equal the later made one is it.
func (p *peerRecord) current() *peerSession {
	var best *peerSession
	for _, s := range p.Sessions {
		if s.Received != retired && (best == nil || s.Received >= best.Received) {
			best = s
		}
	}
	return best
}

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
			mustJSON(typ), content, mustJSON(w.m.user), w.acc.Signing(), w.meta.Keys),
		middle: []byte(`,"recipient_keys":{"ed25519":"`),
		tail:   []byte(`"}}`),
	}
}

// A sealJob is one letter to be sealed with one session.
type sealJob struct {
	to      target
	ed25519 string
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
		seen := map[string]bool{}
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
		p, err := w.peer(t.Curve)
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
	user := mustJSON(j.to.User)
	text := make([]byte, 0, len(l.head)+len(user)+len(l.middle)+len(j.ed25519)+len(l.tail))
	text = append(append(append(append(append(text, l.head...), user...), l.middle...), j.ed25519...), l.tail...)
	sealed, err := s.Seal(j.rand, text)
	clear(text)
	if err != nil {
		j.err = err
		return
	}
	j.state = s.Encode()
	body := make([]byte, 0, len(sealed.Body)*4/3+256)
	body = append(append(body, `{"algorithm":"`+algorithmOlm+`","sender_key":"`...), own...)
	body = append(append(body, `","ciphertext":{"`...), j.to.Curve...)
	body = append(strconv.AppendInt(append(body, `":{"type":`...), int64(sealed.Type), 10), `,"body":"`...)
	body = base64text.Append(body, sealed.Body)
	j.content = append(body, `"}}}`...)
}

// errWedged is the error of an Olm message that no session opens.
var errWedged = errors.New("matrix: undecryptable olm message")

// open opens an Olm event and returns its payload, which is not checked yet.
// A one-time key is given up only together with the session that it made.
func (w *work) open(c olmContent) ([]byte, error) {
	cipher, ok := c.Ciphertext[w.acc.Identity().String()]
	if !ok {
		return nil, ErrMalformed // not for this device
	}
	sender, err := key.ParseAgreementPublic[key.Identity](c.SenderKey)
	if err != nil {
		return nil, ErrMalformed
	}
	if len(cipher.Body) > olm.MaxMessage*4/3+4 {
		return nil, ErrMalformed
	}
	body, err := base64text.Decode(cipher.Body)
	if err != nil {
		return nil, ErrMalformed
	}
	p, err := w.peer(sender.String())
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

// checkPayload holds a payload against the event that brought it: all checks
// that need no device list ("m.olm.v1.curve25519-aes-sha2", and 2.9 for
// sender_device_keys). It returns the device that the payload itself proves,
// or nil.
func (w *work) checkPayload(p olmPayload, sender quinta.UserID, curve string) (*deviceRecord, quinta.DeviceID, error) {
	ed, err := key.ParseSigningPublic[key.Device](p.Keys["ed25519"])
	if err != nil || p.Sender != sender || p.Recipient != w.m.user || p.RecipientKeys["ed25519"] != w.acc.Signing().String() {
		return nil, "", ErrMismatch
	}
	if p.SenderDevice == nil {
		return nil, "", nil
	}
	var s signedDevice
	if err := json.Unmarshal(p.SenderDevice, &s); err != nil {
		return nil, "", ErrMismatch
	}
	d, err := parseDevice(p.SenderDevice, sender, s.Device)
	if err != nil || d.Curve != curve || d.Ed25519 != ed.String() {
		return nil, "", ErrMismatch
	}
	return d, s.Device, nil
}
