package matrixserver_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
)

// FuzzCalls makes any call with any body, with a token: the router finds it or
// not, what asks for authentication says how, and the answer is in the form of
// the API and never a fault of the server.
func FuzzCalls(f *testing.F) {
	s := &stage{Server: quintatest.Start(f)}
	u := s.nobody()
	a, err := u.try(f.Context(), "POST", v3+"/register", object{"username": "alice", "password": password, "device_id": "D", "auth": object{"type": "m.login.dummy"}})
	if err != nil || a.Status != 200 {
		f.Fatalf("got %v, %v", a, err)
	}
	token := at(a.Body, "access_token").(string)
	u.Token = token
	if a, err = u.try(f.Context(), "POST", v3+"/createRoom", object{}); err != nil || a.Status != 200 {
		f.Fatalf("got %v, %v", a, err)
	}
	room := esc(at(a.Body, "room_id").(string))
	auth := `{"auth":{"type":"m.login.password","session":"s","identifier":{"type":"m.id.user","user":"alice"},"password":"wrong"}}`
	for _, c := range []struct{ method, path, body string }{
		{"POST", v3 + "/register", `{"username":"bob","password":"p"}`},
		{"POST", v3 + "/register?kind=guest", auth},
		{"POST", v3 + "/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"wrong"}`},
		{"DELETE", v3 + "/devices/D", auth},
		{"POST", v3 + "/delete_devices", `{"devices":["X"],"auth":null}`},
		{"POST", v3 + "/account/password", `{"new_password":"x","auth":{"session":1}}`},
		{"POST", v3 + "/keys/upload", `{"device_keys":{},"one_time_keys":{"signed_curve25519:A":{"key":"k"}}}`},
		{"POST", v3 + "/keys/query", `{"device_keys":{"@alice:hs1":[]}}`},
		{"POST", v3 + "/keys/claim", `{"one_time_keys":{"@alice:hs1":{"D":"signed_curve25519"}}}`},
		{"POST", v3 + "/keys/device_signing/upload", `{"master_key":{"user_id":"@alice:hs1","usage":["master"],"keys":{}}}`},
		{"POST", v3 + "/keys/signatures/upload", `{"@alice:hs1":{"D":{}}}`},
		{"GET", v3 + "/sync?filter={%22room%22:{%22timeline%22:{%22limit%22:-1}}}&since=s1", ""},
		{"PUT", v3 + "/rooms/" + room + "/send/m.room.message/1", `{"body":"x","m.relates_to":{"rel_type":"m.replace","event_id":"$x"}}`},
		{"PUT", v3 + "/rooms/" + room + "/state/m.room.power_levels/", `{"users":{"@alice:hs1":1e99}}`},
		{"GET", v3 + "/rooms/" + room + "/messages?dir=b&from=t1_1&limit=9999999999", ""},
		{"POST", v3 + "/rooms/" + room + "/invite", `{"user_id":"@:"}`},
		{"POST", v3 + "/createRoom", `{"initial_state":[{"type":"","content":[]}],"room_version":"99"}`},
		{"PUT", v3 + "/sendToDevice/m.x/1", `{"messages":{"@alice:hs1":{"*":{}}}}`},
		{"POST", backups, `{"algorithm":"x","auth_data":{}}`},
		{"PUT", keyPath + "?version=1", `{"rooms":{"!r":{"sessions":{"s":{"first_message_index":-1}}}}}`},
		{"POST", v3 + "/user/@alice:hs1/filter", `{"event_fields":["a.b\\.c"],"room":{"rooms":[1]}}`},
		{"PUT", v3 + "/user/@alice:hs1/account_data/m.x", `[1]`},
		{"POST", v3 + "/pushers/set", `{"kind":"http","data":{"url":"https://[::1]/"}}`},
		{"PUT", v3 + "/pushrules/global/override/x", `{"conditions":[{"kind":"event_match","pattern":"*?[["}],"actions":[]}`},
		{"GET", "/_matrix/client/v1/media/download/hs1/%2e%2e%2f", ""},
		{"GET", v3 + "/directory/room/%23a%2fb:hs1", ""},
		{"PATCH", "/_matrix//client/\x7f", "\x00"},
	} {
		f.Add(c.method, c.path, []byte(c.body))
	}
	client := &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		// What ends the login, or waits as long as it is told to, is not of use here.
		for _, no := range []string{"logout", "deactivate", "timeout"} {
			if strings.Contains(path, no) {
				return
			}
		}
		whole, err := url.Parse(s.URL + path)
		if err != nil || whole.Host != strings.TrimPrefix(s.URL, "http://") || method == http.MethodConnect {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		status, header, raw, err := send(ctx, client, method, whole.String(), token, body)
		if err != nil {
			return // a call that cannot be made
		}
		if status >= 500 && status != http.StatusGatewayTimeout {
			t.Errorf("%s %q %q: got %d %.300s", method, path, body, status, raw)
		}
		if status >= 400 && strings.HasPrefix(whole.Path, "/_matrix/") && method != http.MethodHead && header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %q: got %d in the form %q: %.300s", method, path, status, header.Get("Content-Type"), raw)
		}
	})
}

// send makes a call with a token.
func send(ctx context.Context, client *http.Client, method, whole, token string, body []byte) (int, http.Header, []byte, error) {
	q, err := http.NewRequestWithContext(ctx, method, whole, strings.NewReader(string(body)))
	if err != nil {
		return 0, nil, nil, err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(q)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, raw, err
}
