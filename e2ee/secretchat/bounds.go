package secretchat

import (
	"strconv"

	"github.com/quinta-chat/quinta/e2ee"
)

// What others can make a device store is bounded. Of an open chat it is: maxGap
// messages that are held, maxUnacknowledged that are kept, and each of those on
// its way again once. The chats that others asked for and this user did not accept
// are bounded for each of them and in all; the oldest are forgotten, closed ones
// included.
const maxRequests, maxRequestsOfOne = 1000, 20

func (w *work) requestBound() *e2ee.Bound {
	return e2ee.NewBound(w.tx, "requests", maxRequestsOfOne, maxRequests)
}

// holdRequest notes a chat that a user asks for, and forgets those that go for it.
func (w *work) holdRequest(u *Chat) error {
	evicted, err := w.requestBound().Add(strconv.FormatInt(u.Admin, 10), u.ID.String())
	if err != nil {
		return err
	}
	for _, old := range evicted {
		n, err := strconv.ParseUint(old, 10, 32)
		if err != nil {
			return e2ee.Damaged("bound/requests")
		}
		c, err := w.chat(ChatID(int32(uint32(n))))
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		if err := w.end(c, whyMany, false); err != nil {
			return err
		}
		delete(w.chats, c.ID)
		if err := w.tx.Delete(preChat + old); err != nil {
			return err
		}
	}
	return nil
}

// sentAgain returns the numbers of a chat's messages that are on their way again.
func (w *work) sentAgain(c *chat) (map[int]bool, error) {
	out := map[int]bool{}
	for r, err := range w.queue.All() {
		if err != nil {
			return nil, err
		}
		if r.Value.Chat == c.ID && r.Value.Again {
			out[r.Value.Out] = true
		}
	}
	return out, nil
}
