package incoming_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
	"github.com/quinta-chat/quinta/server/directory"
	"github.com/quinta-chat/quinta/server/feed"
	"github.com/quinta-chat/quinta/server/mailbox"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/server/vault"
	"github.com/quinta-chat/quinta/testkit/stores"
)

// twin is a network whose users are called as those of the CA network are.
const twin quinta.NetworkName = "twin"

// everything are the sets that know users.
var everything = []db.Schema{device.Schema, directory.Schema, mailbox.Schema, prekey.Schema, vault.Schema, blob.Schema}

// TestTwins: nothing that a user has on one network is that of the user of the
// same name on another, whichever set it is in.
func TestTwins(t *testing.T) {
	const alice, phone = quinta.UserID("alice@hs1"), quinta.DeviceID("PHONE")
	key := []prekey.Key{{Algorithm: "a", ID: "1", Body: []byte("x")}}
	fill := func(tx *db.Tx, n quinta.NetworkName) (token string, err error) {
		name := string(n)
		if _, err := device.Put(tx, n, alice, phone, &name); err != nil {
			return "", err
		}
		if token, err = device.NewToken(tx, rand.Reader, n, alice, phone); err != nil {
			return "", err
		}
		_, err1 := vault.NewBackup(tx, n, alice, name, []byte(name))
		_, err2 := directory.PutSignature(tx, n, directory.Signature{Signer: alice, User: alice, Target: "k", Key: "k", Signature: name})
		_, err3 := mailbox.Once(tx, n, alice, phone, "t")
		_, err4 := blob.Reserve(tx, "file of "+name, db.UserOf(n, alice), 1e6, 1)
		return token, errors.Join(err1, err2, err3, err4,
			directory.PutDevice(tx, n, alice, phone, []byte(n)),
			directory.PutIdentity(tx, n, directory.Identity{User: alice, Usage: "u", Key: "k", Body: []byte(n)}),
			directory.Changed(tx, n, alice),
			directory.ChangedFor(tx, n, alice, alice),
			prekey.Put(tx, n, alice, phone, key),
			prekey.PutFallback(tx, n, alice, phone, key),
			mailbox.Put(tx, n, 0, quinta.Envelope{From: alice, To: alice, Device: phone, Type: name, Body: []byte(n)}),
			vault.PutData(tx, n, alice, "", "d", []byte(n)),
			vault.PutDehydrated(tx, n, alice, phone, []byte(n)))
	}
	// has lists all that can be found of alice on a network.
	has := func(tx *db.Tx, n quinta.NetworkName, token string) (out []string) {
		add := func(what string, v []byte, err error) {
			if err == nil && v != nil {
				out = append(out, what+"="+string(v))
			}
		}
		if o, err := device.ByToken(tx, n, token); err == nil {
			add("token", []byte(o.Network), nil)
		}
		if d, err := device.Get(tx, n, alice, phone); err == nil {
			add("device", []byte(d.Name), nil)
		}
		ls, err := device.Names(tx, n, []quinta.UserID{alice})
		for _, l := range ls {
			add("name", []byte(l.Name), err)
		}
		body, err := directory.DeviceOf(tx, n, alice, phone)
		add("public", body, err)
		ids, err := directory.Identities(tx, n, []quinta.UserID{alice})
		for _, id := range ids {
			add("identity", id.Body, err)
		}
		ss, err := directory.SignaturesBy(tx, n, alice, []quinta.UserID{alice})
		for _, s := range ss {
			add("signature", []byte(s.Signature), err)
		}
		us, err := directory.ChangedBetween(tx, n, alice, 0, 1<<40)
		for _, u := range us {
			add("changed", []byte(u), err)
		}
		cs, err := prekey.Counts(tx, n, alice, phone)
		for a := range cs {
			add("prekeys", []byte(a), err)
		}
		fs, err := prekey.UnusedFallback(tx, n, alice, phone)
		for _, f := range fs {
			add("fallback", []byte(f), err)
		}
		ms, _, err := mailbox.Read(tx, n, alice, phone, 0, 10)
		for _, m := range ms {
			add("message", append(m.Body, " from "+string(m.From)...), err)
		}
		v, err := vault.GetData(tx, n, alice, "", "d")
		add("data", v, err)
		b, err := vault.LatestBackup(tx, n, alice)
		add("backup", b.Auth, err)
		_, v, err = vault.Dehydrated(tx, n, alice)
		add("dehydrated", v, err)
		for _, id := range []string{"file of ca", "file of twin"} {
			add("may fill", []byte(id), blob.Fillable(tx, id, db.UserOf(n, alice)))
		}
		return out
	}
	want := func(n quinta.NetworkName) []string {
		v := string(n)
		return []string{"token=" + v, "device=" + v, "name=" + v, "public=" + v, "identity=" + v, "signature=" + v, "changed=alice@hs1",
			"prekeys=a", "fallback=a", "message=" + v + " from alice@hs1", "data=" + v, "backup=" + v, "dehydrated=" + v, "may fill=file of " + v}
	}
	stores.Each(t, func(t *testing.T, d *db.DB) {
		tokens := map[quinta.NetworkName]string{}
		update := func(fn func(*db.Tx) error) {
			t.Helper()
			if err := d.Update(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		check := func(when string, n quinta.NetworkName, token quinta.NetworkName, want []string) {
			t.Helper()
			var got []string
			if err := d.View(t.Context(), func(tx *db.Tx) error { got = has(tx, n, tokens[token]); return nil }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, on %s: got %q, want %q", when, n, got, want)
			}
		}
		update(func(tx *db.Tx) (err error) { tokens["ca"], err = fill(tx, "ca"); return err })
		check("of the other network alone", twin, "ca", nil)
		update(func(tx *db.Tx) (err error) { tokens[twin], err = fill(tx, twin); return err })
		check("both", "ca", "ca", want("ca"))
		check("both", twin, twin, want(twin))
		check("with the token of the other", twin, "ca", want(twin)[1:])

		// What one network removes, the other keeps.
		update(func(tx *db.Tx) error {
			if got, err := prekey.Claim(tx, twin, []prekey.Want{{User: alice, Device: phone, Algorithm: "a"}}); err != nil || len(got) != 1 {
				t.Errorf("got %v %v, want one key", got, err)
			}
			_, err := device.Remove(tx, twin, alice, phone)
			return errors.Join(err, directory.RemoveDevice(tx, twin, alice, phone), directory.Remove(tx, twin, alice),
				prekey.Remove(tx, twin, alice, phone), mailbox.Remove(tx, twin, alice, phone),
				vault.ClearData(tx, twin, alice), vault.ClearBackups(tx, twin, alice))
		})
		check("after the other removed its own", "ca", "ca", want("ca"))
		check("after removing", twin, twin, []string{"changed=alice@hs1", "may fill=file of twin"})
	}, everything...)
	if feed.User("ca", alice) == feed.User(twin, alice) || feed.Device("ca", alice, phone) == feed.Device(twin, alice, phone) || feed.Room("ca", "r") == feed.Room(twin, "r") {
		t.Error("two networks wake each other")
	}
}

// TestTwinOfCA: over HTTP, a token of the CA network's alice opens nothing on a
// network on which she has the same name, nor the other way round.
func TestTwinOfCA(t *testing.T) {
	t.Parallel()
	s := quintatest.Start(t)
	if err := s.Core.AddAccount(t.Context(), "alice", "pass"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(s.URL+"/ca/v1/login", "application/json", strings.NewReader(`{"username":"alice","password":"pass"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var login struct {
		User  quinta.UserID `json:"username"`
		Token string        `json:"token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&login); err != nil || login.User != "alice@hs1" || login.Token == "" {
		t.Fatalf("got %v %v, want a login of alice@hs1", login.User, err)
	}
	var theirs string
	if err := s.Core.Update(t.Context(), func(tx *db.Tx) (err error) {
		if _, err = device.Put(tx, twin, login.User, "PHONE", nil); err == nil {
			theirs, err = device.NewToken(tx, s.Core.Rand, twin, login.User, "PHONE")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for token, status := range map[string]int{login.Token: 200, theirs: 401} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/ca/v1/devices", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("got %d, want %d", resp.StatusCode, status)
		}
		o, err := incoming.Token(t.Context(), s.Core, twin, token, "192.0.2.1")
		if known := status == 401; known != (err == nil) || !known && !errors.Is(err, incoming.ErrToken) {
			t.Errorf("on the twin: got %+v, %v", o, err)
		}
	}
}

// TestNetworksThatWouldShare: the names of networks keep users apart, so two
// networks cannot have one name.
func TestNetworksThatWouldShare(t *testing.T) {
	t.Parallel()
	network := func(name quinta.NetworkName) server.Network {
		return server.Network{Name: name, New: func(*server.Core) (server.Front, error) { return idle{}, nil }}
	}
	for _, names := range [][]quinta.NetworkName{{"a", "b", "a"}, {""}, {"a b"}, {"a", "A"}} {
		var list []server.Network
		for _, n := range names {
			list = append(list, network(n))
		}
		cfg := server.Config{Name: "hs1", DB: stores.Config(t, "sqlite"), Now: time.Now, Rand: rand.Reader}
		c, err := server.Open(t.Context(), cfg, list)
		if err == nil {
			t.Errorf("%q: opened", names)
			c.Close()
		}
	}
}

// idle is a front that does nothing.
type idle struct{}

func (idle) Close() error { return nil }
