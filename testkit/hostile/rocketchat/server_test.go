// Package rocketchat_test attacks the server half of the Rocket.Chat network.
package rocketchat_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/hostile/attack"
)

var update = flag.Bool("update", false, "write ATTACKS.md")

// code reads the code of a refusal: its type, or its text where it has none.
func code(body []byte) string {
	var e struct {
		Type    string `json:"errorType"`
		Error   any    `json:"error"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &e) != nil {
		return "not JSON"
	}
	if e.Type != "" {
		return e.Type
	}
	if e.Message != "" {
		return e.Message
	}
	text, _ := e.Error.(string)
	return text
}

// target starts a server with an encrypted group of alice and bob, and eve
// outside of it.
func target(t *testing.T) *attack.Target {
	t.Helper()
	now := time.Now() // stands still, so that no call is noted as the last one of its device
	tg := &attack.Target{Server: quintatest.Start(t, quintatest.Clock(func() time.Time { return now })), Names: map[string]string{}, Heads: map[string]http.Header{}, Code: code}
	for _, name := range []string{"alice", "bob", "eve", "gone"} {
		if err := tg.Core.AddAccount(t.Context(), name, "a long password"); err != nil {
			t.Fatal(err)
		}
		m := tg.Must(t, "", "POST", "/api/v1/login", `{"user":"`+name+`","password":"a long password"}`)
		data, ok := m["data"].(map[string]any)
		if !ok {
			t.Fatalf("got %v", m)
		}
		tg.Names[name], tg.Names[name+" token"] = attack.Text(t, data, "userId"), attack.Text(t, data, "authToken")
		tg.Heads[name] = http.Header{"X-User-Id": {tg.Names[name]}, "X-Auth-Token": {tg.Names[name+" token"]}}
		tg.Must(t, name, "GET", "/api/v1/me", "")
	}
	tg.Must(t, "gone", "POST", "/api/v1/logout", `{}`)
	m := tg.Must(t, "", "POST", "/_matrix/client/v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"a long password"}`)
	tg.Heads["alice of matrix"] = http.Header{"X-User-Id": {tg.Names["alice"]}, "X-Auth-Token": {attack.Text(t, m, "access_token")}}
	tg.Heads["bob as alice"] = http.Header{"X-User-Id": {tg.Names["alice"]}, "X-Auth-Token": {tg.Names["bob token"]}}
	group, ok := tg.Must(t, "alice", "POST", "/api/v1/groups.create", `{"name":"secret","members":["bob"]}`)["group"].(map[string]any)
	if !ok {
		t.Fatal("there is no group")
	}
	tg.Names["room"] = attack.Text(t, group, "_id")
	pair, err := rocketchat.GeneratePrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := rocketchat.SealPrivateKey(rand.Reader, pair, "twelve words or so", tg.Names["alice"])
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(map[string]string{"public_key": pair.Public().String(), "private_key": blob})
	if err != nil {
		t.Fatal(err)
	}
	tg.Must(t, "alice", "POST", "/api/v1/e2e.setUserPublicAndPrivateKeys", string(keys))
	tg.Names["wrapped"] = "0123456789ab0123456789ab0123456789ab" + base64.StdEncoding.EncodeToString(make([]byte, 256))
	tg.Must(t, "alice", "POST", "/api/v1/e2e.setRoomKeyID", `{"rid":"{{room}}","keyID":"0123456789ab0123456789ab0123456789ab"}`)
	return tg
}

// A socket is a connection of DDP.
type socket struct {
	t *testing.T
	c *websocket.Conn
}

func dial(t *testing.T, tg *attack.Target, head http.Header) (*socket, string) {
	t.Helper()
	c, a, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(tg.URL, "http")+"/websocket", &websocket.DialOptions{HTTPHeader: head})
	if err != nil {
		if a == nil {
			return nil, "closed"
		}
		return nil, http.StatusText(a.StatusCode)
	}
	t.Cleanup(func() { var _ = c.CloseNow() })
	return &socket{t, c}, ""
}

func (s *socket) send(text string) {
	s.t.Helper()
	if err := s.c.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Logf("writing: %v", err)
	}
}

// until reads until a frame of one of the kinds, and returns what it refuses.
func (s *socket) until(kinds ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, raw, err := s.c.Read(ctx)
		if err != nil {
			if code := websocket.CloseStatus(err); code != -1 {
				return "closed: " + code.String()
			}
			return "closed"
		}
		var f struct {
			Msg, Reason string
			Error       struct {
				Error json.RawMessage `json:"error"`
			}
		}
		if err := json.Unmarshal(raw, &f); err != nil {
			s.t.Fatal(err)
		}
		for _, k := range kinds {
			if f.Msg == k {
				return strings.TrimSpace(f.Msg + " " + f.Reason + strings.Trim(string(f.Error.Error), `"`))
			}
		}
	}
}

// ddp sends frames after a connect, and a login if as is a user, and returns the
// refusal of the last.
func ddp(as string, frames ...string) func(t *testing.T, tg *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		s, failed := dial(t, tg, nil)
		if s == nil {
			return failed
		}
		s.send(`{"msg":"connect","version":"1","support":["1"]}`)
		s.until("connected")
		if as != "" {
			s.send(tg.Fill(`{"msg":"method","id":"in","method":"login","params":[{"resume":"{{` + as + ` token}}"}]}`))
			s.until("result")
		}
		for _, f := range frames {
			s.send(tg.Fill(f))
		}
		return s.until("result", "nosub", "error", "failed", "ready")
	}
}

// TestAttackServer: attacks of strangers, of users on what is not theirs, and
// of those who speak no proper HTTP, JSON or DDP.
func TestAttackServer(t *testing.T) {
	tg := target(t)
	const c = "/api/v1/"
	const login = "You must be logged in to do this."
	call := func(method, params string) string {
		return `{"msg":"method","id":"1","method":"` + method + `","params":` + params + `}`
	}
	message := `{"message":{"_id":"0123456789abcdefg","rid":"{{room}}","msg":"in clear"}}`
	rows := []attack.Row{
		{Tries: "a call without a token", Method: "GET", Path: c + "me", Want: "401 " + login},
		{Tries: "another user's id with one's own token", As: "bob as alice", Method: "GET", Path: c + "me", Want: "401 " + login},
		{Tries: "the token of another network", As: "alice of matrix", Method: "GET", Path: c + "me", Want: "401 " + login},
		{Tries: "the token of a login that ended", As: "gone", Method: "GET", Path: c + "me", Want: "401 " + login},
		{Tries: "a token in the query", Method: "GET", Path: c + "me?rc_uid={{alice}}&rc_token={{alice token}}", Want: "401 " + login},
		{Tries: "a token in cookies", Method: "GET", Path: c + "me", Head: http.Header{"Cookie": {"rc_uid={{alice}}; rc_token={{alice token}}"}}, Want: "401 " + login},
		{Tries: "a login with a wrong password", Method: "POST", Path: c + "login", Body: `{"user":"alice","password":"x"}`, Want: "401 User or password is incorrect"},
		{Tries: "a login as a user who is not there: the same answer", Method: "POST", Path: c + "login", Body: `{"user":"nobody","password":"x"}`, Want: "401 User or password is incorrect"},
		{Tries: "a login whose user is a query", Method: "POST", Path: c + "login", Body: `{"user":{"$ne":null},"password":"x"}`, Want: "400 error-invalid-body"},
		{Tries: "a login whose password is a query", Method: "POST", Path: c + "login", Body: `{"user":"alice","password":{"$regex":"^a"}}`, Want: "401 User or password is incorrect"},
		{Tries: "a login with a resume token that was made up", Method: "POST", Path: c + "login", Body: `{"resume":"made-up"}`, Want: "401 You've been logged out by the server. Please log in again."},
		{Tries: "a login with a member that nobody knows", Method: "POST", Path: c + "login", Body: `{"user":"alice","password":"a long password","admin":true}`, Want: "400 error-invalid-params"},
		{Tries: "a second account of a name", Method: "POST", Path: c + "users.register", Body: `{"username":"alice","name":"a","pass":"a long password","email":"a@example.org"}`, Want: "400 error-duplicate"},
		{Tries: "an account whose name climbs the path", Method: "POST", Path: c + "users.register", Body: `{"username":"../alice","name":"a","pass":"a long password","email":"a@example.org"}`, Want: "400 error-field-unavailable"},
		{Tries: "an account with a role", Method: "POST", Path: c + "users.register", Body: `{"username":"mallory","name":"a","pass":"a long password","email":"a@example.org","roles":["admin"]}`, Want: "400 error-invalid-params"},
		{Tries: "to make oneself an administrator", As: "eve", Method: "POST", Path: c + "users.update", Body: `{"userId":"{{eve}}","data":{"roles":["admin"]}}`, Want: "404 there is no such call"},
		{Tries: "a token of another user", As: "eve", Method: "POST", Path: c + "users.createToken", Body: `{"userId":"{{alice}}"}`, Want: "404 there is no such call"},
		{Tries: "a group's history from outside", As: "eve", Method: "GET", Path: c + "groups.history?roomId={{room}}", Want: "400 error-invalid-room"},
		{Tries: "a group's members from outside", As: "eve", Method: "GET", Path: c + "groups.members?roomId={{room}}", Want: "400 error-invalid-room"},
		{Tries: "a group by its name, from outside", As: "eve", Method: "GET", Path: c + "groups.info?roomName=secret", Want: "400 error-invalid-room"},
		{Tries: "a message from outside", As: "eve", Method: "POST", Path: c + "chat.sendMessage", Body: message, Want: "400 error-invalid-room"},
		{Tries: "a message in clear into an encrypted group", As: "alice", Method: "POST", Path: c + "chat.sendMessage", Body: message, Want: "400 error-not-allowed"},
		{Tries: "to invite oneself", As: "eve", Method: "POST", Path: c + "groups.invite", Body: `{"roomId":"{{room}}","userId":"{{eve}}"}`, Want: "400 error-invalid-room"},
		{Tries: "to join a private group as if it were a channel", As: "eve", Method: "POST", Path: c + "channels.join", Body: `{"roomId":"{{room}}"}`, Want: "400 error-invalid-room"},
		{Tries: "a member who throws the owner out", As: "bob", Method: "POST", Path: c + "groups.kick", Body: `{"roomId":"{{room}}","userId":"{{alice}}"}`, Want: "403 error-not-allowed"},
		{Tries: "a member who switches encryption off", As: "bob", Method: "POST", Path: c + "rooms.saveRoomSettings", Body: `{"rid":"{{room}}","encrypted":false}`, Want: "403 error-not-allowed"},
		{Tries: "another key of a room that has one", As: "bob", Method: "POST", Path: c + "e2e.setRoomKeyID", Body: `{"rid":"{{room}}","keyID":"1123456789ab0123456789ab0123456789ab"}`, Want: "400 error-room-e2e-key-already-exists"},
		{Tries: "a room's key from outside", As: "eve", Method: "POST", Path: c + "e2e.updateGroupKey", Body: `{"rid":"{{room}}","uid":"{{alice}}","key":"{{wrapped}}"}`, Want: "400 error-invalid-room"},
		{Tries: "the users without a key, from outside", As: "eve", Method: "GET", Path: c + "e2e.getUsersOfRoomWithoutKey?rid={{room}}", Want: "400 error-invalid-room"},
		{Tries: "a reset of a room's key by a member without keys", As: "bob", Method: "POST", Path: c + "e2e.resetRoomKey", Body: `{"rid":"{{room}}","e2eKey":"{{wrapped}}","e2eKeyId":"0123456789ab0123456789ab0123456789ab"}`, Want: "403 error-not-allowed"},
		{Tries: "a private key without its public key", As: "alice", Method: "POST", Path: c + "e2e.setUserPublicAndPrivateKeys", Body: `{"public_key":"","private_key":"x"}`, Want: "400 error-invalid-params"},
		{Tries: "a public key that is none", As: "alice", Method: "POST", Path: c + "e2e.setUserPublicAndPrivateKeys", Body: `{"public_key":"{}","private_key":"x"}`, Want: "400 error-invalid-params"},
		{Tries: "a reset of another user's E2E key", As: "alice", Method: "POST", Path: c + "users.resetE2EKey", Body: `{"userId":"{{bob}}"}`, Want: "403 error-not-allowed"},
		{Tries: "a file into a room that one is not in", As: "eve", Method: "POST", Path: c + "rooms.media/{{room}}", Head: http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}, Body: "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../x\"\r\n\r\nx\r\n--b--\r\n", Want: "400 error-invalid-room"},
		{Tries: "a file without its boundary", As: "alice", Method: "POST", Path: c + "rooms.media/{{room}}", Head: http.Header{"Content-Type": {"multipart/form-data"}}, Body: "x", Want: "400 error-invalid-body"},
		{Tries: "a file that is not there", As: "eve", Method: "GET", Path: "/file-upload/..%2F..%2Fquinta.db/x", Want: "404 error-file-not-found"},
		{Tries: "a file without a login", Method: "GET", Path: "/file-upload/x/y", Want: "401 " + login},
		{Tries: "a count below nothing", As: "alice", Method: "GET", Path: c + "groups.history?roomId={{room}}&count=-1", Want: "400 error-invalid-params"},
		{Tries: "a count that is no number", As: "alice", Method: "GET", Path: c + "groups.history?roomId={{room}}&count=1e9", Want: "400 error-invalid-params"},
		{Tries: "a date that is SQL", As: "alice", Method: "GET", Path: c + "groups.history?roomId={{room}}&latest=%27%3B--", Want: "400 error-invalid-params"},
		{Tries: "a room's name that is markup", As: "eve", Method: "POST", Path: c + "groups.create", Body: `{"name":"<script>"}`, Want: "400 error-invalid-room-name"},
		{Tries: "a group of 2,000", As: "eve", Method: "POST", Path: c + "groups.create", Body: `{"name":"many","members":["x"` + strings.Repeat(`,"x"`, 1999) + `]}`, Want: "400 error-invalid-params"},
		{Tries: "a stranger's body of 1 MiB", Raw: "POST /api/v1/login HTTP/1.1\r\nHost: hs1\r\nContent-Length: 1048576\r\n\r\n{", Want: "413 error-invalid-body"},
		{Tries: "a body that is two", As: "eve", Method: "POST", Path: c + "groups.create", Body: `{"name":"a"}{"name":"b"}`, Want: "400 error-invalid-body"},
		{Tries: "a body nested 20,000 deep", As: "eve", Method: "POST", Path: c + "groups.create", Body: `{"customFields":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, Want: "400 error-invalid-body"},
		{Tries: "a gzip bomb for a body", As: "eve", Method: "POST", Path: c + "groups.create", Head: http.Header{"Content-Encoding": {"gzip"}}, Body: attack.Bomb(t, 50<<20), Want: "400 error-invalid-body"},
		{Tries: "a method that the call does not have", As: "alice", Method: "DELETE", Path: c + "me", Want: "404 there is no such call"},
		{Tries: "a call of administrators", As: "alice", Method: "GET", Path: c + "users.list", Want: "404 there is no such call"},
		// DDP.
		{Tries: "DDP: a call before the connect", Do: func(t *testing.T, tg *attack.Target) string {
			s, failed := dial(t, tg, nil)
			if s == nil {
				return failed
			}
			s.send(call("loadHistory", `["{{room}}"]`))
			return s.until("error", "result")
		}, Want: "error Must connect first"},
		{Tries: "DDP: a version that there is not", Do: func(t *testing.T, tg *attack.Target) string {
			s, failed := dial(t, tg, nil)
			if s == nil {
				return failed
			}
			s.send(`{"msg":"connect","version":"7"}`)
			return s.until("failed", "connected")
		}, Want: "failed"},
		{Tries: "DDP: a page of another origin", Do: func(t *testing.T, tg *attack.Target) string {
			_, failed := dial(t, tg, http.Header{"Origin": {"https://evil.example"}})
			return failed
		}, Want: "Forbidden"},
		{Tries: "DDP: a call without a login", Do: ddp("", call("loadHistory", `["{{room}}"]`)), Want: "result error-invalid-user"},
		{Tries: "DDP: a login with a token of another network", Do: func(t *testing.T, tg *attack.Target) string {
			return ddp("", call("login", `[{"resume":"`+tg.Heads["alice of matrix"].Get("X-Auth-Token")+`"}]`))(t, tg)
		}, Want: "result 403"},
		{Tries: "DDP: the messages of a group, from outside", Do: ddp("eve", `{"msg":"sub","id":"s","name":"stream-room-messages","params":["{{room}}",false]}`), Want: "nosub not-allowed"},
		{Tries: "DDP: another user's notices", Do: ddp("eve", `{"msg":"sub","id":"s","name":"stream-notify-user","params":["{{alice}}/e2ekeyRequest",false]}`), Want: "nosub not-allowed"},
		{Tries: "DDP: a stream without a login", Do: ddp("", `{"msg":"sub","id":"s","name":"stream-room-messages","params":["{{room}}",false]}`), Want: "nosub not-allowed"},
		{Tries: "DDP: a history from outside", Do: ddp("eve", call("loadHistory", `["{{room}}"]`)), Want: "result error-invalid-room"},
		{Tries: "DDP: a message from outside", Do: ddp("eve", call("sendMessage", `[{"_id":"2123456789abcdefg","rid":"{{room}}","msg":"x"}]`)), Want: "result error-invalid-room"},
		{Tries: "DDP: typing in another user's name", Do: ddp("bob", call("stream-notify-room", `["{{room}}/user-activity","alice",["user-typing"]]`)), Want: "result not-allowed"},
		{Tries: "DDP: a method that there is not", Do: ddp("eve", call("setAdminStatus", `["{{eve}}",true]`)), Want: "result 404"},
		{Tries: "DDP: parameters that are no list", Do: ddp("eve", call("loadHistory", `{"rid":"{{room}}"}`)), Want: "result error-invalid-params"},
		{Tries: "DDP: a frame that is no JSON", Do: ddp("eve", `{"msg":`), Want: "error Parse error"},
		{Tries: "DDP: a stranger's frame of 128 KiB", Do: ddp("", `{"msg":"`+strings.Repeat("x", 128<<10)+`"}`), Want: "closed: StatusMessageTooBig"},
		{Tries: "DDP: a frame of 2 MiB", Do: ddp("eve", `{"msg":"`+strings.Repeat("x", 2<<20)+`"}`), Want: "closed: StatusMessageTooBig"},
	}
	attack.Run(t, tg, rows, "ATTACKS.md", *update)
}
