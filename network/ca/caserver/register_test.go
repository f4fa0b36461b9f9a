package caserver_test

import (
	"testing"

	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
)

func registration(name, token string) wire.RegisterRequest {
	return wire.RegisterRequest{LoginRequest: wire.LoginRequest{Username: name, Password: password}, Token: token}
}

func TestRegister(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		var a wire.LoginAnswer
		s.nobody().post(wire.PathRegister, registration("alice", "")).into(201, &a)
		alice := &user{s: s, ID: a.Username, Device: a.Device, Token: a.Token}
		if a.Username != "alice@hs1" || !a.New {
			t.Errorf("got %+v, want alice and a new device", a)
		}
		alice.enrolled()
		s.login("alice", "LAPTOP")
		s.nobody().post(wire.PathRegister, registration("Alice@hs1", "")).fails(409, wire.CodeExists)
		for _, name := range []string{"", "al ice", "alice@elsewhere", "а", "=alice", "-alice-", "a/b"} {
			s.nobody().post(wire.PathRegister, registration(name, "")).fails(400, wire.CodeInvalid)
		}
		q := registration("bob", "")
		q.Password = ""
		s.nobody().post(wire.PathRegister, q).fails(400, wire.CodeInvalid)
		q = registration("bob", "")
		q.Device = "a device"
		s.nobody().post(wire.PathRegister, q).fails(400, wire.CodeInvalid)
		// What was refused has made no account.
		s.nobody().post(wire.PathRegister, registration("bob", "")).want(201)
	}, quintatest.Registration(server.RegistrationOpen))
}

func TestRegisterByInvitation(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		var token string
		if err := s.Core.Update(t.Context(), func(tx *db.Tx) (err error) {
			token, err = account.NewInvite(tx, s.Core.Rand, account.Invite{Uses: 1})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		s.nobody().post(wire.PathRegister, registration("alice", "")).fails(403, wire.CodeForbidden)
		s.nobody().post(wire.PathRegister, registration("alice", "no such token")).fails(403, wire.CodeForbidden)
		s.nobody().post(wire.PathRegister, registration("alice", token)).want(201)
		s.nobody().post(wire.PathRegister, registration("bob", token)).fails(403, wire.CodeForbidden)
		s.nobody().post(wire.PathLogin, wire.LoginRequest{Username: "bob", Password: password}).fails(401, wire.CodeUnauthenticated)
	}, quintatest.Registration(server.RegistrationInvite))
}

func TestRegisterClosed(t *testing.T) {
	t.Parallel()
	s := newStage(t, quintatest.Registration(server.RegistrationClosed))
	s.nobody().post(wire.PathRegister, registration("alice", "")).fails(403, wire.CodeForbidden)
	s = newStage(t, quintatest.Registration(server.RegistrationOpen), quintatest.RateLimits())
	for i := range 50 {
		if r := s.nobody().post(wire.PathRegister, registration(string(rune('a'+i%26)), "")); r.Status == 429 {
			r.fails(429, wire.CodeLimited)
			return
		}
	}
	t.Error("50 accounts from one address and no limit")
}
