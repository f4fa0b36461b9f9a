package matrixserver_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestSyncFilter: Can create filter; Can download filter.
func TestSyncFilter(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.register("alice"), s.register("bob")
		p := v3 + "/user/" + esc(alice.ID) + "/filter"
		id := alice.post(p, object{"room": object{"timeline": object{"limit": 10}}, "x": "unknown members stay"}).want(200).text("filter_id")
		if strings.HasPrefix(id, "{") {
			t.Errorf("got the id %q, which reads as a filter", id)
		}
		r := alice.get(p + "/" + id).want(200)
		if got := fmt.Sprintf("%v %v", r.at("room", "timeline", "limit"), r.at("x")); got != "10 unknown members stay" {
			t.Errorf("got %s", r.Raw)
		}
		same := alice.post(p, `{"x":"unknown members stay", "room":{"timeline":{"limit":10}}}`).want(200).text("filter_id")
		other := alice.post(p, `{"room":{"timeline":{"limit":11}}}`).want(200).text("filter_id")
		if same != id || other == id {
			t.Errorf("got the ids %s, %s, %s: want equal ones for equal filters", id, same, other)
		}
		alice.get(p+"/99").fails(404, "M_NOT_FOUND")
		alice.get(p+"/x").fails(404, "M_NOT_FOUND")
		bob.get(p+"/"+id).fails(403, "M_FORBIDDEN")
		bob.get(v3+"/user/"+esc(bob.ID)+"/filter/"+id).fails(404, "M_NOT_FOUND")
		bob.post(p, object{}).fails(403, "M_FORBIDDEN")
		alice.post(p, `{"room":{"timeline":{"limit":"ten"}}}`).fails(400, "M_BAD_JSON")
		alice.post(p, `{"room":{"rooms":["nowhere"]}}`).fails(400, "M_BAD_JSON")
		alice.post(p, `[]`).fails(400, "M_BAD_JSON")
		alice.post(p, `{"`).fails(400, "M_NOT_JSON")
		alice.post(p, object{"x": strings.Repeat("x", 70<<10)}).fails(413, "M_TOO_LARGE")
	})
}

// TestFiltersAreBounded: no one fills the store with filters, and those in
// use stay.
func TestFiltersAreBounded(t *testing.T) {
	s := newStage(t)
	alice := s.register("alice")
	p := v3 + "/user/" + esc(alice.ID) + "/filter"
	for i := range 1000 {
		alice.post(p, object{"n": i}).want(200)
	}
	alice.post(p, object{"n": 1000}).fails(429, "M_LIMIT_EXCEEDED")
	alice.post(p, object{"n": 0}).want(200)
	alice.get(p + "/1000").want(200)
}
