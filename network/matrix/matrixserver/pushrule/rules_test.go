package pushrule_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/network/matrix/matrixserver/pushrule"
)

const alice = "@alice:hs1"

func TestDefaults(t *testing.T) {
	t.Parallel()
	rs := pushrule.Defaults(alice)
	var ids []string
	for _, kind := range pushrule.Kinds {
		for _, r := range rs.Of(kind) {
			ids = append(ids, r.RuleID)
			if !r.Default || r.Actions == nil || r.Enabled == (r.RuleID == ".m.rule.master") {
				t.Errorf("%s: got default %v, enabled %v, actions %v", r.RuleID, r.Default, r.Enabled, r.Actions)
			}
		}
	}
	want := ".m.rule.master .m.rule.suppress_notices .m.rule.invite_for_me .m.rule.member_event .m.rule.is_user_mention .m.rule.contains_display_name " +
		".m.rule.is_room_mention .m.rule.roomnotif .m.rule.tombstone .m.rule.reaction .m.rule.room.server_acl .m.rule.suppress_edits " +
		".m.rule.contains_user_name .m.rule.call .m.rule.encrypted_room_one_to_one .m.rule.room_one_to_one .m.rule.message .m.rule.encrypted"
	if got := strings.Join(ids, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := rs.Content[0].Pattern; got != "alice" {
		t.Errorf("pattern of the user name: got %q, want alice", got)
	}
	if rs.Of("nothing") != nil {
		t.Error("an unknown kind has rules")
	}
	raw, err := json.Marshal(rs)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"room":[]`, `"sender":[]`, `"actions":[]`, `{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"@alice:hs1"}`} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("the JSON lacks %s", part)
		}
	}
	if strings.Contains(string(raw), "null") {
		t.Errorf("the JSON has null: %s", raw)
	}
}
