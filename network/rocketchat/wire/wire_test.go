package wire_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// TestKinds: every Kind of the core has a status and a code.
func TestKinds(t *testing.T) {
	t.Parallel()
	for _, k := range quinta.Kinds() {
		if row := wire.Kinds[k]; row.Status < 400 || row.Code == "" {
			t.Errorf("%v: got %+v", k, row)
		}
	}
	if len(wire.Kinds) != len(quinta.Kinds()) {
		t.Errorf("got %d rows, want %d", len(wire.Kinds), len(quinta.Kinds()))
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	e := wire.NewError(http.StatusBadRequest, "error-x", "No x")
	if got, want := e.Error(), "No x [error-x]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	raw, err := json.Marshal(e.DDP())
	want := `{"isClientSafe":true,"error":"error-x","reason":"No x","message":"No x [error-x]","errorType":"Meteor.Error"}`
	if err != nil || string(raw) != want {
		t.Errorf("got %s, %v, want %s", raw, err, want)
	}
}

// TestEJSON: members that hold times become dates, also deep inside; others stay.
func TestEJSON(t *testing.T) {
	t.Parallel()
	in, err := json.Marshal([]any{rocketchat.Message{ID: "i", Room: "r", TS: 1700000000005, Msg: "2023-11-14T22:13:20.005Z"}, map[string]any{"lm": "soon", "n": 9007199254740993}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.EJSON(in)
	want := `[{"_id":"i","msg":"2023-11-14T22:13:20.005Z","rid":"r","ts":{"$date":1700000000005},"u":{"_id":""}},{"lm":"soon","n":9007199254740993}]`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	var back []rocketchat.Message
	if err := json.Unmarshal(got, &back); err == nil && back[0].TS != 1700000000005 {
		t.Errorf("got %d", back[0].TS)
	}
	if _, err := wire.EJSON([]byte(`{`)); err == nil {
		t.Error("got no error of broken JSON")
	}
}

// TestDates: a date is read in each of its forms.
func TestDates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]rocketchat.Date{`"2023-11-14T22:13:20.005Z"`: 1700000000005, `{"$date":1700000000005}`: 1700000000005, `1700000000005`: 1700000000005, `"2023-11-14T23:13:20.005+01:00"`: 1700000000005} {
		var d rocketchat.Date
		if err := json.Unmarshal([]byte(text), &d); err != nil || d != want {
			t.Errorf("%s: got %d, %v", text, d, err)
		}
	}
	for _, text := range []string{`"yesterday"`, `{"$date":"x"}`, `[]`, `true`, `1e300`} {
		var d rocketchat.Date
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s: got %d", text, d)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	st := wire.State(wire.Subscription{Room: "ab", Type: "d", Name: "bob", E2EKey: "k", Suggested: "s"}, wire.Room{ID: "ab", KeyID: "id", Encrypted: true, UserIDs: []string{"a", "b"}, Usernames: []string{"alice", "bob"}})
	if st.ID != "ab" || st.Name != "bob" || !st.Encrypted || st.KeyID != "id" || st.OwnKey != "k" || st.Suggested != "s" || len(st.Peers) != 2 || st.Peers[1].Name != "bob" {
		t.Errorf("got %+v", st)
	}
}
