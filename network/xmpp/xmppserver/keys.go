package xmppserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *xmppServer) keyCalls() {
	s.at(http.MethodPost, wire.PathKeys, endpoint{rate: rateWrite, status: http.StatusCreated, body: wire.MaxBody, handle: (*call).createKey})
	s.at(http.MethodPost, wire.PathKeysGet, endpoint{rate: rateRead, body: wire.MaxBody, handle: (*call).getKeys})
	s.at(http.MethodGet, wire.PathKey, endpoint{rate: rateRead, handle: (*call).getKey})
	s.at(http.MethodGet, wire.PathConversation, endpoint{rate: rateRead, handle: (*call).listKeys})
}

// A keyRow is a key object as it is stored, with its conversation.
type keyRow struct {
	object keysrv.Object
	// users may have the key. room is set if the conversation is a room.
	users   []quinta.UserID
	room    quinta.RoomID
	pos     quinta.Pos
	sealed  []byte
	request []byte
}

const keyColumns = `k.id, k.conversation, c.mode, k.suite, k.creator, k.device, k.created, k.expires, k.check_value, k.signature, k.sealed, k.request, k.pos, c.first, c.second`

func scanKey(scan func(...any) error) (*keyRow, error) {
	k := &keyRow{users: make([]quinta.UserID, 2)}
	o := &k.object
	var created, expires int64
	if err := scan(&o.ID, &o.Conversation, &o.Mode, &o.Suite, &o.Creator, &o.Device, &created, &expires, &o.Check, &o.Signature, &k.sealed, &k.request, &k.pos, &k.users[0], &k.users[1]); err != nil {
		return nil, err
	}
	o.Created, o.Expires = time.UnixMilli(created).UTC(), time.UnixMilli(expires).UTC()
	return k, nil
}

// keyByID returns a key object with those who may have it, or nil.
func (s *xmppServer) keyByID(tx *db.Tx, id string) (*keyRow, error) {
	k, err := scanKey(tx.Row(`SELECT `+keyColumns+` FROM xmpp_key k JOIN xmpp_conversation c ON c.id = k.conversation WHERE k.id = $1`, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return k, s.allowed(tx, k)
}

// The bounds of the times of a sealed key that its creator states.
const keySkew = 5 * time.Minute

// escrowLife is how long a key that the server makes seals.
const escrowLife = 25 * time.Hour

// createKey makes a key object, and its conversation if there is none.
func (c *call) createKey() (any, error) {
	var in keysrv.Create
	raw, err := c.decode(&in)
	if err != nil {
		return nil, err
	}
	if err := c.checkCreate(&in); err != nil {
		return nil, err
	}
	if in.Room != "" {
		if err := c.freshRoom(c.ctx(), in.Room); err != nil {
			return nil, err
		}
	}
	var sealed []byte
	if in.Mode == keysrv.ModeEscrow {
		if sealed, err = c.makeEscrow(&in); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(raw)
	var k *keyRow
	err = c.update(func(tx *db.Tx) error {
		k, err = c.insertKey(tx, &in, sealed, sum[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.finish(k)
}

// checkCreate judges all of a request that needs no store.
func (c *call) checkCreate(in *keysrv.Create) error {
	_, domain, _ := strings.Cut(string(in.With), "@")
	switch {
	case in.Room != "" && (in.With != "" || keysrv.CheckJID(quinta.UserID(in.Room)) != nil):
		return invalid(`"room" is the bare JID of the room, and stands without "with"`)
	case in.Room != "" && !c.servesRoom(in.Room):
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "rooms of this domain are not served")
	case in.Room == "" && keysrv.CheckJID(in.With) != nil:
		return invalid(`"with" is the bare JID of the peer`)
	case in.Room == "" && !c.serves(domain):
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "users of the peer's domain are not served")
	case in.Suite != keysrv.SuiteGCM:
		return invalid("the suite is A256GCM")
	case in.ID != "" && (keysrv.CheckObjectID(in.ID) != nil || len(in.ID) < 20):
		return invalid("an id has 20 to 64 letters, digits, _ and -")
	case in.Mode == keysrv.ModeEscrow:
		if c.Setting(settingEscrow) == escrowOff {
			return wire.NewError(http.StatusConflict, wire.CodeMode, "this server offers no escrow conversations")
		}
		if in.Check != nil || in.Signature != nil || in.Wrapped != nil {
			return invalid("the server makes all parts of an escrow key")
		}
		return nil
	case in.Mode != keysrv.ModeSealed:
		return invalid("the mode is sealed or escrow")
	case in.ID == "":
		return invalid("the id of a sealed key is chosen by its creator")
	case in.Created.Sub(c.Now()).Abs() > keySkew:
		return invalid("the key was not made just now: check the clock")
	case len(in.Wrapped) > keysrv.MaxCopies:
		return wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "too many copies")
	}
	return nil
}

// makeEscrow completes a request for an escrow key and returns the key, sealed
// together with its id.
func (c *call) makeEscrow(in *keysrv.Create) ([]byte, error) {
	if c.Secrets == nil {
		return nil, errNoKeeper
	}
	if in.ID == "" {
		var id [16]byte
		if _, err := io.ReadFull(c.Rand, id[:]); err != nil {
			return nil, err
		}
		in.ID = base64.RawURLEncoding.EncodeToString(id[:])
	}
	in.Created = c.Now().UTC().Truncate(time.Second)
	in.Expires = in.Created.Add(escrowLife)
	k, err := key.GenerateSymmetric[key.Conversation](c.Rand)
	if err != nil {
		return nil, err
	}
	secret := k.Secret()
	defer clear(secret)
	return c.Secrets.Seal(c.ctx(), append(secret, in.ID...))
}

// insertKey stores a key object. A request that comes again gives the same one.
func (c *call) insertKey(tx *db.Tx, in *keysrv.Create, sealed, sum []byte) (*keyRow, error) {
	if have, err := c.keyByID(tx, in.ID); err != nil || have != nil {
		if err == nil && (have.object.Creator != c.user() || !bytes.Equal(have.request, sum)) {
			err = wire.NewError(http.StatusConflict, wire.CodeConflict, "the id is taken")
		}
		return have, err
	}
	p, err := c.partiesOf(tx, in)
	if err != nil {
		return nil, err
	}
	users := p.users
	o := keysrv.Object{ID: in.ID, Conversation: p.conversation, Mode: in.Mode, Suite: in.Suite, Created: in.Created, Expires: in.Expires,
		Creator: c.user(), Check: in.Check, Signature: in.Signature}
	if in.Mode == keysrv.ModeSealed {
		d, err := c.needDevice()
		if err != nil {
			return nil, err
		}
		o.Device = d.record.ID
		if err := o.CheckForm(); err != nil {
			return nil, invalid(strings.TrimPrefix(err.Error(), "keysrv: "))
		}
		s := o.Statement()
		if s.Verify(d.record.Signing, o.Signature) != nil {
			return nil, invalid("the statement is not signed by the calling device")
		}
		if err := checkCopies(tx, users, in.Wrapped); err != nil {
			return nil, err
		}
	}
	mode := in.Mode
	err = tx.Row(`SELECT mode FROM xmpp_conversation WHERE id = $1`, o.Conversation).Scan(&mode)
	switch {
	case errors.Is(err, db.ErrNoRows):
		if err := tx.Queue(`INSERT INTO xmpp_conversation (id, mode, first, second, created) VALUES ($1, $2, $3, $4, $5)`, o.Conversation, string(in.Mode), p.first, p.second, tx.Millis()); err != nil {
			return nil, err
		}
		if err := c.noted(tx, record{Action: "conversation", Conversation: o.Conversation, Detail: string(in.Mode) + " " + string(in.With) + string(in.Room)}); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case mode != in.Mode:
		return nil, wire.NewError(http.StatusConflict, wire.CodeMode, "the conversation is "+string(mode))
	}
	tx.Count(db.UserOf(network, o.Creator), db.ClassData, int64(len(o.Check)+len(o.Signature)+len(sealed)+len(sum))+db.RowBytes)
	if err := tx.Queue(`INSERT INTO xmpp_key (id, conversation, suite, creator, device, created, expires, check_value, signature, sealed, request, pos) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		o.ID, o.Conversation, string(o.Suite), o.Creator, o.Device, o.Created.UnixMilli(), o.Expires.UnixMilli(), o.Check, o.Signature, sealed, sum, tx.NextPos()); err != nil {
		return nil, err
	}
	if err := insertCopies(tx, o.ID, o.Creator, in.Wrapped); err != nil {
		return nil, err
	}
	return &keyRow{object: o, users: users, sealed: sealed}, c.noted(tx, record{Action: "create", Conversation: o.Conversation, Key: o.ID, Detail: string(o.Mode)})
}

// parties are those of a conversation that a key is made for.
type parties struct {
	conversation string
	users        []quinta.UserID
	// first and second name the conversation in the store.
	first, second string
}

// partiesOf returns those of a request. A room must be fit for encryption, and the
// caller a member of it.
func (c *call) partiesOf(tx *db.Tx, in *keysrv.Create) (*parties, error) {
	if in.Room == "" {
		users := []quinta.UserID{c.user(), in.With}
		slices.Sort(users)
		return &parties{keysrv.DirectID(users[0], users[1]), users, string(users[0]), string(users[1])}, nil
	}
	r, err := c.roomByJID(tx, in.Room)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, errAway
	}
	if _, member := r.members[c.user()]; !member {
		return nil, errNotFound
	}
	if r.frozen != "" {
		return nil, errFrozen(r.frozen)
	}
	return &parties{keysrv.RoomID(in.Room), slices.Sorted(maps.Keys(r.members)), string(in.Room), ""}, nil
}

// finish opens an escrow key for the answer, after the commit.
func (c *call) finish(k *keyRow) (json.RawMessage, error) {
	if k.object.Mode == keysrv.ModeEscrow {
		if c.Secrets == nil {
			return nil, errNoKeeper
		}
		raw, err := c.Secrets.Unseal(c.ctx(), k.sealed)
		if err != nil {
			return nil, err
		}
		if len(raw) < key.Size || string(raw[key.Size:]) != k.object.ID {
			return nil, errors.New("an escrow key in the store does not belong to its id")
		}
		k.object.Key = raw[:key.Size]
	}
	return k.object.Encode(), nil
}

// give returns a key object for the caller, or nil if there is none or it is not
// for this user; both leave the same line in the audit.
func (c *call) give(tx *db.Tx, id string) (*keyRow, error) {
	k, err := c.keyByID(tx, id)
	if err != nil {
		return nil, err
	}
	if k == nil || !slices.Contains(k.users, c.user()) || k.object.Mode == keysrv.ModeSealed && c.device == nil {
		return nil, c.noted(tx, record{Action: "refuse", Key: id})
	}
	if k.object.Mode == keysrv.ModeSealed {
		if err := c.copyFor(tx, k); err != nil {
			return nil, err
		}
		if k.object.Wrapped == nil {
			return k, nil // nothing was given
		}
	}
	return k, c.noted(tx, record{Action: "read", Conversation: k.object.Conversation, Key: k.object.ID, Detail: string(k.object.Mode)})
}

func (c *call) getKey() (any, error) {
	id := c.r.PathValue("id")
	if keysrv.CheckObjectID(id) != nil {
		return nil, errNotFound
	}
	if err := c.lines(1); err != nil {
		return nil, err
	}
	if err := c.freshForKeys(id); err != nil {
		return nil, err
	}
	var k *keyRow
	err := c.update(func(tx *db.Tx) (err error) {
		k, err = c.give(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, errNotFound
	}
	return c.finish(k)
}

// getKeys gives several key objects. Those that are not for this user do not
// keep it from the others.
func (c *call) getKeys() (any, error) {
	var in wire.GetRequest
	if _, err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.IDs) == 0 || len(in.IDs) > keysrv.MaxBatch {
		return nil, invalid("one call can ask for 1 to 100 ids")
	}
	for _, id := range in.IDs {
		if keysrv.CheckObjectID(id) != nil {
			return nil, invalid("an id has 1 to 64 letters, digits, _ and -")
		}
	}
	if err := c.lines(len(in.IDs)); err != nil {
		return nil, err
	}
	if err := c.freshForKeys(in.IDs...); err != nil {
		return nil, err
	}
	var found []*keyRow
	out := wire.GetAnswer{Keys: []json.RawMessage{}, Refused: []string{}}
	err := c.update(func(tx *db.Tx) error {
		found, out.Refused = nil, []string{}
		for _, id := range in.IDs {
			k, err := c.give(tx, id)
			if err != nil {
				return err
			}
			if k == nil {
				out.Refused = append(out.Refused, id)
			} else {
				found = append(found, k)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, k := range found {
		raw, err := c.finish(k)
		if err != nil {
			return nil, err
		}
		out.Keys = append(out.Keys, raw)
	}
	return out, nil
}

// listKeys gives the keys of a conversation by the time of their creation:
// from after on, before before, at most limit, the latest.
func (c *call) listKeys() (any, error) {
	id := c.r.PathValue("id")
	q := c.r.URL.Query()
	limit, ok := incoming.Int(q.Get("limit"), wire.MaxList, 1, wire.MaxList)
	after, aerr := timeOf(q.Get("after"), 0)
	before, berr := timeOf(q.Get("before"), 1<<53)
	if !ok || aerr != nil || berr != nil {
		return nil, invalid("after and before are times in RFC 3339, limit is a number from 1 to 100")
	}
	if err := c.freshFor(`SELECT first FROM xmpp_conversation WHERE second = '' AND id = $1`, id); err != nil {
		return nil, err
	}
	var found []*keyRow
	err := c.update(func(tx *db.Tx) error {
		found = nil
		var ids []string
		for row, err := range tx.Query(`SELECT k.id FROM xmpp_key k JOIN xmpp_conversation c ON c.id = k.conversation
			WHERE k.conversation = $1 AND (c.first = $2 OR c.second = $2 OR EXISTS (SELECT 1 FROM xmpp_member m WHERE m.conversation = c.id AND m.user_id = $2))
			AND k.created >= $3 AND k.created < $4 ORDER BY k.created DESC, k.pos DESC LIMIT $5`, id, string(c.user()), after, before, limit) {
			if err != nil {
				return err
			}
			var kid string
			if err := row.Scan(&kid); err != nil {
				return err
			}
			ids = append(ids, kid)
		}
		if err := c.lines(len(ids)); err != nil {
			return err
		}
		for _, kid := range slices.Backward(ids) {
			k, err := c.give(tx, kid)
			if err != nil {
				return err
			}
			if k != nil {
				found = append(found, k)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := wire.ListAnswer{Keys: []json.RawMessage{}}
	for _, k := range found {
		raw, err := c.finish(k)
		if err != nil {
			return nil, err
		}
		out.Keys = append(out.Keys, raw)
	}
	return out, nil
}

// timeOf reads a time of a query, in Unix milliseconds.
func timeOf(s string, def int64) (int64, error) {
	if s == "" {
		return def, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UnixMilli(), err
}
