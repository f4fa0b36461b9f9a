package kill

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
)

// users is how many users load the server, each with one device and five
// clients of it that work side by side.
const users = 4

// batch is how many one-time keys go up at once.
const batch = 5

// keyAlgorithm is that of the one-time keys.
const keyAlgorithm = "signed_curve25519"

// A Load is a set of clients at work on one server.
type Load struct {
	tb      testing.TB
	urls    []string
	http    *http.Client
	room    string
	clients []*client
	book    *book
	// ca are the devices of the CA network.
	ca []*caDevice
	// rc are the people of the Rocket.Chat network, in one group.
	rc     []*rcPerson
	rcRoom quinta.RoomID
	// chats are those of the secret chat network, if they were started.
	chats *chats

	refused  atomic.Int64
	doubtful atomic.Bool
	acks     atomic.Int64
	ack      chan struct{}

	quit   chan struct{}
	cancel context.CancelFunc
	work   sync.WaitGroup
	syncs  sync.WaitGroup
}

// Start makes the accounts and a room with all of them on the server at the
// urls, which are its nodes, and sets them to work, the users spread over the
// nodes. The load continues through everything that happens to the server until
// Stop.
func Start(tb testing.TB, urls ...string) *Load {
	tb.Helper()
	l := &Load{
		tb: tb, urls: urls, book: newBook(), ack: make(chan struct{}, 1), quit: make(chan struct{}),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8 * users}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	tb.Cleanup(func() {
		cancel()
		l.work.Wait()
		l.syncs.Wait()
		l.http.CloseIdleConnections()
	})
	if err := errors.Join(l.people(ctx), l.caPeople(ctx), l.rcPeople(ctx)); err != nil {
		tb.Fatal(err)
	}
	for i, c := range l.clients {
		l.run(ctx, &l.work, func(ctx context.Context, n int) error { return l.say(ctx, c, n) })
		l.run(ctx, &l.work, func(ctx context.Context, n int) error { return l.tell(ctx, c, n) })
		l.run(ctx, &l.work, func(ctx context.Context, n int) error { return l.upload(ctx, c, n) })
		random := mathrand.New(mathrand.NewPCG(uint64(i), 1))
		l.run(ctx, &l.work, func(ctx context.Context, _ int) error {
			return l.claim(ctx, c, l.clients[random.IntN(users)])
		})
		l.syncs.Go(func() { l.listen(ctx, c) })
	}
	l.startCA(ctx)
	l.startRC(ctx)
	return l
}

// people makes the users and their room.
func (l *Load) people(ctx context.Context) error {
	for i := range users {
		c, err := l.setUp(ctx, l.urls[i%len(l.urls)], fmt.Sprintf("user%d", i))
		if err != nil {
			return err
		}
		l.clients = append(l.clients, c)
	}
	var made struct {
		RoomID string `json:"room_id"`
	}
	if err := l.until(ctx, l.clients[0], "POST", "/createRoom", map[string]string{"preset": "public_chat"}, &made); err != nil {
		return err
	}
	l.room = made.RoomID
	for _, c := range l.clients[1:] {
		if err := l.until(ctx, c, "POST", "/join/"+url.PathEscape(l.room), struct{}{}, nil); err != nil {
			return err
		}
	}
	return nil
}

// run does one kind of work over and over, one after the other, until the
// load is stopped; the work that is begun is finished.
func (l *Load) run(ctx context.Context, group *sync.WaitGroup, step func(context.Context, int) error) {
	group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-l.quit:
				return
			default:
			}
			if err := step(ctx, n); err != nil {
				if !errors.Is(err, context.Canceled) {
					l.tb.Error(err)
				}
				return
			}
		}
	})
}

// answered counts a good answer.
func (l *Load) answered() {
	l.acks.Add(1)
	select {
	case l.ack <- struct{}{}:
	default:
	}
}

// Await returns when the server has given n more good answers.
func (l *Load) Await(n int64) {
	l.tb.Helper()
	late := time.NewTimer(60 * time.Second)
	defer late.Stop()
	for target := l.acks.Load() + n; l.acks.Load() < target; {
		select {
		case <-l.ack:
		case <-late.C:
			l.tb.Fatalf("got no %d good answers in a minute", n)
		}
	}
}

// AwaitRefusals returns when n more answers were a server's error.
func (l *Load) AwaitRefusals(n int64) {
	l.tb.Helper()
	late := time.NewTimer(60 * time.Second)
	defer late.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for target := l.refused.Load() + n; l.refused.Load() < target; {
		select {
		case <-tick.C:
		case <-late.C:
			l.tb.Fatalf("got no %d errors in a minute", n)
		}
	}
}

// Doubt says that from now on an error of the server (5xx) may mean that the
// request was carried out: a database whose connection breaks during the
// commit does not say whether it committed.
func (l *Load) Doubt() { l.doubtful.Store(true) }

// Refused returns how many answers were a server's error (5xx) so far.
func (l *Load) Refused() int64 { return l.refused.Load() }

// Acknowledged returns how many good answers came so far.
func (l *Load) Acknowledged() int64 { return l.acks.Load() }

// say sends the n-th message of a client into the room.
func (l *Load) say(ctx context.Context, c *client, n int) error {
	path := "/rooms/" + url.PathEscape(l.room) + "/send/m.room.encrypted/say" + strconv.Itoa(n)
	body := map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": l.base64(120), "n": n}
	var sent struct {
		EventID string `json:"event_id"`
	}
	if err := l.until(ctx, c, "PUT", path, body, &sent); err != nil {
		return err
	}
	return l.book.said(c.user, n, sent.EventID)
}

// tell sends the n-th message of a client to the devices of all.
func (l *Load) tell(ctx context.Context, c *client, n int) error {
	messages := map[string]any{}
	for _, to := range l.clients {
		messages[to.user] = map[string]any{to.device: map[string]any{"n": n, "ciphertext": l.base64(60)}}
	}
	if err := l.until(ctx, c, "PUT", "/sendToDevice/m.test/tell"+strconv.Itoa(n), map[string]any{"messages": messages}, nil); err != nil {
		return err
	}
	l.book.told(c.user, n)
	return nil
}

// stock is how many one-time keys of a device wait on the server; a real
// client keeps about fifty.
const stock = 60

// upload uploads the n-th batch of a device's one-time keys, if its stock is
// not full.
func (l *Load) upload(ctx context.Context, c *client, n int) error {
	if l.book.outstanding(c.device) >= stock {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			return nil
		}
	}
	keys := map[string]any{}
	var ids []string
	for i := range batch {
		id := keyAlgorithm + ":" + c.device + "." + strconv.Itoa(n*batch+i)
		ids = append(ids, id)
		keys[id] = map[string]any{"key": l.base64(32), "signatures": c.signature(l)}
	}
	l.book.uploading(c.device, ids)
	if err := l.until(ctx, c, "POST", "/keys/upload", map[string]any{"one_time_keys": keys}, nil); err != nil {
		return err
	}
	l.book.uploaded(ids)
	return nil
}

// claim asks once for a one-time key of a device. Without an answer no one
// knows whether a key was taken, so the claim is not repeated.
func (l *Load) claim(ctx context.Context, c, of *client) error {
	ids, r, err := l.claimOnce(ctx, c, of)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r != nil && r.status < 500:
		return fmt.Errorf("%w: keys/claim: %s", errBroken, r)
	case r != nil:
		l.refused.Add(1)
		if l.doubtful.Load() {
			l.book.claimLost()
		}
	case err != nil:
		l.book.claimLost()
	default:
		l.answered()
		return l.book.claimed(of.device, ids)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

// claimOnce claims one key and returns the ids of what was given.
func (l *Load) claimOnce(ctx context.Context, c, of *client) ([]string, *refusal, error) {
	body := map[string]any{"one_time_keys": map[string]any{of.user: map[string]string{of.device: keyAlgorithm}}}
	var got struct {
		OneTimeKeys map[string]map[string]map[string]any `json:"one_time_keys"`
	}
	r, err := c.do(ctx, "POST", "/keys/claim", body, &got)
	var ids []string
	for id := range got.OneTimeKeys[of.user][of.device] {
		ids = append(ids, id)
	}
	return ids, r, err
}

// filter keeps a sync small; the room's log is read at the end.
var filter = url.QueryEscape(`{"room":{"timeline":{"limit":5}}}`)

// synced is what the load reads of a sync.
type synced struct {
	NextBatch string `json:"next_batch"`
	ToDevice  struct {
		Events []struct {
			Type    string `json:"type"`
			Sender  string `json:"sender"`
			Content struct {
				N int `json:"n"`
			} `json:"content"`
		} `json:"events"`
	} `json:"to_device"`
}

// listen syncs until the load's end.
func (l *Load) listen(ctx context.Context, c *client) {
	since := ""
	for ctx.Err() == nil {
		_, next, err := l.syncOnce(ctx, c, since, 2000)
		if err != nil {
			if ctx.Err() == nil {
				l.tb.Error(err)
			}
			return
		}
		since = next
		l.book.token(c.user, next)
	}
}

// syncOnce makes one sync and books the messages in it. The token that it
// returns acknowledges them at the next one.
func (l *Load) syncOnce(ctx context.Context, c *client, since string, timeout int) (int, string, error) {
	path := "/sync?timeout=" + strconv.Itoa(timeout) + "&filter=" + filter
	if since != "" {
		path += "&since=" + url.QueryEscape(since)
	}
	var s synced
	if err := l.until(ctx, c, "GET", path, struct{}{}, &s); err != nil {
		return 0, "", err
	}
	for _, e := range s.ToDevice.Events {
		if err := l.book.heard(e.Sender, c.user, e.Content.N); err != nil {
			return 0, "", err
		}
	}
	return len(s.ToDevice.Events), s.NextBatch, nil
}

// base64 returns n random bytes in unpadded base64.
func (l *Load) base64(n int) string {
	b := make([]byte, n)
	// crypto/rand.Read never fails.
	rand.Read(b)
	return base64.RawStdEncoding.EncodeToString(b)
}
