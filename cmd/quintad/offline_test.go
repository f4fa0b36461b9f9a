package main

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
)

// A toy is a network that notes what is done with it.
type toy struct {
	core *server.Core
	mu   *sync.Mutex
	did  *[]string
}

func (y *toy) note(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	*y.did = append(*y.did, what)
}

func (y *toy) Close() error { y.note("close"); return nil }

func (y *toy) Streams() []string {
	y.note("streams")
	return []string{y.core.Setting("toy-listen")}
}

func (y *toy) ServeStream(_ context.Context, c net.Conn) { c.Write([]byte("toy\n")) }

func (y *toy) Run(ctx context.Context) error {
	y.note("run")
	<-ctx.Done()
	return nil
}

func (y *toy) Periodically(context.Context) error { y.note("sweep"); return nil }

// toyProgram is the program with a toy beside the other networks. did returns
// what the toy did since the last call.
func toyProgram(t *testing.T, commands ...server.Command) (p *program, did func() []string) {
	t.Helper()
	var mu sync.Mutex
	var noted []string
	n := server.Network{
		Name: "toy",
		Settings: []server.Setting{
			{Name: "toy-listen", Default: "127.0.0.1:0", Arg: "ADDR", Help: "the address of the toy"},
			{Name: "toy-secret", Arg: "TEXT", Help: "a secret of the toy", Secret: true},
		},
		Commands: commands,
		New: func(c *server.Core) (server.Front, error) {
			y := &toy{core: c, mu: &mu, did: &noted}
			y.note("new")
			return y, nil
		},
	}
	p, err := newProgram(append(servers.All(), n))
	if err != nil {
		t.Fatal(err)
	}
	return p, func() []string {
		mu.Lock()
		defer mu.Unlock()
		defer func() { noted = nil }()
		return noted
	}
}

// TestOfflineCommandsStartNothing: a command that opens the store by itself
// neither listens, nor runs or sweeps what a network does by itself.
func TestOfflineCommandsStartNothing(t *testing.T) {
	t.Parallel()
	p, did := toyProgram(t, server.Command{Name: "toy poke", Line: "poke the toy", Usage: "\n    quintad toy poke\n",
		Run: func(_ context.Context, f server.Front, _ server.CommandInput) (string, error) {
			f.(*toy).note("poke")
			return "poked\n", nil
		}})
	dir := filepath.Join(t.TempDir(), "data")

	// A server that runs does all of it, and says where the toy listens.
	ctx, stop := context.WithCancel(t.Context())
	var out, errs syncWriter
	out.ready = make(chan struct{})
	p.stdout, p.stderr = &out, &errs
	ended := make(chan int, 1)
	go func() { ended <- p.run(ctx, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}) }()
	select {
	case <-out.ready:
	case code := <-ended:
		t.Fatalf("ended with %d: %s", code, errs.String())
	}
	before, _, _ := strings.Cut(out.String(), "quintad: ready ")
	_, addr, ok := strings.Cut(before, "quintad: toy tcp://")
	if !ok {
		t.Fatalf("got %q, want the address of the toy before the ready line", out.String())
	}
	c, err := net.Dial("tcp", strings.TrimSpace(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b := make([]byte, 4); true {
		if _, err := c.Read(b); err != nil || string(b) != "toy\n" {
			t.Errorf("got %q, %v from the toy", b, err)
		}
	}
	stop()
	if code := <-ended; code != done {
		t.Fatalf("ended with %d: %s", code, errs.String())
	}
	if got, want := did(), []string{"new", "streams", "run", "close"}; !slices.Equal(got, want) {
		t.Errorf("the server did %q, want %q", got, want)
	}

	for _, args := range [][]string{{"user", "list"}, {"user", "add", "alice", "--generate"}, {"toy", "poke"}, {"ca", "init"}, {"backup", filepath.Join(t.TempDir(), "b")}} {
		want := []string{"new", "close"}
		if args[0] == "toy" {
			want = []string{"new", "poke", "close"}
		}
		var out, errs syncWriter
		p.stdout, p.stderr = &out, &errs
		if code := p.run(t.Context(), append(args, "--data", dir)); code != done {
			t.Errorf("%q ended with %d: %s", args, code, errs.String())
		}
		if got := did(); !slices.Equal(got, want) {
			t.Errorf("%q: the toy did %q, want %q", args, got, want)
		}
	}

	// A network that is off is opened, and does nothing.
	p.stdout, p.stderr = &out, &errs
	ctx, stop = context.WithCancel(t.Context())
	out2 := &syncWriter{ready: make(chan struct{})}
	p.stdout = out2
	go func() {
		ended <- p.run(ctx, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--networks", "matrix,ca"})
	}()
	select {
	case <-out2.ready:
	case code := <-ended:
		t.Fatalf("ended with %d: %s", code, errs.String())
	}
	stop()
	<-ended
	if got, want := did(), []string{"new", "close"}; !slices.Equal(got, want) || strings.Contains(out2.String(), "toy") {
		t.Errorf("switched off, the toy did %q and the program said %q", got, out2.String())
	}
}

// TestSecretSettingsAreNotShown: not by config print, and a flag with one is
// warned of.
func TestSecretSettingsAreNotShown(t *testing.T) {
	t.Parallel()
	p, _ := toyProgram(t)
	var out, errs strings.Builder
	p.stdout, p.stderr = &out, &errs
	p.environ = []string{"QUINTA_TOY_SECRET=geheim", "QUINTA_SECRETS=base64key://geheimgeheim", "QUINTA_DATABASE=postgres://q:geheim@127.0.0.1:1/q"}
	if code := p.run(t.Context(), []string{"config", "print", "--toy-listen", "127.0.0.1:9"}); code != done {
		t.Fatalf("ended with %d: %s", code, errs.String())
	}
	for _, want := range []string{"\ntoy-listen = 127.0.0.1:9\n", "# from: QUINTA_TOY_SECRET\n# toy-secret = [redacted]\n", "\nsecrets = base64key://xxxxx\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("config print does not say %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String()+errs.String(), "geheim") {
		t.Errorf("a secret is shown:\n%s%s", out.String(), errs.String())
	}
	out.Reset()
	if p.run(t.Context(), []string{"serve", "--help"}); !strings.Contains(out.String(), "--toy-listen ADDR\n        the address of the toy (default 127.0.0.1:0)") {
		t.Errorf("the help does not describe the settings of the toy:\n%s", out.String())
	}
	if code := p.run(t.Context(), []string{"serve", "--toy-secret", "geheim", "--listen", "127.0.0.1:0"}); code != failed || !strings.Contains(errs.String(), "hint: the value of --toy-secret is visible in the process list: set it in QUINTA_TOY_SECRET") || strings.Contains(errs.String(), "geheim") {
		t.Errorf("got %d and %q, want a hint about the flag", code, errs.String())
	}
	errs.Reset()
	if code := p.run(t.Context(), []string{"serve", "--toy-listne", "x"}); code != misused || !strings.Contains(errs.String(), "did you mean --toy-listen?") {
		t.Errorf("got %d and %q, want the nearest name", code, errs.String())
	}
}

// TestNetworksAreToldApart: newProgram refuses a network that takes a name of
// the program.
func TestNetworksAreToldApart(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]server.Network{
		"setting": {Settings: []server.Setting{{Name: "listen"}}},
		"command": {Commands: []server.Command{{Name: "serve"}}},
		"group":   {Commands: []server.Command{{Name: "user"}}},
		"flag":    {Commands: []server.Command{{Name: "toy", Flags: []server.CommandFlag{{Name: "config"}}}}},
	} {
		n.Name = quinta.NetworkName("toy")
		if _, err := newProgram([]server.Network{n}); err == nil {
			t.Errorf("%s: a name of the program was taken", name)
		}
	}
}
