package mtprotoserver_test

import (
	"crypto/rand"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gotd/td/crypto/srp"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// input is an algorithm as another make's client takes it.
func input(a *wire.PasswordKdfAlgo) srp.Input {
	return srp.Input{Salt1: a.Salt1, Salt2: a.Salt2, G: int(a.G), P: a.P}
}

// question asks the server for its question for the password.
func (p *peer) question() *wire.AccountPassword {
	p.t.Helper()
	return ask[*wire.AccountPassword](p, &wire.GetPassword{})
}

// proof answers a question with another make's client.
func (p *peer) proof(q *wire.AccountPassword, password string) *wire.InputCheckPasswordSRP {
	p.t.Helper()
	a, err := srp.NewSRP(rand.Reader).Hash([]byte(password), q.SRPB, random(p.t), input(q.CurrentAlgo.(*wire.PasswordKdfAlgo)))
	if err != nil {
		p.t.Fatal(err)
	}
	return &wire.InputCheckPasswordSRP{SRPID: q.SRPID, A: a.A, M1: a.M1}
}

func random(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 256)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// settings are those of a new password.
func (p *peer) settings(password string) *wire.PasswordInputSettings {
	p.t.Helper()
	algo := p.question().NewAlgo.(*wire.PasswordKdfAlgo)
	verifier, salt, err := srp.NewSRP(rand.Reader).NewHash([]byte(password), input(algo))
	if err != nil {
		p.t.Fatal(err)
	}
	algo.Salt1 = salt
	return &wire.PasswordInputSettings{NewAlgo: algo, NewPasswordHash: verifier, Hint: "the usual"}
}

// sets sets the first password of an account.
func (p *peer) sets(password string) {
	p.t.Helper()
	if !p.done(&wire.UpdatePasswordSettings{Password: &wire.InputCheckPasswordEmpty{}, NewSettings: p.settings(password)}) {
		p.t.Fatal("the password was not set")
	}
}

// done makes a call that is answered with true.
func (p *peer) done(req any) bool {
	p.t.Helper()
	return ask[bool](p, req)
}

// halfway gives the right code for an account with a password on a new device.
func halfway(t testing.TB, s *quintatest.Server, name string) *peer {
	t.Helper()
	p := join(t, s)
	p.halfway(s, name)
	return p
}

func (p *peer) halfway(s *quintatest.Server, name string) {
	p.t.Helper()
	number := command(p.t, s, "user number", nil, name)
	sent := ask[*wire.SentCode](p, &wire.SendCode{PhoneNumber: number, Settings: &wire.CodeSettings{}})
	p.refused(&wire.SignIn{PhoneNumber: number, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: command(p.t, s, "user code", nil, name)}, 401, "SESSION_PASSWORD_NEEDED")
}

// TestTwoStep: with a password, the right code logs no one in; the right proof
// of another make's client does. A wrong one, one for another question and
// values out of their range are refused, each question takes one answer, and
// what proves the password on one device proves nothing on another.
func TestTwoStep(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		owner := logged(t, s, "alice")
		if q := owner.question(); q.HasPassword || q.CurrentAlgo != nil || q.SRPB != nil || len(q.SecureRandom) != 256 {
			t.Errorf("before there is a password: got %+v", q)
		}
		owner.sets("correct horse")

		stranger := join(t, s)
		stranger.refused(&wire.GetPassword{}, 401, "AUTH_KEY_UNREGISTERED")
		stranger.refused(&wire.CheckPassword{Password: &wire.InputCheckPasswordEmpty{}}, 401, "AUTH_KEY_UNREGISTERED")

		p, other := halfway(t, s, "alice"), halfway(t, s, "alice")
		p.refused(&wire.GetState{}, 401, "AUTH_KEY_UNREGISTERED")
		p.refused(&wire.UpdatePasswordSettings{Password: &wire.InputCheckPasswordEmpty{}, NewSettings: &wire.PasswordInputSettings{NewAlgo: &wire.PasswordKdfAlgoUnknown{}}}, 401, "AUTH_KEY_UNREGISTERED")
		p.refused(&wire.CheckPassword{Password: &wire.InputCheckPasswordEmpty{}}, 400, "PASSWORD_HASH_INVALID")
		q := p.question()
		if !q.HasPassword || q.Hint != "the usual" || q.NewAlgo == nil {
			t.Errorf("the question: got %+v", q)
		}
		wrong := &wire.CheckPassword{Password: p.proof(q, "wrong horse")}
		p.refused(wrong, 400, "PASSWORD_HASH_INVALID")
		p.refused(wrong, 400, "SRP_ID_INVALID")
		p.refused(&wire.CheckPassword{Password: p.proof(q, "correct horse")}, 400, "SRP_ID_INVALID")

		q = p.question()
		right := p.proof(q, "correct horse")
		other.refused(&wire.CheckPassword{Password: right}, 400, "SRP_ID_INVALID")
		other.refused(&wire.CheckPassword{Password: &wire.InputCheckPasswordSRP{SRPID: other.question().SRPID, A: right.A, M1: right.M1}}, 400, "PASSWORD_HASH_INVALID")
		u := ask[*wire.Authorization](p, &wire.CheckPassword{Password: right}).User.(*wire.User)
		if !u.Self || u.FirstName != "alice" {
			t.Errorf("got %+v", u)
		}
		ask[*wire.State](p, &wire.GetState{})
		other.refused(&wire.GetState{}, 401, "AUTH_KEY_UNREGISTERED")
	})
}

// TestAttackTwoStepRange: public values that make the shared number known are
// refused like a wrong password.
func TestAttackTwoStepRange(t *testing.T) {
	s := start(t)
	logged(t, s, "alice").sets("correct horse")
	p := halfway(t, s, "alice")
	prime := secretchat.KnownGroup().P()
	for name, a := range map[string][]byte{"0": make([]byte, 256), "nothing": nil, "1": {1}, "p": prime, "longer": append([]byte{1}, prime...)} {
		in := &wire.InputCheckPasswordSRP{SRPID: p.question().SRPID, A: a, M1: random(t)[:wire.SRPProofLength]}
		if e, ok := p.do(&wire.CheckPassword{Password: in}).(*wire.RPCError); !ok || e.Code != 400 || e.Message != "PASSWORD_HASH_INVALID" {
			t.Errorf("A is %s: got %+v", name, e)
		}
	}
	p.refused(&wire.GetState{}, 401, "AUTH_KEY_UNREGISTERED")
}

// TestAttackTwoStepGuesses: wrong passwords are counted, and a right one does
// not log in before the wait has passed.
func TestAttackTwoStepGuesses(t *testing.T) {
	s := start(t, quintatest.RateLimits())
	logged(t, s, "alice").sets("correct horse")
	p := halfway(t, s, "alice")
	guess := &wire.InputCheckPasswordSRP{A: public(t), M1: random(t)[:wire.SRPProofLength]}
	wrong := 0
	for ; wrong < 20; wrong++ {
		guess.SRPID = p.question().SRPID
		e, ok := p.do(&wire.CheckPassword{Password: guess}).(*wire.RPCError)
		if !ok {
			t.Fatal("a wrong password logs in")
		}
		if e.Code == 420 {
			break
		}
		if e.Message != "PASSWORD_HASH_INVALID" {
			t.Fatalf("got %+v", e)
		}
	}
	if wrong < 5 || wrong > 10 {
		t.Errorf("%d wrong passwords were tried, want between 5 and 10", wrong)
	}
	if e, ok := p.do(&wire.CheckPassword{Password: p.proof(p.question(), "correct horse")}).(*wire.RPCError); !ok || e.Code != 420 || !strings.HasPrefix(e.Message, "FLOOD_WAIT_") {
		t.Errorf("the right one then: got %+v, want a wait", e)
	}
}

// TestTwoStepTooLate: a device has ten minutes for the password, and a question
// is good for five.
func TestTwoStepTooLate(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := start(t, quintatest.Clock(now))
	logged(t, s, "alice").sets("correct horse")
	p := halfway(t, s, "alice")
	p.now = now
	q := p.question()
	ahead.Store(int64(5 * time.Minute))
	p.refused(&wire.CheckPassword{Password: p.proof(q, "correct horse")}, 400, "SRP_ID_INVALID")
	q = p.question()
	ahead.Store(int64(10*time.Minute + time.Second - 1))
	p.refused(&wire.CheckPassword{Password: p.proof(q, "correct horse")}, 401, "AUTH_KEY_UNREGISTERED")
	p.refused(&wire.GetPassword{}, 401, "AUTH_KEY_UNREGISTERED")
}

// TestTwoStepChanges: changing and removing a password takes the old one, and
// bad parameters of a new one are refused.
func TestTwoStepChanges(t *testing.T) {
	s := start(t)
	p := logged(t, s, "alice")
	empty := &wire.InputCheckPasswordEmpty{}
	good := p.settings("correct horse")
	for name, change := range map[string]func(*wire.PasswordInputSettings, *wire.PasswordKdfAlgo){
		"a short salt":     func(_ *wire.PasswordInputSettings, a *wire.PasswordKdfAlgo) { a.Salt1 = a.Salt1[:4] },
		"another group":    func(_ *wire.PasswordInputSettings, a *wire.PasswordKdfAlgo) { a.G = 2 },
		"a weak prime":     func(_ *wire.PasswordInputSettings, a *wire.PasswordKdfAlgo) { a.P = make([]byte, 256) },
		"a short verifier": func(s *wire.PasswordInputSettings, _ *wire.PasswordKdfAlgo) { s.NewPasswordHash = []byte{1} },
		"a verifier of 0":  func(s *wire.PasswordInputSettings, _ *wire.PasswordKdfAlgo) { s.NewPasswordHash = make([]byte, 256) },
		"a long hint":      func(s *wire.PasswordInputSettings, _ *wire.PasswordKdfAlgo) { s.Hint = strings.Repeat("x", 201) },
	} {
		set, algo := *good, *good.NewAlgo.(*wire.PasswordKdfAlgo)
		set.NewAlgo = &algo
		change(&set, &algo)
		if e, ok := p.do(&wire.UpdatePasswordSettings{Password: empty, NewSettings: &set}).(*wire.RPCError); !ok || e.Code != 400 {
			t.Errorf("%s: got %+v", name, e)
		}
	}
	if p.question().HasPassword {
		t.Error("a refused password was set")
	}
	if got := command(t, s, "user two-step", nil, "alice"); !strings.Contains(got, "has no") {
		t.Errorf("the operator sees: %s", got)
	}
	p.sets("correct horse")
	if got := command(t, s, "user two-step", nil, "alice"); !strings.Contains(got, "has a") {
		t.Errorf("the operator sees: %s", got)
	}
	p.refused(&wire.UpdatePasswordSettings{Password: empty, NewSettings: p.settings("mine now")}, 400, "PASSWORD_HASH_INVALID")
	next := p.settings("battery staple")
	p.refused(&wire.UpdatePasswordSettings{Password: p.proof(p.question(), "wrong horse"), NewSettings: next}, 400, "PASSWORD_HASH_INVALID")
	if !p.done(&wire.UpdatePasswordSettings{Password: p.proof(p.question(), "correct horse"), NewSettings: next}) {
		t.Error("the right password changes nothing")
	}
	off := &wire.PasswordInputSettings{NewAlgo: &wire.PasswordKdfAlgoUnknown{}}
	p.refused(&wire.UpdatePasswordSettings{Password: p.proof(p.question(), "correct horse"), NewSettings: off}, 400, "PASSWORD_HASH_INVALID")
	if !p.done(&wire.UpdatePasswordSettings{Password: p.proof(p.question(), "battery staple"), NewSettings: off}) || p.question().HasPassword {
		t.Error("the password is not removed")
	}
}

// TestTwoStepForgotten: the operator removes a forgotten password. A login that
// waits for it has to start again, as it does when the account is closed.
func TestTwoStepForgotten(t *testing.T) {
	s := start(t)
	owner := logged(t, s, "alice")
	owner.sets("correct horse")
	p := halfway(t, s, "alice")
	if _, err := s.Core.RunCommand(t.Context(), "user two-step", server.CommandInput{Args: []string{"alice"}, Flags: map[string]string{"set": "easy"}}); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("a password from the operator: got %v", err)
	}
	command(t, s, "user two-step", map[string]string{"set": "none"}, "alice")
	p.refused(&wire.CheckPassword{Password: &wire.InputCheckPasswordEmpty{}}, 401, "AUTH_KEY_UNREGISTERED")
	p.login(s, "alice")

	owner.sets("battery staple")
	q := halfway(t, s, "alice")
	in := &wire.CheckPassword{Password: q.proof(q.question(), "battery staple")}
	if err := s.Core.RemoveAccount(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	q.refused(in, 401, "AUTH_KEY_UNREGISTERED")
}
