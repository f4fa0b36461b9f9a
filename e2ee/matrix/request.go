package matrix

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/key"
)

// A ReqKind says what a request is.
type ReqKind string

// The kinds of request.
const (
	ReqKeysUpload    ReqKind = "keys-upload"
	ReqKeysQuery     ReqKind = "keys-query"
	ReqKeysClaim     ReqKind = "keys-claim"
	ReqToDevice      ReqKind = "to-device"
	ReqRoomSend      ReqKind = "room-send"
	ReqMembers       ReqKind = "members"
	ReqSignatures    ReqKind = "signatures-upload"
	ReqDeviceSigning ReqKind = "device-signing-upload"
)

// A Req is one HTTP request. It is repeated with the same bytes until its
// answer came.
type Req struct {
	// ID names the request within this device.
	ID   string
	Kind ReqKind
	// Method and Path are those of HTTP; Path is escaped and has the query.
	// Body is JSON, or nil.
	Method string
	Path   string
	Body   []byte
	lane   string
}

// Lane names what the request must not overtake: the messages of one room keep
// their order, as do the device's keys and what signs them, and what goes to
// devices in clear. What goes to them sealed may overtake each other, as Olm
// opens messages in any order; a message of a room waits anyway until its key
// was taken.
func (r Req) Lane() string { return r.lane }

// lane returns the lane of a stored request.
func (r *record) lane(id string) string {
	switch {
	case r.Kind == ReqRoomSend:
		return "room " + string(r.Room)
	case r.Kind == ReqDeviceSigning || r.Kind == ReqSignatures || r.Kind == ReqKeysUpload && r.DeviceKeys:
		return "identity"
	case r.Kind == ReqKeysUpload || r.Kind == ReqKeysQuery || r.Kind == ReqKeysClaim:
		return string(r.Kind)
	case r.Kind == ReqToDevice && !strings.HasPrefix(r.Path, path("sendToDevice", typeEncrypted, "")):
		return "to-device in clear"
	}
	return "alone " + id
}

// An Ans is the answer to a request. The zero Failure is success.
type Ans struct {
	// Body is the JSON of the answer.
	Body    []byte
	Failure Failure
	// Code is the errcode of a refusal.
	Code string
}

// A Failure says what became of a request that got no answer.
type Failure int

// The failures.
const (
	// Unreached: the server did not answer, or asked to come again later. The
	// request stays due.
	Unreached Failure = iota + 1
	// Refused: the server answered with an error that will not go away.
	Refused
)

// record is a request as it is stored.
type record struct {
	Kind   ReqKind `json:"kind"`
	Method string  `json:"method"`
	Path   string  `json:"path"`
	// Body is stored beside the record.
	Body []byte `json:"-"`

	// Upload: the keys in it.
	OneTimeKeys []uint64 `json:"one_time_keys,omitempty"`
	DeviceKeys  bool     `json:"device_keys,omitempty"`
	// Query: the generation of each user when it was made.
	Generations map[quinta.UserID]uint64 `json:"generations,omitempty"`
	// Claim: for whom.
	Targets []target `json:"targets,omitempty"`
	// To-device: the share of a room key that it is part of.
	Room    quinta.RoomID `json:"room,omitempty"`
	Session string        `json:"session,omitempty"`
	// Room send: the message as it was given to Send.
	Txn     quinta.TxnID    `json:"txn,omitempty"`
	Type    string          `json:"type,omitempty"`
	Content json.RawMessage `json:"content,omitempty"`
	Sealed  bool            `json:"sealed,omitempty"`
}

// A target is one device.
type target struct {
	User   quinta.UserID      `json:"u"`
	Device quinta.DeviceID    `json:"d"`
	Curve  key.IdentityPublic `json:"c,omitzero"`
}

const clientPath = "/_matrix/client/v3/"

// path joins escaped elements below the client API.
func path(elems ...string) string {
	for i, e := range elems {
		elems[i] = url.PathEscape(e)
	}
	return clientPath + strings.Join(elems, "/")
}

// toDevice stores requests that send contents of one clear type, at most a
// hundred messages in each.
func (w *work) toDevice(typ string, messages []deviceMessage, base record) (n int, err error) {
	const most = 100
	for len(messages) > 0 {
		part := messages[:min(most, len(messages))]
		messages = messages[len(part):]
		txn, err := w.txn()
		if err != nil {
			return n, err
		}
		r := base
		r.Kind, r.Method, r.Path = ReqToDevice, "PUT", path("sendToDevice", typ, txn)
		r.Body = encodeMessages(part)
		r.Targets = nil
		for _, m := range part {
			r.Targets = append(r.Targets, m.to)
		}
		if err := w.reqs.add(&r); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// A deviceMessage is one content on its way to one device.
type deviceMessage struct {
	to      target
	content []byte // JSON
}

// encodeMessages returns the body of sendToDevice. No device is in ms twice,
// and there is at least one.
func encodeMessages(ms []deviceMessage) []byte {
	ms = slices.Clone(ms)
	order.By(ms, func(a, b deviceMessage) int { return compareTargets(a.to, b.to) })
	size := 32
	for _, m := range ms {
		size += len(m.content) + len(m.to.User) + len(m.to.Device) + 8
	}
	b := append(make([]byte, 0, size), `{"messages":{`...)
	for i, m := range ms {
		switch {
		case i == 0:
		case ms[i-1].to.User == m.to.User:
			b = append(b, ',')
		default:
			b = append(b, '}', ',')
		}
		if i == 0 || ms[i-1].to.User != m.to.User {
			b = append(append(b, e2ee.JSON(m.to.User)...), ':', '{')
		}
		b = append(append(b, e2ee.JSON(m.to.Device)...), ':')
		b = append(b, m.content...)
	}
	return append(b, "}}}"...)
}

// txn returns a transaction id that this device never used. It is random: a
// store that was restored from a copy would count the same numbers again, and
// the server would take new messages for old ones.
func (w *work) txn() (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(w.m.env.Rand, b[:]); err != nil {
		return "", fmt.Errorf("matrix: making a transaction id: %w", err)
	}
	return "q" + hex.EncodeToString(b[:]), nil
}

// Outgoing returns the requests that are due, oldest first.
func (m *Machine) Outgoing(tx e2ee.Tx) ([]Req, error) {
	var out []Req
	_, err := m.run(tx, func(w *work) error {
		if err := w.plan(); err != nil {
			return err
		}
		for r, err := range w.reqs.all() {
			if err != nil {
				return err
			}
			body, err := w.reqs.body(r.Name)
			if err != nil {
				return err
			}
			v := &r.Value
			out = append(out, Req{ID: r.Name, Kind: v.Kind, Method: v.Method, Path: v.Path, Body: body, lane: v.lane(r.Name)})
		}
		return nil
	})
	return out, err
}

// plan makes the requests that are due and not made yet.
func (w *work) plan() error {
	for _, step := range []func() error{w.planUpload, w.planQuery, w.planOutbox, w.planOlm, w.planClaims} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Done takes the answer to a request. An answer to a request that is not due
// is ignored, because it came twice.
func (m *Machine) Done(tx e2ee.Tx, req Req, ans Ans) ([]e2ee.Event, error) {
	return m.run(tx, func(w *work) error {
		if ans.Failure == Unreached {
			return nil
		}
		r, err := w.reqs.take(req.ID)
		if err != nil || r == nil {
			return err
		}
		done := map[ReqKind]func(*record, Ans) error{
			ReqKeysUpload: w.doneUpload, ReqKeysQuery: w.doneQuery, ReqKeysClaim: w.doneClaim, ReqToDevice: w.doneToDevice,
			ReqRoomSend: w.doneRoomSend, ReqMembers: w.doneMembers, ReqSignatures: w.doneSignatures, ReqDeviceSigning: w.doneDeviceSigning,
		}[r.Kind]
		if done == nil {
			return e2ee.Damaged("req/")
		}
		if ans.Failure == 0 && !json.Valid(ans.Body) {
			ans.Failure = Refused // an answer that no one can read
		}
		return done(r, ans)
	})
}
