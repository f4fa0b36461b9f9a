package matrixserver_test

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkMembers lists the members of a large room.
func BenchmarkMembers(b *testing.B) {
	s := newBenchStage(b)
	u := s.device("owner", "OWNER")
	room := s.call(u, "POST", v3+"/createRoom", []byte(`{}`))
	id := string(room[len(`{"room_id":"`) : len(room)-2])
	const members = 5000
	fill(b, s.Server, id, members)
	s.run(func(int) {
		if got := s.call(u, "GET", fmt.Sprintf("%s/rooms/%s/members", v3, id), nil); bytes.Count(got, []byte(`"m.room.member"`)) != members {
			b.Errorf("got %d bytes", len(got))
		}
	})
}
