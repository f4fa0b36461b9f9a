//go:build peers

package matrix_test

import (
	"context"
	"slices"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/driver"
)

// TestQuintaMakesTheIdentity: an account that quinta registered has an identity
// that other makes see; its recovery key and its passphrase open the identity
// and the backup in another make.
func TestQuintaMakesTheIdentity(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.sitsWith(driver.Room{})
	alice.UntilDeviceID(bob.User, bob.ID, true)
	id := bob.writes(room, "before the others")
	hears(t, room, bob, id, "before the others", alice)
	bob.env = append(bob.env, "QUINTA_BACKUP_PASSPHRASE=two little ducks")
	recovery := bob.recovery("--passphrase")

	desktop := h.device("bob", "desktop")
	desktop.Unlock(recovery)
	if s := desktop.CrossSigning(); !s.Ready || !s.Private || !s.Stored {
		t.Errorf("got %+v, want the whole identity", s)
	}
	if total, imported := desktop.Restore(recovery); total < 1 || imported != total {
		t.Errorf("got %d of %d keys, want all", imported, total)
	}
	if e := desktop.ReadID(room, id); e.Body != "before the others" {
		t.Errorf("got %+v with the restored keys, want the text", e)
	}
	tablet := h.device("bob", "tablet")
	tablet.UnlockBy("two little ducks")
	for _, d := range []*driver.Device{desktop, tablet} {
		alice.UntilDevice(d, true)
	}
	hears(t, room, bob, bob.writes(room, "to all of them"), "to all of them", alice, desktop, tablet)
}

// TestQuintaReadsSecretStorage: a recovery key and a passphrase of another make
// open the identity and the backup in quinta.
func TestQuintaReadsSecretStorage(t *testing.T) {
	h := cottage(t)
	for _, name := range []string{"alice", "carol"} {
		d := h.user(name)
		secret := "a phrase of carol's"
		if name == "alice" {
			secret = d.Bootstrap()
		} else {
			d.BootstrapBy(secret)
		}
		room := d.CreateRoom(driver.Room{})
		d.SendText(room, "long ago")
		d.UntilBackedUp(1)
		s := h.sits("login", name)
		for _, l := range s.reads(room) {
			if l.Reason != quinta.ReasonBackupLocked {
				t.Errorf("%s: got %+v before it was unlocked, want that the backup is locked", name, l)
			}
		}
		d.UntilDeviceID(s.User, s.ID, false)
		s.unlocks(secret)
		d.UntilDeviceID(s.User, s.ID, true)
		if l := s.reads(room); len(l) != 1 || l[0].Text != "long ago" {
			t.Errorf("%s: got %+v with the backup, want the text", name, l)
		}
		// What quinta reads and writes from then on is in the same backup.
		s.writes(room, "from quinta")
		s.does("keys", "rotate", string(room))
		hears(t, room, s, s.writes(room, "under another key"), "under another key", d)
	}
}

// speaks makes Alice, with a client of another make, and Bob, with ours, both
// with identities, in a direct conversation.
func (h *house) speaks() (alice *driver.Device, bob *own, room quinta.RoomID) {
	h.t.Helper()
	alice, bob = h.user("alice"), h.own("bob")
	alice.Bootstrap()
	if err := bob.CreateIdentity(h.t.Context(), client.NewSecret(h.account("bob").Password)); err != nil {
		h.t.Fatal(err)
	}
	room, err := bob.Create(h.t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{alice.User}})
	if err != nil {
		h.t.Fatal(err)
	}
	alice.Join(room)
	alice.UntilMembership(room, bob.Self().User, "join")
	alice.UntilDeviceID(bob.Self().User, bob.Self().ID, true)
	bob.reads(alice.SendText(room, "shall we?"), alice.User, "shall we?")
	return alice, bob, room
}

// pictures says yes, and passes on the names of what it was shown.
func pictures() (shown chan []string, compare func(context.Context, client.ShortStrings) (bool, error)) {
	shown = make(chan []string, 1)
	return shown, func(_ context.Context, s client.ShortStrings) (bool, error) {
		var names []string
		for _, e := range s.Emoji {
			names = append(names, e.Name)
		}
		shown <- names
		return true, nil
	}
}

// trusts checks that our client holds every device of a user for verified.
func (o *own) trusts(user quinta.UserID) {
	o.t.Helper()
	devices, err := o.Devices(o.t.Context(), user)
	if err != nil || len(devices) == 0 {
		o.t.Fatalf("got %v, %v, want the devices of %s", devices, err, user)
	}
	for _, d := range devices {
		if d.Trust != quinta.TrustVerified {
			o.t.Errorf("got trust %v in %s, want verified", d.Trust, d.ID)
		}
	}
}

// TestQuintaVerifiesUsersInARoom: our client asks in the conversation, and is
// asked there; emoji are compared, and both sign what they saw.
func TestQuintaVerifiesUsersInARoom(t *testing.T) {
	h := cottage(t)
	alice, bob, room := h.speaks()
	for _, weAsk := range []bool{true, false} {
		shown, compare := pictures()
		ended := make(chan error, 1)
		var flow driver.Flow
		if weAsk {
			go func() { ended <- bob.Verify(t.Context(), alice.User, "", compare) }()
			flow = alice.AcceptVerification(bob.Self().User)
		} else {
			go func() {
				ended <- bob.AwaitVerify(t.Context(), func(d quinta.Device) bool { return d.User == alice.User }, compare)
			}()
			flow = alice.AskVerification(driver.Target{User: bob.Self().User, Room: room})
			alice.StartVerification(flow)
		}
		emoji := alice.FlowEmoji(flow)
		if got := <-shown; len(got) != 7 || !slices.Equal(got, emoji) {
			t.Fatalf("we ask %v: got emoji %q and %q, want the same seven", weAsk, got, emoji)
		}
		alice.ConfirmFlow(flow)
		if err := <-ended; err != nil {
			t.Fatalf("we ask %v: %v", weAsk, err)
		}
		alice.UntilUserVerified(bob.Self().User, true)
		bob.trusts(alice.User)
	}
}

// TestQuintaVerifiesByCode: users compare a code, shown by either make; then a
// new device of either account is let in by a code, and gets the private keys
// of the identity.
func TestQuintaVerifiesByCode(t *testing.T) {
	h := cottage(t)
	alice, bob, _ := h.speaks()
	ended := make(chan error, 1)
	light := make(chan []byte, 1)
	shows := client.Comparison{
		Show:    func(code []byte) error { light <- code; return nil },
		Scanned: func(context.Context, quinta.Device) (bool, error) { return true, nil },
	}
	scans := client.Comparison{Scan: func(ctx context.Context) ([]byte, error) { return <-light, nil }}
	end := func(what string) {
		t.Helper()
		if err := <-ended; err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	anybody := func(quinta.Device) bool { return true }

	// Bob shows, alice scans.
	go func() { ended <- bob.VerifyBy(t.Context(), alice.User, "", shows) }()
	flow := alice.AcceptVerification(bob.Self().User)
	alice.ScanCode(flow, <-light)
	end("a user scans ours")
	alice.UntilUserVerified(bob.Self().User, true)
	bob.trusts(alice.User)

	// A new device of bob's, of the other make, shows; ours scans.
	desktop := h.device("bob", "desktop")
	go func() { ended <- bob.AwaitVerifyBy(t.Context(), anybody, scans) }()
	flow = desktop.AskVerification(driver.Target{})
	light <- desktop.ShowCode(flow)
	desktop.ConfirmScan(flow)
	end("a device of the other make shows")
	desktop.UntilPrivateKeys()
	alice.UntilDevice(desktop, true)

	// A new device of alice's, of our make, scans what her old one shows.
	tablet := h.owns("alice", matrixclient.Network{}.Login)
	alice.UntilDeviceID(alice.User, tablet.Self().ID, false)
	go func() { ended <- tablet.AwaitVerifyBy(t.Context(), anybody, scans) }()
	flow = alice.AskVerification(driver.Target{User: alice.User, Device: tablet.Self().ID})
	light <- alice.ShowCode(flow)
	alice.ConfirmScan(flow)
	end("a device of ours scans")
	id, err := tablet.Identity(t.Context())
	if err != nil || !id.Trusted || !id.Complete || !id.SignsThis {
		t.Errorf("got %+v, %v, want the whole identity", id, err)
	}
	alice.UntilDeviceID(alice.User, tablet.Self().ID, true)

	// Carol has another make and shows; bob scans.
	carol := h.user("carol")
	carol.Bootstrap()
	ours, err := bob.Create(t.Context(), client.NewRoom{Direct: true, Invite: []quinta.UserID{carol.User}})
	if err != nil {
		t.Fatal(err)
	}
	carol.Join(ours)
	bob.reads(carol.SendText(ours, "hello"), carol.User, "hello")
	go func() { ended <- bob.AwaitVerifyBy(t.Context(), anybody, scans) }()
	flow = carol.AskVerification(driver.Target{User: bob.Self().User, Room: ours})
	light <- carol.ShowCode(flow)
	carol.ConfirmScan(flow)
	end("we scan a user's")
	carol.UntilUserVerified(bob.Self().User, true)
	bob.trusts(carol.User)
}
