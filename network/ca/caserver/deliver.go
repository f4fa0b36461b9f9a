package caserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/cms"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// maxDeliver bounds the body of a request: the message in base64, and the ids
// of the keys.
const maxDeliver = wire.MaxMessage*4/3 + wire.MaxDevices*200 + 4096

func (s *caServer) deliverCalls() {
	s.at(http.MethodPut, wire.PathMessage, endpoint{rate: rateWrite, body: maxDeliver, handle: (*call).putMessage})
}

// A ref is what a mailbox stores for a message: where it is, and for which
// key of the device it is sealed.
type ref struct {
	Conv quinta.RoomID    `json:"c"`
	Pos  quinta.Pos       `json:"p"`
	Key  cert.Fingerprint `json:"k"`
}

// parseRef reads a ref; ok is false for what a mailbox holds whole.
func parseRef(body []byte, typ string) (r ref, ok bool) {
	if typ == string(wire.KindKeys) {
		return r, false
	}
	return r, json.Unmarshal(body, &r) == nil
}

// A delivery is a checked request on its way into the store.
type delivery struct {
	*call
	wire.Deliver
	conv quinta.RoomID
	id   quinta.MessageID
	sum  []byte
}

// putMessage takes a message in: it is durable, and in the mailboxes of all
// devices that it is for, before the sender gets an answer.
func (c *call) putMessage() (any, error) {
	d := &delivery{call: c, conv: quinta.RoomID(c.r.PathValue("conv")), id: quinta.MessageID(c.r.PathValue("id"))}
	if len(d.id) == 0 || len(d.id) > 128 {
		return nil, invalid("the id of a message has 1 to 128 bytes")
	}
	if err := c.decode(&d.Deliver); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(struct {
		User    quinta.UserID
		Device  quinta.DeviceID
		Deliver wire.Deliver
	}{c.user, c.device, d.Deliver})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	d.sum = sum[:]
	var a *wire.Delivered
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		a, err = d.store(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// check judges all that can be judged without the store.
func (d *delivery) check() error {
	switch {
	case len(d.Body) == 0:
		return invalid("the message has no body")
	case len(d.Body) > wire.MaxMessage:
		return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "the message is too large: send it as a file")
	case len(d.Keys) > wire.MaxDevices || len(d.Only) > wire.MaxDevices || len(d.Withheld) > wire.MaxDevices:
		return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "a message can be sent to at most 2000 devices")
	}
	slices.Sort(d.Keys)
	slices.Sort(d.Withheld)
	named := append(slices.Clone(d.Keys), d.Withheld...)
	slices.Sort(named)
	if all := len(named); len(slices.Compact(named)) != all {
		return invalid("a key is named twice")
	}
	switch d.Kind {
	case wire.KindMessage:
		if len(d.Only) > 0 {
			return invalid("a message is for all devices of all members")
		}
	case wire.KindNotice, wire.KindReseal, wire.KindApproval:
		if d.Form != wire.FormCMS {
			return invalid("only a message can have a format other than cms")
		}
	default:
		return wire.NewError(http.StatusBadRequest, wire.CodeUnsupported, "there is no such kind of delivery")
	}
	switch d.Form {
	case wire.FormCMS:
		// The envelope is only counted: what is no message is not kept for
		// anyone.
		n, err := cms.Recipients(d.Body)
		if err != nil {
			return invalid("the body is not AuthEnvelopedData in DER")
		}
		if n != len(d.Keys) {
			return invalid("the number of keys that the body is sealed for differs from the number of named keys")
		}
	case wire.FormSession, wire.FormLegacy:
	default:
		return wire.NewError(http.StatusBadRequest, wire.CodeUnsupported, "there is no such format")
	}
	return nil
}

// store stores the delivery once, and puts it into the mailboxes.
func (d *delivery) store(tx *db.Tx) (*wire.Delivered, error) {
	conv, _, err := d.joinedConversation(tx)
	if err != nil {
		return nil, err
	}
	if a, err := d.before(tx); a != nil || err != nil {
		return a, err
	}
	if (conv.Profile == wire.ProfileLegacy) != (d.Form == wire.FormLegacy) {
		return nil, wire.NewError(http.StatusConflict, wire.CodeUnsupported, "the format does not belong to the conversation's profile, which never changes")
	}
	if conv.Profile == wire.ProfileLegacy {
		if len(conv.Chosen) != 2 {
			return nil, wire.NewError(http.StatusConflict, wire.CodeNotChosen, "the members have not both chosen the legacy profile")
		}
	} else if _, err := activeKey(tx, d.user, d.device, wire.UseSign); err != nil {
		return nil, err
	}
	targets, err := d.targets(tx, conv)
	if err != nil {
		return nil, err
	}
	m, err := conversation.Append(tx, network, conversation.Message{
		Conv: d.conv, ID: d.id, Sender: d.user, Device: d.device, Type: string(d.Kind), Form: string(d.Form), Body: d.Body, Sum: d.sum,
	})
	if err != nil {
		return nil, err
	}
	envs := make([]quinta.Envelope, 0, len(targets))
	for _, k := range targets {
		body, err := json.Marshal(ref{Conv: d.conv, Pos: m.Pos, Key: k.ID})
		if err != nil {
			return nil, err
		}
		envs = append(envs, quinta.Envelope{From: d.user, To: k.User, Device: k.Device, Type: string(d.Kind), Body: body})
		feed.Bump(tx, feed.Device(network, k.User, k.Device))
	}
	if len(envs) > 0 {
		if err := mailbox.Put(tx, network, 0, envs...); err != nil {
			return nil, err
		}
	}
	return &wire.Delivered{Pos: m.Pos, Received: utc(m.Time)}, nil
}

// before returns the answer of the same request if it was carried out before.
func (d *delivery) before(tx *db.Tx) (*wire.Delivered, error) {
	m, err := conversation.ByID(tx, network, d.conv, d.id)
	if errors.Is(err, conversation.ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(m.Sum, d.sum) {
		return nil, wire.NewError(http.StatusConflict, wire.CodeConflict, "there is another message with this id in the conversation")
	}
	return &wire.Delivered{Pos: m.Pos, Received: utc(m.Time)}, nil
}

// targets returns one key for each device that the delivery goes to. A message
// must be sealed for just the devices that there are: the server says which
// keys are missing or stale, and delivers nothing.
func (d *delivery) targets(tx *db.Tx, conv *talk) ([]*key, error) {
	valid, err := d.validKeys(tx, conv)
	if err != nil {
		return nil, err
	}
	stale := &wire.Error{Status: http.StatusConflict, Code: wire.CodeStaleKeys, Detail: "the message is not sealed for the keys that the devices have now"}
	covered := map[wire.Target]*key{}
	for _, id := range d.Keys {
		k := valid[id]
		if k == nil {
			stale.Stale = append(stale.Stale, id)
			continue
		}
		t := wire.Target{User: k.User, Device: k.Device}
		if st, _ := k.state(tx.Millis()); covered[t] == nil || st == wire.StateActive {
			covered[t] = k
		}
	}
	if d.Kind == wire.KindMessage {
		for id, k := range valid {
			if _, withheld := slices.BinarySearch(d.Withheld, id); withheld {
				continue
			}
			st, _ := k.state(tx.Millis())
			own := k.User == d.user && (k.Device == d.device || conv.Profile == wire.ProfileLegacy)
			if st == wire.StateActive && !own && covered[wire.Target{User: k.User, Device: k.Device}] == nil {
				stale.Missing = append(stale.Missing, id)
			}
		}
		slices.Sort(stale.Missing)
	}
	if len(stale.Missing)+len(stale.Stale) > 0 {
		return nil, stale
	}
	return d.pick(covered)
}

// validKeys returns the keys of all members that messages may be sealed for.
func (d *delivery) validKeys(tx *db.Tx, conv *talk) (map[cert.Fingerprint]*key, error) {
	valid := map[cert.Fingerprint]*key{}
	for _, u := range conv.Members {
		keys, err := keysOf(tx, `user_id = $1 AND profile = $2 AND usage <> 'sign'`, u, conv.Profile)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if k.decrypts(tx.Millis()) {
				valid[k.ID] = k
			}
		}
	}
	return valid, nil
}

// pick leaves the sending device out, and those that are not asked for.
func (d *delivery) pick(covered map[wire.Target]*key) ([]*key, error) {
	var out []*key
	for _, t := range d.Only {
		if covered[t] == nil {
			return nil, invalid("a device that the delivery is for is not among those that it is sealed for")
		}
	}
	for t, k := range covered {
		if (t.User == d.user && t.Device == d.device) || (len(d.Only) > 0 && !slices.Contains(d.Only, t)) {
			continue
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b *key) int {
		return bytes.Compare([]byte(a.ID), []byte(b.ID))
	})
	return out, nil
}
