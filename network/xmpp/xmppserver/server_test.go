package xmppserver_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/network/xmpp/xmppserver"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

const id1, id2 = "object-number-one-0001", "object-number-two-0002"

func TestSealedKey(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b := s.published(romeo), s.published(juliet)
		in, k := a.create(juliet, id1, a, b)
		made := a.call("POST", "/keys", in).status(201).object()
		if made.Mode != keysrv.ModeSealed || made.Key != nil || made.Conversation != keysrv.DirectID(romeo, juliet) {
			t.Errorf("got %v", made)
		}
		got := b.call("GET", "/keys/"+id1, nil).status(200).object()
		st := got.Statement()
		if err := st.Verify(a.rec.Signing, got.Signature); err != nil || !b.opens(got).Equal(k) {
			t.Errorf("got another key or statement: %v", err)
		}
		// The same request again is the same key; another one under the id is not.
		a.call("POST", "/keys", in).status(201)
		other, _ := a.create(juliet, id1, a, b)
		a.call("POST", "/keys", other).refused(409, wire.CodeConflict)
		b.call("POST", "/keys", other).refused(409, wire.CodeConflict)
		if out := s.lines(); !strings.Contains(out, "create") || !strings.Contains(out, "read         juliet") || strings.Count(out, "create") != 1 {
			t.Errorf("the audit: got\n%s", out)
		}
	})
}

func TestEscrowKey(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		bearer := func(user quinta.UserID) map[string]string {
			token, err := s.Core.RunCommand(t.Context(), "xmpp token", server.CommandInput{Args: []string{string(user)}})
			if err != nil {
				t.Fatal(err)
			}
			return map[string]string{"Authorization": "Bearer " + strings.TrimSpace(token)}
		}
		a, b, c := bearer(romeo), bearer(juliet), bearer(tybalt)
		made := s.raw("POST", "/keys", map[string]any{"with": juliet, "mode": "escrow", "suite": "A256GCM"}, a).status(201).object()
		if len(made.Key) != 32 {
			t.Fatalf("got %v, want a key", made)
		}
		got := s.raw("GET", "/keys/"+made.ID, nil, b).status(200).object()
		if string(got.Key) != string(made.Key) {
			t.Error("the peer got another key")
		}
		s.raw("GET", "/keys/"+made.ID, nil, c).refused(404, wire.CodeNotFound)
		// A sealed key in the same conversation is refused, and a token without a
		// key makes none.
		d := s.published(romeo)
		in, _ := d.create(juliet, id1, d)
		d.call("POST", "/keys", in).refused(409, wire.CodeMode)
		in, _ = d.create(tybalt, id2, d)
		s.raw("POST", "/keys", in, a).refused(403, wire.CodeUnapproved)
		if out := s.lines(); !strings.Contains(out, "token        romeo") {
			t.Errorf("the audit has no line of the token:\n%s", out)
		}
	}, quintatest.Setting("xmpp-escrow", "on"))
}

func TestEscrowIsOff(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		d := s.published(romeo)
		d.call("POST", "/keys", map[string]any{"with": juliet, "mode": "escrow", "suite": "A256GCM"}).refused(409, wire.CodeMode)
		if _, err := s.Core.RunCommand(t.Context(), "xmpp token", server.CommandInput{Args: []string{string(romeo)}}); quinta.KindOf(err) != quinta.KindForbidden {
			t.Errorf("got %v, want forbidden", err)
		}
	})
}

// TestAttack01ForeignKeys: strangers, guesses, removed devices and batches that
// mix what is permitted with what is not.
func TestAttack01ForeignKeys(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b, c := s.published(romeo), s.published(juliet), s.published(tybalt)
		in, _ := a.create(juliet, id1, a, b)
		a.call("POST", "/keys", in).status(201)
		mine, _ := c.create(juliet, id2, c, b)
		c.call("POST", "/keys", mine).status(201)
		foreign, unknown := c.call("GET", "/keys/"+id1, nil), c.call("GET", "/keys/no-such-object-000000", nil)
		foreign.refused(404, wire.CodeNotFound)
		unknown.refused(404, wire.CodeNotFound)
		if string(foreign.Body) != string(unknown.Body) {
			t.Errorf("got %s and %s, want the same answer", foreign.Body, unknown.Body)
		}
		var got wire.GetAnswer
		c.call("POST", "/keys/get", wire.GetRequest{IDs: []string{id1, id2, "no-such-object-000000"}}).status(200).into(&got)
		if len(got.Keys) != 1 || !slices.Equal(got.Refused, []string{id1, "no-such-object-000000"}) {
			t.Errorf("got %d keys and %q refused", len(got.Keys), got.Refused)
		}
		w, err := keysrv.Wrap(a.statement(in), a.opens(a.call("GET", "/keys/"+id1, nil).object()), c.rec)
		if err != nil {
			t.Fatal(err)
		}
		c.call("POST", "/keys/"+id1+"/copies", wire.CopiesRequest{Wrapped: []keysrv.Wrapped{*w}}).refused(404, wire.CodeNotFound)
		a.call("POST", "/keys/"+id1+"/copies", wire.CopiesRequest{Wrapped: []keysrv.Wrapped{*w}}).refused(409, wire.CodeStale)
		var list wire.ListAnswer
		c.call("GET", "/conversations/"+keysrv.DirectID(romeo, juliet)+"/keys", nil).status(200).into(&list)
		if len(list.Keys) != 0 {
			t.Error("a stranger lists the keys of a conversation")
		}
		if out := s.lines(); !strings.Contains(out, "refuse       tybalt") {
			t.Errorf("the audit has no refusal:\n%s", out)
		}
		for _, bad := range []any{wire.GetRequest{}, wire.GetRequest{IDs: make([]string, 101)}, wire.GetRequest{IDs: []string{"a b"}}} {
			c.call("POST", "/keys/get", bad).refused(400, wire.CodeInvalid)
		}
	})
}

// TestAttack05Tokens: what a token and its proof are not good for.
func TestAttack05Tokens(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b := s.published(romeo), s.published(juliet)
		path := "/users/" + string(romeo) + "/devices"
		with := func(token, proof string) *answer {
			return s.raw("GET", path, nil, map[string]string{"Authorization": "DPoP " + token, "DPoP": proof})
		}
		p := a.proof("GET", path, s.clock.Now())
		with(a.token, p).status(200)
		with(a.token, p).refused(401, wire.CodeUnauthenticated)
		refused := func(name string, got *answer) {
			t.Helper()
			if got.Status != 401 || got.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: got %d, want 401", name, got.Status)
			}
		}
		fresh := func() string { return a.proof("GET", path, s.clock.Now()) }
		refused("nothing", s.raw("GET", path, nil, nil))
		refused("no proof", s.raw("GET", path, nil, map[string]string{"Authorization": "DPoP " + a.token}))
		refused("as bearer", s.raw("GET", path, nil, map[string]string{"Authorization": "Bearer " + a.token, "DPoP": fresh()}))
		refused("in the URL", s.raw("GET", path+"?access_token="+a.token, nil, map[string]string{"DPoP": fresh()}))
		refused("another's proof", with(a.token, b.proof("GET", path, s.clock.Now())))
		refused("another's token", with(b.token, fresh()))
		refused("another path", with(a.token, a.proof("GET", "/wants", s.clock.Now())))
		refused("another method", with(a.token, a.proof("POST", path, s.clock.Now())))
		refused("an hour late", with(a.token, a.proof("GET", path, s.clock.Now().Add(-time.Hour))))
		refused("an hour early", with(a.token, a.proof("GET", path, s.clock.Now().Add(time.Hour))))
		payload, mac, _ := strings.Cut(a.token, ".")
		refused("changed", with(payload+"A."+mac, fresh()))
		refused("cut", with(payload, fresh()))
		for _, user := range []quinta.UserID{"romeo@elsewhere.example", "romeo", "romeo@test.example/x"} {
			if _, err := xmppserver.Mint(t.Context(), s.Core, user, keysrv.Thumbprint(a.rec.Signing)); quinta.KindOf(err) != quinta.KindForbidden {
				t.Errorf("%s: got %v, want forbidden", user, err)
			}
		}
		for _, from := range []string{"romeo@test.example", "test.example", "test.example/x", "romeo@elsewhere.example/x"} {
			if _, err := xmppserver.TokenByIQ(t.Context(), s.Core, from, keysrv.Thumbprint(a.rec.Signing)); quinta.KindOf(err) != quinta.KindForbidden {
				t.Errorf("%s: got %v, want forbidden", from, err)
			}
		}
		got, err := xmppserver.TokenByIQ(t.Context(), s.Core, "romeo@test.example/x", keysrv.Thumbprint(a.rec.Signing))
		if err != nil || got.Href != s.URL+wire.Base || got.Value == "" {
			t.Errorf("got %+v, %v", got, err)
		}
		s.later(11 * time.Minute)
		refused("expired", with(a.token, fresh()))
	})
}

// TestAttack05BearerBelongsToOneClient: a token without a key belongs to the
// first client id that uses it.
func TestAttack05BearerBelongsToOneClient(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		token, err := xmppserver.Mint(t.Context(), s.Core, romeo, "")
		if err != nil {
			t.Fatal(err)
		}
		get := func(client string) *answer {
			return s.raw("GET", "/users/"+string(romeo)+"/devices", nil, map[string]string{"Authorization": "Bearer " + token, "Client-Id": client})
		}
		get("one").status(200)
		get("one").status(200)
		get("two").refused(401, wire.CodeUnauthenticated)
		get("").refused(401, wire.CodeUnauthenticated)
	}, quintatest.Setting("xmpp-escrow", "on"))
}

// TestAttack06Approval: a second device gets and makes nothing before an older
// one has approved it, and nothing after it was signed out.
func TestAttack06Approval(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b := s.published(romeo), s.published(juliet)
		second := s.published(juliet)
		in, k := a.create(juliet, id1, a, b)
		a.call("POST", "/keys", in).status(201)
		if o := second.call("GET", "/keys/"+id1, nil).status(200).object(); o.Wrapped != nil {
			t.Error("an unapproved device has a copy")
		}
		mine, _ := second.create(romeo, id2, second)
		second.call("POST", "/keys", mine).refused(403, wire.CodeUnapproved)
		second.call("GET", "/wants", nil).refused(403, wire.CodeUnapproved)
		forUnapproved, _ := a.create(juliet, id2, a, b, second)
		a.call("POST", "/keys", forUnapproved).refused(409, wire.CodeStale)
		// Approvals of others, and of itself, count for nothing.
		path := "/devices/" + string(second.rec.ID) + "/approve"
		second.call("POST", path, second.rec.Approve(b.sign, 1)).refused(403, wire.CodeUnapproved)
		a.call("POST", path, second.rec.Approve(a.sign, 1)).refused(404, wire.CodeNotFound)
		b.call("POST", path, second.rec.Approve(a.sign, 1)).refused(400, wire.CodeInvalid)
		b.call("POST", path, second.rec.Approve(b.sign, s.clock.Now().UnixMilli())).status(200)
		// Now it waits for a copy, and gets it from a device that has one.
		if o := second.call("GET", "/keys/"+id1, nil).status(200).object(); o.Wrapped != nil {
			t.Error("a copy came from nowhere")
		}
		var wants wire.WantList
		b.call("GET", "/wants", nil).status(200).into(&wants)
		if len(wants.Wants) != 1 || wants.Wants[0] != (keysrv.Want{ObjectID: id1, User: juliet, Device: second.rec.ID}) {
			t.Fatalf("got %+v", wants)
		}
		w, err := keysrv.Wrap(a.statement(in), k, second.rec)
		if err != nil {
			t.Fatal(err)
		}
		b.call("POST", "/keys/"+id1+"/copies", wire.CopiesRequest{Wrapped: []keysrv.Wrapped{*w}}).status(200)
		if o := second.call("GET", "/keys/"+id1, nil).status(200).object(); !second.opens(o).Equal(k) {
			t.Error("the copy is of another key")
		}
		b.call("GET", "/wants", nil).status(200).into(&wants)
		if len(wants.Wants) != 0 {
			t.Errorf("got %+v, want nothing", wants)
		}
		b.call("DELETE", "/devices/"+string(second.rec.ID), nil).status(200)
		second.call("GET", "/keys/"+id1, nil).refused(401, wire.CodeUnauthenticated)
		second.renew()
		second.call("GET", "/keys/"+id1, nil).refused(401, wire.CodeUnauthenticated)
		a.call("POST", "/keys", forUnapproved).refused(409, wire.CodeStale)
		var list wire.DeviceList
		a.call("GET", "/users/"+string(juliet)+"/devices", nil).status(200).into(&list)
		if len(list.Devices) != 2 || list.Devices[0].ID != b.rec.ID || !list.Devices[1].Retired || list.Devices[1].ApprovedBy(b.rec) != nil {
			t.Errorf("got %+v", list)
		}
	})
}

// TestAttack12Devices: a record of another user or key than the token's, and a
// record that is not signed by itself.
func TestAttack12Devices(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b := s.device(romeo), s.device(juliet)
		a.call("PUT", "/devices/"+string(b.rec.ID), b.rec).refused(400, wire.CodeInvalid)
		other := *a.rec
		other.Agreement = b.rec.Agreement
		a.call("PUT", "/devices/"+string(a.rec.ID), &other).refused(400, wire.CodeInvalid)
		a.put().status(200)
		a.put().status(200)
		again := keysrv.NewDevice(romeo, 5, a.sign, b.agree.Public())
		a.call("PUT", "/devices/"+string(a.rec.ID), again).refused(409, wire.CodeConflict)
		for _, body := range []string{"", "[]", "{", `{"user":1}`, `{"id":"a","id":"b"}`, strings.Repeat("x", 600<<10)} {
			if got := a.call("PUT", "/devices/"+string(a.rec.ID), []byte(body)); got.Status != 400 && got.Status != 413 {
				t.Errorf("%.20q: got %d", body, got.Status)
			}
		}
	})
}

// TestAttack12Statements: a key whose statement is not that of the calling
// device is not made.
func TestAttack12Statements(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b := s.published(romeo), s.published(juliet)
		for name, change := range map[string]func(in *keysrv.Create){
			"signature":  func(in *keysrv.Create) { in.Signature[0] ^= 1 },
			"commitment": func(in *keysrv.Create) { in.Check[0] ^= 1 },
			"peer":       func(in *keysrv.Create) { in.With = tybalt },
			"id":         func(in *keysrv.Create) { in.ID = id2 },
			"clock":      func(in *keysrv.Create) { in.Created = in.Created.Add(-time.Hour) },
			"expiry":     func(in *keysrv.Create) { in.Expires = in.Created.AddDate(1, 0, 0) },
			"mode":       func(in *keysrv.Create) { in.Mode = "open" },
			"suite":      func(in *keysrv.Create) { in.Suite = keysrv.SuiteCBC },
			"no id":      func(in *keysrv.Create) { in.ID = "" },
			"short id":   func(in *keysrv.Create) { in.ID = "short" },
			"room":       func(in *keysrv.Create) { in.Room = "hall@rooms.test.example" },
			"twice":      func(in *keysrv.Create) { in.Wrapped = append(in.Wrapped, in.Wrapped[0]) },
			"copy":       func(in *keysrv.Create) { in.Wrapped[0].Sealed = in.Wrapped[0].Sealed[:20] },
		} {
			in, _ := a.create(juliet, id1, a, b)
			change(in)
			if got := a.call("POST", "/keys", in); got.Status != 400 && got.Status != 409 {
				t.Errorf("%s: got %d, want a refusal: %s", name, got.Status, got.Body)
			}
		}
		in, _ := a.create("juliet@elsewhere.example", id1, a)
		a.call("POST", "/keys", in).refused(403, wire.CodeForbidden)
		in, _ = a.create(juliet, id1, a, b)
		a.call("POST", "/keys", in).status(201)
	})
}

func TestListByTime(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a, b := s.published(romeo), s.published(juliet)
		var times []time.Time
		for i := range 5 {
			in, _ := a.create(juliet, fmt.Sprintf("object-number-%08d", i), a, b)
			a.call("POST", "/keys", in).status(201)
			times = append(times, in.Created)
			s.later(time.Minute)
		}
		a.renew()
		b.renew()
		list := func(query string) (ids []string) {
			var got wire.ListAnswer
			b.call("GET", "/conversations/"+keysrv.DirectID(romeo, juliet)+"/keys"+query, nil).status(200).into(&got)
			for _, raw := range got.Keys {
				var o struct {
					ID string `json:"id"`
				}
				if err := json.Unmarshal(raw, &o); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, o.ID[len(o.ID)-1:])
			}
			return ids
		}
		at := func(i int) string { return times[i].Format(time.RFC3339) }
		for query, want := range map[string]string{
			"": "[0 1 2 3 4]", "?after=" + at(1): "[1 2 3 4]", "?before=" + at(1): "[0]", "?after=" + at(1) + "&before=" + at(4): "[1 2 3]",
			"?limit=2": "[3 4]", "?limit=1000000000": "[0 1 2 3 4]", "?before=" + at(4) + "&limit=1": "[3]",
		} {
			if got := fmt.Sprint(list(query)); got != want {
				t.Errorf("%s: got %s, want %s", query, got, want)
			}
		}
		for _, bad := range []string{"?after=yesterday", "?limit=many", "?limit=0"} {
			b.call("GET", "/conversations/"+keysrv.DirectID(romeo, juliet)+"/keys"+bad, nil).refused(400, wire.CodeInvalid)
		}
	})
}

func TestSetup(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		run := func(flags ...string) (string, error) {
			f := map[string]string{"component": "keys.test.example", "port": "5347", "new": "off"}
			for i := 0; i < len(flags); i += 2 {
				f[flags[i]] = flags[i+1]
			}
			return s.Core.RunCommand(t.Context(), "xmpp setup", server.CommandInput{Args: []string{"prosody"}, Flags: f})
		}
		one, err := run()
		two, err2 := run()
		if err != nil || err2 != nil || one != two || !strings.HasPrefix(one, "Component \"keys.test.example\"\n    component_secret = \"") {
			t.Errorf("got %q and %q, %v, %v", one, two, err, err2)
		}
		if three, err := run("new", "on", "port", "5400"); err != nil || strings.Contains(three, strings.Split(one, "\"")[3]) || !strings.HasPrefix(three, "-- before the first VirtualHost: component_ports = { 5400 }") {
			t.Errorf("got %q, %v, want another secret", three, err)
		}
		for _, bad := range [][]string{{"component", ""}, {"port", "0"}, {"component", "a b"}} {
			if _, err := run(bad...); quinta.KindOf(err) != quinta.KindInvalid {
				t.Errorf("%q: got %v, want invalid", bad, err)
			}
		}
		lines, err := s.Core.RunCommand(t.Context(), "xmpp setup", server.CommandInput{Args: []string{"ejabberd"}, Flags: map[string]string{"component": "keys.test.example", "port": "5347", "new": "off"}})
		if err != nil || !strings.HasPrefix(lines, "  -\n    port: 5347\n    ip: \"127.0.0.1\"\n    module: ejabberd_service\n    hosts:\n      keys.test.example:\n        password: \"") {
			t.Errorf("got %q, %v", lines, err)
		}
		if _, err := s.Core.RunCommand(t.Context(), "xmpp setup", server.CommandInput{Args: []string{"other"}, Flags: map[string]string{"component": "keys.test.example", "port": "5347", "new": "off"}}); quinta.KindOf(err) != quinta.KindInvalid {
			t.Errorf("got %v, want invalid", err)
		}
		out, err := s.Core.RunCommand(t.Context(), "xmpp show", server.CommandInput{})
		if err != nil || !strings.Contains(out, "domains        test.example") {
			t.Errorf("got %q, %v", out, err)
		}
	})
}

func TestComponentSetting(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "keys.example.org@127.0.0.1:5347": "keys.example.org 127.0.0.1:5347", "Keys.Example.org@[::1]:5347": "keys.example.org [::1]:5347",
		"keys.example.org": "error", "@127.0.0.1:5347": "error", "keys@host": "error", "keys@host:0": "error", "keys@host:99999": "error", "keys@:5347": "error", "a b@host:1": "error",
	} {
		got, err := xmppserver.Component(in)
		if (err != nil) != (want == "error") || err == nil && got != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

// TestSweep: what has expired goes, and a used proof not before it is too old.
func TestSweep(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		a := s.published(romeo)
		path := "/users/" + string(romeo) + "/devices"
		p := a.proof("GET", path, s.clock.Now().Add(time.Minute))
		get := func() *answer {
			return s.raw("GET", path, nil, map[string]string{"Authorization": "DPoP " + a.token, "DPoP": p})
		}
		get().status(200)
		s.later(2 * time.Minute)
		if err := s.Core.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		get().refused(401, wire.CodeUnauthenticated)
	})
}
