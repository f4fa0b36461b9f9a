package bot_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/bot"
	"github.com/quinta-chat/quinta/client/store/memory"
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
				t.Errorf("got %v, want that nobody answered for the password", err)
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
