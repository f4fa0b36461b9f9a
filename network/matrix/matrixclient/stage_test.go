package matrixclient_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
)

// patience bounds every wait of these tests.
const patience = 2 * time.Minute

// A person is one device of one user in a story.
type person struct {
	t    *testing.T
	s    *matrixclient.Session
	st   client.Store
	stop func()

	mu     sync.Mutex
	events []e2ee.Event
	came   chan struct{}
}

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// password of everyone in these tests.
var password = client.NewSecret("correct horse battery staple")

// meets makes an account and a device on the server at url.
func meets(t *testing.T, url, name string) *person {
	t.Helper()
	return enters(t, url, name, matrixclient.Network{}, memory.New(), true)
}

func enters(t *testing.T, url, name string, n matrixclient.Network, st client.Store, register bool) *person {
	t.Helper()
	in := client.Credentials{Server: url, User: name, Password: password, DeviceName: name + "'s device"}
	login := n.Login
	if register {
		login = n.Register
	}
	if _, err := login(t.Context(), st, env, in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return resumes(t, n, st)
}

// resumes opens the session that a store holds.
func resumes(t *testing.T, n matrixclient.Network, st client.Store) *person {
	t.Helper()
	s, err := n.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, s: s.(*matrixclient.Session), st: st, came: make(chan struct{})}
}

// runs keeps the person connected until the end of the test or stop.
func (p *person) runs() *person {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.s.Run(ctx, p.on) }()
	var once sync.Once
	p.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				p.t.Errorf("%s: run: got %v, want it to end without error", p.s.Self().User, err)
			}
		})
	}
	p.t.Cleanup(p.stop)
	return p
}

func (p *person) on(e e2ee.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	close(p.came)
	p.came = make(chan struct{})
}

// sees waits for an event for which is returns true.
func (p *person) sees(what string, is func(e2ee.Event) bool) e2ee.Event {
	p.t.Helper()
	end := time.After(patience)
	for seen := 0; ; {
		p.mu.Lock()
		for ; seen < len(p.events); seen++ {
			if is(p.events[seen]) {
				defer p.mu.Unlock()
				return p.events[seen]
			}
		}
		came := p.came
		p.mu.Unlock()
		select {
		case <-came:
		case <-end:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("%s: no %s in %v; got %v", p.s.Self().User, what, patience, p.events)
		}
	}
}

// reads waits for a message with the text and returns it.
func (p *person) reads(text string) quinta.Message {
	p.t.Helper()
	e := p.sees(fmt.Sprintf("message %q", text), func(e e2ee.Event) bool { return e.Kind == e2ee.EventMessage && e.Message.Text == text })
	return e.Message
}

// saw counts the messages with the text that came so far.
func (p *person) saw(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == e2ee.EventMessage && e.Message.Text == text {
			n++
		}
	}
	return n
}

// sends sends a text and waits until the server has it.
func (p *person) sends(room quinta.RoomID, text string) quinta.Message {
	p.t.Helper()
	return p.sendsDraft(room, client.Text(text))
}

func (p *person) sendsDraft(room quinta.RoomID, d client.Draft) quinta.Message {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	txn, err := p.s.Send(ctx, room, d)
	if err != nil {
		p.t.Fatalf("%s: send: %v", p.s.Self().User, err)
	}
	return p.sees("answer to the message", func(e e2ee.Event) bool { return e.Kind == e2ee.EventSent && e.Message.Txn == txn }).Message
}

// invites makes an encrypted room and has everyone join it.
func (p *person) invites(others ...*person) quinta.RoomID {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	in := client.NewRoom{Name: "the room"}
	for _, o := range others {
		in.Invite = append(in.Invite, o.s.Self().User)
	}
	room, err := p.s.Create(ctx, in)
	if err != nil {
		p.t.Fatalf("create: %v", err)
	}
	for _, o := range others {
		if _, err := o.s.Join(ctx, string(room)); err != nil {
			p.t.Fatalf("%s: join: %v", o.s.Self().User, err)
		}
	}
	return room
}

// shown returns the timeline of a room as "sender: text" lines.
func (p *person) shown(room quinta.RoomID) []string {
	p.t.Helper()
	var out []string
	for _, it := range p.items(room) {
		line := string(it.Message.Sender) + ": " + it.Message.Text
		if it.Reason != "" {
			line = string(it.Message.Sender) + ": [" + string(it.Reason) + "]"
		}
		if it.Redacted {
			line = string(it.Message.Sender) + ": (gone)"
		}
		out = append(out, line)
	}
	return out
}

func (p *person) items(room quinta.RoomID) []timeline.Item {
	p.t.Helper()
	items, err := p.s.Read(p.t.Context(), room, timeline.Query{})
	if err != nil {
		p.t.Fatal(err)
	}
	return items
}

// wantKind fails the test unless err is of the kind.
func wantKind(t *testing.T, err error, want quinta.Kind) {
	t.Helper()
	if err == nil || quinta.KindOf(err) != want {
		t.Fatalf("got error %v of kind %v, want kind %v", err, quinta.KindOf(err), want)
	}
}

// changeOf changes the bodies of successes below a path that holds part.
func changeOf(part string, fn func(b []byte) []byte) func(*http.Request, int, []byte) (int, []byte) {
	return func(r *http.Request, status int, b []byte) (int, []byte) {
		if strings.Contains(r.URL.Path, part) && status == http.StatusOK {
			b = fn(b)
		}
		return status, b
	}
}

// changeStatus changes the status of answers below a path that holds part.
func changeStatus(part string, fn func(status int) int) func(*http.Request, int, []byte) (int, []byte) {
	return func(r *http.Request, status int, b []byte) (int, []byte) {
		if strings.Contains(r.URL.Path, part) {
			status = fn(status)
		}
		return status, b
	}
}

// tokenOf returns the access token of a person, out of the store.
func (p *person) tokenOf() string {
	p.t.Helper()
	var a struct {
		Token string `json:"token"`
	}
	if err := p.st.View(p.t.Context(), func(tx e2ee.Tx) error {
		b, err := tx.Get("link/account")
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &a)
	}); err != nil {
		p.t.Fatal(err)
	}
	return a.Token
}

// encrypts makes a room encrypted, as another program of the person would.
func (p *person) encrypts(url string, room quinta.RoomID) {
	p.t.Helper()
	p.puts(url, "/_matrix/client/v3/rooms/"+string(room)+"/state/m.room.encryption", map[string]string{"algorithm": "m.megolm.v1.aes-sha2"})
}

// puts has the person put something on the server by another program.
func (p *person) puts(url, path string, content any) {
	p.t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPut, url+path, bytes.NewReader(b))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.tokenOf())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: got %s", path, resp.Status)
	}
}

// gets asks the server for something as the person.
func (p *person) gets(url, path string, out any) {
	p.t.Helper()
	p.asks(http.MethodGet, url+path, nil, out)
}

// posts asks the server for something as the person.
func (p *person) posts(url, path string, in, out any) {
	p.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		p.t.Fatal(err)
	}
	p.asks(http.MethodPost, url+path, bytes.NewReader(b), out)
}

func (p *person) asks(method, at string, body io.Reader, out any) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, at, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.tokenOf())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: got %s", at, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		p.t.Fatal(err)
	}
}
