package ca

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// Messages that were seen are remembered in two ways. For each line of keys in a
// conversation, the highest number is kept, with the numbers below it that are
// missing: a new message must have a higher number, and a delayed one a missing
// number. The id of each message is kept for as long as its time would be
// accepted.

// A lineRecord is how far the messages of one line of keys have come.
type lineRecord struct {
	Last uint64 `json:"last"`
	// Gaps are ranges of numbers below Last that were not seen, both ends
	// included, in ascending order.
	Gaps [][2]uint64 `json:"gaps,omitempty"`
}

// maxGaps bounds the ranges that are remembered; of more, the oldest are given
// up and what comes of them is refused.
const maxGaps = 1000

// take counts a number. late says that the message may have waited.
func (l *lineRecord) take(seq uint64, late bool) bool {
	if seq > l.Last {
		if seq > l.Last+1 {
			l.Gaps = append(l.Gaps, [2]uint64{l.Last + 1, seq - 1})
			if len(l.Gaps) > maxGaps {
				l.Gaps = slices.Clone(l.Gaps[1:])
			}
		}
		l.Last = seq
		return true
	}
	if !late {
		return false
	}
	i := slices.IndexFunc(l.Gaps, func(g [2]uint64) bool { return g[0] <= seq && seq <= g[1] })
	if i < 0 {
		return false
	}
	g := l.Gaps[i]
	var rest [][2]uint64
	if g[0] < seq {
		rest = append(rest, [2]uint64{g[0], seq - 1})
	}
	if seq < g[1] {
		rest = append(rest, [2]uint64{seq + 1, g[1]})
	}
	l.Gaps = slices.Replace(l.Gaps, i, i+1, rest...)
	return true
}

// A midRecord is a message id that was seen.
type midRecord struct {
	From   quinta.UserID   `json:"from"`
	Device quinta.DeviceID `json:"device"`
	Time   int64           `json:"time"` // Unix milliseconds
	// Sum is the hash of an item that came out of the history: the mailbox may
	// bring the same one once.
	Sum string `json:"sum,omitempty"`
}

// sumOf names bytes: their SHA-256 in lower-case hex.
func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// replays are what was seen, as far as it is stored.
type replays struct{ tx e2ee.Tx }

func midKey(conv quinta.RoomID, id quinta.MessageID) string {
	return "mid/" + string(conv) + "\x00" + string(id)
}

// seen reports whether the id of a message was seen in a conversation.
func (m replays) seen(conv quinta.RoomID, id quinta.MessageID) (bool, error) {
	b, err := m.tx.Get(midKey(conv, id))
	return b != nil, err
}

var errSeenID = fmt.Errorf("%w: a message with this id already exists", cert.ErrReplayed)

// message notes the id of a message as seen, or returns ErrReplayed.
func (m replays) message(conv quinta.RoomID, id quinta.MessageID, r midRecord) error {
	seen, err := m.seen(conv, id)
	if err != nil {
		return err
	}
	if seen {
		return errSeenID
	}
	return e2ee.Store(m.tx, midKey(conv, id), &r)
}

// numbered notes a message with a number in its line as seen, or returns
// ErrReplayed. late says that the message may have waited.
func (m replays) numbered(c *seal.Content, r midRecord, line string, late bool) error {
	if seen, err := m.seen(c.Conv, c.ID); err != nil || seen {
		if err == nil {
			err = errSeenID
		}
		return err
	}
	if err := m.counted(c, r, line, late); err != nil {
		return err
	}
	return m.message(c.Conv, c.ID, r)
}

// counted notes the number of what is no message as seen, or returns
// ErrReplayed.
func (m replays) counted(c *seal.Content, r midRecord, line string, late bool) error {
	key := "line/" + string(c.Conv) + "\x00" + string(r.From) + " " + string(r.Device) + " " + line
	l, _, err := e2ee.Load[lineRecord](m.tx, key)
	if err != nil {
		return err
	}
	if !l.take(c.Seq, late) {
		return fmt.Errorf("%w: number %d of the sender was used before", cert.ErrReplayed, c.Seq)
	}
	return e2ee.Store(m.tx, key, &l)
}

// expected reports whether an item with a sum is the one that the history has
// brought under this id. It does so once.
func (m replays) expected(conv quinta.RoomID, id quinta.MessageID, sum string) (bool, error) {
	r, found, err := e2ee.Load[midRecord](m.tx, midKey(conv, id))
	if err != nil || !found || r.Sum == "" || r.Sum != sum {
		return false, err
	}
	r.Sum = ""
	return true, e2ee.Store(m.tx, midKey(conv, id), &r)
}

// A timed record has a time in Unix milliseconds, whatever else it has.
type timed struct {
	Time int64 `json:"time"`
}

func packetKey(conv quinta.RoomID, body []byte) string {
	return "packet/" + string(conv) + "\x00" + sumOf(body)
}

// packet returns ErrReplayed if the bytes of a message of the legacy profile,
// which has no number, were seen in a conversation.
func (m replays) packet(conv quinta.RoomID, body []byte) error {
	seen, err := m.tx.Get(packetKey(conv, body))
	if err == nil && seen != nil {
		err = fmt.Errorf("%w: the same packet arrived before", cert.ErrReplayed)
	}
	return err
}

// notePacket notes the bytes of a message of the legacy profile as seen.
func (m replays) notePacket(conv quinta.RoomID, body []byte, at time.Time) error {
	return e2ee.Store(m.tx, packetKey(conv, body), timed{at.UnixMilli()})
}

// prune forgets what is older than a time in Unix milliseconds.
func (m replays) prune(old int64) error {
	for _, prefix := range []string{"mid/", "sent/", "packet/", "answered/", "session/", "legacy/"} {
		for r, err := range e2ee.Records[timed](m.tx, prefix) {
			if err != nil {
				return err
			}
			if r.Value.Time < old {
				if err := m.tx.Delete(r.Key); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pruneEvery is how often what is too old is looked for.
const pruneEvery = 24 * time.Hour

// prune forgets what is older than what would be believed.
func (w *work) prune() error {
	now := w.now.UnixMilli()
	if w.early(w.meta.PruneAfter, pruneEvery) {
		return nil
	}
	w.meta.PruneAfter = now + pruneEvery.Milliseconds()
	if w.meta.Heard == 0 {
		return nil
	}
	// Neither a wrong clock nor a server's false time alone makes this device
	// forget.
	old := min(now, w.meta.Heard) - (seal.MaxAge + 2*seal.MaxBackdate).Milliseconds()
	if err := w.mem.prune(old); err != nil {
		return err
	}
	return w.pruneKeys(old)
}

// pruneKeys forgets keys that open nothing any more, and those that were made
// and are not needed.
func (w *work) pruneKeys(old int64) error {
	list, err := w.ownKeys()
	if err != nil {
		return err
	}
	for _, k := range slices.Clone(list) {
		cur, err := w.current(k.Profile, k.Use)
		if err != nil {
			return err
		}
		spare := cur != nil && (k.State == ownBlocked || k.State == ownMade) && k.Replaces == ""
		over := k.Expires != 0 && k.Expires < old && !k.valid(w.now)
		if !spare && !over {
			continue
		}
		if err := w.dropKey(k); err != nil {
			return err
		}
	}
	return nil
}
