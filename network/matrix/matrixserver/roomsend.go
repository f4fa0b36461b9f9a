package matrixserver

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/eventauth"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/roomview"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/room"
)

// rateSend bounds how many events one user sends.
var rateSend = server.Rate{Every: 20 * time.Millisecond, Burst: 200}

func (s *homeserver) roomSendCalls() {
	s.client(http.MethodPut, "/rooms/{roomId}/send/{eventType}/{txnId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putSend})
	s.client(http.MethodPut, "/rooms/{roomId}/redact/{eventId}/{txnId}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putRedact})
}

// content reads the body as the canonical content of an event.
func (c *call) content() (json.RawMessage, error) {
	b, err := c.object()
	if err != nil {
		return nil, err
	}
	content, err := eventauth.Canonical(b)
	if err != nil {
		return nil, eventError(err)
	}
	return content, nil
}

// txn returns the transaction id of the path, which must not be empty.
func (c *call) txn() (quinta.TxnID, error) {
	t := c.path("txnId")
	if t == "" || len(t) > wire.MaxID {
		return "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "a transaction id has 1 to 255 bytes")
	}
	return quinta.TxnID(t), nil
}

// repeated returns the event that the caller's device sent with this
// transaction id through the same endpoint, nil if there is none. What an
// earlier device of the same id sent does not count.
func (c *call) repeated(tx *db.Tx, p *proposal) (*room.Event, error) {
	sent, err := room.Sent(tx, c.user, c.device, p.Txn)
	if err != nil || len(sent) == 0 {
		return nil, err
	}
	d, err := device.Get(tx, network, c.user, c.device)
	if err != nil {
		return nil, err
	}
	for _, e := range sent {
		if e.Time >= d.Created && e.Room == c.roomID() && e.Type == p.Type && (p.Type != eventauth.TypeRedaction || e.Redacts == p.Redacts) {
			return e, nil
		}
	}
	return nil, nil
}

// send adds p to the room of the path, once for each transaction id. prepare,
// if not nil, may change or refuse p once the room is known.
func (c *call) send(p proposal, prepare func(*roomWriter, *proposal) error) (any, error) {
	if err := limited(c.Limits.Allow("send", server.ByUser(network, c.user), rateSend, 1)); err != nil {
		return nil, err
	}
	p.Sender, p.Device = c.user, c.device
	var id quinta.MessageID
	err := c.Update(c.ctx(), func(tx *db.Tx) error {
		old, err := c.repeated(tx, &p)
		if err != nil {
			return err
		}
		if old != nil {
			id = old.ID
			return nil
		}
		w, err := c.writeRoom(tx, c.roomID())
		if err != nil {
			return err
		}
		if p.Type == eventauth.TypeRedaction && w.version.RedactsInContent() && p.Redacts == "" {
			s, _ := wire.TextMember(p.Content, "redacts")
			p.Redacts = quinta.MessageID(s)
		}
		if prepare != nil {
			if err := prepare(w, &p); err != nil {
				return err
			}
		}
		e, err := w.add(p)
		if err != nil {
			return err
		}
		id = e.ID
		return nil
	})
	return wire.EventAnswer{Event: id}, err
}

// putSend: "PUT /rooms/{roomId}/send/{eventType}/{txnId}".
func (c *call) putSend() (any, error) {
	txn, err := c.txn()
	if err != nil {
		return nil, err
	}
	content, err := c.content()
	if err != nil {
		return nil, err
	}
	p := proposal{Type: c.path("eventType"), Content: content, Txn: txn}
	rel, to := relation(content)
	if rel != "m.annotation" && rel != "m.thread" {
		return c.send(p, nil)
	}
	return c.send(p, func(w *roomWriter, p *proposal) error {
		if rel == "m.thread" {
			return w.checkThread(to)
		}
		return w.checkAnnotation(p.Type, p.Content, to, c.user)
	})
}

// checkThread refuses a thread that begins at an event which is itself in
// relation to another ("Threading").
func (w *roomWriter) checkThread(root quinta.MessageID) error {
	e, err := room.ByID(w.tx, w.id, root)
	if err != nil {
		if quinta.KindOf(err) == quinta.KindNotFound {
			return nil
		}
		return err
	}
	if e.RelType != "" {
		return wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "a thread cannot begin at an event that relates to another")
	}
	return nil
}

// checkAnnotation refuses the same annotation of an event by the same user
// ("Avoiding duplicate annotations").
func (w *roomWriter) checkAnnotation(typ string, content json.RawMessage, to quinta.MessageID, user quinta.UserID) error {
	key := annotationKey(content)
	list, _, err := room.Relations(w.tx, room.RelationQuery{Room: w.id, To: to, RelType: "m.annotation", Type: typ, Sender: user, Range: room.Range{To: 1 << 62}, Limit: roomview.MaxRelations})
	if err != nil {
		return err
	}
	for _, e := range list {
		if annotationKey(e.Content) == key {
			return wire.NewError(http.StatusBadRequest, wire.CodeDuplicateAnnotation, "you have already annotated the event with this key")
		}
	}
	return nil
}

func annotationKey(content json.RawMessage) string {
	rel, _ := wire.Member(content, "m.relates_to")
	key, _ := wire.TextMember(rel, "key")
	return key
}

// putRedact: "PUT /rooms/{roomId}/redact/{eventId}/{txnId}".
func (c *call) putRedact() (any, error) {
	txn, err := c.txn()
	if err != nil {
		return nil, err
	}
	body, err := c.content()
	if err != nil {
		return nil, err
	}
	id := quinta.MessageID(c.path("eventId"))
	content := map[string]any{}
	if reason, ok := wire.TextMember(body, "reason"); ok {
		content["reason"] = reason
	}
	plainContent, err := canonicalJSON(content)
	if err != nil {
		return nil, err
	}
	content["redacts"] = id
	fullContent, err := canonicalJSON(content)
	if err != nil {
		return nil, err
	}
	p := proposal{Type: eventauth.TypeRedaction, Content: plainContent, Redacts: id, Txn: txn}
	return c.sendRedaction(p, fullContent)
}

// sendRedaction sends p, with the content full in versions that name the
// redacted event there, if the caller may redact that event.
func (c *call) sendRedaction(p proposal, full json.RawMessage) (any, error) {
	return c.send(p, func(w *roomWriter, p *proposal) error {
		m, err := room.MemberOf(w.tx, w.id, c.user)
		if err != nil {
			return err
		}
		if m.Membership != room.Join {
			return roomview.ErrNotMember
		}
		target, err := room.ByID(w.tx, w.id, p.Redacts)
		if err != nil {
			return err
		}
		if keepsContent(target) {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "this event cannot be redacted")
		}
		levels, err := roomview.Levels(w.tx, w.id, w.version)
		if err != nil {
			return eventError(err)
		}
		if !eventauth.CanRedact(levels, string(c.user), string(target.Sender)) {
			return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "your power level is too low to redact this event")
		}
		if w.version.RedactsInContent() {
			p.Content = full
		}
		return nil
	})
}
