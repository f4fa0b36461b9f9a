package mtprotoclient_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/mtproto/mtprotoclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// answers answers the questions for the login code and the second password,
// and keeps what it was asked.
func answers(t *testing.T, srv *quintatest.Server, name, password string, asked *[]client.Question) func(context.Context, client.Question) (client.Secret, error) {
	return func(_ context.Context, q client.Question) (client.Secret, error) {
		*asked = append(*asked, q)
		switch q.Kind {
		case client.AskCode:
			return client.NewSecret(command(t, srv, "user code", name)), nil
		case client.AskSecondPassword:
			return client.NewSecret(password), nil
		}
		return client.Secret{}, nil
	}
}

// TestTwoStepPassword: a user sets a second password; the next login asks for it
// with the hint, a wrong one and none are refused with the reason, and the right
// one logs in. Removing it takes the right one as well.
func TestTwoStepPassword(t *testing.T) {
	srv := start(t)
	first := login(t, srv, "alice")
	if err := first.s.SetSecondPassword(t.Context(), client.Secret{}, client.NewSecret("correct horse"), "four words\x1b[2J"); err != nil {
		t.Fatal(err)
	}
	number := command(t, srv, "user number", "alice")
	try := func(password string) (asked []client.Question, err error) {
		d := &device{t: t, path: t.TempDir() + "/x.db"}
		st := d.store()
		defer st.Close()
		_, err = (mtprotoclient.Network{}).Login(t.Context(), st, env(), client.Credentials{Server: srv.URL, User: number, Ask: answers(t, srv, "alice", password, &asked)})
		return asked, err
	}
	if _, err := try("wrong horse"); quinta.KindOf(err) != quinta.KindUnauthenticated || !strings.Contains(err.Error(), "second password is wrong") {
		t.Errorf("a wrong password: got %v", err)
	}
	if _, err := try(""); !errors.Is(err, client.ErrUnanswered) {
		t.Errorf("no password: got %v", err)
	}
	asked, err := try("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.s.SetSecondPassword(t.Context(), client.NewSecret("wrong horse"), client.Secret{}, ""); quinta.KindOf(err) != quinta.KindForbidden {
		t.Errorf("removed with a wrong password: got %v", err)
	}
	if err := first.s.SetSecondPassword(t.Context(), client.NewSecret("correct horse"), client.Secret{}, ""); err != nil {
		t.Errorf("removed with the right password: %v", err)
	}
	if asked, err := try(""); err != nil || len(asked) != 1 {
		t.Errorf("after it was removed: asked %d questions, %v, want the code alone", len(asked), err)
	}
	if len(asked) != 2 || asked[1].Kind != client.AskSecondPassword || !strings.Contains(asked[1].Text, "four words") || strings.Contains(asked[1].Text, "\x1b") {
		t.Errorf("asked: got %+v", asked)
	}
}
