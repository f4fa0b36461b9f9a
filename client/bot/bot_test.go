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
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
	"github.com/quinta-chat/quinta/quintatest"
)

const (
	patience = time.Minute
	password = "correct horse battery staple"
)

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// A network is one on which bots run.
type network struct {
	client.Registrar
	// echo is the name of the bot there.
	echo quinta.UserID
}

var (
	matrix   = network{matrixclient.Network{}, "@echo:hs1"}
	ca       = network{caclient.Network{}, "echo@hs1"}
	rocket   = network{rocketchatclient.Network{}, "echo"}
	networks = []network{matrix, ca, rocket}
)

// server starts a server on which the bot has an account.
func server(t *testing.T, name string) string {
	t.Helper()
	s := quintatest.Start(t)
	if err := s.Core.AddAccount(t.Context(), name, password); err != nil {
		t.Fatal(err)
	}
	return s.URL
}

// A seat is what alice's session can do.
type seat interface {
	client.Talker
	client.MemberLister
	client.DeviceJudge
}

// A talker is someone who talks to the bot.
type talker struct {
	s        seat
	messages chan quinta.Message
	room     quinta.RoomID
}

// talks makes alice, and her encrypted room to which the bot is invited.
func talks(t *testing.T, n network, url string, in client.NewRoom) *talker {
	t.Helper()
	st := memory.New()
	cred := client.Credentials{Server: url, User: "alice", Password: client.NewSecret(password)}
	if _, err := n.Register(t.Context(), st, env, cred); err != nil {
		t.Fatal(err)
	}
	s, err := n.Open(t.Context(), st, env)
	if err != nil {
		t.Fatal(err)
	}
	a := &talker{s: s.(seat), messages: make(chan quinta.Message, 100)}
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
			case e.Kind == e2ee.EventFailed, e.Kind == e2ee.EventTrouble, e.Kind == e2ee.EventUndecryptable:
				t.Logf("alice: %s %s", e.Reason, e.Detail)
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

// waits returns when the bot is in the room and can be written to.
func (a *talker) waits(t *testing.T, user quinta.UserID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		members, err := a.s.Members(ctx, a.room)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if m.User != user || m.Membership != "join" {
				continue
			}
			devices, err := a.s.Devices(ctx, user)
			if err == nil && len(devices) > 0 && devices[0].Fingerprint != "" {
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

// hears returns the next message of someone else.
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
func runs(t *testing.T, n network, cfg bot.Config, on func(bot.Message) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg.Log = func(line string) { t.Log(line) }
	go func() { done <- bot.Run(ctx, n, cfg, on) }()
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
	for _, n := range networks {
		t.Run(string(n.Name()), func(t *testing.T) {
			t.Parallel()
			answersAndResumes(t, n)
		})
	}
}

func answersAndResumes(t *testing.T, n network) {
	url := server(t, "echo")
	a := talks(t, n, url, client.NewRoom{Invite: []quinta.UserID{n.echo}})
	cfg := bot.Config{Server: url, User: "echo", Password: password, Dir: filepath.Join(t.TempDir(), "state")}
	stop := runs(t, n, cfg, echo)
	a.waits(t, n.echo)
	a.says(t, "hello", false)
	first := a.hears(t)
	if first.Text != "you said: hello" || first.Kind != quinta.MessageNotice || !first.Encrypted || first.Relation.Kind != quinta.RelationReply {
		t.Errorf("got %+v, want a sealed notice that answers", first)
	}
	stop()
	a.says(t, "are you there", false)
	cfg.Password = "" // the device is known: none is needed
	runs(t, n, cfg, echo)
	second := a.hears(t)
	if second.Text != "you said: are you there" || second.Device != first.Device {
		t.Errorf("got %q of device %s, want the answer to what was said meanwhile, of device %s", second.Text, second.Device, first.Device)
	}
}

func TestInvitationsAreItsOwn(t *testing.T) {
	t.Parallel()
	url := server(t, "shy")
	a := talks(t, matrix, url, client.NewRoom{Invite: []quinta.UserID{"@shy:hs1"}})
	asked := make(chan client.RoomInfo, 10)
	cfg := bot.Config{Server: url, User: "shy", Password: password, Dir: t.TempDir(), Invited: func(r client.RoomInfo) bool { asked <- r; return false }}
	runs(t, matrix, cfg, echo)
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
	url := server(t, "echo")
	a := talks(t, matrix, url, client.NewRoom{Invite: []quinta.UserID{"@echo:hs1"}, Clear: true})
	cfg := bot.Config{Server: url, User: "echo", Password: password, Dir: t.TempDir()}
	stop := runs(t, matrix, cfg, func(m bot.Message) error {
		t.Errorf("got a message in clear: %q", m.Text)
		return nil
	})
	a.waits(t, "@echo:hs1")
	a.says(t, "in clear", true)
	stop()
	cfg.Clear = true
	runs(t, matrix, cfg, echo)
	a.says(t, "once more", true)
	if m := a.hears(t); m.Encrypted || !strings.HasPrefix(m.Text, "you said: ") {
		t.Errorf("got %+v, want an answer in clear", m)
	}
}

func TestRefusesWrongPassword(t *testing.T) {
	t.Parallel()
	url := server(t, "echo")
	err := bot.Run(t.Context(), matrix, bot.Config{Server: url, User: "echo", Password: "wrong", Dir: t.TempDir()}, echo)
	if quinta.KindOf(err) != quinta.KindUnauthenticated || strings.Contains(err.Error(), "wrong "+"horse") {
		t.Errorf("got %v, want an error of kind %v", err, quinta.KindUnauthenticated)
	}
}

// TestReadme builds and runs the programs in README.md as they stand there;
// only the address is another one.
func TestReadme(t *testing.T) {
	t.Parallel()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatalf("building the programs of the README: %v", err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := map[quinta.NetworkName]string{}
	for _, part := range strings.Split(string(readme), "```go\n")[1:] {
		p, _, _ := strings.Cut(part, "```")
		for _, n := range networks {
			if strings.Contains(p, "bot.Run(") && strings.Contains(p, string(n.Name())+"client.Network{}") {
				programs[n.Name()] = p
			}
		}
	}
	for _, n := range networks {
		t.Run(string(n.Name()), func(t *testing.T) {
			t.Parallel()
			program := programs[n.Name()]
			if n := strings.Count(program, "\n"); n == 0 || n > 20 {
				t.Fatalf("got a program of %d lines in README.md, want 1 to 20", n)
			}
			runsReadme(t, goTool, n, program)
		})
	}
}

func runsReadme(t *testing.T, goTool string, n network, program string) {
	url := server(t, "echo")
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
	a := talks(t, n, url, client.NewRoom{Invite: []quinta.UserID{n.echo}})
	a.waits(t, n.echo)
	a.says(t, "hello", false)
	if m := a.hears(t); m.Text != "you said: hello" || !m.Encrypted {
		t.Errorf("got %q, want the sealed answer of the program", m.Text)
	}
}
