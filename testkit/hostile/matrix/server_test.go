package matrix_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/hostile/attack"
)

var update = flag.Bool("update", false, "write ATTACKS.md")

// target starts a server with alice and bob in a private room, eve outside of
// it, and what belongs to alice alone.
func target(t *testing.T) *attack.Target {
	t.Helper()
	now := time.Now() // stands still, so that no call is noted as the last one of its device
	s := quintatest.Start(t, quintatest.Clock(func() time.Time { return now }))
	tg := &attack.Target{Server: s, Names: map[string]string{}, Heads: map[string]http.Header{}, Code: func(body []byte) string {
		var e struct {
			Code string `json:"errcode"`
		}
		if json.Unmarshal(body, &e) != nil {
			return "not JSON"
		}
		return e.Code
	}}
	for _, name := range []string{"alice", "bob", "eve", "gone"} {
		m := tg.Must(t, "", "POST", "/_matrix/client/v3/register", `{"username":"`+name+`","password":"a long password","device_id":"`+strings.ToUpper(name)+`","auth":{"type":"m.login.dummy"}}`)
		tg.Heads[name] = http.Header{"Authorization": {"Bearer " + attack.Text(t, m, "access_token")}}
	}
	tg.Must(t, "gone", "POST", "/_matrix/client/v3/logout", `{}`)
	tg.Must(t, "eve", "GET", "/_matrix/client/v3/account/whoami", "") // her device was seen
	ca := tg.Must(t, "", "POST", "/ca/v1/login", `{"username":"alice","password":"a long password","device":"CA"}`)
	tg.Heads["alice of ca"] = http.Header{"Authorization": {"Bearer " + attack.Text(t, ca, "token")}}
	tg.Names["room"] = attack.Text(t, tg.Must(t, "alice", "POST", "/_matrix/client/v3/createRoom", `{"preset":"private_chat","invite":["@bob:hs1"]}`), "room_id")
	tg.Must(t, "bob", "POST", "/_matrix/client/v3/join/{{room}}", `{}`)
	tg.Names["event"] = attack.Text(t, tg.Must(t, "alice", "PUT", "/_matrix/client/v3/rooms/{{room}}/send/m.room.message/t1", `{"msgtype":"m.text","body":"hi"}`), "event_id")
	tg.Names["filter"] = attack.Text(t, tg.Must(t, "alice", "POST", "/_matrix/client/v3/user/@alice:hs1/filter", `{"room":{"timeline":{"limit":1}}}`), "filter_id")
	tg.Must(t, "alice", "PUT", "/_matrix/client/v3/user/@alice:hs1/account_data/org.example", `{"a":1}`)
	tg.Names["backup"] = attack.Text(t, tg.Must(t, "alice", "POST", "/_matrix/client/v3/room_keys/version", `{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"abcdefg"}}`), "version")
	tg.Names["media"] = strings.TrimPrefix(attack.Text(t, tg.Must(t, "alice", "POST", "/_matrix/media/v1/create", ``), "content_uri"), "mxc://hs1/")
	tg.Names["token"] = strings.TrimPrefix(tg.Heads["alice"].Get("Authorization"), "Bearer ")
	return tg
}

// TestAttack24Server: attacks of strangers, of users on what is not theirs, and
// of those who speak no proper HTTP or JSON.
func TestAttack24Server(t *testing.T) {
	tg := target(t)
	const c = "/_matrix/client/v3"
	bearer := func(v string) http.Header { return http.Header{"Authorization": {v}} }
	deep := strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500)
	rows := []attack.Row{
		// Who asks.
		{Tries: "a call without a token", Method: "GET", Path: c + "/sync", Want: "401 M_MISSING_TOKEN"},
		{Tries: "a token in the query", Method: "GET", Path: c + "/account/whoami?access_token={{token}}", Want: "401 M_MISSING_TOKEN"},
		{Tries: "a token that was made up", Method: "GET", Path: c + "/sync", Head: bearer("Bearer syt_made_up"), Want: "401 M_UNKNOWN_TOKEN"},
		{Tries: "an empty token", Method: "GET", Path: c + "/sync", Head: bearer("Bearer "), Want: "401 M_MISSING_TOKEN"},
		{Tries: "a token of another scheme", Method: "GET", Path: c + "/sync", Head: bearer("Basic {{token}}"), Want: "401 M_MISSING_TOKEN"},
		{Tries: "a token with a letter more", Method: "GET", Path: c + "/sync", Head: bearer("Bearer {{token}}x"), Want: "401 M_UNKNOWN_TOKEN"},
		{Tries: "a token that ends early", Method: "GET", Path: c + "/sync", Head: bearer("Bearer syt"), Want: "401 M_UNKNOWN_TOKEN"},
		{Tries: "the token of a device that logged out", As: "gone", Method: "GET", Path: c + "/sync", Want: "401 M_UNKNOWN_TOKEN"},
		{Tries: "the user's token of another network", As: "alice of ca", Method: "GET", Path: c + "/sync", Want: "401 M_UNKNOWN_TOKEN"},
		{Tries: "a token of 32 KiB", Method: "GET", Path: c + "/sync", Head: bearer("Bearer " + strings.Repeat("x", 32<<10)), Want: "401 M_UNKNOWN_TOKEN"},
		{Tries: "the cookie of a browser in place of a token", Method: "GET", Path: c + "/sync", Head: http.Header{"Cookie": {"access_token={{token}}"}}, Want: "401 M_MISSING_TOKEN"},
		{Tries: "the way in for bridges", Method: "POST", Path: c + "/login", Body: `{"type":"m.login.application_service","identifier":{"type":"m.id.user","user":"alice"}}`, Want: "400 M_UNKNOWN"},
		{Tries: "a login as a guest", Method: "POST", Path: c + "/register?kind=guest", Body: `{}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a login with a wrong password", Method: "POST", Path: c + "/login", Body: `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"x"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a login as a user who is not there: the same answer", Method: "POST", Path: c + "/login", Body: `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"nobody"},"password":"x"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a login as a user of another server", Method: "POST", Path: c + "/login", Body: `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"@alice:evil"},"password":"a long password"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a login with a list as password", Method: "POST", Path: c + "/login", Body: `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":["a long password"]}`, Want: "400 M_BAD_JSON"},
		{Tries: "a login whose user name is SQL", Method: "POST", Path: c + "/login", Body: `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice' OR '1'='1"},"password":"x"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a login as alice in full width letters", Method: "POST", Path: c + "/login", Body: `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"\uff41lice"},"password":"a long password"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a second account of a name", Method: "POST", Path: c + "/register", Body: `{"username":"alice","password":"x","auth":{"type":"m.login.dummy"}}`, Want: "400 M_USER_IN_USE"},
		{Tries: "an account whose name has a colon", Method: "POST", Path: c + "/register", Body: `{"username":"alice:hs1","password":"x","auth":{"type":"m.login.dummy"}}`, Want: "400 M_INVALID_USERNAME"},
		{Tries: "an account with a zero byte in its name", Method: "POST", Path: c + "/register", Body: `{"username":"alice\u0000","password":"x","auth":{"type":"m.login.dummy"}}`, Want: "400 M_INVALID_USERNAME"},
		{Tries: "an account with a name of 300 letters", Method: "POST", Path: c + "/register", Body: `{"username":"` + strings.Repeat("a", 300) + `","password":"x","auth":{"type":"m.login.dummy"}}`, Want: "400 M_INVALID_USERNAME"},
		{Tries: "a registration that continues a session that was made up", Method: "POST", Path: c + "/register", Body: `{"username":"new","password":"x","auth":{"type":"m.login.dummy","session":"made-up"}}`, Want: "403 M_FORBIDDEN"},
		// What belongs to others.
		{Tries: "another user's account data, to read", As: "eve", Method: "GET", Path: c + "/user/@alice:hs1/account_data/org.example", Want: "403 M_FORBIDDEN"},
		{Tries: "another user's account data, to write", As: "eve", Method: "PUT", Path: c + "/user/@alice:hs1/account_data/org.example", Body: `{"a":2}`, Want: "403 M_FORBIDDEN"},
		{Tries: "another user's filter", As: "eve", Method: "GET", Path: c + "/user/@alice:hs1/filter/{{filter}}", Want: "403 M_FORBIDDEN"},
		{Tries: "another user's filter, by its number in one's own name", As: "eve", Method: "GET", Path: c + "/user/@eve:hs1/filter/{{filter}}", Want: "404 M_NOT_FOUND"},
		{Tries: "another user's device, to read", As: "eve", Method: "GET", Path: c + "/devices/ALICE", Want: "404 M_NOT_FOUND"},
		{Tries: "another user's device, to rename", As: "eve", Method: "PUT", Path: c + "/devices/ALICE", Body: `{"display_name":"x"}`, Want: "404 M_NOT_FOUND"},
		{Tries: "one's own device, to remove without a password", As: "alice", Method: "DELETE", Path: c + "/devices/ALICE", Body: `{}`, Leaves: "matrix_uia", Want: "401"},
		{Tries: "another user's password in one's own authentication", As: "eve", Method: "DELETE", Path: c + "/devices/EVE", Body: `{"auth":{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"a long password"}}`, Leaves: "matrix_uia", Want: "401 M_FORBIDDEN"},
		{Tries: "another user's backup", As: "eve", Method: "GET", Path: c + "/room_keys/version/{{backup}}", Want: "404 M_NOT_FOUND"},
		{Tries: "another user's backup, to delete", As: "eve", Method: "DELETE", Path: c + "/room_keys/version/{{backup}}", Want: "404 M_NOT_FOUND"},
		{Tries: "keys for another user's backup", As: "eve", Method: "PUT", Path: c + "/room_keys/keys?version={{backup}}", Body: `{"rooms":{}}`, Want: "404 M_NOT_FOUND"},
		{Tries: "another user's profile, to write", As: "eve", Method: "PUT", Path: c + "/profile/@alice:hs1/displayname", Body: `{"displayname":"x"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "another user's presence", As: "eve", Method: "PUT", Path: c + "/presence/@alice:hs1/status", Body: `{"presence":"offline"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "another user's tags", As: "eve", Method: "GET", Path: c + "/user/@alice:hs1/rooms/{{room}}/tags", Want: "403 M_FORBIDDEN"},
		{Tries: "another user's id for a file", As: "eve", Method: "PUT", Path: "/_matrix/media/v3/upload/hs1/{{media}}", Body: "x", Want: "403 M_FORBIDDEN"},
		{Tries: "keys for another user's device", As: "eve", Method: "POST", Path: c + "/keys/upload", Body: `{"device_keys":{"user_id":"@alice:hs1","device_id":"ALICE","algorithms":[],"keys":{},"signatures":{}}}`, Want: "400 M_BAD_JSON"},
		{Tries: "a room's messages from outside", As: "eve", Method: "GET", Path: c + "/rooms/{{room}}/messages?dir=b", Want: "403 M_FORBIDDEN"},
		{Tries: "one event from outside", As: "eve", Method: "GET", Path: c + "/rooms/{{room}}/event/{{event}}", Want: "404 M_NOT_FOUND"},
		{Tries: "a room's state from outside", As: "eve", Method: "GET", Path: c + "/rooms/{{room}}/state", Want: "403 M_FORBIDDEN"},
		{Tries: "a room's members from outside", As: "eve", Method: "GET", Path: c + "/rooms/{{room}}/members", Want: "403 M_FORBIDDEN"},
		{Tries: "a message from outside", As: "eve", Method: "PUT", Path: c + "/rooms/{{room}}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"x"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a join without an invitation", As: "eve", Method: "POST", Path: c + "/join/{{room}}", Body: `{}`, Want: "403 M_FORBIDDEN"},
		{Tries: "an invitation of oneself", As: "eve", Method: "POST", Path: c + "/rooms/{{room}}/invite", Body: `{"user_id":"@eve:hs1"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a receipt from outside", As: "eve", Method: "POST", Path: c + "/rooms/{{room}}/receipt/m.read/{{event}}", Body: `{}`, Want: "403 M_FORBIDDEN"},
		{Tries: "typing in another user's name", As: "bob", Method: "PUT", Path: c + "/rooms/{{room}}/typing/@alice:hs1", Body: `{"typing":true}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a member who raises their own power", As: "bob", Method: "PUT", Path: c + "/rooms/{{room}}/state/m.room.power_levels", Body: `{"users":{"@bob:hs1":100}}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a member who throws the owner out", As: "bob", Method: "POST", Path: c + "/rooms/{{room}}/kick", Body: `{"user_id":"@alice:hs1"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a member who bans the owner", As: "bob", Method: "POST", Path: c + "/rooms/{{room}}/ban", Body: `{"user_id":"@alice:hs1"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a member event in another user's name", As: "bob", Method: "PUT", Path: c + "/rooms/{{room}}/state/m.room.member/@eve:hs1", Body: `{"membership":"join"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a second creation of a room", As: "alice", Method: "PUT", Path: c + "/rooms/{{room}}/state/m.room.create", Body: `{}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a member who takes back another's message", As: "bob", Method: "PUT", Path: c + "/rooms/{{room}}/redact/{{event}}/1", Body: `{}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a room that is put on the public list by a member", As: "bob", Method: "PUT", Path: c + "/directory/list/room/{{room}}", Body: `{"visibility":"public"}`, Want: "403 M_FORBIDDEN"},
		{Tries: "a state key with another user's name", As: "bob", Method: "PUT", Path: c + "/rooms/{{room}}/state/org.example/@alice:hs1", Body: `{}`, Want: "403 M_FORBIDDEN"},
		// Names and numbers.
		{Tries: "a room id that climbs the path", As: "alice", Method: "GET", Path: c + "/rooms/..%2F..%2Fetc%2Fpasswd/state", Want: "403 M_FORBIDDEN"},
		{Tries: "a zero byte in a room id", As: "alice", Method: "GET", Path: c + "/rooms/%00/state", Want: "400 M_INVALID_PARAM"},
		{Tries: "a room id that is not UTF-8", As: "alice", Method: "GET", Path: c + "/rooms/%ff%fe/state", Want: "400 M_INVALID_PARAM"},
		{Tries: "a file name that climbs the path", As: "alice", Method: "GET", Path: "/_matrix/client/v1/media/download/hs1/..%2F..%2Fquinta.db", Want: "404 M_NOT_FOUND"},
		{Tries: "a file of another server", As: "alice", Method: "GET", Path: "/_matrix/client/v1/media/download/127.0.0.1:1/x", Want: "404 M_NOT_FOUND"},
		{Tries: "to wait for a file without a login, by the old path: no wait", Method: "GET", Path: "/_matrix/media/v3/download/hs1/{{media}}?timeout_ms=60000", Want: "504 M_NOT_YET_UPLOADED"},
		{Tries: "a page that ends before it begins", As: "alice", Method: "GET", Path: c + "/rooms/{{room}}/messages?dir=b&limit=-1", Want: "400 M_INVALID_PARAM"},
		{Tries: "a limit that is no number of 64 bits", As: "alice", Method: "GET", Path: c + "/rooms/{{room}}/messages?dir=b&limit=99999999999999999999", Want: "400 M_INVALID_PARAM"},
		{Tries: "a direction that is SQL", As: "alice", Method: "GET", Path: c + "/rooms/{{room}}/messages?dir=b%27--", Want: "400 M_INVALID_PARAM"},
		{Tries: "a place in the timeline that was made up", As: "alice", Method: "GET", Path: c + "/sync?since=9999999999999999999999", Want: "400 M_INVALID_PARAM"},
		{Tries: "a thumbnail of a billion pixels", As: "alice", Method: "GET", Path: "/_matrix/client/v1/media/thumbnail/hs1/{{media}}?width=1000000000&height=-1", Want: "400 M_INVALID_PARAM"},
		{Tries: "a push gateway on the server's own machine", As: "alice", Method: "POST", Path: c + "/pushers/set", Body: `{"kind":"http","app_id":"a","pushkey":"k","app_display_name":"a","device_display_name":"d","lang":"en","data":{"url":"http://127.0.0.1/_matrix/push/v1/notify"}}`, Want: "400 M_INVALID_PARAM"},
		{Tries: "a push gateway that is a file", As: "alice", Method: "POST", Path: c + "/pushers/set", Body: `{"kind":"http","app_id":"a","pushkey":"k","app_display_name":"a","device_display_name":"d","lang":"en","data":{"url":"file:///etc/passwd"}}`, Want: "400 M_INVALID_PARAM"},
		// Bodies.
		{Tries: "a body that is no JSON", As: "alice", Method: "POST", Path: c + "/createRoom", Body: `{"name":`, Want: "400 M_NOT_JSON"},
		{Tries: "a body that is a list", As: "alice", Method: "POST", Path: c + "/createRoom", Body: `[]`, Want: "400 M_BAD_JSON"},
		{Tries: "a body nested 500 deep", As: "alice", Method: "POST", Path: c + "/createRoom", Body: deep, Want: "400 M_BAD_JSON"},
		{Tries: "a body that is not UTF-8", As: "alice", Method: "POST", Path: c + "/createRoom", Body: "{\"name\":\"\xff\"}", Want: "400 M_NOT_JSON"},
		{Tries: "an event with a key twice", As: "alice", Method: "PUT", Path: c + "/rooms/{{room}}/send/m.room.message/2", Body: `{"body":"a","body":"b","msgtype":"m.text"}`, Want: "400 M_BAD_JSON"},
		{Tries: "an event with a fraction", As: "alice", Method: "PUT", Path: c + "/rooms/{{room}}/send/m.room.message/3", Body: `{"x":1.5}`, Want: "400 M_BAD_JSON"},
		{Tries: "an event with a number beyond 2^53", As: "alice", Method: "PUT", Path: c + "/rooms/{{room}}/send/m.room.message/4", Body: `{"x":9007199254740993}`, Want: "400 M_BAD_JSON"},
		{Tries: "an event of 100 KiB", As: "alice", Method: "PUT", Path: c + "/rooms/{{room}}/send/m.room.message/5", Body: `{"x":"` + strings.Repeat("x", 100<<10) + `"}`, Want: "413 M_TOO_LARGE"},
		{Tries: "a body of 2 MiB", Raw: "POST " + c + "/createRoom HTTP/1.1\r\nHost: hs1\r\nAuthorization: Bearer {{token}}\r\nContent-Length: 2097152\r\n\r\n{", Want: "413 M_TOO_LARGE"},
		{Tries: "a stranger's body of 128 KiB", Raw: "POST " + c + "/login HTTP/1.1\r\nHost: hs1\r\nContent-Length: 131072\r\n\r\n{", Want: "413 M_TOO_LARGE"},
		{Tries: "a gzip bomb for a body", As: "alice", Method: "POST", Path: c + "/createRoom", Head: http.Header{"Content-Encoding": {"gzip"}}, Body: attack.Bomb(t, 50<<20), Want: "400 M_NOT_JSON"},
		{Tries: "an XML bomb for a body", As: "alice", Method: "POST", Path: c + "/createRoom", Head: http.Header{"Content-Type": {"application/xml"}}, Body: `<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>`, Want: "400 M_NOT_JSON"},
		{Tries: "an event type of 300 letters", As: "alice", Method: "PUT", Path: c + "/rooms/{{room}}/send/" + strings.Repeat("a", 300) + "/6", Body: `{}`, Want: "413 M_TOO_LARGE"},
		{Tries: "a claim of keys whose users are a list", As: "alice", Method: "POST", Path: c + "/keys/claim", Body: `{"one_time_keys":[]}`, Want: "400 M_BAD_JSON"},
		{Tries: "a cross-signing key of another user", As: "eve", Method: "POST", Path: c + "/keys/device_signing/upload", Body: `{"master_key":{"user_id":"@alice:hs1","usage":["master"],"keys":{"ed25519:x":"x"}}}`, Want: "400 M_BAD_JSON"},
		// HTTP.
		{Tries: "a method that the path does not have", As: "alice", Method: "DELETE", Path: c + "/sync", Want: "405 M_UNRECOGNIZED"},
		{Tries: "a method that nobody has", As: "alice", Method: "PROPFIND", Path: c + "/sync", Want: "405 M_UNRECOGNIZED"},
		{Tries: "a method by a header", As: "alice", Method: "GET", Path: c + "/devices/EVE", Head: http.Header{"X-Http-Method-Override": {"DELETE"}}, Want: "404 M_NOT_FOUND"},
		{Tries: "a call of administrators of other servers", As: "alice", Method: "GET", Path: "/_synapse/admin/v1/users/@bob:hs1", Want: "404 not JSON"},
		{Tries: "a call of administrators below the API", As: "alice", Method: "GET", Path: c + "/admin/whois/@bob:hs1", Want: "404 M_UNRECOGNIZED"},
		{Tries: "federation, which there is none", Method: "GET", Path: "/_matrix/federation/v1/version", Want: "404 M_UNRECOGNIZED"},
		{Tries: "the metrics, at the listener of clients", Method: "GET", Path: "/metrics", Want: "404 not JSON"},
		{Tries: "a profiler, at the listener of clients", Method: "GET", Path: "/debug/pprof/heap", Want: "404 not JSON"},
		{Tries: "a path with a slash doubled", As: "alice", Method: "GET", Path: "/_matrix//client/v3/account/whoami", Want: "404 M_UNRECOGNIZED"},
		{Tries: "a path with dots in it", As: "alice", Method: "GET", Path: "/_matrix/client/v3/rooms/../account/whoami", Want: "404 M_UNRECOGNIZED"},
		{Tries: "two lengths of one body", Raw: "POST " + c + "/login HTTP/1.1\r\nHost: hs1\r\nContent-Length: 2\r\nContent-Length: 50\r\n\r\n{}", Want: "400 not JSON"},
		{Tries: "a length and chunks at once, with a second request in the body", Raw: "POST " + c + "/logout HTTP/1.1\r\nHost: hs1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n", Want: "401 M_MISSING_TOKEN"},
		{Tries: "a chunk of a size that is no number", Raw: "POST " + c + "/login HTTP/1.1\r\nHost: hs1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", Want: "400 M_UNKNOWN"},
		{Tries: "a negative length", Raw: "POST " + c + "/login HTTP/1.1\r\nHost: hs1\r\nContent-Length: -1\r\n\r\n", Want: "400 not JSON"},
		{Tries: "a header that is folded", Raw: "GET " + c + "/sync HTTP/1.1\r\nHost: hs1\r\nAuthorization: Bearer\r\n x\r\n\r\n", Want: "401 M_UNKNOWN_TOKEN"},
		{Tries: "a header with a bare line feed in its name", Raw: "GET " + c + "/sync HTTP/1.1\r\nHost: hs1\r\nX-A\n: b\r\n\r\n", Want: "400 not JSON"},
		{Tries: "headers of 100 KiB", Raw: "GET " + c + "/sync HTTP/1.1\r\nHost: hs1\r\nX-A: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", Want: "431 not JSON"},
		{Tries: "no host", Raw: "GET " + c + "/sync HTTP/1.1\r\n\r\n", Want: "400 not JSON"},
		{Tries: "two hosts", Raw: "GET " + c + "/sync HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Want: "400 not JSON"},
		{Tries: "a request for a proxy", Raw: "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", Want: "404 not JSON"},
		{Tries: "a version of HTTP that is none", Raw: "GET / HTTP/9.9\r\nHost: hs1\r\n\r\n", Want: "505 not JSON"},
		{Tries: "a websocket where there is none", As: "alice", Method: "GET", Path: c + "/sync/ws", Head: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, Want: "404 M_UNRECOGNIZED"},
	}
	attack.Run(t, tg, rows, "ATTACKS.md", *update)
}
