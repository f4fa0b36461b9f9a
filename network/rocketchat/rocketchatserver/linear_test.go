package rocketchatserver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/testkit/linear"
)

// A keyStep is one call about the key of a direct conversation: what is done, by
// whom (0 or 1), and the id of the key that goes with it.
type keyStep struct {
	what string
	who  int
	key  string
}

// keyBoard is what two people see of the key of their conversation.
type keyBoard struct {
	key            string
	reset          bool
	own, suggested [2]string
}

// roomKey is the model of a room's key: it is named once, a reset takes all copies
// away but the caller's own, copies of other keys than the present one count for
// nothing, and a suggestion is judged once.
var roomKey = porcupine.Model{
	Init: func() any { return keyBoard{} },
	Step: func(state, in, out any) (bool, any) {
		b, s := state.(keyBoard), in.(keyStep)
		switch s.what {
		case "name":
			if b.key != "" {
				return out == rocketchat.CodeRoomKeyExists, b
			}
			b.key = s.key
		case "keep":
			if b.key != s.key {
				return out == rocketchat.CodeRoomKeyExists, b
			}
			b.own[s.who], b.suggested[s.who] = s.key, ""
		case "reset":
			if out == rocketchat.CodeResetRunning || b.key == s.key {
				return out == "" || b.reset, b // the same reset again is done already
			}
			b = keyBoard{key: s.key, reset: true}
			b.own[s.who] = s.key
		case "offer":
			if b.own[s.who] != "" && b.own[1-s.who] == "" && b.key == s.key {
				b.suggested[1-s.who] = s.key
			}
		case "accept", "reject":
			if b.suggested[s.who] == "" {
				return out == rocketchat.CodeNoSuggestion, b
			}
			if s.what == "accept" {
				b.own[s.who] = b.suggested[s.who]
			}
			b.suggested[s.who] = ""
		case "look":
			return out == b.own[s.who]+" "+b.suggested[s.who], b
		}
		return out == "", b
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v = %q", in, out) },
}

// TestRoomKeyIsLinearizable: two people with two devices each name, keep, offer,
// accept, reject and reset the key of their conversation at the same time; one order
// explains all answers.
func TestRoomKeyIsLinearizable(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		people := []*person{s.keyed("alice"), s.keyed("bob")}
		rid := people[0].post("im.create", object{"username": "bob"}).ok().text("room", "rid")
		var keys [4]rocketchat.RoomKey
		var wrapped [4][2]string
		for i := range keys {
			keys[i] = people[0].roomKey()
			for who, p := range people {
				wrapped[i][who] = people[0].wrap(keys[i], p)
			}
		}
		plan := strings.Fields("look name keep offer look accept offer reset look reject offer accept look keep accept look")
		linear.Run(t, roomKey, len(keys), func(n int, do func(any, func() any)) {
			me := n % 2
			p := people[me]
			for i, what := range plan {
				// The first key of all is the one that most calls are about.
				k := []int{0, 0, 0, n}[(i+n)%4]
				if what == "reset" {
					k = n
				}
				do(keyStep{what, me, keys[k].ID()}, func() any {
					switch what {
					case "name":
						return p.post("e2e.setRoomKeyID", object{"rid": rid, "keyID": keys[k].ID()}).text("errorType")
					case "keep":
						return p.post("e2e.updateGroupKey", object{"uid": p.id, "rid": rid, "key": wrapped[k][me]}).text("errorType")
					case "offer":
						return p.post("e2e.provideUsersSuggestedGroupKeys", object{"usersSuggestedGroupKeys": object{rid: []object{{"_id": people[1-me].id, "key": wrapped[k][1-me]}}}}).text("errorType")
					case "accept", "reject":
						return p.post("e2e."+what+"SuggestedGroupKey", object{"rid": rid}).text("errorType")
					case "reset":
						return p.post("e2e.resetRoomKey", object{"rid": rid, "e2eKey": wrapped[k][me], "e2eKeyId": keys[k].ID()}).text("errorType")
					}
					a := p.get("subscriptions.getOne", "roomId", rid)
					return keyIDOf(a.text("subscription", "E2EKey")) + " " + keyIDOf(a.text("subscription", "E2ESuggestedKey"))
				})
			}
		})
	})
}

// keyIDOf returns the id of a wrapped key, or "".
func keyIDOf(wrapped string) string {
	id, _, err := rocketchat.SplitWrapped(wrapped)
	if err != nil {
		return ""
	}
	return id
}

// TestLateKey: a copy of a key that was replaced meanwhile takes the
// place of no present one, and is offered to nobody.
func TestLateKey(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		alice, bob := s.keyed("alice"), s.keyed("bob")
		rid := alice.group("plan", bob)
		old, next := alice.begins(rid), alice.roomKey()
		alice.post("e2e.resetRoomKey", object{"rid": rid, "e2eKey": alice.wrap(next, alice), "e2eKeyId": next.ID()}).ok()
		alice.post("e2e.updateGroupKey", object{"uid": alice.id, "rid": rid, "key": alice.wrap(old, alice)}).fails(400, rocketchat.CodeRoomKeyExists)
		if got := keyIDOf(alice.sub(rid).text("subscription", "E2EKey")); got != next.ID() {
			t.Errorf("got a copy of %s, want %s", got, next.ID())
		}
		alice.post("e2e.provideUsersSuggestedGroupKeys", object{"usersSuggestedGroupKeys": object{rid: []object{{"_id": bob.id, "key": alice.wrap(old, bob)}}}}).ok()
		if got := bob.sub(rid).text("subscription", "E2ESuggestedKey"); got != "" {
			t.Errorf("got an offer of %s", keyIDOf(got))
		}
		if a := alice.get("e2e.fetchUsersWaitingForGroupKey", "roomIds[]", rid).ok(); !strings.Contains(string(a.raw), bob.id) {
			t.Errorf("got %s, want bob to wait still", a.raw)
		}
	})
}
