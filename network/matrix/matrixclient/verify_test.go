package matrixclient_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
)

// verifies has one person ask and another one answer, and returns both errors.
// Each says what the comparison says.
func verifies(t *testing.T, asks, answers *person, user quinta.UserID, id quinta.DeviceID, same func(mine, theirs client.ShortStrings) bool) (error, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	shown := [2]chan client.ShortStrings{make(chan client.ShortStrings, 1), make(chan client.ShortStrings, 1)}
	compare := func(me int) func(context.Context, client.ShortStrings) (bool, error) {
		return func(ctx context.Context, s client.ShortStrings) (bool, error) {
			shown[me] <- s
			select {
			case other := <-shown[1-me]:
				shown[1-me] <- other
				return same(s, other), nil
			case <-ctx.Done():
				return false, ctx.Err()
			}
		}
	}
	answered := make(chan error, 1)
	go func() {
		answered <- answers.s.AwaitVerify(ctx, func(d quinta.Device) bool { return d.User == asks.s.Self().User && d.ID == asks.s.Self().ID }, compare(1))
	}()
	err := asks.s.Verify(ctx, user, id, compare(0))
	return err, <-answered
}

func equal(a, b client.ShortStrings) bool {
	return len(a.Decimal) == 3 && len(a.Emoji) == 7 && fmt.Sprint(a.Decimal, a.Emoji) == fmt.Sprint(b.Decimal, b.Emoji)
}

// trustOf returns how far p trusts a device.
func (p *person) trustOf(d quinta.Device) quinta.Trust {
	p.t.Helper()
	devices, err := p.s.Devices(p.t.Context(), d.User)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, i := range devices {
		if i.ID == d.ID {
			return i.Trust
		}
	}
	p.t.Fatalf("%v is not listed", d)
	return 0
}

func TestVerifyOwnDevice(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	phone := meets(t, url, "alice").runs()
	laptop := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	if got := phone.trustOf(laptop.s.Self()); got >= quinta.TrustVerified {
		t.Fatalf("got trust %v before anybody compared", got)
	}
	err1, err2 := verifies(t, phone, laptop, "", "", equal)
	if err1 != nil || err2 != nil {
		t.Fatalf("got %v and %v, want both verified", err1, err2)
	}
	if a, b := phone.trustOf(laptop.s.Self()), laptop.trustOf(phone.s.Self()); a != quinta.TrustVerified || b != quinta.TrustVerified {
		t.Errorf("got trust %v and %v, want both verified", a, b)
	}
}

func TestVerifyAnotherUser(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	joined := make(chan error, 1)
	go func() {
		e := bob.sees("invitation", func(e e2ee.Event) bool { return e.Kind == e2ee.EventRoom && e.Detail == "invite" })
		_, err := bob.s.Join(t.Context(), string(e.Message.Room))
		joined <- err
	}()
	room, err := alice.s.Create(t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{"@bob:hs1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	err1, err2 := verifies(t, alice, bob, "@bob:hs1", "", equal)
	if err1 != nil || err2 != nil {
		t.Fatalf("got %v and %v, want both verified", err1, err2)
	}
	if a, b := alice.trustOf(bob.s.Self()), bob.trustOf(alice.s.Self()); a != quinta.TrustVerified || b != quinta.TrustVerified {
		t.Errorf("got trust %v and %v, want both verified", a, b)
	}
	alice.sends(room, "now I know it is you")
	if m := bob.reads("now I know it is you"); m.Trust != quinta.TrustVerified {
		t.Errorf("got trust %v of the message, want verified", m.Trust)
	}
	for _, p := range []*person{alice, bob} {
		if got := p.shown(room); len(got) != 1 {
			t.Errorf("got %q, want a timeline without the messages of the verification", got)
		}
	}
}

func TestVerifyMismatch(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	phone := meets(t, url, "alice").runs()
	laptop := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	err1, err2 := verifies(t, phone, laptop, "", laptop.s.Self().ID, func(client.ShortStrings, client.ShortStrings) bool { return false })
	wantKind(t, err1, quinta.KindForbidden)
	wantKind(t, err2, quinta.KindForbidden)
	if !errors.Is(err1, client.ErrMismatch) || !errors.Is(err2, client.ErrMismatch) {
		t.Errorf("got %v and %v, want a mismatch on both sides", err1, err2)
	}
	if got := phone.trustOf(laptop.s.Self()); got >= quinta.TrustVerified {
		t.Errorf("got trust %v after strings that differ", got)
	}
}

func TestVerifyTurnedDown(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	phone := meets(t, url, "alice").runs()
	laptop := enters(t, url, "alice", matrixclient.Network{}, memory.New(), false).runs()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- laptop.s.AwaitVerify(ctx, func(quinta.Device) bool { return false }, nil)
	}()
	never := func(context.Context, client.ShortStrings) (bool, error) { return false, nil }
	wantKind(t, phone.s.Verify(t.Context(), "", laptop.s.Self().ID, never), quinta.KindConflict)
	cancel()
	if err := <-ended; err == nil {
		t.Error("got no error when the context ended")
	}
	wantKind(t, phone.s.Verify(t.Context(), "", "NOSUCH", never), quinta.KindNotFound)
	phone.stop()
	wantKind(t, phone.s.Verify(t.Context(), "", "", never), quinta.KindConflict)
}

func TestJudge(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice, bob := meets(t, url, "alice").runs(), meets(t, url, "bob").runs()
	room := alice.invites(bob)
	alice.sends(room, "for everybody")
	bob.reads("for everybody")
	d := bob.s.Self()
	if err := alice.s.Judge(t.Context(), d.User, d.ID, quinta.TrustRejected); err != nil {
		t.Fatal(err)
	}
	alice.sends(room, "not for that device")
	e := bob.sees("refusal", func(e e2ee.Event) bool { return e.Kind == e2ee.EventUndecryptable })
	if e.Reason != quinta.ReasonWithheld && e.Reason != quinta.ReasonNoKeyYet {
		t.Errorf("got reason %q, want that the key was withheld", e.Reason)
	}
	if err := alice.s.Judge(t.Context(), d.User, d.ID, quinta.TrustVerified); err != nil {
		t.Fatal(err)
	}
	if got := alice.trustOf(d); got != quinta.TrustVerified {
		t.Errorf("got trust %v, want verified", got)
	}
	alice.sends(room, "for that device again")
	bob.reads("for that device again")
	wantKind(t, alice.s.Judge(t.Context(), d.User, "NOSUCH", quinta.TrustVerified), quinta.KindNotFound)
	wantKind(t, alice.s.Judge(t.Context(), d.User, d.ID, quinta.TrustPinned), quinta.KindInvalid)
	wantKind(t, alice.s.Judge(t.Context(), "", alice.s.Self().ID, quinta.TrustRejected), quinta.KindInvalid)
}

func TestDevices(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	alice := meets(t, url, "alice").runs()
	if err := alice.s.Rename(t.Context(), alice.s.Self().ID, "kitchen"); err != nil {
		t.Fatal(err)
	}
	devices, err := alice.s.Devices(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(devices) != 1 || devices[0].Name != "kitchen" || !devices[0].Own || !devices[0].Self || len(devices[0].Fingerprint) != 43+10 {
		t.Errorf("got %+v, want the device with its new name and its fingerprint in groups", devices)
	}
	bob := meets(t, url, "bob")
	others, err := alice.s.Devices(t.Context(), bob.s.Self().User)
	if err != nil || len(others) != 1 || others[0].Own || others[0].Trust >= quinta.TrustVerified {
		t.Errorf("got %+v, %v, want bob's one device, not verified", others, err)
	}
	if _, err := alice.s.Devices(t.Context(), "nobody"); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("got %v, want kind %v", err, quinta.KindInvalid)
	}
}
