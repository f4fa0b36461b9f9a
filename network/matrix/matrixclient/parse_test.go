package matrixclient

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

func TestSince(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		versions string
		minor    int
		want     bool
	}{
		{"r0.6.1", 1, false}, {"v1.1", 1, true}, {"v1.10", 11, false}, {"v1.11", 11, true}, {"r0.6.0 v1.2", 1, true},
		{"v2.0", 16, true}, {"v1", 1, false}, {"1.11", 11, false}, {"v1.x", 1, false}, {"", 1, false}, {"v1.11.1", 11, false},
	} {
		if got := since(strings.Fields(c.versions), c.minor); got != c.want {
			t.Errorf("%q has v1.%d: got %v, want %v", c.versions, c.minor, got, c.want)
		}
	}
}

func FuzzSplitMXC(f *testing.F) {
	for _, s := range []string{"mxc://hs1/abc", "mxc://[::1]:8448/a-b_c", "mxc://hs1/../x", "mxc://hs1/a/b", "mxc:///a", "https://hs1/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		server, id, err := splitMXC(uri)
		if err != nil {
			if quinta.KindOf(err) != quinta.KindMalformed {
				t.Errorf("got kind %v, want %v", quinta.KindOf(err), quinta.KindMalformed)
			}
			return
		}
		if "mxc://"+server+"/"+id != uri || strings.ContainsAny(server+id, "/?#@%\\ ") || strings.Contains(id, "..") {
			t.Errorf("got %q and %q of %q", server, id, uri)
		}
	})
}

func FuzzParseSync(f *testing.F) {
	f.Add([]byte(`{"next_batch":"s1","rooms":{"join":{"!a:b":{"timeline":{"events":[{"type":"m.room.topic","state_key":"","content":{"topic":"x"}}],"limited":true,"prev_batch":"p"}}}}}`))
	f.Add([]byte(`{"next_batch":"s1","account_data":{"events":[{"type":"m.direct","content":{"@a:b":["!c:d"]}}]}}`))
	f.Add([]byte(`{"next_batch":"s1","rooms":{"invite":{"!a:b":{"invite_state":{"events":[{"type":"m.room.member","state_key":"@me:b","sender":"@a:b","content":{"membership":"invite"}}]}}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := matrix.ParseSync("", body)
		if err != nil {
			return
		}
		if in.NextBatch == "" {
			t.Error("got a sync without a position")
		}
		m := &machine{self: "@me:b"}
		for _, r := range in.Rooms {
			var rec roomRecord
			for _, e := range states(r.State...) {
				m.takeState(&rec, e)
			}
			if len(rec.Topic) > 210 || strings.ContainsAny(rec.Topic+rec.Alias, "\x1b\n\x00") {
				t.Errorf("got topic %q and alias %q, want one line each", rec.Topic, rec.Alias)
			}
		}
	})
}
