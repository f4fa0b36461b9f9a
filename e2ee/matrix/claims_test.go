package matrix_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	memstore "github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/client/timeline"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/sessiondata"
	"github.com/quinta-chat/quinta/key"
)

// imports has a client import the session of m as that of a device, from a file.
func (m *sender) imports(c *client, from *forger) {
	c.s.t.Helper()
	m.gives(c, m.exported(c, from))
}

// restores has a client import the session of m as that of a device, from the
// key backup.
func (m *sender) restores(c *client, from *forger) {
	c.s.t.Helper()
	k, err := key.GenerateAgreement[key.Backup](c.s.env().Rand)
	if err != nil {
		c.s.t.Fatal(err)
	}
	d := m.exported(c, from)
	e, err := keybackup.Seal(c.s.env().Rand, k.Public(), d, true)
	if err != nil {
		c.s.t.Fatal(err)
	}
	if d, err = keybackup.Open(k, m.room, d.SessionID, e.SessionData); err != nil {
		c.s.t.Fatal(err)
	}
	m.gives(c, d)
}

// exported is the session of m, said to be of a device.
func (m *sender) exported(c *client, from *forger) sessiondata.Session {
	c.s.t.Helper()
	in, err := megolm.NewInbound(m.out.SessionKey())
	if err != nil {
		c.s.t.Fatal(err)
	}
	raw, err := in.Export(in.FirstIndex())
	if err != nil {
		c.s.t.Fatal(err)
	}
	return sessiondata.Session{
		RoomID: string(m.room), SessionID: string(m.out.ID()), SessionKey: base64text.EncodeSecret(raw),
		SenderKey: from.acc.Identity().String(), SenderClaimedKeys: map[string]string{"ed25519": from.acc.Signing().String()},
	}
}

// gives has a client import a session.
func (m *sender) gives(c *client, d sessiondata.Session) {
	c.s.t.Helper()
	c.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		_, events, err := c.m.Import(tx, []sessiondata.Session{d})
		return events, err
	})
}

// permutations calls fn with every order of 0 to n-1.
func permutations(n int, fn func(order []int)) {
	var next func(done, left []int)
	next = func(done, left []int) {
		if len(left) == 0 {
			fn(slices.Clone(done))
		}
		for i := range left {
			next(append(done[:len(done):len(done)], left[i]), slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	next(nil, all)
}

// TestAttack09Claims has Mallory, a member, pass Eve's session on as her own,
// over Olm and in a file that Bob imports, before and after Eve's own key and
// messages, and show one of Eve's messages as her own. Eve's messages are
// readable once her key has come, and once both claims are there Mallory's is
// not shown without a mark.
func TestAttack09Claims(t *testing.T) {
	t.Parallel()
	const ownersKey, thiefsKey, thiefsFile, ownersFile, owners, thiefs = 0, 1, 2, 3, 4, 5
	permutations(6, func(order []int) {
		at := func(step int) int { return slices.Index(order, step) }
		// One message is shown under each name: that of the thief is a copy, so
		// the owner's comes first in every second order only. Files before keys
		// and after them are enough.
		if at(ownersFile) > at(thiefsFile) != (at(owners) > at(thiefs)) {
			return
		}
		s, bob, eve := withEve(t)
		mallory := s.forge("@mallory:x", "MALLORY")
		s.hs.member("!r:x", "@mallory:x", "join")
		turn(bob)
		bob.take()
		m := eve.session("!r:x")
		first := m.key()
		content := m.event("!r:x", "one")
		for _, step := range order {
			switch step {
			case ownersKey:
				eve.sends(bob, "m.room_key", first, nil)
			case thiefsKey:
				mallory.sends(bob, "m.room_key", first, nil)
			case thiefsFile:
				(&sender{eve, "!r:x", m.out}).imports(bob, mallory)
			case ownersFile:
				(&sender{eve, "!r:x", m.out}).imports(bob, eve)
			case owners:
				s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
			case thiefs:
				s.hs.event("!r:x", "@mallory:x", "m.room.encrypted", nil, content)
			}
			turn(bob)
		}
		s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "two"))
		turn(bob)
		got := bob.reads()
		for _, want := range []string{"@eve: one", "@eve: two"} {
			n := 0
			for _, line := range got {
				if strings.HasPrefix(line, want) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("order %v: got %q, want %q once", order, got, want)
			}
		}
		if at(thiefs) > max(at(ownersKey), at(thiefsKey)) && slices.Contains(got, "@mallory: one") {
			t.Errorf("order %v: got %q, want what Mallory shows marked", order, got)
		}
	})
}

// TestAttack09ClaimsElsewhere is TestAttack09Claims with what comes by way of
// others: the key backup, and another device of Bob's that he verified and
// asked, which was taken in by Mallory.
func TestAttack09ClaimsElsewhere(t *testing.T) {
	t.Parallel()
	const ownersKey, ownersBackup, thiefsBackup, thiefsForward, owners, thiefs = 0, 1, 2, 3, 4, 5
	taken := 0
	permutations(6, func(order []int) {
		at := func(step int) int { return slices.Index(order, step) }
		// A forwarded key is taken after a message that asks for it; right after it
		// is enough, and so is a backup of the owner's key that comes after the key.
		asked := at(thiefsForward) == at(owners)+1 || at(thiefsForward) == at(thiefs)+1
		if !asked || at(ownersBackup) < at(ownersKey) || at(ownersBackup) > at(thiefsBackup) != (at(owners) > at(thiefs)) {
			return
		}
		s, bob, eve := withEve(t)
		bob.crossSign()
		tablet := s.forgeWithKeys("@bob:x", "TABLET")
		mallory := s.forge("@mallory:x", "MALLORY")
		s.hs.member("!r:x", "@mallory:x", "join")
		turn(bob)
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return bob.m.Decide(tx, "@bob:x", tablet.device, tablet.acc.Signing(), matrix.Accept)
		})
		bob.take()
		m := eve.session("!r:x")
		first, held := m.key(), &sender{eve, "!r:x", m.out}
		theirs := held.exported(bob, mallory)
		content := m.event("!r:x", "one")
		for _, step := range order {
			switch step {
			case ownersKey:
				eve.sends(bob, "m.room_key", first, nil)
			case ownersBackup:
				held.restores(bob, eve)
			case thiefsBackup:
				held.restores(bob, mallory)
			case thiefsForward:
				before := len(bob.exported())
				tablet.sends(bob, "m.forwarded_room_key", map[string]any{
					"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:x", "session_id": theirs.SessionID, "session_key": theirs.SessionKey,
					"sender_key": theirs.SenderKey, "sender_claimed_ed25519_key": theirs.SenderClaimedKeys["ed25519"], "forwarding_curve25519_key_chain": []string{},
				}, nil)
				turn(bob)
				taken += len(bob.exported()) - before
			case owners:
				s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
			case thiefs:
				s.hs.event("!r:x", "@mallory:x", "m.room.encrypted", nil, content)
			}
			turn(bob)
		}
		s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "two"))
		turn(bob)
		got := bob.reads()
		for _, want := range []string{"@eve: one", "@eve: two"} {
			n := 0
			for _, line := range got {
				if strings.HasPrefix(line, want) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("order %v: got %q, want %q once", order, got, want)
			}
		}
		if at(thiefs) > at(ownersKey) && slices.Contains(got, "@mallory: one") {
			t.Errorf("order %v: got %q, want what Mallory shows marked", order, got)
		}
	})
	if taken == 0 {
		t.Error("no forwarded key was taken: it has to be asked for first")
	}
}

// TestAttack09OwnerOfImports holds what a file or the key backup says of a
// session's owner against the devices that are known, of all users.
func TestAttack09OwnerOfImports(t *testing.T) {
	t.Parallel()
	for i, c := range []struct{ device, sender, want string }{
		{"eve", "@eve:x", "@eve: hi (key-source)"},
		{"eve", "@mallory:x", "! sender-mismatch: a session of another user"},
		{"nobody", "@eve:x", "@eve: hi (unknown-device)"},
		{"eve", "@eve:x", "@eve: hi (key-source)"},
		{"eve", "@mallory:x", "! sender-mismatch: a session of another user"},
		{"nobody", "@eve:x", "@eve: hi (unknown-device)"},
	} {
		s, bob, eve := withEve(t)
		mallory := s.forge("@mallory:x", "MALLORY")
		s.hs.member("!r:x", "@mallory:x", "join")
		turn(bob)
		nobody := s.forge("@nobody:elsewhere", "NOBODY") // shares no room
		m := mallory.session("!r:x")
		give := m.imports
		if i >= 3 {
			give = m.restores
		}
		give(bob, map[string]*forger{"eve": eve, "nobody": nobody}[c.device])
		bob.take()
		s.hs.event("!r:x", quinta.UserID(c.sender), "m.room.encrypted", nil, m.event("!r:x", "hi"))
		turn(bob)
		if got := bob.reads(); len(got) != 1 || got[0] != c.want {
			t.Errorf("a session of %s's device, a message of %s: got %q, want %q", c.device, c.sender, got, c.want)
		}
	}
}

// TestExportNamesTheOwner: what goes into a backup names the claim whose
// messages opened, though another one came first.
func TestExportNamesTheOwner(t *testing.T) {
	t.Parallel()
	s, bob, eve := withEve(t)
	mallory := s.forge("@mallory:x", "MALLORY")
	s.hs.member("!r:x", "@mallory:x", "join")
	m := eve.session("!r:x")
	mallory.sends(bob, "m.room_key", m.key(), nil)
	turn(bob)
	eve.sends(bob, "m.room_key", m.key(), nil)
	turn(bob)
	s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "hi"))
	turn(bob)
	bob.wantReads("@eve: hi (owner)")
	bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		for _, get := range []func() ([]sessiondata.Session, error){
			func() ([]sessiondata.Session, error) { return bob.m.Export(tx) },
			func() (out []sessiondata.Session, err error) {
				unsaved, err := bob.m.Unsaved(tx, 100)
				for _, b := range unsaved {
					out = append(out, b.Session)
				}
				return out, err
			},
		} {
			all, err := get()
			if err != nil {
				return nil, err
			}
			found := false
			for _, d := range all {
				if d.SessionID == string(m.out.ID()) {
					found = d.SenderKey == eve.acc.Identity().String()
				}
			}
			if !found {
				t.Errorf("got %+v, want the session as Eve's", all)
			}
		}
		return nil, nil
	})
}

// shown is what the timeline of a client shows of a room.
func shown(t *testing.T, events []e2ee.Event) []string {
	t.Helper()
	store := memstore.New()
	var out []string
	err := store.Update(t.Context(), func(tx e2ee.Tx) error {
		if err := timeline.Apply(tx, events); err != nil {
			return err
		}
		page, err := timeline.Read(tx, "!r:x", timeline.Query{Limit: 100})
		for _, it := range page {
			out = append(out, fmt.Sprintf("%s %s %q", it.Message.ID, it.Message.Sender, it.Message.Text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestClearPartIsAHint: whatever the server writes into the clear part of
// sealed messages, no text is shown under an id for which it was not sealed, in
// no other form, and none is missing.
func TestClearPartIsAHint(t *testing.T) {
	t.Parallel()
	luck := rand.New(rand.NewPCG(7, 7))
	relations := []string{"m.replace", "m.annotation", "m.thread", "m.reference", "", "m.in_reply_to"}
	texts := []string{"Do NOT send the money", "> <@x:x> quoted\n\nYes, please", "three", "> not a quotation"}
	for round := range 60 {
		s, bob, eve := withEve(t)
		m := eve.session("!r:x")
		eve.sends(bob, "m.room_key", m.key(), nil)
		var want []string
		var ids []quinta.MessageID
		for _, text := range texts {
			content := m.event("!r:x", text)
			if len(ids) > 0 && luck.IntN(4) > 0 {
				r := map[string]any{}
				to := ids[luck.IntN(len(ids))]
				if typ := relations[luck.IntN(len(relations))]; typ != "m.in_reply_to" {
					r["rel_type"], r["event_id"], r["key"] = typ, to, "+"
				} else {
					r["m.in_reply_to"] = map[string]any{"event_id": to}
				}
				content["m.relates_to"] = r
			}
			for _, name := range []string{"m.new_content", "body", "msgtype", "redacts", "m.mentions"} {
				if luck.IntN(3) == 0 {
					content[name] = map[string]any{"body": "forged", "msgtype": "m.text"}
				}
			}
			id := quinta.MessageID(s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content))
			ids = append(ids, id)
			want = append(want, fmt.Sprintf("%s @eve:x %q", id, text))
		}
		turn(bob)
		got := shown(t, bob.take())
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: got %q, want %q", round, got, want)
		}
	}
}

// TestEdits: an edit is one by what was sealed.
func TestEdits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sealed map[string]any // beside msgtype and body
		want   string
	}{
		"sealed with a new content":    {map[string]any{"m.new_content": map[string]any{"msgtype": "m.text", "body": "after"}, "m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": "TARGET"}}, "after"},
		"sealed without a new content": {map[string]any{"m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": "TARGET"}}, "before"},
		"in clear, with a new content": {map[string]any{"m.new_content": map[string]any{"msgtype": "m.text", "body": "after"}}, "before"},
		"in clear":                     {map[string]any{}, "before"},
	} {
		s, bob, eve := withEve(t)
		m := eve.session("!r:x")
		eve.sends(bob, "m.room_key", m.key(), nil)
		target := s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, m.event("!r:x", "before"))
		c.sealed["msgtype"], c.sealed["body"] = "m.text", "* after"
		if r, ok := c.sealed["m.relates_to"].(map[string]any); ok {
			r["event_id"] = target
		}
		content := m.content("!r:x", c.sealed)
		content["m.relates_to"] = map[string]any{"rel_type": "m.replace", "event_id": target}
		s.hs.event("!r:x", "@eve:x", "m.room.encrypted", nil, content)
		turn(bob)
		got := shown(t, bob.take())
		if i := slices.IndexFunc(got, func(line string) bool { return strings.HasPrefix(line, fmt.Sprint(target)) }); i < 0 || got[i] != fmt.Sprintf("%s @eve:x %q", target, c.want) {
			t.Errorf("%s: got %q, want %q under %s", name, got, c.want, target)
		}
	}
}

// TestAttack25EncryptionHidden: the server keeps the event that switches
// encryption on from Bob. A sealed message that opens, at once or when its key
// comes, is enough for nothing to leave in clear.
func TestAttack25EncryptionHidden(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		s, bob, eve := withEve(t)
		s.hs.createPlain("!hidden:x", "@bob:x", "@eve:x")
		turn(bob)
		m := eve.session("!hidden:x")
		first := m.key()
		if !late {
			eve.sends(bob, "m.room_key", first, nil)
		}
		s.hs.event("!hidden:x", "@eve:x", "m.room.encrypted", nil, m.event("!hidden:x", "a secret question"))
		turn(bob)
		if late {
			eve.sends(bob, "m.room_key", first, nil)
			turn(bob)
		}
		bob.take()
		bob.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
			return nil, bob.m.Send(tx, quinta.Message{Room: "!hidden:x", Text: "a secret answer"})
		})
		turn(bob)
		events := s.hs.rooms["!hidden:x"].events
		if last := string(events[len(events)-1].raw); strings.Contains(last, "secret answer") || !strings.Contains(last, "m.room.encrypted") || !strings.Contains(last, "@bob:x") {
			t.Errorf("key late %v: got %s, want the answer sealed", late, last)
		}
	}
}
