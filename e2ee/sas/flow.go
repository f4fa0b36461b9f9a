package sas

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/key"
)

// Times of a flow.
const (
	// Lifetime is how long a flow may take from request to done.
	Lifetime = 10 * time.Minute
	maxAhead = 5 * time.Minute
	maxAge   = 10 * time.Minute
	prompt   = 2 * time.Minute
)

// Errors of the actions of a Flow.
var (
	// ErrState: the action is not possible in the state of the flow.
	ErrState = errors.New("sas: not possible in this state")
	// ErrNoMethod: the two sides have no common method. The request stays
	// open, as another device may have one.
	ErrNoMethod = errors.New("sas: no common method")
	// ErrIdentity: the keys of a side are missing, or a device id is equal to
	// a cross-signing key, which someone does to have the wrong key verified.
	ErrIdentity = errors.New("sas: unusable identity")
	// ErrMismatch: the scanned code shows other keys than those known here.
	ErrMismatch = errors.New("sas: the code contains other keys")
)

// A State says what a flow waits for.
type State int

// The states.
const (
	// StateCreated: nothing was sent or received.
	StateCreated State = iota
	// StateRequested: a request was sent or received; it waits for Accept
	// here or on the other side.
	StateRequested
	// StateReady: both want it; it waits for a start or for a code.
	StateReady
	// StateStarted: short-lived keys are being exchanged. After a start
	// without request it waits for Accept first.
	StateStarted
	// StateCompare: Decimals and Emojis are to be compared.
	StateCompare
	// StateScanned: the other side says that it scanned the code; the user is
	// to confirm that.
	StateScanned
	// StateConfirmed: the user confirmed; it waits for the other side.
	StateConfirmed
	// StateDone: Verified says which keys are the right ones.
	StateDone
	// StateCancelled: Cancelled says why.
	StateCancelled
)

// An Identity is who takes part, with the keys that are to be verified.
type Identity struct {
	User      quinta.UserID
	Device    quinta.DeviceID
	DeviceKey key.DeviceSigningPublic
	// Master is the user's master key, the zero value if they have none.
	Master key.MasterPublic
}

// A Config is what a flow is made of.
type Config struct {
	// ID is the transaction id, or in a room the event id of the request.
	ID     string
	InRoom bool
	Own    Identity
	// TrustsMaster says that this device trusts its own user's master key.
	TrustsMaster bool
	OtherUser    quinta.UserID
	// Device returns a device of the other user as it is known here, and
	// whether it is. It is asked once, when the other device is known.
	Device func(quinta.DeviceID) (Identity, bool)
	// Methods are those that are offered: MethodSAS, and for codes
	// MethodReciprocate with MethodShowQR or MethodScanQR or both.
	Methods []string
}

// Verified holds the keys that a flow verified; zero values were not.
type Verified struct {
	// Device is the key of the other device.
	Device key.DeviceSigningPublic
	// Master is the other user's master key, or this user's own when
	// verifying one of their devices.
	Master key.MasterPublic
}

// A Flow is one verification. It is not safe for concurrent use. Its methods
// return the messages that are to be sent to the other side, in order.
type Flow struct {
	env     e2ee.Env
	cfg     Config
	state   State
	created time.Time

	requester bool      // this side asked
	other     *Identity // fixed once known
	methods   []string  // of the other side

	method   string // of the start that counts
	starter  bool
	start    []byte // content of that start
	waiting  string // type that must come next, or empty
	accepted bool   // the user wants it
	scheme   []string
	promise  string // commitment of the other side
	private  key.VerificationPrivate
	public   key.VerificationPublic // of the other side
	shared   *Shared
	code     [6]byte

	secret   func() []byte // of the code that is shown
	qrResult Verified

	macs      *Verified // what the other side's MACs prove
	verified  Verified
	cancelled string
	byUs      bool
}

// New returns a flow in which nothing has happened.
func New(env e2ee.Env, cfg Config) (*Flow, error) {
	if cfg.ID == "" || cfg.Device == nil || cfg.Own.DeviceKey.IsZero() || sameName(cfg.Own.Device, cfg.Own) {
		return nil, ErrIdentity
	}
	return &Flow{env: env, cfg: cfg, created: env.Now()}, nil
}

// sameName reports whether a device id is the public key of id's master key.
func sameName(d quinta.DeviceID, id Identity) bool {
	return !id.Master.IsZero() && string(d) == id.Master.String()
}

// State returns the state of f.
func (f *Flow) State() State { return f.state }

// Other returns the other side, and whether it is known which device it is.
func (f *Flow) Other() (Identity, bool) {
	if f.other == nil {
		return Identity{}, false
	}
	return *f.other, true
}

// Verified returns the keys that were verified; before StateDone there are
// none.
func (f *Flow) Verified() Verified { return f.verified }

// Cancelled returns the code of the cancellation, and whether it came from
// this side.
func (f *Flow) Cancelled() (code string, byUs bool) { return f.cancelled, f.byUs }

// PromptUntil returns until when the user may be asked about a request that
// came in.
func (f *Flow) PromptUntil() time.Time { return f.created.Add(prompt) }

// Fresh reports whether a request of the given time is to be shown at now.
func Fresh(sent, now time.Time) bool {
	return !sent.After(now.Add(maxAhead)) && !sent.Before(now.Add(-maxAge))
}

// Format prints f without its secrets.
func (f *Flow) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "sas.Flow(%s, state %d, [redacted])", f.cfg.ID, f.state)
}

// Request asks the other side. In a room the request was a message whose id is
// the flow's, see [RoomRequest]; then there is nothing to send.
func (f *Flow) Request() ([]Message, error) {
	if f.state != StateCreated {
		return nil, ErrState
	}
	f.state, f.requester, f.accepted = StateRequested, true, true
	if f.cfg.InRoom {
		return nil, nil
	}
	return f.send(TypeRequest, content{FromDevice: string(f.cfg.Own.Device), Methods: f.cfg.Methods, Timestamp: f.env.Now().UnixMilli()}), nil
}

// RoomRequest returns the content of the m.room.message that asks the user to
// for a verification in a room.
func RoomRequest(own Identity, to quinta.UserID, methods []string) []byte {
	return content{
		MessageType: TypeRequest, MessageTo: string(to), FromDevice: string(own.Device), Methods: methods,
		MessageBody: string(own.User) + " asks to verify your keys, but your program does not support it.",
	}.encode()
}

// Accept answers a request that came in, or a start without request.
func (f *Flow) Accept() ([]Message, error) {
	switch {
	case f.state == StateRequested && !f.requester:
		if len(f.Common()) == 0 {
			return nil, ErrNoMethod
		}
		f.state, f.accepted = StateReady, true
		return f.send(TypeReady, content{FromDevice: string(f.cfg.Own.Device), Methods: f.Common()}), nil
	case f.state == StateStarted && !f.accepted:
		f.accepted = true
		return f.accept()
	}
	return nil, ErrState
}

// Common returns the methods that both sides offered, once both have. What
// one shows the other scans.
func (f *Flow) Common() []string {
	var out []string
	for _, m := range f.cfg.Methods {
		want := m
		switch m {
		case MethodShowQR:
			want = MethodScanQR
		case MethodScanQR:
			want = MethodShowQR
		}
		if slices.Contains(f.methods, want) {
			out = append(out, m)
		}
	}
	if slices.Equal(out, []string{MethodReciprocate}) {
		return nil // nothing to show or to scan
	}
	return out
}

// StartSAS begins the comparison of short strings.
func (f *Flow) StartSAS() ([]Message, error) {
	if f.state != StateReady {
		return nil, ErrState
	}
	if !slices.Contains(f.Common(), MethodSAS) {
		return nil, ErrNoMethod
	}
	out := f.send(TypeStart, content{
		FromDevice: string(f.cfg.Own.Device), Method: MethodSAS,
		Agreements: []string{agreementName}, Hashes: []string{hashName}, MACs: []string{macName},
		Strings: []string{stringDecimal, stringEmoji},
	})
	f.state, f.method, f.starter, f.start, f.waiting = StateStarted, MethodSAS, true, out[0].Content, TypeAccept
	return out, nil
}

// Decimals returns the three numbers to compare; StateCompare only.
func (f *Flow) Decimals() [3]int { return Decimals(f.code) }

// Emojis returns the seven pictures to compare, and whether the other side
// shows pictures.
func (f *Flow) Emojis() ([7]Emoji, bool) {
	return Emojis(f.code), slices.Contains(f.scheme, stringEmoji)
}

// Confirm says that the user compared the strings and they are equal, or that
// the scan succeeded.
func (f *Flow) Confirm() ([]Message, error) {
	switch f.state {
	case StateCompare:
		f.state = StateConfirmed
		out := f.send(TypeMAC, f.macContent())
		return append(out, f.finish()...), nil
	case StateScanned:
		f.verified, f.state = f.qrResult, StateDone
		return f.send(TypeDone, content{}), nil
	}
	return nil, ErrState
}

// Mismatch says that the user compared the strings and they differ, or that
// no one scanned the code.
func (f *Flow) Mismatch() ([]Message, error) {
	switch f.state {
	case StateCompare:
		return f.cancel(CodeSAS), nil
	case StateScanned:
		return f.cancel(CodeUser), nil
	}
	return nil, ErrState
}

// Cancel ends the flow because the user wants it.
func (f *Flow) Cancel() []Message { return f.cancel(CodeUser) }

// Tick ends the flow if it has taken too long. Call it now and then.
func (f *Flow) Tick() []Message {
	if f.env.Now().Before(f.created.Add(Lifetime)) {
		return nil
	}
	return f.cancel(CodeTimeout)
}

func (f *Flow) ended() bool { return f.state == StateDone || f.state == StateCancelled }

func (f *Flow) send(typ string, c content) []Message {
	return []Message{{typ, within(c, f.cfg.ID, f.cfg.InRoom).encode()}}
}

func (f *Flow) cancel(code string) []Message {
	if f.ended() {
		return nil
	}
	told := f.state != StateCreated
	f.state, f.cancelled, f.byUs = StateCancelled, code, true
	f.wipe()
	if !told {
		return nil
	}
	return f.send(TypeCancel, content{Code: code, Reason: reasons[code]})
}

// wipe throws the secrets away.
func (f *Flow) wipe() {
	if !f.private.IsZero() {
		f.private.Wipe()
	}
	if f.shared != nil {
		f.shared.Wipe()
	}
}

// fix looks the other device up and holds it fast.
func (f *Flow) fix(d quinta.DeviceID) error {
	if f.other != nil {
		if f.other.Device != d {
			return ErrIdentity
		}
		return nil
	}
	id, ok := f.cfg.Device(d)
	if !ok || id.User != f.cfg.OtherUser || id.Device != d || id.DeviceKey.IsZero() ||
		sameName(d, id) || sameName(d, f.cfg.Own) || sameName(f.cfg.Own.Device, id) ||
		(id.User == f.cfg.Own.User && d == f.cfg.Own.Device) {
		return ErrIdentity
	}
	f.other = &id
	return nil
}

// ShowQR returns the bytes of the code to show.
func (f *Flow) ShowQR() ([]byte, error) {
	if f.state != StateReady {
		return nil, ErrState
	}
	if c := f.Common(); !slices.Contains(c, MethodShowQR) || !slices.Contains(c, MethodReciprocate) {
		return nil, ErrNoMethod
	}
	q := QR{ID: f.cfg.ID, Secret: make([]byte, 16)}
	own, other := f.cfg.Own, f.other
	switch {
	case own.User != other.User:
		// An own master key that this device does not know to be the right one
		// is not handed on: the other side would verify what the server says.
		if own.Master.IsZero() || other.Master.IsZero() || !f.cfg.TrustsMaster {
			return nil, ErrIdentity
		}
		q.Mode, f.qrResult = QRUser, Verified{Master: other.Master}
		q.First, q.Second = [32]byte(own.Master.Bytes()), [32]byte(other.Master.Bytes())
	case own.Master.IsZero():
		return nil, ErrIdentity
	case f.cfg.TrustsMaster:
		q.Mode, f.qrResult = QRSelfTrusting, Verified{Device: other.DeviceKey}
		q.First, q.Second = [32]byte(own.Master.Bytes()), [32]byte(other.DeviceKey.Bytes())
	default:
		q.Mode, f.qrResult = QRSelfUntrusting, Verified{Master: own.Master}
		q.First, q.Second = [32]byte(own.DeviceKey.Bytes()), [32]byte(own.Master.Bytes())
	}
	if _, err := io.ReadFull(f.env.Rand, q.Secret); err != nil {
		return nil, fmt.Errorf("sas: making a secret: %w", err)
	}
	f.secret = func() []byte { return q.Secret }
	return q.Encode(), nil
}

// ScanQR takes the bytes of the code that the other side shows. If it shows
// other keys than are known here the flow is cancelled, and the error is
// ErrMismatch; the messages are to be sent all the same.
func (f *Flow) ScanQR(b []byte) ([]Message, error) {
	if f.state != StateReady {
		return nil, ErrState
	}
	if c := f.Common(); !slices.Contains(c, MethodScanQR) || !slices.Contains(c, MethodReciprocate) {
		return nil, ErrNoMethod
	}
	q, err := ParseQR(b)
	if err != nil {
		return nil, err
	}
	own, other := f.cfg.Own, f.other
	var first, second []byte
	var result Verified
	switch {
	case q.Mode == QRUser && own.User != other.User && f.cfg.TrustsMaster:
		first, second, result = other.Master.Bytes(), own.Master.Bytes(), Verified{Master: other.Master}
	case q.Mode == QRSelfTrusting && own.User == other.User:
		first, second, result = own.Master.Bytes(), own.DeviceKey.Bytes(), Verified{Master: own.Master}
	case q.Mode == QRSelfUntrusting && own.User == other.User && f.cfg.TrustsMaster:
		first, second, result = other.DeviceKey.Bytes(), own.Master.Bytes(), Verified{Device: other.DeviceKey}
	default:
		return f.cancel(CodeKeyMismatch), ErrMismatch
	}
	var none [key.Size]byte
	if q.ID != f.cfg.ID || subtle.ConstantTimeCompare(q.First[:], first)&subtle.ConstantTimeCompare(q.Second[:], second) != 1 ||
		q.First == none || q.Second == none {
		return f.cancel(CodeKeyMismatch), ErrMismatch
	}
	f.qrResult = result
	f.state, f.method, f.starter, f.waiting = StateStarted, MethodReciprocate, true, TypeDone
	return f.send(TypeStart, content{FromDevice: string(own.Device), Method: MethodReciprocate, Secret: base64text.Encode(q.Secret)}), nil
}
