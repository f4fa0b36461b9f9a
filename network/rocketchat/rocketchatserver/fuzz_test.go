package rocketchatserver_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta/quintatest"
)

// FuzzBodies sends any bytes to every call that reads a body: it answers in the
// network's own form, and never fails inside.
func FuzzBodies(f *testing.F) {
	s := &stage{quintatest.Start(f), nil}
	alice := fuzzer(f, s)
	calls := []string{"login", "users.register", "logout", "im.create", "groups.create", "groups.setEncrypted", "rooms.saveRoomSettings", "groups.invite", "groups.kick", "groups.leave",
		"chat.sendMessage", "chat.update", "chat.delete", "chat.react", "subscriptions.read", "e2e.setUserPublicAndPrivateKeys", "e2e.setRoomKeyID", "e2e.updateGroupKey",
		"e2e.acceptSuggestedGroupKey", "e2e.provideUsersSuggestedGroupKeys", "e2e.resetRoomKey", "users.resetE2EKey", "rooms.mediaConfirm/x/y", "rooms.media/x", "e2e.addKeyToChain", "push.token"}
	for i, body := range []string{`{}`, `null`, `[]`, `{"rid":"x","keyID":"k"}`, `{"message":{"rid":"x","t":"e2e","content":{"algorithm":"rc.v2.aes-sha2","kid":"k","iv":"AAAAAAAAAAAAAAAA","ciphertext":"AAAA"}}}`,
		`{"user":"alice","password":{"digest":"00","algorithm":"sha-256"}}`, `{"name":"n","members":["alice"],"extraData":{"encrypted":true}}`, `{"usersSuggestedGroupKeys":{"x":[{"_id":"y","key":"z","oldKeys":[{"ts":{"$date":1}}]}]}}`,
		`{"public_key":"{}","private_key":"{\"$binary\":1}","force":true}`, strings.Repeat("[", 5000)} {
		f.Add(i, []byte(body))
	}
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		path := calls[uint(which)%uint(len(calls))]
		r, err := http.NewRequest(http.MethodPost, s.URL+"/api/v1/"+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if uint(which)%2 == 0 {
			r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		}
		r.Header.Set("X-User-Id", alice.id)
		r.Header.Set("X-Auth-Token", alice.token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable || !json.Valid(raw) {
			t.Errorf("%s %q: got %d %s, %v", path, body, resp.StatusCode, raw, err)
		}
	})
}

// fuzzer is a login for a fuzzer.
func fuzzer(f *testing.F, s *stage) *person {
	f.Helper()
	post := func(path, body string) object {
		resp, err := http.Post(s.URL+"/api/v1/"+path, "application/json", strings.NewReader(body))
		if err != nil {
			f.Fatal(err)
		}
		defer resp.Body.Close()
		var o object
		if err := json.NewDecoder(resp.Body).Decode(&o); err != nil || resp.StatusCode != 200 {
			f.Fatalf("%s: got %d %v, %v", path, resp.StatusCode, o, err)
		}
		return o
	}
	post("users.register", `{"username":"alice","name":"a","email":"a@example.org","pass":"`+password+`"}`)
	d := post("login", `{"user":"alice","password":"`+password+`"}`)["data"].(object)
	return &person{s: s, name: "alice", id: d["userId"].(string), token: d["authToken"].(string)}
}

// FuzzFrames sends any text over a websocket that is logged in: the connection
// answers a ping after it, or was closed in order.
func FuzzFrames(f *testing.F) {
	s := &stage{quintatest.Start(f), nil}
	alice := fuzzer(f, s)
	for _, frame := range []string{`{}`, `null`, `[1]`, `{"msg":"sub","id":"1","name":"stream-notify-user","params":["x/y",{"args":[null]}]}`, `{"msg":"method","method":"login","id":"1","params":[{"resume":"x"}]}`,
		`{"msg":"method","method":"e2e.updateGroupKey","id":"1","params":["a","b","c"]}`, `{"msg":"connect","version":"1"}`, `{"msg":"unsub"}`, `{"msg":"method","method":"sendMessage","id":"2","params":[{"rid":"x","msg":"y"}]}`,
		`{"msg":"method","method":"stream-notify-room","id":"3","params":["x/user-activity","alice",["a"]]}`, `{"msg":"method","method":"loadHistory","id":"4","params":["x",{"$date":1e99},5]}`} {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame string) {
		ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/websocket", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		for _, out := range []string{`{"msg":"connect","version":"1","support":["1"]}`, `{"msg":"method","method":"login","id":"l","params":[{"resume":"` + alice.token + `"}]}`, strings.ToValidUTF8(frame, ""), `{"msg":"ping","id":"the end"}`} {
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(out)); err != nil {
				return // closed in order, which the reading below would say
			}
		}
		ws.SetReadLimit(1 << 24)
		end := time.Now().Add(20 * time.Second)
		for time.Now().Before(end) {
			_, raw, err := ws.Read(t.Context())
			if websocket.CloseStatus(err) != -1 {
				return
			}
			if err != nil {
				t.Fatalf("%q: got %v", frame, err)
			}
			if !json.Valid(raw) {
				t.Fatalf("%q: got %q", frame, raw)
			}
			if bytes.Contains(raw, []byte("the end")) {
				return
			}
		}
		t.Errorf("%q: got no pong", frame)
	})
}
