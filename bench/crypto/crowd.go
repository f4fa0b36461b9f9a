package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/store/sqlite"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
)

// devicesEach is how many devices a user of a crowd has.
const devicesEach = 5

// self is the device that shares a key.
const (
	selfUser   = quinta.UserID("@alice:bench")
	selfDevice = quinta.DeviceID("ALICE")
	crowdRoom  = quinta.RoomID("!crowd:bench")
)

// A member is one device to which keys are given.
type member struct {
	user    quinta.UserID
	device  quinta.DeviceID
	acc     *olm.Account
	keys    json.RawMessage
	oneTime key.OneTimePublic
	// name, signed and signature are the one-time key as its device published it.
	name      string
	signed    json.RawMessage
	signature []byte
}

// A crowd is a device in an encrypted room with many others, with the loop,
// the machine and the encrypted store of the SDK. Its link answers from memory
// what a server would, and counts how long that took.
type crowd struct {
	dir     string
	st      client.Store
	m       *matrix.Machine
	loop    *client.Loop
	members []*member
	named   map[quinta.UserID]map[quinta.DeviceID]*member
	own     json.RawMessage
	// answering is the time that went into answers: of the processor, and on
	// the clock.
	answering, answered time.Duration
	sent, shares        int
	// first is a share for the first member as it left.
	first json.RawMessage
}

// An inTurn is a request without a lane: it leaves when the one before it was
// answered, so that the time of the answers can be told from the machine's.
type inTurn matrix.Req

// turns is the machine with such requests.
type turns struct{ *matrix.Machine }

func (t turns) Outgoing(tx e2ee.Tx) ([]inTurn, error) {
	list, err := t.Machine.Outgoing(tx)
	out := make([]inTurn, len(list))
	for i, r := range list {
		out[i] = inTurn(r)
	}
	return out, err
}

func (t turns) Done(tx e2ee.Tx, r inTurn, ans matrix.Ans) ([]e2ee.Event, error) {
	return t.Machine.Done(tx, matrix.Req(r), ans)
}

// newCrowd makes a room with n other devices whose keys are known. The store
// is the encrypted file of the SDK, or in memory.
func newCrowd(ctx context.Context, n int, inMemory bool) (c *crowd, err error) {
	c = &crowd{named: map[quinta.UserID]map[quinta.DeviceID]*member{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.dir, err = os.MkdirTemp("", "quinta-bench-"); err != nil {
		return c, err
	}
	k, err := sqlite.NewKey(rand.Reader)
	if err != nil {
		return c, err
	}
	if inMemory {
		c.st = memory.New()
	} else if c.st, err = sqlite.Open(filepath.Join(c.dir, "store.db"), k); err != nil {
		return c, err
	}
	for i := range n {
		if err := c.admit(i); err != nil {
			return c, err
		}
	}
	env := e2ee.Env{Now: time.Now, Rand: rand.Reader}
	c.m = matrix.New(env, selfUser, selfDevice)
	c.loop = client.NewLoop(client.Parts[matrix.In, inTurn, matrix.Ans]{Machine: turns{c.m}, Link: c, Store: c.st, Env: env})
	in, err := matrix.ParseSync("", c.sync())
	if err != nil {
		return c, err
	}
	if err := c.loop.Do(ctx, func(tx e2ee.Tx) ([]e2ee.Event, error) { return c.m.Receive(tx, in) }); err != nil {
		return c, err
	}
	return c, c.loop.Flush(ctx)
}

// close removes all that the crowd wrote.
func (c *crowd) close() error {
	var err error
	if c.st != nil {
		err = c.st.Close()
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// admit makes one more device, with one one-time key.
func (c *crowd) admit(i int) error {
	m := &member{user: quinta.UserID(fmt.Sprintf("@u%05d:bench", i/devicesEach)), device: quinta.DeviceID(fmt.Sprintf("D%05d", i))}
	var err error
	if m.acc, err = olm.NewAccount(rand.Reader); err != nil {
		return err
	}
	sign := func(raw []byte) (json.RawMessage, error) {
		return canonicaljson.Sign(raw, string(m.user), "ed25519:"+string(m.device), m.acc.Sign)
	}
	if m.keys, err = sign(fmt.Appendf(nil, `{"algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"device_id":%q,"keys":{"curve25519:%s":"%s","ed25519:%s":"%s"},"user_id":%q}`,
		m.device, m.device, m.acc.Identity(), m.device, m.acc.Signing(), m.user)); err != nil {
		return err
	}
	if err := m.acc.GenerateOneTimeKeys(rand.Reader, 1); err != nil {
		return err
	}
	k := m.acc.Unpublished()[0]
	bare := []byte(`{"key":"` + k.Key.String() + `"}`)
	m.oneTime, m.name, m.signature = k.Key, "signed_curve25519:"+k.ID.String(), m.acc.Sign(bare)
	if m.signed, err = sign(bare); err != nil {
		return err
	}
	if c.named[m.user] == nil {
		c.named[m.user] = map[quinta.DeviceID]*member{}
	}
	c.named[m.user][m.device] = m
	c.members = append(c.members, m)
	return nil
}

// membership lists the members of the room as state events.
func (c *crowd) membership() []json.RawMessage {
	var out []json.RawMessage
	for i, u := range slices.Sorted(maps.Keys(c.named)) {
		out = append(out, fmt.Appendf(nil, `{"type":"m.room.member","state_key":%q,"sender":%q,"event_id":"$m%d","origin_server_ts":1,"content":{"membership":"join"}}`, u, u, i))
	}
	return append(out, fmt.Appendf(nil, `{"type":"m.room.member","state_key":%q,"sender":%q,"event_id":"$self","origin_server_ts":1,"content":{"membership":"join"}}`, selfUser, selfUser))
}

// sync is the first sync of the device.
func (c *crowd) sync() []byte {
	state := append(c.membership(), fmt.Appendf(nil, `{"type":"m.room.encryption","state_key":"","sender":%q,"event_id":"$e","origin_server_ts":1,"content":{"algorithm":"m.megolm.v1.aes-sha2"}}`, selfUser))
	return encode(map[string]any{
		"next_batch": "s1", "device_one_time_keys_count": map[string]int{"signed_curve25519": 50},
		"rooms": map[string]any{"join": map[quinta.RoomID]any{crowdRoom: map[string]any{"state": map[string]any{"events": state}}}},
	})
}

// encode writes a value of ours as JSON, which cannot fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("crypto: internal error: " + err.Error())
	}
	return b
}

var _ client.Link[matrix.In, inTurn, matrix.Ans] = (*crowd)(nil)

// Receive implements client.Link. A crowd says nothing.
func (c *crowd) Receive(ctx context.Context, _ client.Store) (matrix.In, error) {
	<-ctx.Done()
	return matrix.In{}, ctx.Err()
}

// Do implements client.Link.
func (c *crowd) Do(_ context.Context, q inTurn) (matrix.Ans, error) {
	r := matrix.Req(q)
	from, err := machine.Own()
	if err != nil {
		return matrix.Ans{}, err
	}
	began := time.Now()
	body, err := c.answer(r)
	if err != nil {
		return matrix.Ans{}, err
	}
	to, err := machine.Own()
	c.answering += to - from
	c.answered += time.Since(began)
	return matrix.Ans{Body: body}, err
}

// answer says what a server would.
func (c *crowd) answer(r matrix.Req) ([]byte, error) {
	switch r.Kind {
	case matrix.ReqKeysUpload:
		var b struct {
			Keys json.RawMessage `json:"device_keys"`
		}
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return nil, err
		}
		if b.Keys != nil {
			c.own = b.Keys
		}
		return []byte(`{"one_time_key_counts":{"signed_curve25519":50}}`), nil
	case matrix.ReqKeysQuery:
		return c.query(r.Body)
	case matrix.ReqKeysClaim:
		return c.claim(r.Body)
	case matrix.ReqMembers:
		return encode(map[string]any{"chunk": c.membership()}), nil
	case matrix.ReqToDevice:
		return []byte(`{}`), c.take(r)
	case matrix.ReqRoomSend:
		c.sent++
		return fmt.Appendf(nil, `{"event_id":"$sent%d"}`, c.sent), nil
	}
	return nil, fmt.Errorf("a request that nobody expected: %s", r.Kind)
}

func (c *crowd) query(body []byte) ([]byte, error) {
	var b struct {
		Users map[quinta.UserID]json.RawMessage `json:"device_keys"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	out := map[quinta.UserID]map[quinta.DeviceID]json.RawMessage{}
	for u := range b.Users {
		out[u] = map[quinta.DeviceID]json.RawMessage{}
		for d, m := range c.named[u] {
			out[u][d] = m.keys
		}
		if u == selfUser {
			out[u][selfDevice] = c.own
		}
	}
	return encode(map[string]any{"device_keys": out}), nil
}

func (c *crowd) claim(body []byte) ([]byte, error) {
	var b struct {
		Devices map[quinta.UserID]map[quinta.DeviceID]string `json:"one_time_keys"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	out := map[quinta.UserID]map[quinta.DeviceID]map[string]json.RawMessage{}
	for u, ds := range b.Devices {
		out[u] = map[quinta.DeviceID]map[string]json.RawMessage{}
		for d := range ds {
			m := c.named[u][d]
			if m == nil {
				return nil, fmt.Errorf("a claim for %s %s, who is not there", u, d)
			}
			out[u][d] = map[string]json.RawMessage{m.name: m.signed}
		}
	}
	return encode(map[string]any{"one_time_keys": out}), nil
}

// take counts who was given a key.
func (c *crowd) take(r matrix.Req) error {
	p, err := url.Parse(r.Path)
	if err != nil {
		return err
	}
	if !strings.Contains(p.Path, "/sendToDevice/m.room.encrypted/") {
		return fmt.Errorf("a message to devices that nobody expected: %s", p.Path)
	}
	var b struct {
		Messages map[quinta.UserID]map[quinta.DeviceID]json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return err
	}
	for u, ds := range b.Messages {
		for d, content := range ds {
			if c.named[u][d] == nil {
				return fmt.Errorf("a key for %s %s, who is not there", u, d)
			}
			if m := c.members[0]; c.first == nil && m.user == u && m.device == d {
				c.first = content
			}
			c.shares++
		}
	}
	return nil
}
