package rocketchatclient

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/internal/printable"
)

var (
	_ client.Doctor = (*Session)(nil)
	_ client.Leaver = (*Session)(nil)
)

// Logout implements client.Leaver.
func (s *Session) Logout(ctx context.Context) error {
	return s.link.post(ctx, "logging out", "logout", object{}, nil)
}

func good(name, text string) client.Finding { return client.Finding{Name: name, OK: true, Text: text} }

func bad(name, text, remedy string) client.Finding {
	return client.Finding{Name: name, Text: text, Remedy: remedy}
}

// Examine implements client.Doctor.
func (s *Session) Examine(ctx context.Context) ([]client.Finding, error) {
	v, err := s.link.version(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []client.Finding{bad("server", err.Error(), "check the network and the address of the server: "+s.link.base)}, nil
	}
	out := []client.Finding{good("server", s.link.base+" answers and announces release "+v)}
	if err := s.link.get(ctx, "asking who is logged in", "me", nil, nil); err != nil {
		if quinta.KindOf(err) == quinta.KindUnauthenticated {
			return append(out, bad("login", "the server no longer knows this login", "log in again")), nil
		}
		return append(out, bad("login", err.Error(), "try again later")), nil
	}
	out = append(out, good("login", s.account.User.Name))
	var info rocketchat.KeyInfo
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { info, err = s.machine.Keys(tx); return err }); err != nil {
		return out, err
	}
	out = append(out, keyFindings(info)...)
	rooms, err := s.oldRooms(ctx)
	return append(out, rooms...), err
}

// oldRooms names the rooms that are sealed with the old suite although the clients of
// the server's release read the new one.
func (s *Session) oldRooms(ctx context.Context) ([]client.Finding, error) {
	var out []client.Finding
	err := s.look(ctx, func(tx e2ee.Tx) error {
		if old, err := s.machine.OldServer(tx); err != nil || old {
			return err
		}
		list, err := s.machine.Rooms(tx)
		for _, r := range list {
			if r.HasKey && r.Form == rocketchat.V1 && !r.Legacy && !r.Left {
				name := printable.Line(r.Name)
				out = append(out, bad("room", "the messages of "+name+" are sealed in the old format, which does not authenticate them", "give the room a key in the new format: quinta keys rotate "+name))
			}
		}
		return err
	})
	return out, err
}

// keyFindings says how the key pair is.
func keyFindings(info rocketchat.KeyInfo) []client.Finding {
	var out []client.Finding
	switch info.Phase {
	case rocketchat.PhaseOpen:
		out = append(out, good("keys", "the E2E keys are open on this device"))
	case rocketchat.PhaseLocked:
		return append(out, bad("keys", "the E2E keys are locked", "unlock them with the E2E password, or reset them"))
	default:
		return append(out, bad("keys", "the E2E keys are not stored on the server yet", "run this once, so that the server can answer"))
	}
	if info.Untaken {
		out = append(out, bad("password", "the E2E password has not been written down yet: without it, the messages are lost with this device", "show it: quinta keys backup create"))
	}
	if info.Form == rocketchat.V1 {
		out = append(out, bad("seal", "the private key is sealed on the server in the old format, whose password can be guessed quickly", "set an E2E password: quinta keys backup create"))
	}
	return out
}
