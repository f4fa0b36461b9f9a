package ca

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/e2ee/ca/seal"
)

// What was seen is remembered in two ways. Of each line of keys and
// conversation the highest number is kept, with the numbers below it that did
// not come: what comes new must be above, what had to wait must be one of those.
// Of each message the id is kept for as long as its time would be believed.

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

func midKey(conv quinta.RoomID, id quinta.MessageID) string {
	return "mid/" + string(conv) + "\x00" + string(id)
}

// seenID reports whether the id of a message was seen in a conversation.
func (w *work) seenID(conv quinta.RoomID, id quinta.MessageID) (bool, error) {
	b, err := w.tx.Get(midKey(conv, id))
	return b != nil, err
}

// remember notes a message as seen, or returns ErrReplayed.
func (w *work) remember(c *seal.Content, r midRecord, line string, late bool) error {
	if seen, err := w.seenID(c.Conv, c.ID); err != nil || seen {
		if err == nil {
			err = errSeenID
		}
		return err
	}
	key := "line/" + string(c.Conv) + "\x00" + string(r.From) + " " + string(r.Device) + " " + line
	var l lineRecord
	if _, err := w.get(key, &l); err != nil {
		return err
	}
	if !l.take(c.Seq, late) {
		return fmt.Errorf("%w: number %d of the sender came before", cert.ErrReplayed, c.Seq)
	}
	if err := w.put(key, &l); err != nil {
		return err
	}
	return w.rememberID(c.Conv, c.ID, r)
}

var errSeenID = fmt.Errorf("%w: there was a message of this id", cert.ErrReplayed)

// rememberID notes the id of a message as seen, or returns ErrReplayed.
func (w *work) rememberID(conv quinta.RoomID, id quinta.MessageID, r midRecord) error {
	seen, err := w.seenID(conv, id)
	if err != nil {
		return err
	}
	if seen {
		return errSeenID
	}
	return w.put(midKey(conv, id), &r)
}

// pruneEvery is how often what is too old is looked for.
const pruneEvery = 24 * time.Hour

// prune forgets what is older than what would be believed.
func (w *work) prune() error {
	now := w.now.UnixMilli()
	if w.meta.PruneAfter > now && w.meta.PruneAfter <= now+pruneEvery.Milliseconds() {
		return nil
	}
	w.meta.PruneAfter = now + pruneEvery.Milliseconds()
	if w.meta.Heard == 0 {
		return nil
	}
	// Neither a wrong clock nor a server's false time alone makes this device
	// forget.
	old := min(now, w.meta.Heard) - (seal.MaxAge + 2*seal.MaxBackdate).Milliseconds()
	for _, prefix := range []string{"mid/", "sent/", "packet/", "answered/", "session/", "legacy/"} {
		entries, err := w.entries(prefix)
		if err != nil {
			return err
		}
		for _, e := range entries {
			var r struct {
				Time int64 `json:"time"`
			}
			if err := json.Unmarshal(e.Value, &r); err != nil {
				return damaged(prefix)
			}
			if r.Time < old {
				if err := w.tx.Delete(e.Key); err != nil {
					return err
				}
			}
		}
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
