package matrixserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// BenchmarkSend sends events of 1 KB over HTTP from 64 clients at once, to a
// room of one member and to one of 5,000.
func BenchmarkSend(b *testing.B) {
	for _, members := range []int{1, 5000} {
		b.Run(fmt.Sprint(members, " members"), func(b *testing.B) { benchSend(b, members) })
	}
}

// fill adds members to a room.
func fill(b *testing.B, s *quintatest.Server, id string, members int) {
	err := s.Core.Update(b.Context(), func(tx *db.Tx) error {
		_, depth, err := room.Tip(tx, quinta.RoomID(id))
		if err != nil {
			return err
		}
		for i := range members - 1 {
			user := fmt.Sprintf("@u%d:hs1", i)
			e := &room.Event{Room: quinta.RoomID(id), ID: quinta.MessageID(fmt.Sprint("$fill", i)), Type: "m.room.member", StateKey: &user, Sender: quinta.UserID(user),
				Depth: depth + 1 + int64(i), Content: []byte(`{"membership":"join"}`)}
			if err := room.Append(tx, e, &room.Membership{Member: e.Sender, Membership: room.Join}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func benchSend(b *testing.B, members int) {
	s := quintatest.Start(b)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	call := func(method, path, token string, body any) map[string]any {
		raw, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		q, err := http.NewRequestWithContext(b.Context(), method, s.URL+v3+path, bytes.NewReader(raw))
		if err != nil {
			b.Fatal(err)
		}
		if token != "" {
			q.Header.Set("Authorization", "Bearer "+token)
		}
		r, err := client.Do(q)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Body.Close()
		raw, err = io.ReadAll(r.Body)
		if err != nil {
			b.Fatal(err)
		}
		if r.StatusCode != 200 {
			b.Fatalf("%s: %d %s", path, r.StatusCode, raw)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			b.Fatal(err)
		}
		return m
	}
	token := call("POST", "/register", "", object{"username": "alice", "password": password, "auth": object{"type": "m.login.dummy"}})["access_token"].(string)
	id := call("POST", "/createRoom", token, object{})["room_id"].(string)
	fill(b, s, id, members)
	content := object{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": strings.Repeat("x", 1000), "session_id": "s"}
	var n atomic.Int64
	b.SetParallelism(32) // times two cores
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call("PUT", fmt.Sprintf("/rooms/%s/send/m.room.encrypted/%d", esc(id), n.Add(1)), token, content)
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "sends/s")
}
