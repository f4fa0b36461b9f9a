package matrix_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/testkit/vectors"
)

// cancelled is the refusal of a flow: the code with which it ended.
type cancelled string

func (c cancelled) Error() string { return "the flow was cancelled with " + string(c) }

// unfinished is what a flow ends with that is neither done nor cancelled.
const unfinished = cancelled("unfinished")

// A step is a line of a flow: an action of the reader, or a message from the
// other side.
type step struct {
	Action  string          `json:"action,omitempty"`
	Type    string          `json:"type,omitempty"`
	Content json.RawMessage `json:"content,omitempty"`
}

// began is the time of the flows.
var began = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// sides are both sides of a flow, the second of which is the reader: their
// device and master keys are made of the seeds 1 to 4, repeated.
func sides(t testing.TB) [2]sas.Identity {
	t.Helper()
	var ids [2]sas.Identity
	for i, user := range []quinta.UserID{"@alice:x", "@bob:x"} {
		seed := func(n int) []byte { return bytes.Repeat([]byte{byte(2*i + n)}, key.Size) }
		ids[i] = sas.Identity{User: user, Device: quinta.DeviceID([]string{"ALICE", "BOB"}[i]),
			DeviceKey: must[key.DeviceSigningPrivate](t)(key.NewSigningPrivate[key.Device](seed(1))).Public(),
			Master:    must[key.MasterPrivate](t)(key.NewSigningPrivate[key.Master](seed(2))).Public()}
	}
	return ids
}

// flow returns one side of a flow, whose short-lived key is given.
func flow(t testing.TB, side int, private []byte, now time.Time) *sas.Flow {
	t.Helper()
	ids := sides(t)
	other := ids[1-side]
	env := e2ee.Env{Now: func() time.Time { return now }, Rand: bytes.NewReader(private)}
	return must[*sas.Flow](t)(sas.New(env, sas.Config{ID: "flow", Own: ids[side], TrustsMaster: true, OtherUser: other.User, Methods: []string{sas.MethodSAS},
		Device: func(d quinta.DeviceID) (sas.Identity, bool) { return other, d == other.Device }}))
}

func act(f *sas.Flow, action string) ([]sas.Message, error) {
	switch action {
	case "accept":
		return f.Accept()
	case "start":
		return f.StartSAS()
	case "confirm":
		return f.Confirm()
	}
	return nil, sas.ErrState
}

func sasFlow(t *testing.T, v *vectors.File) ([]byte, error) {
	f := flow(t, 1, input(t, v, "key"), v.Clock)
	for line := range strings.Lines(string(v.Body)) {
		var s step
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		if s.Action == "" {
			f.Receive("@alice:x", s.Type, s.Content)
		} else if _, err := act(f, s.Action); err != nil && f.State() != sas.StateCancelled {
			return nil, err
		}
	}
	if code, _ := f.Cancelled(); code != "" {
		if f.Verified() != (sas.Verified{}) {
			t.Error("a cancelled flow verified a key")
		}
		return nil, cancelled(code)
	}
	if f.State() != sas.StateDone {
		return nil, unfinished
	}
	return f.Verified().Master.Bytes(), nil
}

// script runs a flow between two honest sides and returns what the reader did
// and got.
func (m *maker) script(own []byte, readerStarts bool) []step {
	f := [2]*sas.Flow{flow(m.t, 0, m.agreement(), began), flow(m.t, 1, own, began)}
	var steps []step
	var carry func(from int, ms []sas.Message, err error)
	carry = func(from int, ms []sas.Message, err error) {
		if err != nil {
			m.t.Fatal(err)
		}
		for _, one := range ms {
			if from == 0 {
				steps = append(steps, step{Type: one.Type, Content: one.Content})
			}
			carry(1-from, f[1-from].Receive(sides(m.t)[from].User, one.Type, one.Content), nil)
		}
	}
	does := func(side int, action string) {
		if side == 1 {
			steps = append(steps, step{Action: action})
		}
		ms, err := act(f[side], action)
		carry(side, ms, err)
	}
	ms, err := f[0].Request()
	carry(0, ms, err)
	does(1, "accept")
	starter := 0
	if readerStarts {
		starter = 1
	}
	does(starter, "start")
	does(1, "confirm")
	does(0, "confirm")
	if f[1].State() != sas.StateDone {
		m.t.Fatalf("an honest flow ended in the state %v", f[1].State())
	}
	return steps
}

// flows tampers with what the reader gets.
func (m *maker) flows() {
	for _, o := range []struct {
		name   string
		starts bool
	}{{"accepter", false}, {"starter", true}} {
		own := m.agreement()
		honest := m.script(own, o.starts)
		add := func(name, what, expect, why, typ, old, new string) {
			var b bytes.Buffer
			found := typ == ""
			for _, s := range honest {
				if s.Type == typ && typ != "" {
					if !bytes.Contains(s.Content, []byte(old)) {
						m.t.Fatalf("%s is not in %s", old, s.Content)
					}
					s.Content, found = bytes.Replace(s.Content, []byte(old), []byte(new), 1), true
				}
				b.Write(append(must[[]byte](m.t)(json.Marshal(s)), '\n'))
			}
			if !found {
				m.t.Fatalf("no %s in the flow", typ)
			}
			m.add("sas-flow", o.name+"-"+name, what, expect, why, b.Bytes(), heads{"key": b64(own), "plain": b64(sides(m.t)[0].Master.Bytes())})
			m.all[len(m.all)-1].Clock = began
		}
		add("plain", "a whole flow", vectors.Success, "both sides are honest", "", "", "")
		add("key-zero", "a short-lived key of zeros", sas.CodeInvalidMessage, "the digits to compare would not depend on the keys", sas.TypeKey, contentOf(honest, sas.TypeKey, "key"), strings.Repeat("A", 43))
		add("mac", "another MAC of the keys", sas.CodeKeyMismatch, "the MAC says which keys the digits were compared for", sas.TypeMAC, `"keys":"`, `"keys":"AAAA`)
		add("mac-device", "the MAC of a device that is not the sender's", sas.CodeKeyMismatch, "the MAC says which keys the digits were compared for", sas.TypeMAC, `ed25519:ALICE`, `ed25519:OTHER`)
		if o.starts {
			add("commitment", "another commitment than that of the key", sas.CodeCommitment, "who chooses their key last can choose the digits", sas.TypeAccept, contentOf(honest, sas.TypeAccept, "commitment"), strings.Repeat("A", 43))
			add("hash", "a hash that was not offered", sas.CodeUnknownMethod, "what was not offered is not used", sas.TypeAccept, `"sha256"`, `"sha1"`)
			add("agreement", "an agreement that was not offered", sas.CodeUnknownMethod, "what was not offered is not used", sas.TypeAccept, `"curve25519-hkdf-sha256"`, `"curve25519"`)
		} else {
			add("method", "a method that is not known", sas.CodeUnknownMethod, "what was not offered is not used", sas.TypeStart, `"m.sas.v1"`, `"m.sas.v9"`)
			add("hash", "no hash that is known", sas.CodeUnknownMethod, "what is not known is not guessed at", sas.TypeStart, `"sha256"`, `"sha1"`)
			add("mac-method", "no MAC that is known", sas.CodeUnknownMethod, "what is not known is not guessed at", sas.TypeStart, `"hkdf-hmac-sha256.v2"`, `"none"`)
		}
	}
}

// contentOf returns a member of the first message of a type.
func contentOf(steps []step, typ, name string) string {
	for _, s := range steps {
		var all map[string]any
		if s.Type == typ && json.Unmarshal(s.Content, &all) == nil {
			text, _ := all[name].(string)
			return text
		}
	}
	return ""
}
