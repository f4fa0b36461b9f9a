package matrixclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

var _ client.Doctor = (*Session)(nil)

// maxSkew is how far clocks may be apart before it is worth a word.
const maxSkew = 2 * time.Minute

// Examine implements client.Doctor. If the server cannot be reached, that is
// the only finding.
func (s *Session) Examine(ctx context.Context) ([]client.Finding, error) {
	f, err := s.link.features(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return []client.Finding{bad("server", err.Error(), "check the network and the address of the server: "+s.link.base)}, nil
	}
	out := []client.Finding{good("server", fmt.Sprintf("%s speaks %s", s.link.base, printable.Line(f.versions[len(f.versions)-1]))), s.clock(f)}
	login := s.examineLogin(ctx)
	out = append(out, login)
	if !login.OK {
		return out, nil
	}
	for _, look := range []func(context.Context) (client.Finding, error){
		s.examineSync, s.examineKeys, s.examineOneTimeKeys, s.examineIdentity, s.examineSignature, s.examineDevices, s.examineContacts, s.examineBackup,
	} {
		found, err := look(ctx)
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

func (s *Session) clock(f *features) client.Finding {
	const name = "clock"
	if !f.hasDate {
		return good(name, "the server does not report its time")
	}
	if f.skew.Abs() > maxSkew {
		return bad(name, fmt.Sprintf("the clocks of this machine and of the server are %s apart", f.skew.Abs().Round(time.Second)), "set the clock: messages and verifications go by it")
	}
	return good(name, "it agrees with the server's")
}

// examineLogin asks the server who this device is.
func (s *Session) examineLogin(ctx context.Context) client.Finding {
	const name = "login"
	var who wire.Whoami
	err := s.link.ask(ctx, "asking who this is", http.MethodGet, path("account", "whoami"), nil, &who)
	switch {
	case quinta.KindOf(err) == quinta.KindUnauthenticated && err != nil:
		return bad(name, "the device was signed out", "log in again, as a new device")
	case err != nil:
		return bad(name, err.Error(), "try again later")
	case who.User != s.account.User || who.Device != "" && who.Device != s.account.Device:
		return bad(name, "the server takes this device for another one", "do not use this store; log in again")
	}
	return good(name, fmt.Sprintf("%s on device %s", s.account.User, s.account.Device))
}

// examineSync asks as Run does, without taking anything in.
func (s *Session) examineSync(ctx context.Context) (client.Finding, error) {
	const name = "sync"
	var since string
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		since, err = matrix.Since(tx)
		return err
	}); err != nil {
		return client.Finding{Name: name}, err
	}
	q := url.Values{"filter": {`{"room":{"rooms":[]},"presence":{"not_types":["*"]}}`}}
	if since != "" {
		q.Set("since", since)
	}
	begin := s.env.Now()
	a, err := s.link.call(ctx, "syncing", request{method: http.MethodGet, path: path("sync") + "?" + q.Encode(), max: maxLarge})
	if err == nil {
		_, err = matrix.ParseSync(since, a.body)
	}
	if err != nil {
		return client.Finding{Name: name}, err
	}
	return good(name, fmt.Sprintf("the server answered in %s", s.env.Now().Sub(begin).Round(time.Millisecond))), nil
}

// examineKeys compares the server's entry for this device with the store.
func (s *Session) examineKeys(ctx context.Context) (client.Finding, error) {
	const name = "device-keys"
	var own matrix.Identity
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { own, err = s.machine.Identity(tx); return err }); err != nil {
		return client.Finding{Name: name}, err
	}
	var listed struct {
		Devices map[quinta.UserID]map[quinta.DeviceID]struct {
			Keys map[string]string `json:"keys"`
		} `json:"device_keys"`
	}
	ask := wire.KeyQuery{Devices: map[quinta.UserID][]quinta.DeviceID{s.account.User: {}}}
	if err := s.link.ask(ctx, "asking for this device's keys", http.MethodPost, path("keys", "query"), ask, &listed); err != nil {
		return client.Finding{Name: name}, err
	}
	d, ok := listed.Devices[s.account.User][s.account.Device]
	id := string(s.account.Device)
	switch {
	case !ok:
		return bad(name, "the server does not list the keys of this device: no one can write to it", "run this once: it uploads the keys again"), nil
	case strings.TrimRight(d.Keys["ed25519:"+id], "=") != own.Ed25519.String() || strings.TrimRight(d.Keys["curve25519:"+id], "=") != own.Curve.String():
		return bad(name, "the server lists other keys for this device: either this store is an old copy, or the server is dishonest", "stop using this store; log in again as a new device"), nil
	}
	return good(name, "the server lists the keys of this device: "+printable.Grouped(own.Ed25519.String())), nil
}

// examineOneTimeKeys asks how many one-time keys are left.
func (s *Session) examineOneTimeKeys(ctx context.Context) (client.Finding, error) {
	const name = "one-time-keys"
	var left wire.KeyCounts
	if err := s.link.ask(ctx, "counting one-time keys", http.MethodPost, path("keys", "upload"), struct{}{}, &left); err != nil {
		return client.Finding{Name: name}, err
	}
	n := left.OneTime["signed_curve25519"]
	if n == 0 {
		return bad(name, "there are none: users who have not written to this device before cannot start now", "run this once: it uploads new ones"), nil
	}
	return good(name, fmt.Sprintf("%d are left", n)), nil
}

// examineDevices looks for the user's own devices that no one compared.
func (s *Session) examineDevices(ctx context.Context) (client.Finding, error) {
	const name = "own-devices"
	devices, err := s.Devices(ctx, "")
	if err != nil {
		return client.Finding{Name: name}, err
	}
	var open []string
	for _, d := range devices {
		if !d.Self && d.Trust < quinta.TrustVerified && d.Fingerprint != "" {
			open = append(open, string(d.ID))
		}
	}
	if len(open) > 0 {
		return bad(name, fmt.Sprintf("not verified: %s", strings.Join(open[:min(len(open), 10)], ", ")), "verify each, or sign out those that are not yours"), nil
	}
	return good(name, fmt.Sprintf("%d, and all of them are known", len(devices))), nil
}
