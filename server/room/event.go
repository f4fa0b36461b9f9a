package room

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// An Event is one entry of a room's log.
type Event struct {
	// Pos is the event's place in the order of all writes; Append sets it.
	Pos  quinta.Pos
	Room quinta.RoomID
	ID   quinta.MessageID
	Type string
	// StateKey is nil if the event is not state.
	StateKey *string
	Sender   quinta.UserID
	// Time is the server's time in Unix milliseconds.
	Time int64
	// Depth counts the events of the room from 1.
	Depth   int64
	Content []byte
	// Device and Txn are the sending device and the transaction id that it
	// gave the event; Txn is "" if it gave none.
	Device quinta.DeviceID
	Txn    quinta.TxnID
	// Redacts is the event that this one redacts, RedactedBy the one that
	// redacted this one.
	Redacts, RedactedBy quinta.MessageID
	// Replaces is the position of the state event that this one replaced,
	// 0 for none; Append sets it.
	Replaces quinta.Pos
	// RelType says what this event is to the event RelTo.
	RelType string
	RelTo   quinta.MessageID
	// Related says that other events have this one as their RelTo.
	Related bool
}

// IsState reports whether e is state of that type and key.
func (e *Event) IsState(typ, key string) bool {
	return e.StateKey != nil && e.Type == typ && *e.StateKey == key
}

// A Membership says that an appended event sets the membership of a member.
type Membership struct {
	Member     quinta.UserID
	Membership string
}

const eventColumns = `e.room, e.pos, e.id, e.type, e.state_key, e.sender, e.time, e.depth, e.content, COALESCE(e.device, ''), COALESCE(e.txn, ''),
	COALESCE(e.redacts, ''), COALESCE(e.redacted_by, ''), COALESCE(e.replaces, 0), COALESCE(e.rel_type, ''), COALESCE(e.rel_to, ''), e.related`

func (e *Event) dest() []any {
	return []any{&e.Room, &e.Pos, &e.ID, &e.Type, &e.StateKey, &e.Sender, &e.Time, &e.Depth, &e.Content, &e.Device, &e.Txn,
		&e.Redacts, &e.RedactedBy, &e.Replaces, &e.RelType, &e.RelTo, &e.Related}
}

// optional makes NULL of the empty string.
func optional[S ~string](s S) any {
	if s == "" {
		return nil
	}
	return string(s)
}

// collect reads the events of a query.
func collect(tx *db.Tx, sql string, args ...any) ([]*Event, error) {
	var out []*Event
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return nil, err
		}
		e := new(Event)
		if err := row.Scan(e.dest()...); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// one reads the one event of a query, nil if there is none.
func one(tx *db.Tx, sql string, args ...any) (*Event, error) {
	e := new(Event)
	err := tx.Row(sql, args...).Scan(e.dest()...)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Append adds e to the log of its room and sets e.Pos. A state event becomes
// the current state of its type and key; m, if not nil, becomes the current
// membership. The id must be new. An empty Device or Txn is not kept.
func Append(tx *db.Tx, e *Event, m *Membership) error {
	e.Pos = tx.NextPos()
	var replaces any
	if e.StateKey != nil {
		var old quinta.Pos
		err := tx.Row(`SELECT pos FROM room_state WHERE room = $1 AND type = $2 AND state_key = $3`, e.Room, e.Type, *e.StateKey).Scan(&old)
		if err != nil && !errors.Is(err, db.ErrNoRows) {
			return err
		}
		if err == nil {
			e.Replaces, replaces = old, old
		}
		if err := tx.Queue(`INSERT INTO room_state (room, type, state_key, pos) VALUES ($1, $2, $3, $4)
			ON CONFLICT (room, type, state_key) DO UPDATE SET pos = excluded.pos`, e.Room, e.Type, *e.StateKey, e.Pos); err != nil {
			return err
		}
	}
	if err := tx.Queue(`INSERT INTO room_event (room, pos, id, type, state_key, sender, time, depth, content, device, txn, redacts, redacted_by, replaces, rel_type, rel_to, related)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULL, $13, $14, $15, FALSE)`,
		e.Room, e.Pos, e.ID, e.Type, e.StateKey, e.Sender, e.Time, e.Depth, e.Content, optional(e.Device), optional(e.Txn),
		optional(e.Redacts), replaces, optional(e.RelType), optional(e.RelTo)); err != nil {
		return err
	}
	if e.RelTo != "" {
		if err := tx.Queue(`UPDATE room_event SET related = TRUE WHERE id = $1 AND room = $2 AND NOT related`, e.RelTo, e.Room); err != nil {
			return err
		}
	}
	if m != nil {
		return setMembership(tx, e, m)
	}
	return nil
}

// ByID returns an event of a room, or an error of KindNotFound.
func ByID(tx *db.Tx, room quinta.RoomID, id quinta.MessageID) (*Event, error) {
	e, err := one(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.id = $1 AND e.room = $2`, id, room)
	if err == nil && e == nil {
		err = errNoEvent
	}
	return e, err
}

// ByPos returns the event of a room at a position, or an error of
// KindNotFound.
func ByPos(tx *db.Tx, room quinta.RoomID, pos quinta.Pos) (*Event, error) {
	e, err := one(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.pos = $2`, room, pos)
	if err == nil && e == nil {
		err = errNoEvent
	}
	return e, err
}

// Tip returns the id and depth of the newest event of a room, "" and 0 if the
// room has none.
func Tip(tx *db.Tx, room quinta.RoomID) (quinta.MessageID, int64, error) {
	var id quinta.MessageID
	var depth int64
	err := tx.Row(`SELECT id, depth FROM room_event WHERE room = $1 ORDER BY pos DESC LIMIT 1`, room).Scan(&id, &depth)
	if errors.Is(err, db.ErrNoRows) {
		return "", 0, nil
	}
	return id, depth, err
}

// Sent returns the events that a device sent with a transaction id, over all
// rooms and types. Asking in the transaction that appends makes sending
// idempotent.
func Sent(tx *db.Tx, sender quinta.UserID, device quinta.DeviceID, txn quinta.TxnID) ([]*Event, error) {
	return collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.sender = $1 AND e.device = $2 AND e.txn = $3 ORDER BY e.pos`, sender, device, txn)
}

// Redact replaces the content of an event by what its redaction leaves, and
// notes the redacting event by. The event's relation to another ends.
func Redact(tx *db.Tx, room quinta.RoomID, id, by quinta.MessageID, content []byte) error {
	n, err := tx.Exec(`UPDATE room_event SET content = $1, redacted_by = $2, rel_type = NULL, rel_to = NULL WHERE id = $3 AND room = $4 AND redacted_by IS NULL`,
		content, by, id, room)
	if err == nil && n == 0 {
		err = errNoEvent
	}
	return err
}

// maxList bounds how many parameters one query has.
const maxList = 400

// ByPositions returns the events of a room at the positions given, by their
// position. If there is no event, there is no entry.
func ByPositions(tx *db.Tx, room quinta.RoomID, list []quinta.Pos) (map[quinta.Pos]*Event, error) {
	out := make(map[quinta.Pos]*Event, len(list))
	for part := range slices.Chunk(list, maxList) {
		args := []any{room}
		for _, p := range part {
			args = append(args, p)
		}
		events, err := collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.pos IN (`+marks(2, len(part))+`)`, args...)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			out[e.Pos] = e
		}
	}
	return out, nil
}

// ByIDs returns the events of a room with the ids given, by their id. If
// there is no event, there is no entry.
func ByIDs(tx *db.Tx, room quinta.RoomID, list []quinta.MessageID) (map[quinta.MessageID]*Event, error) {
	out := make(map[quinta.MessageID]*Event, len(list))
	for part := range slices.Chunk(list, maxList) {
		args := []any{room}
		for _, id := range part {
			args = append(args, id)
		}
		events, err := collect(tx, `SELECT `+eventColumns+` FROM room_event e WHERE e.room = $1 AND e.id IN (`+marks(2, len(part))+`)`, args...)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			out[e.ID] = e
		}
	}
	return out, nil
}

// Sizes calls fn with every sender and what their events count: the bytes of the
// contents, and the rows. fn makes no statement.
func Sizes(tx *db.Tx, fn func(sender quinta.UserID, n int64)) error {
	for row, err := range tx.Query(`SELECT sender, CAST(SUM(LENGTH(content) + ` + db.RowCost + `) AS BIGINT) FROM room_event GROUP BY sender`) {
		if err != nil {
			return err
		}
		var sender quinta.UserID
		var n int64
		if err := row.Scan(&sender, &n); err != nil {
			return err
		}
		fn(sender, n)
	}
	return nil
}

// marks returns n parameters from $first on, separated by commas.
func marks(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	return b.String()
}
