package matrixserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

// The benchmarks carry out whole requests without the socket, 64 at a time,
// so that commits are shared as on a busy server. "cpu-us/op" is the
// processor time of the process, user and system, which is what the budget
// is in.

type benchStage struct {
	b *testing.B
	*quintatest.Server
	h http.Handler
}

func newBenchStage(b *testing.B) *benchStage {
	s := &benchStage{b: b, Server: quintatest.Start(b)}
	s.h = s.Core.Handler(http.NotFoundHandler())
	return s
}

// device makes a device of the account, and the account if need be, without
// the cost of a password.
func (s *benchStage) device(name, id string) *user {
	u := &user{ID: "@" + name + ":hs1", Device: id}
	label := "a device with a name"
	if err := s.Core.Update(s.b.Context(), func(tx *db.Tx) (err error) {
		there, err := account.Exists(tx, account.Name(name))
		if err == nil && !there {
			err = account.Create(tx, account.Name(name), account.PasswordHash{})
		}
		if err != nil {
			return err
		}
		if _, err := device.Put(tx, "matrix", quinta.UserID(u.ID), quinta.DeviceID(id), &label); err != nil {
			return err
		}
		u.Token, err = device.NewToken(tx, s.Core.Rand, "matrix", quinta.UserID(u.ID), quinta.DeviceID(id))
		return err
	}); err != nil {
		s.b.Fatal(err)
	}
	return u
}

func (s *benchStage) call(u *user, method, path string, body []byte) []byte {
	q := httptest.NewRequestWithContext(s.b.Context(), method, path, bytes.NewReader(body))
	q.Header.Set("Authorization", "Bearer "+u.Token)
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, q)
	if w.Code != 200 {
		s.b.Errorf("%s %s: got %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func cpu() int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// run carries out op from 64 callers, with a number that is never the same.
func (s *benchStage) run(op func(n int)) {
	var n atomic.Int64
	s.b.SetParallelism(32)
	s.b.ResetTimer()
	before := cpu()
	s.b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			op(int(n.Add(1)))
		}
	})
	s.b.ReportMetric(float64(cpu()-before)/1000/float64(s.b.N), "cpu-us/op")
}

func marshal(b *testing.B, v any) []byte {
	b.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// realKeys are one-time keys of the size that clients upload.
func realKeys(u *user, from, n int) object {
	o := object{}
	for i := range n {
		o[fmt.Sprintf("signed_curve25519:AAAA%06d", from+i)] = object{"key": fmt.Sprintf("%043d", from+i),
			"signatures": object{u.ID: object{"ed25519:" + u.Device: strings.Repeat("s", 86)}}}
	}
	return o
}

func realDeviceKeys(u *user) object {
	return object{"user_id": u.ID, "device_id": u.Device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys":       object{"ed25519:" + u.Device: strings.Repeat("e", 43), "curve25519:" + u.Device: strings.Repeat("c", 43)},
		"signatures": object{u.ID: object{"ed25519:" + u.Device: strings.Repeat("s", 86), "ed25519:" + strings.Repeat("x", 43): strings.Repeat("s", 86)}}}
}

func BenchmarkKeysUpload50(b *testing.B) {
	s := newBenchStage(b)
	var users []*user
	for i := range 64 {
		users = append(users, s.device(fmt.Sprintf("u%d", i), "DEVICEAAAA"))
	}
	bodies := make([][]byte, b.N+1)
	for i := range bodies {
		bodies[i] = marshal(b, object{"one_time_keys": realKeys(users[i%64], i*50, 50)})
	}
	s.run(func(n int) { s.call(users[n%64], "POST", upload, bodies[n]) })
}

func BenchmarkKeysQuery80x2(b *testing.B) {
	s := newBenchStage(b)
	q := object{}
	var me *user
	for i := range 80 {
		for _, d := range []string{"DEVICEAAAA", "DEVICEBBBB"} {
			u := s.device(fmt.Sprintf("user%d", i), d)
			s.call(u, "POST", upload, marshal(b, object{"device_keys": realDeviceKeys(u)}))
			q[u.ID], me = []string{}, u
		}
	}
	body := marshal(b, object{"device_keys": q})
	b.SetBytes(int64(len(s.call(me, "POST", query, body))))
	s.run(func(int) { s.call(me, "POST", query, body) })
}

func benchmarkClaim(b *testing.B, devices int) {
	s := newBenchStage(b)
	me := s.device("me", "ME")
	var users []*user
	q := make([]object, max(1, 64/devices))
	for i := range q {
		q[i] = object{}
		for j := range devices {
			u := s.device(fmt.Sprintf("user%d", i*devices+j), "DEVICEAAAA")
			users = append(users, u)
			q[i][u.ID] = object{u.Device: "signed_curve25519"}
		}
	}
	each := b.N/len(q) + 70
	for _, u := range users {
		for i := 0; i < each; i += 500 {
			s.call(u, "POST", upload, marshal(b, object{"one_time_keys": realKeys(u, i, 500)}))
		}
	}
	var bodies [][]byte
	for _, o := range q {
		bodies = append(bodies, marshal(b, object{"one_time_keys": o}))
	}
	s.run(func(n int) {
		if out := s.call(me, "POST", "/_matrix/client/v3/keys/claim", bodies[n%len(bodies)]); bytes.Count(out, []byte(`"key"`)) != devices {
			b.Errorf("got %s", out)
		}
	})
}

func BenchmarkKeysClaim1(b *testing.B)   { benchmarkClaim(b, 1) }
func BenchmarkKeysClaim100(b *testing.B) { benchmarkClaim(b, 100) }

func benchmarkToDevice(b *testing.B, devices int) {
	s := newBenchStage(b)
	var senders []*user
	for i := range 64 {
		senders = append(senders, s.device(fmt.Sprintf("sender%d", i), "DEVICEAAAA"))
	}
	bodies := make([][]byte, 64)
	for i := range bodies {
		messages := object{}
		for j := range devices {
			u := s.device(fmt.Sprintf("user%d", (i*devices+j)%200), "DEVICEAAAA")
			messages[u.ID] = object{u.Device: object{"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": strings.Repeat("k", 43),
				"ciphertext": object{strings.Repeat("c", 43): object{"type": 0, "body": strings.Repeat("b", 900)}}}}
		}
		bodies[i] = marshal(b, object{"messages": messages})
	}
	s.run(func(n int) {
		s.call(senders[n%64], "PUT", fmt.Sprintf("/_matrix/client/v3/sendToDevice/m.room.encrypted/t%d", n), bodies[n%64])
	})
}

func BenchmarkToDevice1(b *testing.B)   { benchmarkToDevice(b, 1) }
func BenchmarkToDevice100(b *testing.B) { benchmarkToDevice(b, 100) }
