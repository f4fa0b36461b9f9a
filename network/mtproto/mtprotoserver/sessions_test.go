package mtprotoserver_test

import (
	"testing"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
)

// sessions are the sessions that a device is shown: itself, the others that are
// logged in, and those that wait for the password.
func (p *peer) sessions() (current, others, pending []*wire.AccountAuthorization) {
	p.t.Helper()
	for _, o := range ask[*wire.AccountAuthorizations](p, &wire.GetAuthorizations{}).Authorizations {
		a := o.(*wire.AccountAuthorization)
		switch {
		case a.Current:
			current = append(current, a)
		case a.PasswordPending:
			pending = append(pending, a)
		default:
			others = append(others, a)
		}
	}
	return current, others, pending
}

// TestSessions: a user sees the devices that are logged in, and the one that
// waits for the password; they end one by one or all at once, with their chats,
// and never a device of someone else.
func TestSessions(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, bob := logged(t, s, "alice"), logged(t, s, "bob")
		a.refused(&wire.ResetAuthorization{}, 400, "HASH_INVALID")
		lost := logged(t, s, "alice")
		opens(t, bob, lost, "alice", 71)
		if current, others, pending := lost.sessions(); len(current) != 1 || current[0].Hash != 0 || len(others) != 1 || len(pending) != 0 {
			t.Errorf("another device sees %d of itself, %d others, %d that wait", len(current), len(others), len(pending))
		}
		_, others, _ := a.sessions()
		if len(others) != 1 || others[0].Hash == 0 || others[0].DateCreated == 0 || others[0].DateActive == 0 {
			t.Fatalf("the others: got %+v", others)
		}
		end := &wire.ResetAuthorization{Hash: others[0].Hash}
		bob.refused(end, 400, "HASH_INVALID")
		lost.refused(end, 400, "HASH_INVALID") // it is what another device calls it
		if !a.done(end) {
			t.Error("the session does not end")
		}
		lost.f = plain(t, s, 2) // the server closes the connection of a device that was ended
		lost.refused(&wire.GetState{}, 401, "AUTH_KEY_UNREGISTERED")
		if got := chatOf[*wire.EncryptedChatDiscarded](bob); got.ID != 71 {
			t.Errorf("the peer of the device: got %+v", got)
		}
		a.refused(end, 400, "HASH_INVALID")

		a.sets("correct horse")
		waits := halfway(t, s, "alice")
		if _, others, pending := a.sessions(); len(others) != 0 || len(pending) != 1 {
			t.Errorf("with a device that waits for the password: got %d others, %d that wait", len(others), len(pending))
		}
		if !a.done(&wire.ResetAuthorizations{}) {
			t.Error("the sessions do not end")
		}
		waits.refused(&wire.GetPassword{}, 401, "AUTH_KEY_UNREGISTERED")
		if current, others, pending := a.sessions(); len(current) != 1 || len(others)+len(pending) != 0 {
			t.Errorf("afterwards: got %d of itself, %d others, %d that wait", len(current), len(others), len(pending))
		}
		ask[*wire.State](bob, &wire.GetState{})
	})
}
