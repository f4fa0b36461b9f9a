package bot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/bot"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
)

// TestLoginAsks: on every network a password is asked for once the network
// wants it; the server is asked first. Without an answer the login is refused
// with the name of the question, and nothing is left that keeps the next one
// from succeeding.
func TestLoginAsks(t *testing.T) {
	t.Parallel()
	for _, n := range networks {
		t.Run(string(n.Name()), func(t *testing.T) {
			t.Parallel()
			url := server(t, "echo")
			st := memory.New()
			in := client.Credentials{Server: url, User: "echo"}
			if _, err := n.Login(t.Context(), st, env, in); quinta.KindOf(err) != quinta.KindUnauthenticated || !errors.Is(err, client.ErrUnanswered) || !strings.Contains(err.Error(), "password") {
				t.Errorf("got %v, want that no one answered for the password", err)
			}
			var asked []client.QuestionKind
			in.Ask = func(_ context.Context, q client.Question) (client.Secret, error) {
				asked = append(asked, q.Kind)
				return client.NewSecret(password), nil
			}
			away := in
			away.Server = "http://127.0.0.1:1"
			if _, err := n.Login(t.Context(), st, env, away); err == nil || len(asked) > 0 {
				t.Errorf("got %v and questions %v of a server that is not there", err, asked)
			}
			if _, err := n.Login(t.Context(), st, env, in); err != nil || !slices.Equal(asked, []client.QuestionKind{client.AskPassword}) {
				t.Errorf("got %v and questions %v, want the password asked for once", err, asked)
			}
			cause := errors.New("the user went away")
			in.Ask = func(context.Context, client.Question) (client.Secret, error) { return client.Secret{}, cause }
			if _, err := n.Login(t.Context(), memory.New(), env, in); !errors.Is(err, cause) {
				t.Errorf("got %v, want why there is no answer", err)
			}
		})
	}
}

// TestBotAsks: a bot without a password in its configuration asks for it at its
// first start only, and can sign its device with it.
func TestBotAsks(t *testing.T) {
	t.Parallel()
	for _, n := range networks {
		t.Run(string(n.Name()), func(t *testing.T) {
			t.Parallel()
			asked := 0
			cfg := bot.Config{Server: server(t, "echo"), User: "echo", Dir: filepath.Join(t.TempDir(), "bot"), Log: func(line string) { t.Error(line) },
				Ask: func(context.Context, client.Question) (client.Secret, error) {
					asked++
					return client.NewSecret(password), nil
				}}
			for range 2 {
				s, err := bot.Open(t.Context(), n, cfg)
				if err != nil {
					t.Fatal(err)
				}
				if s.Self().User != n.echo {
					t.Errorf("got %s, want %s", s.Self().User, n.echo)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if asked != 1 {
				t.Errorf("got %d questions, want one", asked)
			}
		})
	}
}

// TestBotPolicies: a bot runs under the policies of its configuration, also
// when it resumes its device with other ones, and does not run under one that
// is not there.
func TestBotPolicies(t *testing.T) {
	t.Parallel()
	for _, n := range []client.Network{matrixclient.Network{}, caclient.Network{}} {
		t.Run(string(n.Name()), func(t *testing.T) {
			t.Parallel()
			g := &governed{Network: n}
			cfg := bot.Config{Server: server(t, "echo"), User: "echo", Password: password, Dir: filepath.Join(t.TempDir(), "bot"), Policies: []string{"verified-onyl"}}
			if _, err := bot.Open(t.Context(), g, cfg); quinta.KindOf(err) != quinta.KindInvalid || !strings.Contains(err.Error(), "verified-only") {
				t.Errorf("got %v, want the policies that there are", err)
			}
			if _, err := os.Stat(cfg.Dir); err == nil {
				t.Error("a bot that is refused leaves a folder")
			}
			under, err := client.Under(n, client.VerifiedOnly)
			if err != nil {
				t.Fatal(err)
			}
			device := quinta.DeviceID("")
			for i, want := range []client.Network{under, n, under, under} {
				cfg.Policies, g.opened = nil, nil
				if want == under {
					cfg.Policies = []string{client.VerifiedOnly}
				}
				s, err := bot.Open(t.Context(), g, cfg)
				if err != nil {
					t.Fatal(err)
				}
				if i > 0 && s.Self().ID != device {
					t.Errorf("start %d: got the device %s, want %s", i, s.Self().ID, device)
				}
				device = s.Self().ID
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if len(g.opened) == 0 || slices.ContainsFunc(g.opened, func(n client.Network) bool { return n != want }) {
					t.Errorf("start %d: opened by %+v, want %+v each time", i, g.opened, want)
				}
			}
		})
	}
}

// A governed network notes which network opens its sessions.
type governed struct {
	client.Network
	opened []client.Network
}

// Open notes that no policy was chosen.
func (g *governed) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	return noted{g.Network, g}.Open(ctx, st, env)
}

func (g *governed) Policies() []client.Policy {
	var out []client.Policy
	for _, p := range client.PoliciesOf(g.Network) {
		out = append(out, client.Policy{Name: p.Name, Help: p.Help, Under: noted{p.Under, g}})
	}
	return out
}

type noted struct {
	client.Network
	by *governed
}

func (n noted) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	n.by.opened = append(n.by.opened, n.Network)
	return n.Network.Open(ctx, st, env)
}
