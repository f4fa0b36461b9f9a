package caserver

import (
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/conversation"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// lookAgain is how often a waiter looks without having been woken, since the
// word of another node can be lost.
const lookAgain = 15 * time.Second

// pageBytes bounds the bodies of one page; a page always has one item.
const pageBytes = 8 << 20

func (s *caServer) mailboxCalls() {
	s.at(http.MethodGet, wire.PathMailbox, endpoint{long: true, rate: rateRead, handle: (*call).getMailbox})
	s.at(http.MethodPost, wire.PathAck, endpoint{rate: rateRead, body: maxBody, handle: (*call).postAck})
	s.at(http.MethodGet, wire.PathHistory, endpoint{rate: rateRead, handle: (*call).getHistory})
}

// getMailbox answers with what waits for the calling device after a position.
// If nothing does it waits, for as long as the caller says.
func (c *call) getMailbox() (any, error) {
	after, err := c.paramInt("after", 0, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	limit, err := c.paramInt("limit", 100, wire.MaxLimit)
	if err != nil {
		return nil, err
	}
	wait, err := c.paramInt("timeout", 0, wire.MaxWait.Milliseconds())
	if err != nil {
		return nil, err
	}
	w := c.Hub.Wait(feed.Device(network, c.user, c.device))
	defer w.Close()
	end := time.NewTimer(time.Duration(wait) * time.Millisecond)
	defer end.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for over := wait == 0; ; {
		m, err := c.page(quinta.Pos(after), max(1, int(limit)))
		if err != nil || len(m.Items) > 0 || over {
			return m, err
		}
		select {
		case <-w.C():
		case <-again.C:
			// A token that ended meanwhile ends the wait.
			if err := c.authenticate(); err != nil {
				return nil, err
			}
		case <-end.C:
			over = true
		case <-c.Draining():
			over = true
		case <-c.ctx().Done():
			return nil, c.ctx().Err()
		}
	}
}

// page reads one page of the mailbox of the calling device.
func (c *call) page(after quinta.Pos, limit int) (*wire.Mailbox, error) {
	m := &wire.Mailbox{Items: []wire.Item{}, Next: after}
	err := c.View(c.ctx(), func(tx *db.Tx) error {
		list, more, err := mailbox.Read(tx, network, c.user, c.device, after, limit)
		if err != nil {
			return err
		}
		m.More = more
		size := 0
		for _, e := range list {
			it := wire.Item{Pos: e.Pos, Kind: wire.Kind(e.Type), Form: wire.FormJSON, Received: utc(tx.Millis()), Body: e.Body}
			if r, ok := parseRef(e.Body, e.Type); ok {
				if it, err = itemAt(tx, r); err != nil {
					return err
				}
				it.Pos = e.Pos
			}
			if size += len(it.Body); size > pageBytes && len(m.Items) > 0 {
				m.More = true
				return nil
			}
			m.Items = append(m.Items, it)
			m.Next = e.Pos
		}
		return nil
	})
	return m, err
}

func itemAt(tx *db.Tx, r ref) (wire.Item, error) {
	m, err := conversation.At(tx, network, r.Conv, r.Pos)
	return item(m), err
}

// item is a message of the log in the form of the wire.
func item(m conversation.Message) wire.Item {
	return wire.Item{
		Pos: m.Pos, Conv: m.Conv, ID: m.ID, From: m.Sender, Device: m.Device, Kind: wire.Kind(m.Type), Form: wire.Form(m.Form),
		Body: m.Body, Received: utc(m.Time),
	}
}

// postAck moves the cursor of the calling device, and notes how far any device
// of the user has come.
func (c *call) postAck() (any, error) {
	var q wire.AckRequest
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.UpTo < 0 {
		return nil, invalid("upTo is not a position")
	}
	return wire.Empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error {
		if err := mailbox.Ack(tx, network, c.user, c.device, q.UpTo); err != nil {
			return err
		}
		now, err := tx.Pos()
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO ca_delivered (user_id, upto) VALUES ($1, $2)
			ON CONFLICT (user_id) DO UPDATE SET upto = excluded.upto WHERE ca_delivered.upto < excluded.upto`, c.user, min(q.UpTo, now))
		return err
	})
}

// delivered returns how far any device of the user has acknowledged.
func delivered(tx *db.Tx, user quinta.UserID) (quinta.Pos, error) {
	var upto quinta.Pos
	err := tx.Row(`SELECT upto FROM ca_delivered WHERE user_id = $1`, user).Scan(&upto)
	if errors.Is(err, db.ErrNoRows) {
		return 0, nil
	}
	return upto, err
}

// getHistory answers with the messages of a conversation since the caller
// joined it, newest first.
func (c *call) getHistory() (any, error) {
	before, err := c.paramInt("before", math.MaxInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	limit, err := c.paramInt("limit", 50, wire.MaxLimit)
	if err != nil {
		return nil, err
	}
	h := &wire.History{Items: []wire.Item{}}
	err = c.View(c.ctx(), func(tx *db.Tx) error {
		conv, m, err := c.joinedConversation(tx)
		if err != nil {
			return err
		}
		size, n := 0, max(1, int(limit))
		for m, err := range conversation.Backward(tx, network, conv.Conv, m.Joined, quinta.Pos(before), string(wire.KindMessage), n+1) {
			if err != nil {
				return err
			}
			it := item(m)
			if size += len(it.Body); len(h.Items) == n || size > pageBytes && len(h.Items) > 0 {
				h.Before = h.Items[len(h.Items)-1].Pos
				return nil
			}
			h.Items = append(h.Items, it)
		}
		return nil
	})
	return h, err
}
