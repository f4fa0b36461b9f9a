package rocketchatserver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/stores"
)

const password = "correct horse battery staple"

// A stage is a running server on which people play who know its wire alone.
type stage struct {
	*quintatest.Server
	t *testing.T
}

// each runs a test on both databases.
func each(t *testing.T, fn func(t *testing.T, s *stage), opts ...quintatest.Option) {
	t.Helper()
	t.Parallel()
	for _, engine := range stores.Engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, &stage{quintatest.Start(t, append([]quintatest.Option{quintatest.Database(stores.Config(t, engine))}, opts...)...), t})
		})
	}
}

// A person is one login.
type person struct {
	s               *stage
	id, name, token string
	pair            rocketchat.PrivateKey
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

type object = map[string]any

// A reply is the answer to a call.
type reply struct {
	t      *testing.T
	what   string
	status int
	raw    []byte
	body   object
}

func (p *person) call(method, path string, in any) *reply {
	p.s.t.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			p.s.t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	return p.request(method, path, "application/json", body, nil)
}

func (p *person) request(method, path, kind string, body io.Reader, head http.Header) *reply {
	p.s.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/api/v1/" + path
	}
	r, err := http.NewRequest(method, p.s.URL+path, body)
	if err != nil {
		p.s.t.Fatal(err)
	}
	for k, v := range head {
		r.Header[k] = v
	}
	if body != nil {
		r.Header.Set("Content-Type", kind)
	}
	if p.token != "" {
		r.Header.Set("X-User-Id", p.id)
		r.Header.Set("X-Auth-Token", p.token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		p.s.t.Fatal(err)
	}
	a := &reply{t: p.s.t, what: method + " " + path[:min(len(path), 80)], status: resp.StatusCode, raw: raw}
	_ = json.Unmarshal(raw, &a.body)
	return a
}

func (p *person) get(path string, query ...string) *reply {
	p.s.t.Helper()
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		q.Add(query[i], query[i+1])
	}
	return p.call(http.MethodGet, path+"?"+q.Encode(), nil)
}

func (p *person) post(path string, in any) *reply {
	p.s.t.Helper()
	return p.call(http.MethodPost, path, in)
}

// ok holds that a call succeeded.
func (a *reply) ok() *reply {
	a.t.Helper()
	if a.status != http.StatusOK || a.body["success"] == false {
		a.t.Fatalf("%s: got %d %s", a.what, a.status, a.raw)
	}
	return a
}

// fails holds that a call was refused.
func (a *reply) fails(status int, code string) *reply {
	a.t.Helper()
	if a.status != status || code != "" && a.body["errorType"] != code {
		a.t.Errorf("%s: got %d %s, want %d %s", a.what, a.status, a.raw, status, code)
	}
	return a
}

// at returns what stands at a path of members and positions.
func (a *reply) at(path ...any) any {
	a.t.Helper()
	var v any = a.body
	for _, k := range path {
		switch k := k.(type) {
		case string:
			m, _ := v.(object)
			v = m[k]
		case int:
			l, _ := v.([]any)
			if k >= len(l) {
				a.t.Fatalf("%s: got no %v in %s", a.what, path, a.raw)
			}
			v = l[k]
		}
	}
	return v
}

func (a *reply) text(path ...any) string {
	a.t.Helper()
	s, _ := a.at(path...).(string)
	return s
}

// no one is not logged in.
func (s *stage) nobody() *person { return &person{s: s} }

// person registers and logs in.
func (s *stage) person(name string) *person {
	s.t.Helper()
	p := &person{s: s, name: name}
	p.post("users.register", object{"username": name, "name": name, "email": name + "@example.org", "pass": password}).ok()
	return p.logsIn()
}

// logsIn makes another login of the person.
func (p *person) logsIn() *person {
	p.s.t.Helper()
	fresh := &person{s: p.s, name: p.name, pair: p.pair}
	a := fresh.post("login", object{"user": p.name, "password": password}).ok()
	fresh.id, fresh.token = a.text("data", "userId"), a.text("data", "authToken")
	if len(fresh.id) != 17 || fresh.token == "" {
		p.s.t.Fatalf("got %s", a.raw)
	}
	return fresh
}

// keyed registers, logs in and sets a key pair.
func (s *stage) keyed(name string) *person {
	s.t.Helper()
	p := s.person(name)
	p.setsKeys()
	return p
}

func (p *person) setsKeys() {
	p.s.t.Helper()
	var err error
	if p.pair, err = rocketchat.GeneratePrivateKey(rand.Reader); err != nil {
		p.s.t.Fatal(err)
	}
	blob, err := rocketchat.SealPrivateKey(rand.Reader, p.pair, "twelve words or so", p.id)
	if err != nil {
		p.s.t.Fatal(err)
	}
	p.post("e2e.setUserPublicAndPrivateKeys", object{"public_key": p.pair.Public().String(), "private_key": blob}).ok()
}

// group makes an encrypted group.
func (p *person) group(name string, members ...*person) string {
	p.s.t.Helper()
	var names []string
	for _, m := range members {
		names = append(names, m.name)
	}
	a := p.post("groups.create", object{"name": name, "members": names, "extraData": object{"encrypted": true}}).ok()
	if a.at("group", "encrypted") != true {
		p.s.t.Fatalf("got %s, want an encrypted group", a.raw)
	}
	return a.text("group", "_id")
}

func (p *person) roomKey() rocketchat.RoomKey {
	p.s.t.Helper()
	k, err := rocketchat.GenerateRoomKey(rand.Reader)
	if err != nil {
		p.s.t.Fatal(err)
	}
	return k
}

func (p *person) wrap(k rocketchat.RoomKey, to *person) string {
	p.s.t.Helper()
	w, err := k.Wrap(rand.Reader, to.pair.Public())
	if err != nil {
		p.s.t.Fatal(err)
	}
	return w
}

// begins makes the key of a room and keeps the own copy.
func (p *person) begins(rid string) rocketchat.RoomKey {
	p.s.t.Helper()
	k := p.roomKey()
	p.post("e2e.setRoomKeyID", object{"rid": rid, "keyID": k.ID()}).ok()
	p.post("e2e.updateGroupKey", object{"uid": p.id, "rid": rid, "key": p.wrap(k, p)}).ok()
	return k
}

func (p *person) seal(k rocketchat.RoomKey, text string) rocketchat.Content {
	p.s.t.Helper()
	c, err := rocketchat.SealContent(rand.Reader, k, rocketchat.TextBody(text))
	if err != nil {
		p.s.t.Fatal(err)
	}
	return c
}

// says sends a sealed text and returns its id.
func (p *person) says(rid string, k rocketchat.RoomKey, text string) string {
	p.s.t.Helper()
	return p.post("chat.sendMessage", object{"message": object{"rid": rid, "t": "e2e", "e2e": "pending", "content": p.seal(k, text)}}).ok().text("message", "_id")
}

// sub returns the person's own part in a room.
func (p *person) sub(rid string) *reply {
	p.s.t.Helper()
	return p.get("subscriptions.getOne", "roomId", rid).ok()
}

// form sends a file as the clients do.
func (p *person) form(path string, content any, name string, sealed []byte) *reply {
	p.s.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if content != nil {
		raw, err := json.Marshal(content)
		if err != nil {
			p.s.t.Fatal(err)
		}
		if err := w.WriteField("content", string(raw)); err != nil {
			p.s.t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("file", name)
	if err != nil {
		p.s.t.Fatal(err)
	}
	part.Write(sealed)
	w.Close()
	return p.request(http.MethodPost, path, w.FormDataContentType(), &b, nil)
}

// A socket is a connection of DDP.
type socket struct {
	t      *testing.T
	ws     *websocket.Conn
	frames chan object
	kept   []object
	n      int
}

const patience = time.Minute

// listens opens a websocket; frames are sent as they are.
func (s *stage) listens(head http.Header) *socket {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.URL, "http")+"/websocket", &websocket.DialOptions{HTTPHeader: head})
	if err != nil {
		s.t.Fatal(err)
	}
	ws.SetReadLimit(8 << 20)
	c := &socket{t: s.t, ws: ws, frames: make(chan object, 1000)}
	s.t.Cleanup(func() { ws.CloseNow() })
	go func() {
		defer close(c.frames)
		for {
			_, raw, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			var f object
			if json.Unmarshal(raw, &f) == nil {
				c.frames <- f
			}
		}
	}()
	return c
}

func (c *socket) send(f any) {
	c.t.Helper()
	raw, ok := f.(string)
	if !ok {
		b, err := json.Marshal(f)
		if err != nil {
			c.t.Fatal(err)
		}
		raw = string(b)
	}
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, []byte(raw)); err != nil {
		c.t.Fatal(err)
	}
}

// waits returns the first frame that fits, also of those that came before.
func (c *socket) waits(what string, fits func(f object) bool) object {
	c.t.Helper()
	for i, f := range c.kept {
		if fits(f) {
			c.kept = append(c.kept[:i:i], c.kept[i+1:]...)
			return f
		}
	}
	end := time.After(patience)
	for {
		select {
		case f, ok := <-c.frames:
			if !ok {
				c.t.Fatalf("the connection ended before %s; %v", what, c.kept)
			}
			if fits(f) {
				return f
			}
			c.kept = append(c.kept, f)
		case <-end:
			c.t.Fatalf("waited in vain for %s; %v", what, c.kept)
		}
	}
}

func (c *socket) next() string { c.n++; return fmt.Sprint("id", c.n) }

// method calls a method and returns its result frame.
func (c *socket) method(name string, params ...any) object {
	c.t.Helper()
	id := c.next()
	if params == nil {
		params = []any{}
	}
	c.send(object{"msg": "method", "method": name, "id": id, "params": params})
	f := c.waits("the result of "+name, func(f object) bool { return f["msg"] == "result" && f["id"] == id })
	c.waits("that "+name+" is done", func(f object) bool {
		l, _ := f["methods"].([]any)
		return f["msg"] == "updated" && len(l) == 1 && l[0] == id
	})
	return f
}

// sub subscribes and returns the answer.
func (c *socket) sub(stream, key string) object {
	c.t.Helper()
	id := c.next()
	c.send(object{"msg": "sub", "id": id, "name": stream, "params": []any{key, object{"useCollection": false, "args": []any{nil}}}})
	return c.waits("the answer to "+stream, func(f object) bool {
		l, _ := f["subs"].([]any)
		return f["msg"] == "ready" && len(l) == 1 && l[0] == id || f["msg"] == "nosub" && f["id"] == id
	})
}

// hears returns the arguments of an event of a stream.
func (c *socket) hears(stream, key string) []any {
	c.t.Helper()
	f := c.waits(key+" of "+stream, func(f object) bool {
		fields, _ := f["fields"].(object)
		return f["msg"] == "changed" && f["collection"] == stream && fields["eventName"] == key
	})
	args, _ := f["fields"].(object)["args"].([]any)
	return args
}

// connected opens a websocket and logs in with the token.
func (p *person) connected() *socket {
	p.s.t.Helper()
	c := p.s.listens(nil)
	c.send(object{"msg": "connect", "version": "1", "support": []string{"1", "pre2", "pre1"}})
	c.waits("the session", func(f object) bool { return f["msg"] == "connected" && f["session"] != "" })
	if f := c.method("login", object{"resume": p.token}); f["error"] != nil {
		p.s.t.Fatalf("got %v", f)
	}
	return c
}

// code returns the code of a refusal of DDP.
func code(f object) any {
	e, _ := f["error"].(object)
	return e["error"]
}
