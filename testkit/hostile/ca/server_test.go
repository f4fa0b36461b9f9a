// Package ca_test attacks the server half of the CA network.
package ca_test

import (
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/hostile/attack"
)

var update = flag.Bool("update", false, "write ATTACKS.md")

// code reads the code of a refusal; OCSP has its own.
func code(body []byte) string {
	if string(body) == "\x30\x03\x0a\x01\x01" { // RFC 6960, section 4.2.1: malformedRequest (1)
		return "malformedRequest"
	}
	return attack.Problem(body)
}

// target starts a server with a conversation of alice and bob, a backup of
// alice's, and eve, who belongs to neither.
func target(t *testing.T) *attack.Target {
	t.Helper()
	now := time.Now() // stands still, so that no call is noted as the last one of its device
	tg := &attack.Target{Server: quintatest.Start(t, quintatest.Clock(func() time.Time { return now })), Names: map[string]string{}, Heads: map[string]http.Header{}, Code: code}
	for _, name := range []string{"alice", "bob", "eve", "gone"} {
		m := tg.Must(t, "", "POST", "/ca/v1/register", `{"username":"`+name+`","password":"a long password","device":"D"}`)
		tg.Heads[name] = http.Header{"Authorization": {"Bearer " + attack.Text(t, m, "token")}}
		tg.Must(t, name, "GET", "/ca/v1/devices", "") // the device was seen
	}
	tg.Must(t, "gone", "POST", "/ca/v1/logout", `{}`)
	m := tg.Must(t, "", "POST", "/_matrix/client/v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"a long password"}`)
	tg.Heads["alice of matrix"] = http.Header{"Authorization": {"Bearer " + attack.Text(t, m, "access_token")}}
	tg.Names["conv"] = "AAAAAAAAAAAAAAAAAAAAAA"
	tg.Must(t, "alice", "PUT", "/ca/v1/conversations/{{conv}}", `{"members":["alice@hs1","bob@hs1"],"profile":"secure"}`)
	tg.Must(t, "alice", "PUT", "/ca/v1/backup", `{"sealed":{"a":1}}`)
	tg.Must(t, "alice", "GET", "/ca/v1/roots", "")
	tg.Must(t, "alice", "GET", "/ca/v1/crl", "")
	tg.Names["token"] = strings.TrimPrefix(tg.Heads["alice"].Get("Authorization"), "Bearer ")
	return tg
}

// TestAttackServer: attacks of strangers, of users on what is not theirs, and
// of those who speak no proper HTTP, JSON or DER.
func TestAttackServer(t *testing.T) {
	tg := target(t)
	const c, est = "/ca/v1", "/.well-known/est"
	bearer := func(v string) http.Header { return http.Header{"Authorization": {v}} }
	basic := func(user, password string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}, "Content-Type": {"application/pkcs10"}}
	}
	key := strings.Repeat("ab", 32)
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf(`"u%d@hs1"`, i))
	}
	rows := []attack.Row{
		{Tries: "a call without a token", Method: "GET", Path: c + "/mailbox", Want: "401 unauthenticated"},
		{Tries: "a token that was made up", Method: "GET", Path: c + "/mailbox", Head: bearer("Bearer made-up"), Want: "401 unauthenticated"},
		{Tries: "a token in the query", Method: "GET", Path: c + "/mailbox?token={{token}}", Want: "401 unauthenticated"},
		{Tries: "the token of a device that logged out", As: "gone", Method: "GET", Path: c + "/mailbox", Want: "401 unauthenticated"},
		{Tries: "the user's token of another network", As: "alice of matrix", Method: "GET", Path: c + "/mailbox", Want: "401 unauthenticated"},
		{Tries: "a login with a wrong password", Method: "POST", Path: c + "/login", Body: `{"username":"alice","password":"x","device":"D"}`, Want: "401 unauthenticated"},
		{Tries: "a login as a user who is not there: the same answer", Method: "POST", Path: c + "/login", Body: `{"username":"nobody","password":"x","device":"D"}`, Want: "401 unauthenticated"},
		{Tries: "a login as a user of another domain", Method: "POST", Path: c + "/login", Body: `{"username":"alice@evil","password":"a long password","device":"D"}`, Want: "401 unauthenticated"},
		{Tries: "a login with a device whose id climbs the path", Method: "POST", Path: c + "/login", Body: `{"username":"alice","password":"a long password","device":"../x"}`, Want: "400 invalid"},
		{Tries: "a login with a member that nobody knows", Method: "POST", Path: c + "/login", Body: `{"username":"alice","password":"a long password","admin":true}`, Want: "400 malformed"},
		{Tries: "a login with the password twice", Method: "POST", Path: c + "/login", Body: `{"username":"alice","password":"x","password":"a long password","device":"D"}`, Want: "400 malformed"},
		{Tries: "a second account of a name", Method: "POST", Path: c + "/register", Body: `{"username":"alice","password":"x","device":"D"}`, Want: "409 exists"},
		{Tries: "an account whose name cannot be certified", Method: "POST", Path: c + "/register", Body: `{"username":"a/../b","password":"x","device":"D"}`, Want: "400 invalid"},
		{Tries: "a conversation from outside", As: "eve", Method: "GET", Path: c + "/conversations/{{conv}}", Want: "404 not-found"},
		{Tries: "a history from outside", As: "eve", Method: "GET", Path: c + "/conversations/{{conv}}/messages", Want: "404 not-found"},
		{Tries: "an invitation of oneself", As: "eve", Method: "POST", Path: c + "/conversations/{{conv}}/members", Body: `{"add":["eve@hs1"]}`, Want: "404 not-found"},
		{Tries: "to take over a conversation by its id", As: "eve", Method: "PUT", Path: c + "/conversations/{{conv}}", Body: `{"members":["eve@hs1"],"profile":"secure"}`, Want: "409 conflict"},
		{Tries: "to lower a conversation to the legacy profile", As: "bob", Method: "PUT", Path: c + "/conversations/{{conv}}", Body: `{"members":["alice@hs1","bob@hs1"],"profile":"legacy"}`, Want: "409 conflict"},
		{Tries: "to leave a conversation that one is not in", As: "eve", Method: "DELETE", Path: c + "/conversations/{{conv}}", Body: `{}`, Want: "404 not-found"},
		{Tries: "a message from outside", As: "eve", Method: "PUT", Path: c + "/conversations/{{conv}}/messages/m1-0000000000000000", Body: `{"kind":"message","form":"session","body":"AAAA","keys":["` + key + `"]}`, Want: "404 not-found"},
		{Tries: "a message in a form that the profile has not", As: "alice", Method: "PUT", Path: c + "/conversations/{{conv}}/messages/m2", Body: `{"kind":"message","form":"legacy","body":"AAAA","keys":[]}`, Want: "409 unsupported"},
		{Tries: "a notice of a key in the server's name", As: "alice", Method: "PUT", Path: c + "/conversations/{{conv}}/messages/m3", Body: `{"kind":"keys","form":"json","body":"e30=","keys":[]}`, Want: "400 unsupported"},
		{Tries: "a conversation with a stranger's domain", As: "alice", Method: "PUT", Path: c + "/conversations/BBBBBBBBBBBBBBBBBBBBBB", Body: `{"members":["bob@evil"],"profile":"secure"}`, Want: "404 not-found"},
		{Tries: "a conversation with 200 members", As: "alice", Method: "PUT", Path: c + "/conversations/BBBBBBBBBBBBBBBBBBBBBB", Body: `{"members":[` + strings.Join(many, ",") + `],"profile":"secure"}`, Want: "413 too-large"},
		{Tries: "a conversation whose id is no id", As: "alice", Method: "PUT", Path: c + "/conversations/..%2Fx", Body: `{"members":["bob@hs1"],"profile":"secure"}`, Want: "400 invalid"},
		{Tries: "another user's device, to remove", As: "eve", Method: "DELETE", Path: c + "/devices/OTHER", Body: `{"password":"a long password"}`, Want: "404 not-found"},
		{Tries: "one's own device, to remove with a wrong password", As: "alice", Method: "DELETE", Path: c + "/devices/D", Body: `{"password":"x"}`, Want: "401 unauthenticated"},
		{Tries: "the keys of a user of another domain", As: "eve", Method: "GET", Path: c + "/users/alice@evil/keys", Want: "404 not-found"},
		{Tries: "a key that is not there", As: "eve", Method: "GET", Path: c + "/keys/" + key, Want: "404 not-found"},
		{Tries: "a key whose id is no id", As: "eve", Method: "GET", Path: c + "/keys/..%2F..%2Fsecrets.key", Want: "404 not-found"},
		{Tries: "to retire a key that is not one's own", As: "eve", Method: "DELETE", Path: c + "/keys/" + key, Body: `{}`, Want: "404 not-found"},
		{Tries: "to revoke a key that is not one's own", As: "eve", Method: "POST", Path: c + "/keys/" + key + "/revoke", Body: `{"reason":"unspecified"}`, Want: "404 not-found"},
		{Tries: "a nonce for a key that is not one's own", As: "eve", Method: "POST", Path: c + "/keys/" + key + "/nonce", Body: `{}`, Want: "404 not-found"},
		{Tries: "a certificate for nothing", As: "alice", Method: "POST", Path: c + "/keys", Body: `{}`, Want: "400 unsupported"},
		{Tries: "a backup that is a list", As: "alice", Method: "PUT", Path: c + "/backup", Body: `{"sealed":[]}`, Want: "400 invalid"},
		{Tries: "a backup in place of a version that is not there", As: "alice", Method: "PUT", Path: c + "/backup", Body: `{"sealed":{"b":1},"tag":"9"}`, Want: "409 conflict"},
		{Tries: "a file that is not there", As: "eve", Method: "GET", Path: c + "/files/..%2F..%2Fsecrets.key", Want: "404 not-found"},
		{Tries: "a range of a file that is not there", As: "eve", Method: "GET", Path: c + "/files/" + key, Head: http.Header{"Range": {"bytes=0-,0-,0-,0-"}}, Want: "404 not-found"},
		{Tries: "an acknowledgement before the beginning", As: "alice", Method: "POST", Path: c + "/mailbox/ack", Body: `{"upTo":-1}`, Want: "400 invalid"},
		{Tries: "an acknowledgement of what was never given", As: "alice", Method: "POST", Path: c + "/mailbox/ack", Body: `{"upTo":9223372036854775807}`, Want: "400 malformed"},
		{Tries: "an acknowledgement that is no number", As: "alice", Method: "POST", Path: c + "/mailbox/ack", Body: `{"upTo":1e400}`, Want: "400 malformed"},
		{Tries: "a page of the mailbox of a size below nothing", As: "alice", Method: "GET", Path: c + "/mailbox?limit=-5", Want: "400 invalid"},
		{Tries: "a place in the history that is SQL", As: "alice", Method: "GET", Path: c + "/conversations/{{conv}}/messages?before=1%20OR%201=1", Want: "400 invalid"},
		{Tries: "EST without a password", Method: "POST", Path: est + "/simpleenroll", Head: http.Header{"Content-Type": {"application/pkcs10"}}, Body: "AAAA", Want: "401 unauthenticated"},
		{Tries: "EST with a wrong password", Method: "POST", Path: est + "/simpleenroll", Head: basic("alice", "x"), Body: "AAAA", Want: "401 unauthenticated"},
		{Tries: "EST with a request that is no DER", Method: "POST", Path: est + "/simpleenroll", Head: basic("alice", "a long password"), Body: "AAAA", Want: "400 invalid"},
		{Tries: "EST with another type of content", Method: "POST", Path: est + "/simpleenroll", Head: http.Header{"Authorization": basic("alice", "a long password")["Authorization"], "Content-Type": {"text/plain"}}, Body: "AAAA", Want: "415 unsupported"},
		{Tries: "EST renewal without a certificate", Method: "POST", Path: est + "/simplereenroll", Head: http.Header{"Content-Type": {"application/pkcs10"}}, Body: "AAAA", Want: "401 unauthenticated"},
		{Tries: "EST renewal with a certificate in a header", Method: "POST", Path: est + "/simplereenroll", Head: http.Header{"Content-Type": {"application/pkcs10"}, "X-Ssl-Client-Cert": {"-----BEGIN CERTIFICATE-----"}, "X-Forwarded-Client-Cert": {"By=alice"}}, Body: "AAAA", Want: "401 unauthenticated"},
		{Tries: "an OCSP request that is no DER", Method: "POST", Path: c + "/ocsp", Head: http.Header{"Content-Type": {"application/ocsp-request"}}, Body: "\x30\x84\xff\xff\xff\xff", Want: "200 malformedRequest"},
		{Tries: "an OCSP request of 1 MiB", Raw: "POST " + c + "/ocsp HTTP/1.1\r\nHost: hs1\r\nContent-Length: 1048576\r\n\r\n0", Want: "413 too-large"},
		{Tries: "a body of 1 MiB", Raw: "POST " + c + "/keys HTTP/1.1\r\nHost: hs1\r\nAuthorization: Bearer {{token}}\r\nContent-Length: 1048576\r\n\r\n{", Want: "413 too-large"},
		{Tries: "a body nested 500 deep", As: "alice", Method: "POST", Path: c + "/keys", Body: strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500), Want: "400 malformed"},
		{Tries: "a gzip bomb for a body", As: "alice", Method: "POST", Path: c + "/keys", Head: http.Header{"Content-Encoding": {"gzip"}}, Body: attack.Bomb(t, 50<<20), Want: "400 malformed"},
		{Tries: "two bodies in one", As: "alice", Method: "POST", Path: c + "/mailbox/ack", Body: `{"upTo":0}{"upTo":0}`, Want: "400 malformed"},
		{Tries: "a method that the path does not have", As: "alice", Method: "PATCH", Path: c + "/mailbox", Want: "405 method"},
		{Tries: "a method by a header", As: "alice", Method: "GET", Path: c + "/devices/D", Head: http.Header{"X-Http-Method-Override": {"DELETE"}}, Want: "405 method"},
		{Tries: "a call that there is not", As: "alice", Method: "GET", Path: c + "/admin", Want: "404 not-found"},
		{Tries: "a transparency log, which there is none", Method: "GET", Path: c + "/kt/checkpoint", Want: "404 not-found"},
	}
	attack.Run(t, tg, rows, "ATTACKS.md", *update)
}
