package caserver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server"
)

// fuzzConv is the conversation of a fuzzer.
const fuzzConv = "/conversations/0123456789abcdef"

// FuzzBodies sends any bytes to every call that reads a body: it answers with
// an error in its form, or does what is asked, and never fails inside.
func FuzzBodies(f *testing.F) {
	s := quintatest.Start(f, quintatest.Registration(server.RegistrationOpen))
	if err := s.Core.AddAccount(context.Background(), "alice", password); err != nil {
		f.Fatal(err)
	}
	login := []byte(`{"username":"alice","password":"` + password + `","device":"PHONE"}`)
	var a wire.LoginAnswer
	if err := json.Unmarshal(call(f, s, "", "POST "+wire.PathLogin, login, 200), &a); err != nil {
		f.Fatal(err)
	}
	enrol, key, err := fuzzEnrolment(&a)
	if err != nil {
		f.Fatal(err)
	}
	var info wire.KeyInfo
	if err := json.Unmarshal(call(f, s, a.Token, "POST "+wire.PathKeys, enrol, 201), &info); err != nil {
		f.Fatal(err)
	}
	call(f, s, a.Token, "PUT "+fuzzConv, []byte(`{"members":[],"profile":"secure"}`), 201)
	// Each call with a body that it understands.
	calls := []struct{ route, body string }{
		{"POST " + wire.PathLogin, string(login)},
		{"POST " + wire.PathRegister, `{"username":"bob","password":"p","device":"D","deviceName":"n","token":"t"}`},
		{"POST " + wire.PathKeys, string(enrol)},
		{"POST /keys/" + string(info.ID) + "/nonce", "{}"},
		{"POST /keys/" + string(info.ID) + "/renew", `{"csr":"` + key + `","renewalStatement":{"type":"quinta-ca-renew/1"},"oldSignature":"AA==","newSignature":"AA=="}`},
		{"POST /keys/" + string(info.ID) + "/renew", `{"publicKey":"AA==","signature":"AA==","expires":"2030-01-01T00:00:00Z"}`},
		{"POST /keys/" + strings.Repeat("0", 64) + "/revoke", `{"reason":"superseded"}`},
		{"PUT /keys/" + strings.Repeat("0", 64) + "/approval", `{"statement":{"type":"quinta-ca-approve/1","device":"D"},"signature":"AA=="}`},
		{"DELETE /keys/" + string(info.ID), "{}"},
		{"PUT " + fuzzConv, `{"members":["bob@hs1"],"profile":"secure"}`},
		{"POST " + fuzzConv + "/members", `{"add":["bob@hs1"]}`},
		{"PUT " + fuzzConv + "/messages/m", `{"kind":"message","form":"session","body":"AAAA","keys":[],"withheld":["a"]}`},
		{"PUT " + fuzzConv + "/messages/n", `{"kind":"notice","form":"cms","body":"MAA=","keys":["a"],"only":[{"user":"alice@hs1","device":"PHONE"}]}`},
		{"POST " + wire.PathAck, `{"upTo":1}`},
		{"PUT " + wire.PathBackup, `{"sealed":{"v":1},"tag":""}`},
		{"DELETE " + wire.PathBackup, "{}"},
		{"DELETE /devices/OTHER", `{"password":"` + password + `","reason":"cessation"}`},
		{"POST " + wire.PathOCSP, "0\x03\x0a\x01\x01"},
		{"POST " + wire.ESTBase + "/sign.CRON/simpleenroll", "MAA="},
		{"POST " + wire.ESTBase + "/simplereenroll", "MAA="},
	}
	for i, c := range calls {
		f.Add(uint8(i), []byte(c.body))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		call(t, s, a.Token, calls[int(which)%len(calls)].route, body, 0)
	})
}

// fuzzEnrolment makes the request that enrols a key, and the PKCS #10 request
// of another one in base64.
func fuzzEnrolment(a *wire.LoginAnswer) (enrol []byte, other string, err error) {
	id := cert.Identity{User: a.Username, Device: a.Device, Use: cert.UseSign}
	var pops [2][]byte
	for i := range pops {
		k, err := newP256()
		if err != nil {
			return nil, "", err
		}
		if pops[i], err = cert.NewRequest(rand.Reader, id, k); err != nil {
			return nil, "", err
		}
	}
	if enrol, err = json.Marshal(wire.EnrolRequest{Profile: wire.ProfileSecure, Use: cert.UseSign, Pop: pops[0]}); err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(pops[1])
	return enrol, strings.Trim(string(text), `"`), err
}

// fuzzClient has an end for each call.
var fuzzClient = &http.Client{Timeout: time.Minute}

// call makes a call, below wire.Base or of EST, and returns the answer; a
// status of zero takes any but a fault of the server.
func call(t testing.TB, s *quintatest.Server, token, route string, body []byte, status int) []byte {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	est := strings.HasPrefix(path, wire.ESTBase)
	if !est {
		path = wire.Base + path
	}
	q, err := http.NewRequest(method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !est:
		q.Header.Set("Authorization", "Bearer "+token)
	default:
		q.SetBasicAuth("alice", password)
		q.Header.Set("Content-Type", wire.ESTRequestType)
	}
	resp, err := fuzzClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode >= 500 || status != 0 && resp.StatusCode != status {
		t.Fatalf("%s %q: got %d %s", route, body, resp.StatusCode, raw)
	}
	if typ := resp.Header.Get("Content-Type"); resp.StatusCode >= 400 && typ != wire.ErrorType {
		t.Fatalf("%s %q: an error of the type %q", route, body, typ)
	}
	return raw
}
