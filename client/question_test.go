package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

// TestAnswer: a question is answered by the password of the credentials, which
// is for that one only, or by Ask; what has no answer is named.
func TestAnswer(t *testing.T) {
	t.Parallel()
	in := client.Credentials{Password: client.NewSecret("hunter2")}
	for _, k := range client.QuestionKinds {
		s, err := in.Answer(t.Context(), client.Question{Kind: k, Text: "as sent"})
		switch {
		case k == client.AskPassword:
			if err != nil || s.Reveal() != "hunter2" {
				t.Errorf("%s: got %v, want the password", k, err)
			}
		case quinta.KindOf(err) != quinta.KindUnauthenticated || !errors.Is(err, client.ErrUnanswered) || !strings.Contains(err.Error(), string(k)+" (as sent)") || !s.Empty():
			t.Errorf("%s: got %v, want an error that names the question", k, err)
		}
	}
	in.Ask = func(_ context.Context, q client.Question) (client.Secret, error) {
		if q.Kind == client.AskCode {
			return client.NewSecret("12345"), nil
		}
		return client.Secret{}, nil
	}
	if s, err := in.Answer(t.Context(), client.Question{Kind: client.AskCode}); err != nil || s.Reveal() != "12345" {
		t.Errorf("got %v, want the code", err)
	}
	if _, err := in.Answer(t.Context(), client.Question{Kind: client.AskKeyPassword}); !errors.Is(err, client.ErrUnanswered) {
		t.Errorf("got %v, want an empty answer to be none", err)
	}
}
