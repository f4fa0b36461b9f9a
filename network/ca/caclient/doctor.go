package caclient

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
)

var _ client.Doctor = (*Session)(nil)

// maxSkew is how far clocks may be apart: by more, messages are refused.
const maxSkew = cert.MaxAhead

// lookWithin bounds each thing that is looked at.
const lookWithin = 20 * time.Second

// Examine implements client.Doctor. If the server cannot be reached, the
// device is no longer logged in, or the clock is wrong, nothing else is
// checked.
func (s *Session) Examine(ctx context.Context) ([]client.Finding, error) {
	const op = "examining the server"
	_, header, err := s.link.call(ctx, op, open(get(wire.PathRoots)))
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []client.Finding{bad("server", err.Error(), "check the network and the address of the server: "+s.link.base)}, nil
	}
	out := []client.Finding{good("server", s.link.base+" answers"), s.clock(header)}
	devices, err := s.ownDevices(ctx)
	switch {
	case quinta.KindOf(err) == quinta.KindUnauthenticated && err != nil:
		return append(out, bad("login", "the device was signed out", "log in again, as a new device")), nil
	case err != nil:
		return append(out, bad("login", err.Error(), "try again later")), nil
	case !slices.ContainsFunc(devices, func(d wire.Device) bool { return d.Device == s.account.Device }):
		return append(out, bad("login", "the server takes this device for another one", "do not use this store; log in again")), nil
	}
	out = append(out, good("login", fmt.Sprintf("%s on device %s", s.account.User, s.account.Device)))
	if !out[1].OK {
		return out, nil // by a wrong clock all that follows would be wrong too
	}
	for _, look := range []func(context.Context) (client.Finding, error){
		s.examineRevocations, s.examineKeys, s.examineDevices, s.examineUnread, s.examineBackup,
	} {
		within, cancel := context.WithTimeout(ctx, lookWithin)
		found, err := look(within)
		cancel()
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if err != nil {
			found.OK, found.Text, found.Remedy = false, err.Error(), "try again; if the problem persists, tell the administrator of the server"
		}
		out = append(out, found)
	}
	return out, nil
}

func good(name, text string) client.Finding { return client.Finding{Name: name, OK: true, Text: text} }

func bad(name, text, remedy string) client.Finding {
	return client.Finding{Name: name, Text: text, Remedy: remedy}
}

func (s *Session) clock(h http.Header) client.Finding {
	const name = "clock"
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return good(name, "the server does not report its time")
	}
	if skew := at.Sub(s.env.Now()).Abs(); skew > maxSkew {
		return bad(name, fmt.Sprintf("the clocks of this machine and of the server are %s apart", skew.Round(time.Second)), "set the clock: certificates and messages depend on it")
	}
	return good(name, "it agrees with the server's")
}

// examineRevocations fetches the revocation list as the machine does.
func (s *Session) examineRevocations(ctx context.Context) (client.Finding, error) {
	const name = "revocations"
	r, err := s.link.roots(ctx)
	if err != nil {
		return client.Finding{Name: name}, err
	}
	raw, _, err := s.link.call(ctx, "fetching the revocation list", open(large(get(wire.PathCRL))))
	if err != nil {
		return client.Finding{Name: name}, err
	}
	until, err := r.ListUntil(raw)
	switch {
	case err != nil:
		return bad(name, "the revocation list was not issued by the authority: "+err.Error(), "tell the administrator of the server: without a valid list, nothing is sent or opened"), nil
	case s.env.Now().After(until):
		return bad(name, "the revocation list is out of date", "check the clock of this machine; if it is right, tell the administrator of the server"), nil
	}
	return good(name, "the list is valid until "+until.UTC().Format(time.RFC3339)), nil
}

// examineKeys compares the server's list of this device's keys with the store.
func (s *Session) examineKeys(ctx context.Context) (client.Finding, error) {
	const name = "keys"
	listed, err := s.Keys(ctx)
	if err != nil {
		return client.Finding{Name: name}, err
	}
	var own []ca.OwnKey
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { own, err = s.machine.OwnKeys(tx); return err }); err != nil {
		return client.Finding{Name: name}, err
	}
	here := map[cert.Fingerprint]ca.OwnKey{}
	var first time.Time
	uses := map[cert.Use]bool{}
	for _, k := range own {
		here[k.ID] = k
		if k.State == "blocked" {
			return bad(name, "another device must approve the new keys of this one", "on another device of the account: approve this device with the key "+string(k.ID)), nil
		}
		if k.State == "active" && k.Profile == cert.ProfileSecure && s.env.Now().Before(k.Expires) {
			uses[k.Use] = true
			if first.IsZero() || k.Expires.Before(first) {
				first = k.Expires
			}
		}
	}
	for _, k := range listed {
		if _, ok := here[cert.Fingerprint(k.ID)]; k.Self && k.State == string(wire.StateActive) && !ok {
			return bad(name, "the server lists a valid key for this device that is not in this store: either the store is an old copy, or the server is dishonest", "stop using this store; log in again as a new device"), nil
		}
	}
	if !uses[cert.UseSign] || !uses[cert.UseEncrypt] {
		return bad(name, "this device has no valid keys: it can neither send nor receive messages", "run this once: it enrols new keys, or says which device must approve them"), nil
	}
	return good(name, "the keys of this device are valid until "+first.UTC().Format(time.RFC3339)), nil
}

// examineDevices looks for the user's own devices that no one compared.
func (s *Session) examineDevices(ctx context.Context) (client.Finding, error) {
	const name = "own-devices"
	devices, err := s.Devices(ctx, "")
	if err != nil {
		return client.Finding{Name: name}, err
	}
	var unknown []string
	for _, d := range devices {
		if !d.Self && d.Trust < quinta.TrustVerified && d.Fingerprint != "" {
			unknown = append(unknown, string(d.ID))
		}
	}
	if len(unknown) > 0 {
		return bad(name, "not verified: "+strings.Join(unknown[:min(len(unknown), 10)], ", "), "verify each, or sign out those that are not yours"), nil
	}
	return good(name, fmt.Sprintf("%d, and all of them are known", len(devices))), nil
}

// examineUnread counts what waits to be opened.
func (s *Session) examineUnread(ctx context.Context) (client.Finding, error) {
	const name = "unread"
	n := 0
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { n, err = s.machine.Pending(tx); return err }); err != nil {
		return client.Finding{Name: name}, err
	}
	if n > 0 {
		return bad(name, fmt.Sprintf("%d messages cannot be opened on this device", n), "unlock the backup with its recovery key, or ask the senders to encrypt them again"), nil
	}
	return good(name, "no message is waiting to be opened"), nil
}

// examineBackup looks at the key backup.
func (s *Session) examineBackup(ctx context.Context) (client.Finding, error) {
	const name = "backup"
	b, err := s.Backup(ctx)
	switch {
	case err != nil:
		return client.Finding{Name: name}, err
	case !b.Exists:
		return bad(name, "there is none: if the last device is lost, all keys are lost", "make a backup, and keep its recovery key"), nil
	case !b.Unlocked:
		return bad(name, "there is one, but this device cannot open it", "unlock it with its recovery key"), nil
	}
	return good(name, fmt.Sprintf("it has %d keys", b.Keys)), nil
}
