package matrixserver

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
)

// maxQueryUsers bounds the users of one query for keys.
const maxQueryUsers = 5000

// The usages of cross-signing keys, as the keys name them.
const (
	usageMaster = "master"
	usageSelf   = "self_signing"
	usageUser   = "user_signing"
)

// postKeysQuery: "POST /keys/query". The keys go out as they are stored, with
// the name of the device added.
func (c *call) postKeysQuery() (any, error) {
	var q wire.KeyQuery
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.Devices == nil {
		return nil, badJSON("device_keys is missing")
	}
	if len(q.Devices) > maxQueryUsers {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many users for one query")
	}
	var users []quinta.UserID
	failures := map[string]struct{}{}
	for u, list := range q.Devices {
		if len(list) > device.MaxDevices {
			return nil, wire.NewError(http.StatusBadRequest, wire.CodeTooLarge, "too many devices of one user")
		}
		if c.ours(u, failures) {
			users = append(users, u)
		}
	}
	slices.Sort(users)
	a := &keyAnswer{query: q.Devices, viewer: c.user, signatures: map[quinta.UserID][]directory.Signature{}}
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		if a.devices, err = directory.Devices(tx, network, users); err != nil {
			return err
		}
		if a.names, err = device.Names(tx, network, users); err != nil {
			return err
		}
		if a.identities, err = directory.Identities(tx, network, users); err != nil {
			return err
		}
		sigs, err := directory.SignaturesBy(tx, network, c.user, users)
		if err != nil {
			return err
		}
		for _, s := range sigs {
			a.signatures[s.User] = append(a.signatures[s.User], s)
		}
		a.bare, err = c.bareUsers(tx, users, a.devices)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a.write(failures)
}

// ours reports whether the user id is of this server. The server of another
// one is noted as failed: there is no federation.
func (c *call) ours(u quinta.UserID, failures map[string]struct{}) bool {
	if c.accountOf(u) != "" {
		return true
	}
	if _, host, ok := wire.SplitUserID(u); ok && host != c.Core.Name {
		failures[host] = struct{}{}
	}
	return false
}

// bareUsers returns the users who exist and have no device keys.
func (c *call) bareUsers(tx *db.Tx, users []quinta.UserID, devices []directory.Device) ([]quinta.UserID, error) {
	with := make(map[quinta.UserID]bool, len(users))
	for i := range devices {
		with[devices[i].User] = true
	}
	var bare, unknown []quinta.UserID
	for _, u := range users {
		if !with[u] {
			unknown = append(unknown, u)
		}
	}
	// Users who are logged in exist; that is one query for nearly all of them.
	logins, err := device.Of(tx, network, unknown)
	if err != nil {
		return nil, err
	}
	for _, l := range logins {
		if !with[l.User] {
			with[l.User] = true
			bare = append(bare, l.User)
		}
	}
	for _, u := range unknown {
		if with[u] {
			continue
		}
		there, err := account.Exists(tx, c.accountOf(u))
		if err != nil {
			return nil, err
		}
		if there {
			bare = append(bare, u)
		}
	}
	return bare, nil
}

// A keyAnswer is what was found, each list with the rows of one user together.
type keyAnswer struct {
	query      map[quinta.UserID][]quinta.DeviceID
	viewer     quinta.UserID
	devices    []directory.Device
	names      []device.Label
	identities []directory.Identity
	signatures map[quinta.UserID][]directory.Signature
	bare       []quinta.UserID
}

// write splices the stored objects into one answer.
func (a *keyAnswer) write(failures map[string]struct{}) (json.RawMessage, error) {
	size := 1024
	for i := range a.devices {
		size += len(a.devices[i].Body) + 256
	}
	for i := range a.identities {
		size += len(a.identities[i].Body) + 128
	}
	b := append(make([]byte, 0, size), `{"device_keys":{`...)
	b = a.appendDevices(b)
	b = append(b, `},"failures":{`...)
	for host := range failures {
		b = append(wire.AppendMember(b, host), "{}"...)
	}
	b = append(b, '}')
	for _, part := range []struct{ member, usage string }{
		{"master_keys", usageMaster}, {"self_signing_keys", usageSelf}, {"user_signing_keys", usageUser},
	} {
		var err error
		if b, err = a.appendIdentities(b, part.member, part.usage); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendDevices writes {user: {device: keys}} without the outer braces.
func (a *keyAnswer) appendDevices(b []byte) []byte {
	type id struct {
		user   quinta.UserID
		device quinta.DeviceID
	}
	names := make(map[id]string, len(a.names))
	for _, n := range a.names {
		names[id{n.User, n.ID}] = n.Name
	}
	for i := 0; i < len(a.devices); {
		user := a.devices[i].User
		b = append(wire.AppendMember(b, string(user)), '{')
		only := a.query[user]
		for ; i < len(a.devices) && a.devices[i].User == user; i++ {
			d := &a.devices[i]
			if len(only) > 0 && !slices.Contains(only, d.Device) {
				continue
			}
			b = wire.AppendMember(b, string(d.Device))
			name, ok := names[id{user, d.Device}]
			if !ok {
				b = append(b, d.Body...)
				continue
			}
			b = append(b, d.Body[:len(d.Body)-1]...)
			b = append(b, `,"unsigned":{"device_display_name":`...)
			b = append(wire.AppendText(b, name), '}', '}')
		}
		b = append(b, '}')
	}
	for _, u := range a.bare {
		b = append(wire.AppendMember(b, string(u)), "{}"...)
	}
	return b
}

// appendIdentities writes the cross-signing keys of one usage. The viewer
// sees their own signatures on the master keys of others, and no one else's;
// a user-signing key is for its owner alone.
func (a *keyAnswer) appendIdentities(b []byte, name, usage string) ([]byte, error) {
	b = append(wire.AppendMember(b, name), '{')
	for i := range a.identities {
		id := &a.identities[i]
		if id.Usage != usage || (usage == usageUser && id.User != a.viewer) {
			continue
		}
		body := id.Body
		if usage == usageMaster {
			var err error
			if body, err = a.sign(id); err != nil {
				return nil, err
			}
		}
		b = append(wire.AppendMember(b, string(id.User)), body...)
	}
	return append(b, '}'), nil
}

// sign returns a master key with the viewer's signatures.
func (a *keyAnswer) sign(id *directory.Identity) ([]byte, error) {
	var add []byte
	for _, s := range a.signatures[id.User] {
		if s.Target == id.Key {
			add = wire.AppendText(wire.AppendMember(add, "ed25519:"+s.Key), s.Signature)
		}
	}
	if add == nil {
		return id.Body, nil
	}
	ms, err := canonicaljson.Members(id.Body)
	if err != nil {
		return nil, err
	}
	own := field(ms, "signatures")
	if own == nil {
		own = []byte("{}")
	}
	// The stored object holds signatures by its owner only, so the viewer's
	// entry is not there yet.
	sigs := append(wire.AppendMember([]byte{'{'}, string(a.viewer)), '{')
	sigs = append(append(sigs, add...), '}')
	if len(own) > 2 {
		sigs = append(sigs, ',')
	}
	return canonicaljson.Set(id.Body, "signatures", append(sigs, own[1:]...))
}
