package answers

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/ca/caclient"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/network/rocketchat/rocketchatclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

const (
	// moment is how long a client works with made-up answers: those that say
	// nothing of use make it wait and ask again.
	moment = 40 * time.Millisecond
	// patience bounds how long it takes to notice that its time has ended.
	patience = 20 * time.Second
)

var env = e2ee.Env{Now: time.Now, Rand: rand.Reader}

// An answer is what takes the place of the server's.
type answer struct {
	path   string // of the calls that it answers; "" for all
	status int
	body   []byte
}

// A kept store stays open when the session that used it ends.
type kept struct{ *memory.Store }

func (kept) Close() error { return nil }

// fuzz lets a device of a network work with made-up answers.
func fuzz(f *testing.F, n client.Network, seeds ...answer) {
	f.Helper()
	s := quintatest.Start(f)
	if err := s.Core.AddAccount(f.Context(), "alice", "correct horse battery staple"); err != nil {
		f.Fatal(err)
	}
	p := middle.Start(f, s.URL)
	st := kept{memory.New()}
	self, err := n.Login(f.Context(), st, env, client.Credentials{Server: p.URL, User: "alice", Password: client.NewSecret("correct horse battery staple"), DeviceName: "a device"})
	if err != nil {
		f.Fatal(err)
	}
	if err := work(f.Context(), n, st, time.Minute); err != nil {
		f.Fatal(err)
	}
	var made atomic.Pointer[answer]
	p.Answers(func(r *http.Request, status int, body []byte) (int, []byte) {
		a := made.Load()
		if a == nil || !strings.Contains(r.URL.Path, a.path) {
			return status, body
		}
		return a.status, a.body
	})
	for _, a := range seeds {
		f.Add(a.path, a.status, a.body)
	}
	f.Add("", 500, []byte("<html>a proxy</html>"))
	f.Add("", 429, []byte(`{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1e300}`))
	f.Fuzz(func(t *testing.T, path string, status int, body []byte) {
		if status < 200 || status > 599 || status == http.StatusNoContent || status == http.StatusNotModified {
			status = 200 // what a server can write with a body
		}
		copied := kept{st.Snapshot()}
		made.Store(&answer{path, status, body})
		begin := time.Now()
		_ = work(t.Context(), n, copied, moment) // any error will do
		if took := time.Since(begin); took > patience {
			t.Errorf("%q %d %q: the client came back after %s", path, status, body, took)
		}
		made.Store(nil)
		again, err := n.Open(t.Context(), copied, env)
		if err != nil {
			t.Fatalf("%q %d %q: the store does not open any more: %v", path, status, body, err)
		}
		if got := again.Self(); got.User != self.User || got.ID != self.ID {
			t.Errorf("%q %d %q: the device is %+v, was %+v", path, status, body, got, self)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

// work opens the session and lets it catch up with the server, for so long.
func work(ctx context.Context, n client.Network, st client.Store, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	s, err := n.Open(ctx, st, env)
	if err != nil {
		return err
	}
	err = s.Flush(ctx, func(e2ee.Event) {})
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

// FuzzMatrix makes up answers of a homeserver.
func FuzzMatrix(f *testing.F) {
	fuzz(f, matrixclient.Network{},
		answer{"/sync", 200, []byte(`{"next_batch":"s9","to_device":{"events":[{"type":"m.room.encrypted","sender":"@a:b","content":{}}]},"rooms":{"join":{"!r:x":{"timeline":{"limited":true,"prev_batch":"p","events":[{"type":"m.room.encryption","state_key":"","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]}}}}}`)},
		answer{"/keys/query", 200, []byte(`{"device_keys":{"@alice:hs1":{}},"master_keys":{"@alice:hs1":{"keys":{},"usage":["master"]}},"failures":null}`)},
		answer{"/keys/upload", 200, []byte(`{"one_time_key_counts":{"signed_curve25519":-1}}`)},
		answer{"/keys/claim", 200, []byte(`{"one_time_keys":{"@alice:hs1":{"D":{"signed_curve25519:A":{}}}}}`)},
		answer{"/room_keys/version", 200, []byte(`{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"AAAA"},"count":-1,"etag":1,"version":"1"}`)},
		answer{"/versions", 200, []byte(`{"versions":[1]}`)},
		answer{"/whoami", 401, []byte(`{"errcode":"M_UNKNOWN_TOKEN","soft_logout":true}`)})
}

// FuzzCA makes up answers of a server of the CA network.
func FuzzCA(f *testing.F) {
	fuzz(f, caclient.Network{},
		answer{"/mailbox", 200, []byte(`{"items":[{"pos":1,"kind":"message","form":"cms","conv":"0123456789abcdef","id":"m","from":"bob@hs1","device":"B","received":"2026-05-01T12:00:00Z","body":"MAA="}],"next":1,"more":false}`)},
		answer{"/roots", 200, []byte(`{"domain":"hs1","roots":["MAA="],"intermediates":["MAA="]}`)},
		answer{"/crl", 200, []byte("0\x03\x02\x01\x00")},
		answer{"/keys", 200, []byte(`{"keys":[{"keyId":"00","username":"alice@hs1","device":"D","use":"sign","state":"active"}]}`)},
		answer{"/conversations", 200, []byte(`{"conversations":[{"id":"0123456789abcdef","members":["alice@hs1"],"profile":"secure"}]}`)},
		answer{"/backup", 200, []byte(`{"sealed":{"v":1},"tag":"x"}`)},
		answer{"", 409, []byte(`{"type":"urn:quinta:ca:error:stale-keys","missing":["00"]}`)})
}

// FuzzRocketChat makes up answers of a Rocket.Chat server over HTTP.
func FuzzRocketChat(f *testing.F) {
	fuzz(f, rocketchatclient.Network{},
		answer{"e2e.fetchMyKeys", 200, []byte(`{"success":true,"public_key":"{}","private_key":"{}"}`)},
		answer{"subscriptions.get", 200, []byte(`{"success":true,"update":[{"rid":"r","t":"d","E2EKey":"k","ls":{"$date":1}}],"remove":[]}`)},
		answer{"rooms.get", 200, []byte(`{"success":true,"update":[{"_id":"r","t":"d","encrypted":true,"e2eKeyId":"k"}],"remove":[]}`)},
		answer{"chat.syncMessages", 200, []byte(`{"success":true,"result":{"updated":[{"_id":"m","rid":"r","t":"e2e","msg":"x","u":{"_id":"a"},"ts":{"$date":1e99}}],"deleted":[]}}`)},
		answer{"", 401, []byte(`{"status":"error","message":"You must be logged in"}`)})
}
