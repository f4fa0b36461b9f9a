package bot_test

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/bot"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
)

const (
	patience = time.Minute
	password = "correct horse battery staple"
)

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// account makes an account without leaving a device behind that anybody uses.
func account(t *testing.T, url, name string) {
	t.Helper()
	in := client.Credentials{Server: url, User: name, Password: client.NewSecret(password)}
	if _, err := (matrixclient.Network{}).Register(t.Context(), memory.New(), env, in); err != nil {
		t.Fatal(err)
	}
}

// A talker is somebody who talks to the bot.
type talker struct {
	s        *matrixclient.Session
	messages chan quinta.Message
	room     quinta.RoomID
}

// talks makes alice, and her encrypted room to which the bot is invited.
func talks(t *testing.T, url string, in client.NewRoom) *talker {
	t.Helper()
	st := memory.New()
	cred := client.Credentials{Server: url, User: "alice", Password: client.NewSecret(password)}
	if _, err := (matrixclient.Network{}).Register(t.Context(), st, env, cred); err != nil {
		t.Fatal(err)
	}
	s, err := matrixclient.Network{}.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	a := &talker{s: s.(*matrixclient.Session), messages: make(chan quinta.Message, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	joined := make(chan struct{}, 100)
	go func() {
		done <- a.s.Run(ctx, func(e e2ee.Event) {
			switch {
			case e.Kind == e2ee.EventMessage:
				a.messages <- e.Message
			case e.Kind == e2ee.EventRoom:
				joined <- struct{}{}
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("alice: run: got %v, want no error", err)
		}
	})
	if a.room, err = a.s.Create(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	return a
}

// waits returns when the bot is in the room.
func (a *talker) waits(t *testing.T, user quinta.UserID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		members, err := a.s.Members(ctx, a.room)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if m.User == user && m.Membership == "join" {
				tick.Stop()
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s did not join the room", user)
		}
	}
}

func (a *talker) says(t *testing.T, text string, clear bool) {
	t.Helper()
	d := client.Text(text)
	d.Clear = clear
	if _, err := a.s.Send(t.Context(), a.room, d); err != nil {
		t.Fatal(err)
	}
}

// hears returns the next message of somebody else.
func (a *talker) hears(t *testing.T) quinta.Message {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case m := <-a.messages:
			if m.Sender != a.s.Self().User {
				return m
			}
		case <-end:
			t.Fatal("the bot did not answer")
		}
	}
}

// runs runs a bot until the end of the test or stop.
func runs(t *testing.T, cfg bot.Config, on func(bot.Message) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg.Log = func(line string) { t.Log(line) }
	go func() { done <- bot.Run(ctx, matrixclient.Network{}, cfg, on) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("bot: got %v, want it to end without error", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func echo(m bot.Message) error { return m.Reply("you said: " + m.Text) }

func TestAnswersAndResumes(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	account(t, url, "echo")
	a := talks(t, url, client.NewRoom{Invite: []quinta.UserID{"@echo:hs1"}})
	cfg := bot.Config{Server: url, User: "echo", Password: password, Dir: filepath.Join(t.TempDir(), "state")}
	stop := runs(t, cfg, echo)
	a.waits(t, "@echo:hs1")
	a.says(t, "hello", false)
	first := a.hears(t)
	if first.Text != "you said: hello" || first.Kind != quinta.MessageNotice || !first.Encrypted || first.Relation.Kind != quinta.RelationReply {
		t.Errorf("got %+v, want a sealed notice that answers", first)
	}
	stop()
	a.says(t, "are you there", false)
	cfg.Password = "" // the device is known: none is needed
	runs(t, cfg, echo)
	second := a.hears(t)
	if second.Text != "you said: are you there" || second.Device != first.Device {
		t.Errorf("got %q of device %s, want the answer to what was said meanwhile, of device %s", second.Text, second.Device, first.Device)
	}
}

func TestInvitationsAreItsOwn(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	account(t, url, "shy")
	a := talks(t, url, client.NewRoom{Invite: []quinta.UserID{"@shy:hs1"}})
	asked := make(chan client.RoomInfo, 10)
	cfg := bot.Config{Server: url, User: "shy", Password: password, Dir: t.TempDir(), Invited: func(r client.RoomInfo) bool { asked <- r; return false }}
	runs(t, cfg, echo)
	select {
	case r := <-asked:
		if r.ID != a.room || r.Inviter != "@alice:hs1" {
			t.Errorf("got %+v, want the room of alice", r)
		}
	case <-time.After(patience):
		t.Fatal("the bot was not asked about the invitation")
	}
	members, err := a.s.Members(t.Context(), a.room)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.User == "@shy:hs1" && m.Membership != "invite" {
			t.Errorf("got membership %q, want the invitation to stand", m.Membership)
		}
	}
}

func TestClearRoomsByConsent(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	account(t, url, "echo")
	a := talks(t, url, client.NewRoom{Invite: []quinta.UserID{"@echo:hs1"}, Clear: true})
	cfg := bot.Config{Server: url, User: "echo", Password: password, Dir: t.TempDir()}
	stop := runs(t, cfg, func(m bot.Message) error {
		t.Errorf("got a message in clear: %q", m.Text)
		return nil
	})
	a.waits(t, "@echo:hs1")
	a.says(t, "in clear", true)
	stop()
	cfg.Clear = true
	runs(t, cfg, echo)
	a.says(t, "once more", true)
	if m := a.hears(t); m.Encrypted || !strings.HasPrefix(m.Text, "you said: ") {
		t.Errorf("got %+v, want an answer in clear", m)
	}
}

func TestRefusesWrongPassword(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	account(t, url, "echo")
	err := bot.Run(t.Context(), matrixclient.Network{}, bot.Config{Server: url, User: "echo", Password: "wrong", Dir: t.TempDir()}, echo)
	if quinta.KindOf(err) != quinta.KindUnauthenticated || strings.Contains(err.Error(), "wrong "+"horse") {
		t.Errorf("got %v, want an error of kind %v", err, quinta.KindUnauthenticated)
	}
}

// TestReadme builds and runs the program in README.md as it stands there; only
// the address is another one.
func TestReadme(t *testing.T) {
	t.Parallel()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatalf("building the program of the README: %v", err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var program string
	for _, part := range strings.Split(string(readme), "```go\n")[1:] {
		if p, _, _ := strings.Cut(part, "```"); strings.Contains(p, "bot.Run(") {
			program = p
		}
	}
	if n := strings.Count(program, "\n"); n == 0 || n > 20 {
		t.Fatalf("got a program of %d lines in README.md, want 1 to 20", n)
	}
	url := quintatest.Start(t).URL
	account(t, url, "echo")
	a := talks(t, url, client.NewRoom{Invite: []quinta.UserID{"@echo:hs1"}})
	dir := t.TempDir()
	program = strings.Replace(program, `"https://example.org"`, `"`+url+`"`, 1)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), goTool, "build", "-o", filepath.Join(dir, "echo"), filepath.Join(dir, "main.go"))
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	run := exec.Command(filepath.Join(dir, "echo"))
	run.Dir, run.Env = dir, append(os.Environ(), "PASSWORD="+password)
	run.Stderr = t.Output()
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = run.Wait() // it was killed
	})
	a.waits(t, "@echo:hs1")
	a.says(t, "hello", false)
	if m := a.hears(t); m.Text != "you said: hello" || !m.Encrypted {
		t.Errorf("got %q, want the sealed answer of the program", m.Text)
	}
}
