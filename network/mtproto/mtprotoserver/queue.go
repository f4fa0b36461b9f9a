package mtprotoserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
)

const (
	// keptFor is how long what no one has acknowledged is kept, in milliseconds.
	keptFor = 7 * 24 * 60 * 60 * 1000
	// idleFor is how long a key is kept that speaks for nobody, in milliseconds.
	idleFor = 24 * 60 * 60 * 1000
	// maxQueued bounds the messages that wait for one device, and its events: of
	// those the oldest make way.
	maxQueued = 10_000
	// page bounds what one answer holds: this many messages, and pageBytes or
	// one message.
	page      = 100
	pageBytes = 512 << 10
)

// feedKey is what wakes those who wait for something for a device.
func feedKey(key int64) string {
	return feed.Device(name, "", quinta.DeviceID(strconv.FormatInt(key, 16)))
}

// tell notes an event for a device.
func tell(tx *db.Tx, key, chat int64, stage string, maxDate int64) error {
	return note(tx, key, event{chat: chat, stage: stage, maxDate: maxDate})
}

// notify tells a device something in words, which only the device's user is to
// read.
func (c *call) notify(key int64, text string) error {
	sealed, err := c.sec.sealText(c.s.Rand, sealedNotice+strconv.FormatInt(key, 10), []byte(text))
	if err != nil {
		return err
	}
	return note(c.tx, key, event{stage: stageNotice, note: sealed})
}

func note(tx *db.Tx, key int64, e event) error {
	err := tx.Row(`UPDATE mtproto_device SET pts = pts + 1 WHERE key_id = $1 AND account IS NOT NULL RETURNING pts`, key).Scan(&e.pts)
	if errors.Is(err, db.ErrNoRows) {
		return nil // no one is logged in there any more
	} else if err != nil {
		return err
	}
	feed.Bump(tx, feedKey(key))
	if err := tx.Queue(`DELETE FROM mtproto_event WHERE key_id = $1 AND pts <= $2`, key, e.pts-maxQueued); err != nil {
		return err
	}
	if e.stage == stageRead { // what was read before is among it
		if err := tx.Queue(`DELETE FROM mtproto_event WHERE key_id = $1 AND chat = $2 AND stage = $3`, key, e.chat, stageRead); err != nil {
			return err
		}
	}
	return tx.Queue(`INSERT INTO mtproto_event (key_id, pts, chat, stage, at, max_date, note, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		key, e.pts, e.chat, e.stage, tx.Now().Unix(), e.maxDate, e.note, tx.Millis()+keptFor)
}

func sendEncrypted(c *call, r *wire.SendEncrypted) (any, error) {
	date, _, err := c.deliver(delivery{peer: r.Peer, random: r.RandomID, data: r.Data})
	return &wire.SentEncryptedMessage{Date: int32(date)}, err
}

func sendEncryptedService(c *call, r *wire.SendEncryptedService) (any, error) {
	date, _, err := c.deliver(delivery{peer: r.Peer, random: r.RandomID, data: r.Data, service: true})
	return &wire.SentEncryptedMessage{Date: int32(date)}, err
}

// A delivery is one packet on its way.
type delivery struct {
	peer    any
	random  int64
	data    []byte
	service bool
	file    any // nil: none
}

// deliver puts a packet into the queue of the device at the far end, once for
// each random_id of the sender. It returns the date, and the id of the file.
func (c *call) deliver(d delivery) (date int64, at *int64, err error) {
	ch, to, err := c.far(d.peer)
	if err != nil {
		return 0, nil, err
	}
	switch _, err := secretchat.Under(d.data); {
	case len(d.data) > secretchat.MaxBody:
		return 0, nil, refuse(400, "DATA_TOO_LONG")
	case err != nil:
		return 0, nil, refuse(400, "DATA_INVALID")
	}
	date = c.tx.Now().Unix()
	expires := c.tx.Millis() + keptFor
	n, err := c.tx.Exec(`INSERT INTO mtproto_sent (key_id, random_id, sent, file, expires, sender) VALUES ($1, $2, $3, NULL, $4, $5) ON CONFLICT (key_id, random_id) DO NOTHING`, c.keyID, d.random, date, expires, c.user)
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		err = c.tx.Row(`SELECT sent, file FROM mtproto_sent WHERE key_id = $1 AND random_id = $2`, c.keyID, d.random).Scan(&date, &at)
		return date, at, err
	}
	if d.file != nil {
		f, err := c.inputFile(d.file)
		if err != nil {
			return 0, nil, err
		}
		at = &f.id
		if err := c.tx.Queue(`UPDATE mtproto_sent SET file = $1 WHERE key_id = $2 AND random_id = $3`, f.id, c.keyID, d.random); err != nil {
			return 0, nil, err
		}
	}
	var qts, acked int64
	err = c.tx.Row(`UPDATE mtproto_device SET qts = qts + 1 WHERE key_id = $1 AND account IS NOT NULL RETURNING qts, acked`, to).Scan(&qts, &acked)
	if errors.Is(err, db.ErrNoRows) {
		return 0, nil, refuse(400, "ENCRYPTION_DECLINED")
	} else if err != nil {
		return 0, nil, err
	}
	if qts-acked > maxQueued {
		return 0, nil, refuse(420, "FLOOD_WAIT_60")
	}
	feed.Bump(c.tx, feedKey(to))
	c.tx.Count(db.UserOf(name, secretchat.UserID(c.user)), db.ClassQueue, int64(len(d.data))+2*db.RowBytes)
	return date, at, c.tx.Queue(`INSERT INTO mtproto_message (key_id, qts, chat, random_id, sent, service, data, file, expires, sender) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		to, qts, ch.ID, d.random, date, d.service, d.data, at, expires, c.user)
}

// A waiting is what waits for a device: events and then messages, with the
// people that they name.
type waiting struct {
	before, messages, after []any // updates
	sealed                  []any // the messages themselves
	users                   []any
	qts, pts                int64
	more                    bool
}

// waitingFor reads what waits after a position, one page of it. Chats that
// begin or open come before the messages, what ends after them.
func (c *call) waitingFor(qts, pts int64) (*waiting, error) {
	w := &waiting{qts: qts, pts: pts}
	if err := c.readEvents(w, pts); err != nil {
		return nil, err
	}
	return w, c.readMessages(w, qts)
}

// An event is one row.
type event struct {
	pts, chat, at, maxDate int64
	stage                  string
	note                   []byte
}

func (c *call) readEvents(w *waiting, pts int64) error {
	var events []event
	for row, err := range c.tx.Query(`SELECT pts, chat, stage, at, max_date, note FROM mtproto_event WHERE key_id = $1 AND pts > $2 ORDER BY pts LIMIT $3`, c.keyID, pts, page+1) {
		if err != nil {
			return err
		}
		var e event
		if err := row.Scan(&e.pts, &e.chat, &e.stage, &e.at, &e.maxDate, &e.note); err != nil {
			return err
		}
		e.note = slices.Clone(e.note)
		events = append(events, e)
	}
	if len(events) > page {
		w.more, events = true, events[:page]
	}
	var users []int64
	for _, e := range events {
		w.pts = e.pts
		if e.stage == stageNotice {
			text, err := c.sec.openText(sealedNotice+strconv.FormatInt(c.keyID, 10), e.note)
			if err != nil {
				return err
			}
			w.before = append(w.before, &wire.UpdateServiceNotification{InboxDate: int32(e.at), Type: "LOGIN_CODE", Message: string(text), Media: &wire.MessageMediaEmpty{}, Entities: []any{}})
			continue
		}
		ch, err := chatByID(c.tx, e.chat)
		if errors.Is(err, db.ErrNoRows) {
			continue // closed long ago
		} else if err != nil {
			return err
		}
		users = append(users, ch.Admin, ch.Participant)
		if e.stage == stageRead {
			w.after = append(w.after, &wire.UpdateEncryptedMessagesRead{ChatID: int32(ch.ID), MaxDate: int32(e.maxDate), Date: int32(e.at)})
			continue
		}
		// An event is shown as the chat was then, so that a client can follow.
		ch.State = e.stage
		u := &wire.UpdateEncryption{Chat: c.sec.shown(ch, c.user, c.keyID), Date: int32(e.at)}
		if e.stage == stateClosed {
			w.after = append(w.after, u)
		} else {
			w.before = append(w.before, u)
		}
	}
	var err error
	w.users, err = c.people(users...)
	return err
}

// A queued is one message that waits.
type queued struct {
	qts, chat, random, sent int64
	service                 bool
	data                    []byte
	file                    *int64
}

func (c *call) readMessages(w *waiting, qts int64) error {
	size := 0
	var found []queued
	for row, err := range c.tx.Query(`SELECT qts, chat, random_id, sent, service, data, file FROM mtproto_message WHERE key_id = $1 AND qts > $2 ORDER BY qts LIMIT $3`, c.keyID, qts, page+1) {
		if err != nil {
			return err
		}
		var q queued
		if err := row.Scan(&q.qts, &q.chat, &q.random, &q.sent, &q.service, &q.data, &q.file); err != nil {
			return err
		}
		if len(found) == page || len(found) > 0 && size+len(q.data) > pageBytes {
			w.more = true
			break
		}
		size += len(q.data)
		q.data = slices.Clone(q.data)
		found = append(found, q)
	}
	for _, q := range found {
		var m any = &wire.EncryptedMessageService{RandomID: q.random, ChatID: int32(q.chat), Date: int32(q.sent), Bytes: q.data}
		if !q.service {
			f, err := c.shownFile(q.file)
			if err != nil {
				return err
			}
			m = &wire.EncryptedMessage{RandomID: q.random, ChatID: int32(q.chat), Date: int32(q.sent), Bytes: q.data, File: f}
		}
		w.qts = q.qts
		w.sealed = append(w.sealed, m)
		w.messages = append(w.messages, &wire.UpdateNewEncryptedMessage{Message: m, Qts: int32(q.qts)})
	}
	return nil
}

// counters are the positions of the device.
func (c *call) counters() (qts, pts int64, err error) {
	err = c.tx.Row(`SELECT qts, pts FROM mtproto_device WHERE key_id = $1`, c.keyID).Scan(&qts, &pts)
	return qts, pts, err
}

func (c *call) state(qts, pts int64) *wire.State {
	return &wire.State{Pts: int32(pts), Qts: int32(qts), Date: int32(c.tx.Now().Unix())}
}

func getState(c *call, _ *wire.GetState) (any, error) {
	qts, pts, err := c.counters()
	if err == nil {
		c.caughtUp(qts, pts)
	}
	return c.state(qts, pts), err
}

// acknowledge removes what a device says it has. A position that was not given
// yet acknowledges nothing beyond.
func (c *call) acknowledge(qts, pts int64) error {
	if err := removeMessages(c.tx, `key_id = $1 AND qts <= $2`, c.keyID, qts); err != nil {
		return err
	}
	if err := c.tx.Queue(`DELETE FROM mtproto_event WHERE key_id = $1 AND pts <= $2`, c.keyID, pts); err != nil {
		return err
	}
	return c.tx.Queue(`UPDATE mtproto_device SET acked = CASE WHEN qts < $1 THEN qts ELSE $1 END, seen = $2 WHERE key_id = $3 AND acked < $1`, qts, c.tx.Millis(), c.keyID)
}

// removeMessages removes messages that waited, and gives their senders the bytes
// back.
func removeMessages(tx *db.Tx, where string, args ...any) error {
	return countMessages(tx, -1, `DELETE FROM mtproto_message WHERE `+where+` RETURNING sender, LENGTH(data) + `+db.RowCost, args...)
}

// removeSent forgets what was sent, which then counts no more.
func removeSent(tx *db.Tx, where string, args ...any) error {
	return countMessages(tx, -1, `DELETE FROM mtproto_sent WHERE `+where+` RETURNING sender, `+db.RowCost, args...)
}

// countMessages counts for their senders what the rows of a statement say, times
// sign.
func countMessages(tx *db.Tx, sign int64, sql string, args ...any) error {
	for row, err := range tx.Query(sql, args...) {
		if err != nil {
			return err
		}
		var sender *int64
		var n int64
		if err := row.Scan(&sender, &n); err != nil {
			return err
		}
		if sender != nil {
			tx.Count(db.UserOf(name, secretchat.UserID(*sender)), db.ClassQueue, sign*n)
		}
	}
	return nil
}

// CountStored counts the messages that wait, and what is known of those that were
// sent.
func (s *mtprotoServer) CountStored(tx *db.Tx) error {
	if err := countMessages(tx, 1, `SELECT sender, COUNT(*) * `+db.RowCost+` FROM mtproto_sent WHERE sender IS NOT NULL GROUP BY sender`); err != nil {
		return err
	}
	return countMessages(tx, 1, `SELECT sender, CAST(SUM(LENGTH(data) + `+db.RowCost+`) AS BIGINT) FROM mtproto_message WHERE sender IS NOT NULL GROUP BY sender`)
}

// getDifference acknowledges what was passed in and returns what comes after.
func getDifference(c *call, r *wire.GetDifference) (any, error) {
	qts, pts := int64(r.Qts), int64(r.Pts)
	if qts < 0 || pts < 0 {
		return nil, refuse(400, "PERSISTENT_TIMESTAMP_INVALID")
	}
	if err := c.acknowledge(qts, pts); err != nil {
		return nil, err
	}
	w, err := c.waitingFor(qts, pts)
	if err != nil {
		return nil, err
	}
	if !w.more && len(w.sealed)+len(w.before)+len(w.after) == 0 {
		qts, pts, err := c.counters()
		if err != nil {
			return nil, err
		}
		c.caughtUp(qts, pts)
		return &wire.DifferenceEmpty{Date: int32(c.tx.Now().Unix())}, nil
	}
	others := append(w.before, w.after...)
	none := []any{}
	if w.more {
		return &wire.DifferenceSlice{NewMessages: none, NewEncryptedMessages: w.sealed, OtherUpdates: others, Chats: none, Users: w.users, IntermediateState: c.state(w.qts, w.pts)}, nil
	}
	c.caughtUp(w.qts, w.pts)
	return &wire.Difference{NewMessages: none, NewEncryptedMessages: w.sealed, OtherUpdates: others, Chats: none, Users: w.users, State: c.state(w.qts, w.pts)}, nil
}

// receivedQueue acknowledges messages and returns their random_ids.
func receivedQueue(c *call, r *wire.ReceivedQueue) (any, error) {
	ids, err := numbers(c.tx, `SELECT random_id FROM mtproto_message WHERE key_id = $1 AND qts <= $2 ORDER BY qts`, c.keyID, int64(r.MaxQts))
	if err != nil {
		return nil, err
	}
	return ids, c.acknowledge(int64(r.MaxQts), 0)
}

// caughtUp notes up to where this connection knows everything.
func (c *conn) caughtUp(qts, pts int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.qts, c.pts = qts, pts
}

// push begins to push what comes for the device, once it is logged in and
// wants updates.
func (c *conn) push() {
	ctx := c.life
	if c.pushing || c.quiet || c.keyID == 0 {
		return
	}
	c.mu.Lock()
	known := c.pts != 0
	c.mu.Unlock()
	if !known {
		return // it has not asked for its state yet
	}
	c.pushing = true
	c.wait.Go(func() {
		w := c.s.Hub.Wait(feedKey(c.keyID))
		defer w.Close()
		for {
			if err := c.pushOnce(ctx); err != nil {
				if ctx.Err() == nil && !errors.Is(err, errGone) {
					c.s.Log.Debug("mtproto: pushing ended", "err", err)
				}
				if !c.leaving.Load() {
					c.f.Close()
				}
				return
			}
			select {
			case <-w.C():
			case <-ctx.Done():
				return
			}
		}
	})
}

// pushOnce pushes what has come since the last time, in order.
func (c *conn) pushOnce(ctx context.Context) error {
	for {
		c.mu.Lock()
		qts, pts := c.qts, c.pts
		c.mu.Unlock()
		var w *waiting
		var date int64
		err := c.s.View(ctx, func(tx *db.Tx) error {
			one := &call{conn: c, sec: c.s.kept, tx: tx}
			if err := one.identify(); err != nil {
				return err
			}
			if one.who == "" {
				return errGone
			}
			date = tx.Now().Unix()
			var err error
			w, err = one.waitingFor(qts, pts)
			return err
		})
		if err != nil {
			return err
		}
		all := slices.Concat(w.before, w.messages, w.after)
		if chat, ok := c.s.typed(c.keyID); ok {
			all = append(all, &wire.UpdateEncryptedChatTyping{ChatID: int32(chat)})
		}
		if len(all) == 0 {
			return nil
		}
		if err := c.sendObject(otherID, true, &wire.Updates{Updates: all, Users: w.users, Chats: []any{}, Date: int32(date)}); err != nil {
			return err
		}
		c.mu.Lock()
		c.qts, c.pts = max(c.qts, w.qts), max(c.pts, w.pts)
		c.mu.Unlock()
	}
}

// Periodically removes data that will not be requested again: data kept for a
// week, keys with which no one is logged in, and closed chats.
func (s *mtprotoServer) Periodically(ctx context.Context) error {
	if err := s.UpdateAlways(ctx, func(tx *db.Tx) error {
		return errors.Join(removeMessages(tx, `expires < $1`, tx.Millis()), removeSent(tx, `expires < $1`, tx.Millis()))
	}); err != nil {
		return fmt.Errorf("mtproto: sweeping: %w", err)
	}
	for _, sql := range []string{
		`DELETE FROM mtproto_event WHERE expires < $1`,
		`DELETE FROM mtproto_code WHERE expires < $1`,
		`DELETE FROM mtproto_temp WHERE expires < $1 OR device IS NULL AND idle < $1`,
	} {
		if err := s.UpdateAlways(ctx, func(tx *db.Tx) error { return tx.Queue(sql, tx.Millis()) }); err != nil {
			return fmt.Errorf("mtproto: sweeping: %w", err)
		}
	}
	if err := s.sweepFiles(ctx); err != nil {
		return fmt.Errorf("mtproto: sweeping: %w", err)
	}
	return s.UpdateAlways(ctx, func(tx *db.Tx) error {
		if err := tx.Queue(`DELETE FROM mtproto_chat WHERE state = $1 AND closed < $2`, stateClosed, tx.Millis()-keptFor); err != nil {
			return err
		}
		return tx.Queue(`DELETE FROM mtproto_device WHERE account IS NULL AND seen < $1`, tx.Millis()-idleFor)
	})
}
