package matrix

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
	f := flow(t, 1, vectors.Input(t, v, "key"), v.Clock)
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
