package sync

import (
	"context"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
)

// A waiter is a sync that waits for something to happen. It holds as little
// as it can, since most devices do this all the time.
type waiter struct {
	*Device
	until time.Time
	// keys are what the waiter subscribes to: the account, the device, and
	// the rooms that are known.
	keys []string
	on   *feed.Waiter
}

// listen begins to hear of the keys.
func (w *waiter) listen() {
	if w.on == nil {
		w.on = w.Core.Hub.Wait(w.keys...)
	}
}

// follow makes the waiter hear of the rooms as well, and reports whether it
// did not before.
func (w *waiter) follow(rooms []quinta.RoomID) bool {
	had := make(map[string]struct{}, len(w.keys))
	for _, k := range w.keys {
		had[k] = struct{}{}
	}
	fresh := false
	keys := append(make([]string, 0, 2+len(rooms)), w.keys[:2]...)
	for _, id := range rooms {
		k := feed.Room(network, id)
		if _, there := had[k]; !there {
			fresh = true
		}
		keys = append(keys, k)
	}
	if fresh {
		w.stop()
		w.keys = keys
		w.listen()
	}
	return fresh
}

// sleep waits for a wake-up, from the rooms too, and reports whether to look
// again; if not, the time is up.
func (w *waiter) sleep(ctx context.Context, rooms []quinta.RoomID, looked quinta.Pos) (bool, error) {
	if w.follow(rooms) {
		// Something may have happened in one of them since the look.
		var now quinta.Pos
		err := w.Core.Peek(ctx, func(tx *db.Tx) (err error) {
			now, err = tx.Pos()
			return err
		})
		if err != nil || now != looked {
			return true, err
		}
	}
	rest := time.Until(w.until)
	if !w.Core.Embedded() && rest > lookAgain {
		rest = lookAgain
	}
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-w.on.C():
	case <-t.C:
		if time.Until(w.until) <= 0 {
			return false, nil
		}
	case <-w.Core.Draining():
		return false, nil
	case <-ctx.Done():
		return false, nil
	}
	// It may have been woken by the end of the login.
	return true, w.Valid()
}

// stop unsubscribes.
func (w *waiter) stop() {
	if w.on != nil {
		w.on.Close()
		w.on = nil
	}
}
