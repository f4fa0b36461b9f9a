package matrixserver

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/mailbox"
)

// A device that never comes back must not gather messages forever, and what
// it misses must not be lost in silence. So a sender with too much in one
// mailbox is told to wait, and a device that has been away for long and is so
// full is logged out: it hears that when it comes, its owner sees that it is
// gone, and others do not encrypt for it any more.

const (
	// crowdEvery is how often the mailboxes are looked through.
	crowdEvery = 10 * time.Minute
	// awayLong is how long a device was not seen that is logged out when its
	// mailbox is full.
	awayLong = 30 * 24 * time.Hour
	// maxCrowds bounds what one look deals with.
	maxCrowds = 10_000
)

// Periodically looks through the mailboxes.
func (s *homeserver) Periodically(ctx context.Context) error {
	now := s.Now().UnixMilli()
	if last := s.crowdSeen.Load(); last != 0 && now-last < crowdEvery.Milliseconds() {
		return nil
	}
	s.crowdSeen.Store(now)
	var crowds []mailbox.Crowd
	if err := s.View(ctx, func(tx *db.Tx) (err error) {
		crowds, err = mailbox.Crowds(tx, maxCrowds)
		return err
	}); err != nil {
		return err
	}
	if err := s.UpdateAlways(ctx, func(tx *db.Tx) error { return mailbox.SetFull(tx, crowds) }); err != nil {
		return err
	}
	for i, c := range crowds {
		if i > 0 && c.User == crowds[i-1].User && c.Device == crowds[i-1].Device || c.User.Network() != network {
			continue // done, or a device of another network
		}
		if err := s.UpdateAlways(ctx, func(tx *db.Tx) error { return s.endIfAway(tx, c) }); err != nil {
			return err
		}
	}
	return nil
}

// endIfAway logs a device out that was not seen for long.
func (s *homeserver) endIfAway(tx *db.Tx, c mailbox.Crowd) error {
	d, err := device.Get(tx, network, c.User.ID(), c.Device)
	if quinta.KindOf(err) == quinta.KindNotFound {
		return nil
	}
	if err != nil || tx.Millis()-max(d.Seen, d.Created) < awayLong.Milliseconds() {
		return err
	}
	s.Log.Info("matrix: a device that was away for a long time has a full mailbox and was logged out", "user", c.User.ID(), "device", c.Device)
	return s.removeDevice(tx, c.User.ID(), c.Device)
}
