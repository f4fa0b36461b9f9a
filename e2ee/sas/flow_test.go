package sas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/key"
)

var allMethods = []string{sas.MethodSAS, sas.MethodShowQR, sas.MethodScanQR, sas.MethodReciprocate}

// A stage has two flows and carries messages between them.
type stage struct {
	t   *testing.T
	now time.Time
	// side 0 asks side 1.
	flow [2]*sas.Flow
	id   [2]sas.Identity
	// tamper changes a message on its way, if set.
	tamper func(from int, m sas.Message) sas.Message
	sent   []string
}

func identity(t *testing.T, user quinta.UserID, device quinta.DeviceID, seed byte) sas.Identity {
	t.Helper()
	d, err := key.NewSigningPrivate[key.Device](bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	m, err := key.NewSigningPrivate[key.Master](append(bytes.Repeat([]byte{9}, 24), string(user + "        ")[:8]...))
	if err != nil {
		t.Fatal(err)
	}
	return sas.Identity{User: user, Device: device, DeviceKey: d.Public(), Master: m.Public()}
}

func newStage(t *testing.T, a, b quinta.UserID, change func(side int, c *sas.Config)) *stage {
	t.Helper()
	s := &stage{t: t, now: time.UnixMilli(1_700_000_000_000)}
	s.id = [2]sas.Identity{identity(t, a, "ALICE", 1), identity(t, b, "BOB", 2)}
	for i := range 2 {
		other := s.id[1-i]
		cfg := sas.Config{
			ID: "txn", Own: s.id[i], TrustsMaster: i == 0 || a != b, OtherUser: other.User, Methods: allMethods,
			Device: func(d quinta.DeviceID) (sas.Identity, bool) { return other, d == other.Device },
		}
		if change != nil {
			change(i, &cfg)
		}
		env := e2ee.Env{Now: func() time.Time { return s.now }, Rand: rand.NewChaCha8([32]byte{byte(i + 1)})}
		f, err := sas.New(env, cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.flow[i] = f
	}
	return s
}

// carry delivers messages from one side, and all answers to them.
func (s *stage) carry(from int, ms []sas.Message) {
	s.t.Helper()
	for _, m := range ms {
		if s.tamper != nil {
			m = s.tamper(from, m)
		}
		s.sent = append(s.sent, fmt.Sprint(from, strings.TrimPrefix(m.Type, "m.key.verification")))
		if err := canonicaljson.Valid(m.Content); err != nil {
			s.t.Fatal(err)
		}
		s.carry(1-from, s.flow[1-from].Receive(s.id[from].User, m.Type, m.Content))
	}
}

// do runs an action of one side and carries what it sends.
func (s *stage) do(from int, action func() ([]sas.Message, error)) {
	s.t.Helper()
	ms, err := action()
	if err != nil {
		s.t.Fatal(err)
	}
	s.carry(from, ms)
}

// ready brings both sides to StateReady.
func (s *stage) ready() *stage {
	s.t.Helper()
	s.do(0, s.flow[0].Request)
	s.do(1, s.flow[1].Accept)
	s.state(sas.StateReady, sas.StateReady)
	return s
}

func (s *stage) state(a, b sas.State) {
	s.t.Helper()
	if got := [2]sas.State{s.flow[0].State(), s.flow[1].State()}; got != [2]sas.State{a, b} {
		c0, _ := s.flow[0].Cancelled()
		c1, _ := s.flow[1].Cancelled()
		s.t.Fatalf("states: got %v, want %v; cancelled %q, %q; %v", got, [2]sas.State{a, b}, c0, c1, s.sent)
	}
}

// cancelled checks that both sides ended with code, told by side by.
func (s *stage) cancelled(by int, code string) {
	s.t.Helper()
	s.state(sas.StateCancelled, sas.StateCancelled)
	for i, f := range s.flow {
		if got, own := f.Cancelled(); got != code || own != (i == by) {
			s.t.Errorf("side %d: got %q by itself %v, want %q by side %d", i, got, own, code, by)
		}
		if f.Verified() != (sas.Verified{}) {
			s.t.Errorf("side %d verified something", i)
		}
	}
}

func (s *stage) verified(side int, want sas.Verified) {
	s.t.Helper()
	if got := s.flow[side].Verified(); got != want {
		s.t.Errorf("side %d: got %v, want %v", side, got, want)
	}
}

func TestSAS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		a, b    quinta.UserID
		starter int
		room    bool
	}{
		{"users", "@alice:x", "@bob:x", 0, false},
		{"the other starts", "@alice:x", "@bob:x", 1, false},
		{"in a room", "@alice:x", "@bob:x", 0, true},
		{"own devices", "@alice:x", "@alice:x", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, c.a, c.b, func(_ int, cfg *sas.Config) { cfg.InRoom = c.room })
			if c.room {
				if ms, err := s.flow[0].Request(); err != nil || ms != nil {
					t.Fatalf("request in a room: got %v, %v", ms, err)
				}
				s.carry(0, []sas.Message{{Type: sas.TypeRequest, Content: sas.RoomRequest(s.id[0], c.b, allMethods)}})
				s.do(1, s.flow[1].Accept)
			} else {
				s.ready()
			}
			s.do(c.starter, s.flow[c.starter].StartSAS)
			s.state(sas.StateCompare, sas.StateCompare)
			ea, ok := s.flow[0].Emojis()
			eb, _ := s.flow[1].Emojis()
			if ea != eb || !ok || s.flow[0].Decimals() != s.flow[1].Decimals() {
				t.Fatal("the strings differ")
			}
			s.do(1, s.flow[1].Confirm)
			s.state(sas.StateCompare, sas.StateConfirmed)
			s.verified(0, sas.Verified{})
			s.do(0, s.flow[0].Confirm)
			s.state(sas.StateDone, sas.StateDone)
			s.verified(1, sas.Verified{Device: s.id[0].DeviceKey, Master: s.id[0].Master})
			want := sas.Verified{Device: s.id[1].DeviceKey, Master: s.id[1].Master}
			if c.a == c.b {
				want.Master = key.MasterPublic{} // the new device does not trust it yet
			}
			s.verified(0, want)
			if o, ok := s.flow[0].Other(); !ok || o.Device != "BOB" {
				t.Errorf("other: got %v", o.Device)
			}
		})
	}
}

func TestMessagesCarryTheFlow(t *testing.T) {
	t.Parallel()
	for _, room := range []bool{false, true} {
		s := newStage(t, "@alice:x", "@bob:x", func(_ int, c *sas.Config) { c.InRoom = room })
		ms := s.flow[0].Cancel()
		if ms != nil {
			t.Errorf("a flow that no one knows was cancelled aloud: %v", ms)
		}
		m := sas.Cancellation("txn", room, sas.CodeUnknownTransaction)
		if got := sas.FlowID(m.Content); got != "txn" || m.Type != sas.TypeCancel {
			t.Errorf("room %v: got id %q in %s", room, got, m.Content)
		}
		if strings.Contains(string(m.Content), `"m.relates_to":{"event_id":"txn","rel_type":"m.reference"}`) != room {
			t.Errorf("room %v: got %s", room, m.Content)
		}
	}
	if got := sas.FlowID([]byte(`[]`)); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestMismatchAndCancel(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", nil).ready()
	s.do(0, s.flow[0].StartSAS)
	s.do(1, s.flow[1].Mismatch)
	s.cancelled(1, sas.CodeSAS)

	s = newStage(t, "@alice:x", "@bob:x", nil).ready()
	s.carry(0, s.flow[0].Cancel())
	s.cancelled(0, sas.CodeUser)
	if ms := s.flow[0].Cancel(); ms != nil {
		t.Errorf("cancelled twice: %v", ms)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", nil).ready()
	s.now = s.now.Add(sas.Lifetime - time.Second)
	if ms := s.flow[0].Tick(); ms != nil {
		t.Errorf("too early: %v", ms)
	}
	s.now = s.now.Add(time.Second)
	s.carry(0, s.flow[0].Tick())
	s.cancelled(0, sas.CodeTimeout)

	s = newStage(t, "@alice:x", "@bob:x", nil).ready()
	ms, err := s.flow[0].StartSAS()
	if err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(sas.Lifetime)
	s.carry(0, ms) // too late: the other side ends it
	s.cancelled(1, sas.CodeTimeout)
}

func TestRequestFresh(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	for _, c := range []struct {
		age  time.Duration
		want bool
	}{{0, true}, {10 * time.Minute, true}, {10*time.Minute + 1, false}, {-5 * time.Minute, true}, {-5*time.Minute - 1, false}} {
		if got := sas.Fresh(now.Add(-c.age), now); got != c.want {
			t.Errorf("age %v: got %v, want %v", c.age, got, c.want)
		}
	}
	s := newStage(t, "@alice:x", "@bob:x", nil)
	ms, err := s.flow[0].Request()
	if err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(sas.Lifetime + time.Second)
	fresh := newStage(t, "@alice:x", "@bob:x", nil)
	fresh.now = s.now
	if out := fresh.flow[1].Receive("@alice:x", sas.TypeRequest, ms[0].Content); out != nil || fresh.flow[1].State() != sas.StateCancelled {
		t.Errorf("an old request: got %v, state %v", out, fresh.flow[1].State())
	}
	if got := fresh.flow[0].PromptUntil().Sub(now); got != 2*time.Minute {
		t.Errorf("prompt: got %v", got)
	}
}

func TestStartWithoutRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", nil).ready()
	ms, err := s.flow[0].StartSAS()
	if err != nil {
		t.Fatal(err)
	}
	fresh := newStage(t, "@alice:x", "@bob:x", nil)
	if out := fresh.flow[1].Receive("@alice:x", sas.TypeStart, ms[0].Content); out != nil || fresh.flow[1].State() != sas.StateStarted {
		t.Fatalf("got %v, state %v", out, fresh.flow[1].State())
	}
	s.flow[1] = fresh.flow[1]
	s.do(1, s.flow[1].Accept)
	s.state(sas.StateCompare, sas.StateCompare)
	if s.flow[0].Decimals() != s.flow[1].Decimals() {
		t.Error("the strings differ")
	}
}

func TestNoCommonMethod(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", func(i int, c *sas.Config) {
		c.Methods = [][]string{{sas.MethodSAS}, {sas.MethodShowQR, sas.MethodReciprocate}}[i]
	})
	s.do(0, s.flow[0].Request)
	if _, err := s.flow[1].Accept(); err != sas.ErrNoMethod {
		t.Errorf("got %v, want ErrNoMethod", err)
	}
	s.state(sas.StateRequested, sas.StateRequested)
	s = newStage(t, "@alice:x", "@bob:x", func(_ int, c *sas.Config) { c.Methods = []string{sas.MethodScanQR, sas.MethodReciprocate} })
	s.do(0, s.flow[0].Request)
	if got := s.flow[1].Common(); got != nil {
		t.Errorf("two that only scan: got %v", got)
	}
}

func TestOtherOwnDeviceAnswers(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", func(_ int, c *sas.Config) { c.InRoom = true })
	s.carry(0, []sas.Message{{Type: sas.TypeRequest, Content: sas.RoomRequest(s.id[0], "@bob:x", allMethods)}})
	if out := s.flow[1].Receive("@carol:x", sas.TypeCancel, []byte(`{"code":"m.user"}`)); out != nil || s.flow[1].State() != sas.StateRequested {
		t.Errorf("a stranger cancelled: %v, state %v", out, s.flow[1].State())
	}
	if out := s.flow[1].Receive("@bob:x", sas.TypeReady, []byte(`{}`)); out != nil {
		t.Errorf("answered an own device: %v", out)
	}
	if code, byUs := s.flow[1].Cancelled(); code != sas.CodeAccepted || byUs {
		t.Errorf("got %q, %v", code, byUs)
	}
	other := newStage(t, "@alice:x", "@carol:x", func(_ int, c *sas.Config) { c.InRoom = true })
	if out := other.flow[1].Receive("@alice:x", sas.TypeRequest, sas.RoomRequest(s.id[0], "@bob:x", allMethods)); out != nil || other.flow[1].State() != sas.StateCancelled {
		t.Errorf("a request to someone else: got %v, state %v", out, other.flow[1].State())
	}
}

func TestWrongState(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", nil)
	f := s.flow[0]
	for name, action := range map[string]func() ([]sas.Message, error){
		"accept": f.Accept, "start": f.StartSAS, "confirm": f.Confirm, "mismatch": f.Mismatch,
		"scan": func() ([]sas.Message, error) { return f.ScanQR(nil) },
		"show": func() ([]sas.Message, error) { _, err := f.ShowQR(); return nil, err },
	} {
		if _, err := action(); err != sas.ErrState {
			t.Errorf("%s: got %v, want ErrState", name, err)
		}
	}
	for _, typ := range []string{sas.TypeReady, sas.TypeAccept, sas.TypeKey, sas.TypeMAC, sas.TypeDone} {
		s := newStage(t, "@alice:x", "@bob:x", nil).ready()
		s.carry(0, []sas.Message{{Type: typ, Content: []byte(`{"transaction_id":"txn"}`)}})
		s.cancelled(1, sas.CodeUnexpectedMessage)
	}
	s = newStage(t, "@alice:x", "@bob:x", nil).ready()
	s.carry(0, []sas.Message{{Type: "m.key.verification.later", Content: []byte(`{}`)}})
	s.state(sas.StateReady, sas.StateReady)
	for _, bad := range []string{`[]`, `{"methods":7}`, `{"x":0.5}`, `{"mac":{` + strings.Repeat(" ", 40000) + `}}`, `{"methods":["` + strings.Repeat(`","`, 40) + `"]}`} {
		s := newStage(t, "@alice:x", "@bob:x", nil).ready()
		out := s.flow[1].Receive("@alice:x", sas.TypeStart, []byte(bad))
		if code, _ := s.flow[1].Cancelled(); code != sas.CodeInvalidMessage || len(out) != 1 {
			t.Errorf("%.40s: got %q", bad, code)
		}
	}
}

// field sets one field of a message.
func field(t *testing.T, m sas.Message, name string, value any) sas.Message {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	c, err := canonicaljson.Set(m.Content, name, text)
	if err != nil {
		t.Fatal(err)
	}
	return sas.Message{Type: m.Type, Content: c}
}

func TestQRFlow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		a, b         quinta.UserID
		shower       int
		wantS, wantC func(s *stage) sas.Verified
	}{
		{"users", "@alice:x", "@bob:x", 0,
			func(s *stage) sas.Verified { return sas.Verified{Master: s.id[1].Master} },
			func(s *stage) sas.Verified { return sas.Verified{Master: s.id[0].Master} }},
		{"the trusted device shows", "@alice:x", "@alice:x", 0,
			func(s *stage) sas.Verified { return sas.Verified{Device: s.id[1].DeviceKey} },
			func(s *stage) sas.Verified { return sas.Verified{Master: s.id[0].Master} }},
		{"the new device shows", "@alice:x", "@alice:x", 1,
			func(s *stage) sas.Verified { return sas.Verified{Master: s.id[0].Master} },
			func(s *stage) sas.Verified { return sas.Verified{Device: s.id[1].DeviceKey} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, c.a, c.b, nil).ready()
			shower, scanner := s.flow[c.shower], s.flow[1-c.shower]
			code, err := shower.ShowQR()
			if err != nil {
				t.Fatal(err)
			}
			s.do(1-c.shower, func() ([]sas.Message, error) { return scanner.ScanQR(code) })
			if shower.State() != sas.StateScanned || scanner.Verified() != (sas.Verified{}) {
				t.Fatalf("after the scan: state %v", shower.State())
			}
			s.do(c.shower, shower.Confirm)
			s.state(sas.StateDone, sas.StateDone)
			s.verified(c.shower, c.wantS(s))
			s.verified(1-c.shower, c.wantC(s))
		})
	}
}

func TestQRWrong(t *testing.T) {
	t.Parallel()
	for _, at := range []int{12, 13 + 5, 13 + 32 + 5} { // the id, the first key, the second key
		s := newStage(t, "@alice:x", "@bob:x", nil).ready()
		code, err := s.flow[0].ShowQR()
		if err != nil {
			t.Fatal(err)
		}
		code[at] ^= 1
		ms, err := s.flow[1].ScanQR(code)
		if err != sas.ErrMismatch {
			t.Errorf("byte %d: got %v, want ErrMismatch", at, err)
		}
		s.carry(1, ms)
		s.cancelled(1, sas.CodeKeyMismatch)
	}
	s := newStage(t, "@alice:x", "@bob:x", nil).ready()
	code, err := s.flow[0].ShowQR()
	if err != nil {
		t.Fatal(err)
	}
	code[len(code)-1] ^= 1 // someone who did not see the code
	s.do(1, func() ([]sas.Message, error) { return s.flow[1].ScanQR(code) })
	s.cancelled(0, sas.CodeKeyMismatch)

	s = newStage(t, "@alice:x", "@bob:x", nil).ready()
	if code, err = s.flow[0].ShowQR(); err != nil {
		t.Fatal(err)
	}
	s.do(1, func() ([]sas.Message, error) { return s.flow[1].ScanQR(code) })
	s.do(0, s.flow[0].Mismatch)
	s.cancelled(0, sas.CodeUser)

	s = newStage(t, "@alice:x", "@bob:x", nil).ready()
	if _, err := s.flow[1].ScanQR([]byte("https://example.org")); err == nil || s.flow[1].State() != sas.StateReady {
		t.Errorf("another code: got %v, state %v", err, s.flow[1].State())
	}
	s.carry(0, []sas.Message{{Type: sas.TypeStart, Content: []byte(`{"from_device":"ALICE","method":"m.reciprocate.v1","secret":"AAAA","transaction_id":"txn"}`)}})
	s.cancelled(1, sas.CodeUnexpectedMessage)
}

func TestFlowNeverPrinted(t *testing.T) {
	t.Parallel()
	s := newStage(t, "@alice:x", "@bob:x", nil).ready()
	s.do(0, s.flow[0].StartSAS)
	for _, text := range []string{fmt.Sprintf("%v", s.flow[0]), fmt.Sprintf("%+v", s.flow[0]), fmt.Sprintf("%#v", s.flow[0])} {
		if text != "sas.Flow(txn, state 4, [redacted])" {
			t.Errorf("got %q", text)
		}
	}
}
