package kill

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"sync"
)

// A book holds every promise that the server made.
type book struct {
	mu sync.Mutex
	// events are the ids of the acknowledged room messages by sender, at the
	// index of their number.
	events map[string][]string
	// tellings is how many messages to devices are acknowledged, by sender.
	tellings map[string]int
	// hearings is how many came, by sender and receiver.
	hearings map[[2]string]int
	// tokens are the last sync tokens, by user.
	tokens map[string]string
	// keys says of each one-time key what is known: false while its upload
	// has no answer.
	keys map[string]bool
	// given are the keys that were handed out.
	given map[string]bool
	// left is how many keys of each device were uploaded and not yet given.
	left map[string]int
	// lost counts claims without an answer.
	lost int
}

func newBook() *book {
	return &book{
		events: map[string][]string{}, tellings: map[string]int{}, hearings: map[[2]string]int{},
		tokens: map[string]string{}, keys: map[string]bool{}, given: map[string]bool{},
		left: map[string]int{},
	}
}

func (b *book) said(user string, n int, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := len(b.events[user]); got != n {
		return fmt.Errorf("message %d of %s is acknowledged after %d", n, user, got)
	}
	b.events[user] = append(b.events[user], id)
	return nil
}

func (b *book) told(user string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tellings[user] = n + 1
}

// heard books a message to a device, which must be the next of its sender.
func (b *book) heard(from, to string, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	pair := [2]string{from, to}
	if want := b.hearings[pair]; n != want {
		return fmt.Errorf("%s got message %d of %s to its device, want %d: it came twice, out of order, or one is lost", to, n, from, want)
	}
	b.hearings[pair]++
	return nil
}

func (b *book) token(user, next string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[user] = next
}

// outstanding is how many keys of a device should wait on the server.
func (b *book) outstanding(device string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left[device]
}

func (b *book) uploading(device string, ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left[device] += len(ids)
	for _, id := range ids {
		b.keys[id] = false
	}
}

func (b *book) uploaded(ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		b.keys[id] = true
	}
}

// claimed books keys that were handed out, which must be some that were
// uploaded and never handed out before.
func (b *book) claimed(device string, ids []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left[device] -= len(ids)
	for _, id := range ids {
		if _, known := b.keys[id]; !known {
			return fmt.Errorf("the key %s was never uploaded", id)
		}
		if b.given[id] {
			return fmt.Errorf("the one-time key %s was handed out twice", id)
		}
		b.given[id] = true
	}
	return nil
}

func (b *book) claimLost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost++
}

// Stop ends the load: every request that is begun gets its answer, so the
// server must be up.
func (l *Load) Stop() {
	l.tb.Helper()
	close(l.quit)
	l.work.Wait()
	l.cancel()
	l.syncs.Wait()
}

// Check compares the book with what the server holds, after Stop.
func (l *Load) Check() {
	l.tb.Helper()
	ctx := l.tb.Context()
	for _, c := range l.clients {
		l.checkToDevice(ctx, c)
		l.checkKeys(ctx, c)
	}
	l.checkRoom(ctx)
	l.checkCA(ctx)
	l.checkRC(ctx)
	l.checkChats(ctx)
	lost := 0
	for id := range maps.Keys(l.book.keys) {
		if !l.book.given[id] {
			lost++
		}
	}
	if lost > l.book.lost {
		l.tb.Errorf("%d one-time keys are gone, want at most %d: those whose claim had no answer", lost, l.book.lost)
	}
}

// checkToDevice takes what is left for a device: then it has all that was
// acknowledged.
func (l *Load) checkToDevice(ctx context.Context, c *client) {
	l.tb.Helper()
	since := l.book.tokens[c.user]
	for {
		n, next, err := l.syncOnce(ctx, c, since, 0)
		if err != nil {
			l.tb.Error(err)
			return
		}
		since = next
		if n == 0 {
			break
		}
	}
	for from, want := range l.book.tellings {
		if got := l.book.hearings[[2]string{from, c.user}]; got != want {
			l.tb.Errorf("%s got %d messages of %s to its device, want the %d acknowledged", c.user, got, from, want)
		}
	}
}

// checkKeys claims what is left of a device's one-time keys.
func (l *Load) checkKeys(ctx context.Context, c *client) {
	l.tb.Helper()
	for {
		ids, r, err := l.claimOnce(ctx, l.clients[0], c)
		if r != nil || err != nil {
			l.tb.Errorf("claiming what is left: %v, %v", r, err)
			return
		}
		if len(ids) == 0 {
			return
		}
		if err := l.book.claimed(c.device, ids); err != nil {
			l.tb.Error(err)
			return
		}
	}
}

// A page is an answer of /messages.
type page struct {
	End   string `json:"end"`
	Chunk []struct {
		EventID string `json:"event_id"`
		Type    string `json:"type"`
		Sender  string `json:"sender"`
		Content struct {
			N int `json:"n"`
		} `json:"content"`
	} `json:"chunk"`
}

// checkRoom reads the room's log from its beginning: every acknowledged
// message is in it once, under its id, in its sender's order, and nothing
// else does.
func (l *Load) checkRoom(ctx context.Context) {
	l.tb.Helper()
	next := map[string]int{}
	from := ""
	for {
		path := "/rooms/" + url.PathEscape(l.room) + "/messages?dir=f&limit=500"
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		var p page
		if err := l.until(ctx, l.clients[0], "GET", path, struct{}{}, &p); err != nil {
			l.tb.Error(err)
			return
		}
		for _, e := range p.Chunk {
			if e.Type != "m.room.encrypted" {
				continue
			}
			n := next[e.Sender]
			next[e.Sender]++
			said := l.book.events[e.Sender]
			if n >= len(said) || e.EventID != said[n] || e.Content.N != n {
				l.tb.Errorf("message %d of %s in the room is %s with number %d; %d are acknowledged", n, e.Sender, e.EventID, e.Content.N, len(said))
				return
			}
		}
		if p.End == "" || p.End == from {
			break
		}
		from = p.End
	}
	for user, said := range l.book.events {
		if next[user] != len(said) {
			l.tb.Errorf("the room holds %d messages of %s, want the %d acknowledged", next[user], user, len(said))
		}
	}
}
