package kill

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// rcUsers is how many users of the Rocket.Chat network load the server: half of
// their messages go by REST, the others over a websocket, on which they listen too.
const rcUsers = 2

// Between two of its calls of a kind a client rests a while, as people do.
const (
	rcRest      = 20 * time.Millisecond
	rcResetRest = 300 * time.Millisecond
	rcKeepRest  = 100 * time.Millisecond
	// rcOverlap is how far a catching up reaches back before the last one.
	rcOverlap = 10 * time.Second
)

// rcFailures are the codes of what goes wrong in the server itself.
var rcFailures = []string{wire.CodeUnavailable, wire.CodeInternal, wire.CodeFull}

// A rcPerson is one login, and what the server has promised to it.
type rcPerson struct {
	*client
	url  string // of the node, for the websocket
	pair rocketchat.PrivateKey

	mu sync.Mutex
	// said are the ids of its acknowledged messages.
	said map[quinta.MessageID]bool
	// heard are the contents of the messages that came, by id.
	heard map[quinta.MessageID]string
	// since is the time from which it catches up.
	since time.Time
	// blob is the last key blob that was acknowledged.
	blob string
	// keys are the wrapped copies of the room keys that were acknowledged.
	keys []string
}

// rcPeople makes the users and their encrypted group.
func (l *Load) rcPeople(ctx context.Context) error {
	var names []string
	for i := range rcUsers {
		base := l.urls[i%len(l.urls)]
		name := fmt.Sprintf("rc%d", i)
		p := &rcPerson{client: &client{url: base + wire.PathAPI, http: l.http, head: http.Header{}}, url: base, said: map[quinta.MessageID]bool{}, heard: map[quinta.MessageID]string{}}
		password := "a good password for " + name
		if err := l.until(ctx, p.client, "POST", "users.register", map[string]string{"username": name, "name": name, "email": name + "@example.org", "pass": password}, nil); err != nil {
			return err
		}
		var a wire.Login
		if err := l.until(ctx, p.client, "POST", "login", map[string]string{"user": name, "password": password}, &a); err != nil {
			return err
		}
		p.user, p.token = a.Data.UserID, a.Data.AuthToken
		p.head.Set(wire.HeaderUser, p.user)
		p.head.Set(wire.HeaderToken, p.token)
		var err error
		if p.pair, err = rocketchat.GeneratePrivateKey(rand.Reader); err != nil {
			return err
		}
		if err := l.rcKeepPair(ctx, p, 0); err != nil {
			return err
		}
		l.rc = append(l.rc, p)
		names = append(names, name)
	}
	var made struct{ Group wire.Room }
	group := map[string]any{"name": "all-of-them", "members": names[1:], "extraData": map[string]bool{"encrypted": true}}
	if err := l.until(ctx, l.rc[0].client, "POST", "groups.create", group, &made); err != nil {
		return err
	}
	l.rcRoom = made.Group.ID
	first, wrapped, err := l.rc[0].roomKey()
	if err != nil {
		return err
	}
	if err := l.until(ctx, l.rc[0].client, "POST", "e2e.setRoomKeyID", map[string]any{"rid": l.rcRoom, "keyID": first}, nil); err != nil {
		return err
	}
	l.rc[0].keys = []string{wrapped}
	return l.until(ctx, l.rc[0].client, "POST", "e2e.updateGroupKey", map[string]any{"uid": l.rc[0].user, "rid": l.rcRoom, "key": wrapped}, nil)
}

// roomKey makes a room key, and returns its id and the person's own copy.
func (p *rcPerson) roomKey() (id, wrapped string, err error) {
	k, err := rocketchat.GenerateRoomKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	wrapped, err = k.Wrap(rand.Reader, p.pair.Public())
	return k.ID(), wrapped, err
}

// startRC sets the people to work.
func (l *Load) startRC(ctx context.Context) {
	for _, p := range l.rc {
		l.run(ctx, &l.work, func(ctx context.Context, n int) error { return l.rcSay(ctx, p, n) })
		l.run(ctx, &l.work, func(ctx context.Context, n int) error { return l.rcKeepPair(ctx, p, n+1) })
		l.syncs.Go(func() { l.rcListen(ctx, p) })
		var s *rcSocket
		l.run(ctx, &l.work, func(ctx context.Context, n int) (err error) {
			s, err = l.rcSayDDP(ctx, p, s, n)
			return err
		})
	}
	l.run(ctx, &l.work, func(ctx context.Context, _ int) error { return l.rcReset(ctx, l.rc[0]) })
}

// rest waits, unless the load ends.
func (l *Load) rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-l.quit:
	case <-time.After(d):
	}
}

// rcMessage is a message of a sealed form, which the server cannot open.
func (l *Load) rcMessage(id string) map[string]any {
	return map[string]any{"_id": id, "rid": l.rcRoom, "t": "e2e", "content": map[string]string{"algorithm": "rc.v2.aes-sha2", "kid": "a-key-of-the-room", "iv": padded(l.base64(12)), "ciphertext": padded(l.base64(96))}}
}

// padded fills base64 up to whole blocks.
func padded(s string) string { return s + strings.Repeat("=", (4-len(s)%4)%4) }

func (p *rcPerson) promised(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said[quinta.MessageID(id)] = true
}

// rcSay sends the n-th message of a person by REST.
func (l *Load) rcSay(ctx context.Context, p *rcPerson, n int) error {
	id := p.user + "-rest-" + strconv.Itoa(n)
	if err := l.until(ctx, p.client, "POST", "chat.sendMessage", map[string]any{"message": l.rcMessage(id)}, nil); err != nil {
		return err
	}
	p.promised(id)
	l.rest(ctx, rcRest)
	return nil
}

// rcSayDDP sends the n-th message of a person over a websocket, and does so again over
// another one until it is answered.
func (l *Load) rcSayDDP(ctx context.Context, p *rcPerson, s *rcSocket, n int) (*rcSocket, error) {
	id := p.user + "-ddp-" + strconv.Itoa(n)
	m := l.rcMessage(id)
	for {
		err := ctx.Err()
		if err != nil {
			return s, err
		}
		if s == nil {
			if s, err = l.rcDial(ctx, p); err != nil {
				l.rest(ctx, pause)
				s = nil
				continue
			}
		}
		if err = s.method(ctx, "sendMessage", m); err == nil {
			break
		}
		if r, ok := errors.AsType[*rcRefusal](err); ok {
			if !slices.Contains(rcFailures, r.code) {
				return s, fmt.Errorf("%w: sendMessage: %v", errBroken, r)
			}
			l.refused.Add(1)
			l.rest(ctx, pause)
		}
		s.close()
		s = nil
	}
	l.answered()
	p.promised(id)
	l.rest(ctx, rcRest)
	return s, nil
}

// rcKeepPair stores the n-th blob of a person's private key.
func (l *Load) rcKeepPair(ctx context.Context, p *rcPerson, n int) error {
	blob := fmt.Sprintf(`{"iv":%q,"ciphertext":%q,"salt":"v2:%d","iterations":100000}`, padded(l.base64(12)), padded(l.base64(1600)), n)
	q := map[string]any{"public_key": p.pair.Public().String(), "private_key": blob, "force": true}
	if err := l.until(ctx, p.client, "POST", "e2e.setUserPublicAndPrivateKeys", q, nil); err != nil {
		return err
	}
	p.mu.Lock()
	p.blob = blob
	p.mu.Unlock()
	l.rest(ctx, rcKeepRest)
	return nil
}

// rcReset replaces the key of the room. Only one person does so, and the server takes
// one reset in ten seconds.
func (l *Load) rcReset(ctx context.Context, p *rcPerson) error {
	id, wrapped, err := p.roomKey()
	if err != nil {
		return err
	}
	for {
		r, err := p.do(ctx, "POST", "e2e.resetRoomKey", map[string]any{"rid": l.rcRoom, "e2eKey": wrapped, "e2eKeyId": id}, nil)
		switch {
		case err == nil && r == nil:
			l.answered()
			p.mu.Lock()
			p.keys = append(p.keys, wrapped)
			p.mu.Unlock()
			l.rest(ctx, rcResetRest)
			return nil
		case r != nil && r.ErrorType == rocketchat.CodeResetRunning:
			l.rest(ctx, rcResetRest)
			return nil
		case r != nil && r.status < 500:
			return fmt.Errorf("%w: e2e.resetRoomKey: %s", errBroken, r)
		case r != nil:
			l.refused.Add(1)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// rcListen hears messages live, and catches up after each break.
func (l *Load) rcListen(ctx context.Context, p *rcPerson) {
	for ctx.Err() == nil {
		s, err := l.rcDial(ctx, p)
		if err == nil {
			if err = s.write(ctx, wire.Frame{Msg: "sub", ID: "all", Name: "stream-room-messages", Params: json.RawMessage(`["__my_messages__",false]`)}); err == nil {
				_, err = s.until(ctx, func(f wire.Frame) bool { return f.Msg == "ready" }, p)
			}
			if err == nil {
				if err := l.rcCatchUp(ctx, p); err != nil {
					if ctx.Err() == nil {
						l.tb.Error(err)
					}
					s.close()
					return
				}
				_, err = s.until(ctx, func(wire.Frame) bool { return false }, p)
			}
			s.close()
		}
		if errors.Is(err, errBroken) {
			l.tb.Error(err)
			return
		}
		l.rest(ctx, pause)
	}
}

// rcCatchUp asks which rooms changed since the last time, and what was said in them.
func (l *Load) rcCatchUp(ctx context.Context, p *rcPerson) error {
	at := time.Now().Add(-rcOverlap)
	var rooms struct{ Update []wire.Room }
	q := "?" + url.Values{"updatedSince": {p.since.UTC().Format(time.RFC3339Nano)}}.Encode()
	if p.since.IsZero() {
		q = ""
	}
	if err := l.until(ctx, p.client, "GET", "rooms.get"+q, nil, &rooms); err != nil {
		return err
	}
	if slices.ContainsFunc(rooms.Update, func(r wire.Room) bool { return r.ID == l.rcRoom }) {
		list, err := l.rcSync(ctx, p, p.since)
		if err != nil {
			return err
		}
		for _, m := range list {
			if err := p.hears(m); err != nil {
				return err
			}
		}
	}
	p.since = at
	return nil
}

// rcSync returns what was said in the room since a time.
func (l *Load) rcSync(ctx context.Context, p *rcPerson, since time.Time) ([]rocketchat.Message, error) {
	var a struct {
		Result struct{ Updated []rocketchat.Message }
	}
	q := url.Values{"roomId": {string(l.rcRoom)}, "lastUpdate": {since.UTC().Format(time.RFC3339Nano)}}
	if since.IsZero() {
		q.Del("lastUpdate")
	}
	return a.Result.Updated, l.until(ctx, p.client, "GET", "chat.syncMessages?"+q.Encode(), nil, &a)
}

// hears books a message that came.
func (p *rcPerson) hears(m rocketchat.Message) error {
	if m.Type != rocketchat.TypeE2E {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.heard[m.ID]; ok && have != string(m.Content) {
		return fmt.Errorf("%w: %s changed", errBroken, m.ID)
	}
	if !strings.HasPrefix(string(m.ID), m.User.ID+"-") {
		return fmt.Errorf("%w: %s comes as a message of %s", errBroken, m.ID, m.User.ID)
	}
	p.heard[m.ID] = string(m.Content)
	return nil
}

// checkRC compares what was promised with what the server has.
func (l *Load) checkRC(ctx context.Context) {
	l.tb.Helper()
	want := map[quinta.MessageID]bool{}
	for _, p := range l.rc {
		for id := range p.said {
			want[id] = true
		}
	}
	for _, p := range l.rc {
		if err := l.rcCatchUp(ctx, p); err != nil {
			l.tb.Error(err)
			return
		}
		for id := range want {
			if _, ok := p.heard[id]; !ok {
				l.tb.Errorf("%s did not hear of %s", p.user, id)
			}
		}
		if len(p.heard) != len(want) {
			l.tb.Errorf("%s heard %d messages, want the %d acknowledged", p.user, len(p.heard), len(want))
		}
		l.checkRCKeys(ctx, p)
	}
}

// checkRCKeys looks up what the server keeps of a person's keys.
func (l *Load) checkRCKeys(ctx context.Context, p *rcPerson) {
	l.tb.Helper()
	var keys struct {
		Public  string `json:"public_key"`
		Private string `json:"private_key"`
	}
	if err := l.until(ctx, p.client, "GET", "e2e.fetchMyKeys", nil, &keys); err != nil {
		l.tb.Error(err)
		return
	}
	if keys.Private != p.blob || keys.Public != p.pair.Public().String() {
		l.tb.Errorf("%s has a key pair that is not the last one acknowledged", p.user)
	}
	var part struct{ Subscription wire.Subscription }
	if err := l.until(ctx, p.client, "GET", "subscriptions.getOne?roomId="+url.QueryEscape(string(l.rcRoom)), nil, &part); err != nil {
		l.tb.Error(err)
		return
	}
	var got []string
	if part.Subscription.E2EKey != "" {
		got = append(got, part.Subscription.E2EKey)
	}
	for _, o := range part.Subscription.Old {
		got = append(got, o.Key)
	}
	newest := slices.Clone(p.keys)
	slices.Reverse(newest)
	if !slices.Equal(got, newest[:min(len(newest), 11)]) {
		l.tb.Errorf("%s has %d copies of room keys, want those of the %d keys acknowledged", p.user, len(got), len(newest))
	}
}
