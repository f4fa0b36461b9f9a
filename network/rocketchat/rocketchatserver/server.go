// Package rocketchatserver is the server half of the Rocket.Chat network: the
// REST and DDP calls that clients of encrypted rooms use.
//
// [Network] is its entry in the list of networks. Each file holds one group of
// calls: a call is registered for REST, for DDP, or for both, and is carried out
// in one transaction. Changes are kept as events for a short time, in the one
// order of the store, so that every connection of a user gets them, on any node.
//
// The server sees who talks to whom, when and how much, the names and topics of
// rooms, and reactions. It never sees a text of an encrypted room, a room key or a
// private key in clear, and it opens nothing.
package rocketchatserver

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

//go:embed *.sql
var tables embed.FS

// name is that of the network.
const name quinta.NetworkName = "rocketchat"

// The settings of the network.
const (
	settingVersion     = "rocketchat-version"
	settingForce       = "rocketchat-force-encryption"
	settingOTR         = "rocketchat-otr"
	settingPush        = "rocketchat-push"
	settingPushContent = "rocketchat-push-content"
)

// Network is the Rocket.Chat server half. It pushes by way of the gateway at the
// address of a setting, if there is one.
var Network = with(func(c *server.Core) Gateway {
	if url := c.Setting(settingPush); url != "" {
		return newGateway(url)
	}
	return nil
})

// WithGateway returns Network with a gateway of the caller's.
func WithGateway(g Gateway) server.Network {
	return with(func(*server.Core) Gateway { return g })
}

// with makes the network, with the gateway that it pushes by; nil means none.
func with(gateway func(*server.Core) Gateway) server.Network {
	return server.Network{
		Name:    name,
		Schemas: []db.Schema{db.ReadSchema("rocketchat", tables)},
		Settings: []server.Setting{
			{Name: settingVersion, Default: "8.5.1", Arg: "VERSION", Help: "the release of Rocket.Chat that the server announces to clients, such as 8.5.1; the stock apps refuse releases that their vendor no longer supports", Check: checkVersion},
			server.Switch(settingForce, "off", "make every private group encrypted, and refuse requests for unencrypted ones"),
			server.Switch(settingOTR, "off", "let the two people in a direct conversation talk off the record: their messages pass through the server and are not stored"),
			{Name: settingPush, Arg: "URL", Help: "the push gateway that notifies apps of new messages; it must have the interface of Rocket.Chat's own gateway; by default there is none", Check: checkPush},
			{Name: settingPushContent, Default: pushIDOnly, Arg: "id-only|encrypted", Help: "what the push gateway gets: only the IDs of messages, which apps then fetch, or also the ciphertext of encrypted messages; never any text", Check: checkPushContent},
		},
		Join: func(address string) string {
			return "on the Rocket.Chat network: quinta login rocketchat " + address + " NAME"
		},
		New: func(c *server.Core) (server.Front, error) { return newServer(c, gateway(c)), nil },
		CheckAccount: func(_ *server.Core, local account.Name) error {
			if strings.ContainsAny(string(local), "=/+") {
				return errName
			}
			return nil
		},
	}
}

var errName = quinta.E(quinta.KindInvalid, "account", "a user name on this network cannot contain the characters = / +")

var versionForm = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$`)

func checkVersion(v string) error {
	if !versionForm.MatchString(v) {
		return fmt.Errorf("%.40q is not a release such as 8.5.1", v)
	}
	return nil
}

var (
	_ server.Web           = (*rcServer)(nil)
	_ server.Runner        = (*rcServer)(nil)
	_ server.AccountKeeper = (*rcServer)(nil)
	_ server.Bounded       = (*rcServer)(nil)
	_ server.Periodic      = (*rcServer)(nil)
)

// An rcServer answers the calls of the network.
type rcServer struct {
	*server.Core
	rest    map[string]endpoint // by method, a blank and the name
	methods map[string]method   // of DDP
	gateway Gateway             // nil means that nothing is pushed
}

func newServer(c *server.Core, gateway Gateway) *rcServer {
	s := &rcServer{Core: c, gateway: gateway, rest: map[string]endpoint{}, methods: map[string]method{}}
	for _, register := range []func(){
		s.loginCalls, s.registerCalls, s.userCalls, s.settingCalls, s.roomCalls, s.memberCalls, s.messageCalls, s.historyCalls,
		s.keyCalls, s.roomKeyCalls, s.resetCalls, s.draftCalls, s.fileCalls, s.publishCalls, s.pushCalls, s.otrCalls,
	} {
		register()
	}
	return s
}

// Paths are those of Rocket.Chat.
func (s *rcServer) Paths() []string {
	return []string{wire.PathAPI, wire.PathInfo, wire.PathWebsocket, wire.PathFiles}
}

// Close has nothing to end.
func (s *rcServer) Close() error { return nil }

// ServeHTTP answers one call.
func (s *rcServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == wire.PathWebsocket:
		if c := s.plain(w, r); c.passes("GET " + path) {
			s.serveWebsocket(w, r)
		}
	case path == wire.PathInfo:
		if c := s.plain(w, r); c.passes("GET " + path) {
			c.write(http.StatusOK, wire.Info{Success: true, Version: s.Setting(settingVersion)})
		}
	case strings.HasPrefix(path, wire.PathFiles):
		s.serveREST(w, r, "file-upload/"+strings.TrimPrefix(path, wire.PathFiles))
	default:
		s.serveREST(w, r, strings.TrimPrefix(path, wire.PathAPI))
	}
}

// plain is the call of a path that is no method of REST.
func (s *rcServer) plain(w http.ResponseWriter, r *http.Request) *call {
	server.SetRoute(w, r.URL.Path)
	return &call{rcServer: s, w: w, r: r, ctx: r.Context(), addr: incoming.Addr(r)}
}

// passes reports whether the caller's address may make an open call without a
// body now, and answers it if not.
func (c *call) passes(route string) bool {
	err := limited(c.Calls.Allow("rocketchat "+route, server.ByAddr(c.addr), rateOpen, 1))
	if err != nil {
		c.fail(err)
	}
	return err == nil
}

// The times after which things are removed.
const (
	keepEvents  = 10 * time.Minute
	keepLoose   = 24 * time.Hour // an upload that no message names
	sweepAtOnce = 500
)

// Periodically removes events that everyone has heard, and uploads that were
// never confirmed.
func (s *rcServer) Periodically(ctx context.Context) error {
	return s.UpdateAlways(ctx, func(tx *db.Tx) error {
		if err := removeEvents(tx, `at < $1`, tx.Millis()-keepEvents.Milliseconds()); err != nil {
			return err
		}
		var ids []string
		for row, err := range tx.Query(`SELECT id FROM rocketchat_upload WHERE message = '' AND at < $1 LIMIT $2`, tx.Millis()-keepLoose.Milliseconds(), sweepAtOnce) {
			if err != nil {
				return err
			}
			var id string
			if err := row.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		for _, id := range ids {
			if err := removeUpload(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func removeUpload(tx *db.Tx, id string) error {
	if err := blob.Remove(tx, id); err != nil {
		return err
	}
	var owner quinta.UserID
	var n int64
	if err := tx.Row(`SELECT user_id, LENGTH(content) FROM rocketchat_upload WHERE id = $1`, id).Scan(&owner, &n); err != nil {
		return err
	}
	tx.Count(db.UserOf(name, owner), db.ClassMedia, -n)
	return tx.Queue(`DELETE FROM rocketchat_upload WHERE id = $1`, id)
}

// AccountOf returns the account of a user.
func (s *rcServer) AccountOf(tx *db.Tx, user quinta.UserID) (account.Name, error) {
	p, err := scanPerson(tx.Row(`SELECT `+personColumns+` FROM rocketchat_user WHERE id = $1`, user))
	if errors.Is(err, errNoUser) {
		return "", nil
	}
	return p.Name, err
}

// CountStored counts messages, events, what is sealed beside files, and key pairs.
func (s *rcServer) CountStored(tx *db.Tx) error {
	if err := countEvents(tx, 1, `SELECT owner, CAST(SUM(LENGTH(args) + `+db.RowCost+`) AS BIGINT) FROM rocketchat_event WHERE owner <> '' GROUP BY owner`); err != nil {
		return err
	}
	for _, q := range []struct {
		class db.Class
		sql   string
	}{
		{db.ClassMessages, `SELECT user_id, CAST(SUM(LENGTH(body) + ` + db.RowCost + `) AS BIGINT) FROM rocketchat_message GROUP BY user_id`},
		{db.ClassMedia, `SELECT user_id, CAST(SUM(LENGTH(content)) AS BIGINT) FROM rocketchat_upload GROUP BY user_id`},
		{db.ClassData, `SELECT id, LENGTH(public) + LENGTH(private) FROM rocketchat_user`},
	} {
		for row, err := range tx.Query(q.sql) {
			if err != nil {
				return err
			}
			var user quinta.UserID
			var n int64
			if err := row.Scan(&user, &n); err != nil {
				return err
			}
			tx.Count(db.UserOf(name, user), q.class, n)
		}
	}
	return nil
}

// AccountLogOut ends all logins of an account.
func (s *rcServer) AccountLogOut(tx *db.Tx, local account.Name) error {
	p, found, err := findAccount(tx, local)
	if err != nil || !found {
		return err
	}
	return s.logOutAll(tx, p, "")
}

// AccountClosing takes an account out of its rooms and removes its keys.
func (s *rcServer) AccountClosing(tx *db.Tx, local account.Name) error {
	p, found, err := findAccount(tx, local)
	if err != nil || !found {
		return err
	}
	if err := s.logOutAll(tx, p, ""); err != nil {
		return err
	}
	ids, err := roomsOf(tx, p.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.takeOut(tx, id, p, p, "ul"); err != nil {
			return err
		}
	}
	tx.Count(db.UserOf(name, p.user()), db.ClassData, -p.keyBytes())
	return tx.Queue(`UPDATE rocketchat_user SET public = '', private = '', closed = $2 WHERE id = $1`, p.ID, true)
}

// endLogin ends a login, with the pushes for its app.
func endLogin(tx *db.Tx, p person, id quinta.DeviceID) error {
	if err := removeTokens(tx, p.ID, string(id)); err != nil {
		return err
	}
	_, err := device.Remove(tx, name, p.user(), id)
	return err
}

// logOutAll ends the logins of a user, except one.
func (s *rcServer) logOutAll(tx *db.Tx, p person, except quinta.DeviceID) error {
	list, err := device.List(tx, name, p.user())
	if err != nil {
		return err
	}
	for _, d := range list {
		if d.ID == except {
			continue
		}
		if err := endLogin(tx, p, d.ID); err != nil {
			return err
		}
	}
	return s.event(tx, scopeUser(p.ID), "stream-notify-user", p.ID+"/force_logout")
}
