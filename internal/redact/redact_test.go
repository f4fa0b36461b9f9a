package redact_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/internal/redact"
)

type state struct{ secret [8]byte }

type holder struct {
	redact.Manners
	box redact.Box[state]
}

// A wrapper has a holder where fmt cannot ask its methods.
type wrapper struct{ h *holder }

func TestNothingPrints(t *testing.T) {
	t.Parallel()
	h := holder{box: redact.Seal(&state{[8]byte{211, 212, 213, 214, 215, 216, 217, 218}})}
	for _, v := range []any{h, &h, wrapper{&h}, &wrapper{&h}, []holder{h}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d", "%t"} {
			out := fmt.Sprintf(verb, v)
			for _, bad := range []string{"211 212", "211, 212", "0xd3, 0xd4", "d3d4", "D3D4"} {
				if strings.Contains(out, bad) {
					t.Errorf("%T %s: got %q, want no secret", v, verb, out)
				}
			}
		}
	}
	if out, err := json.Marshal(h); err != nil || string(out) != `"[redacted]"` {
		t.Errorf("got %s, %v, want \"[redacted]\"", out, err)
	}
	if _, err := h.MarshalBinary(); !errors.Is(err, redact.ErrSecret) {
		t.Errorf("got %v, want ErrSecret", err)
	}
	if err := json.Unmarshal([]byte(`"x"`), &h); !errors.Is(err, redact.ErrSecret) {
		t.Errorf("got %v, want ErrSecret", err)
	}
	if got := (redact.Box[state])(nil).Open(); got != nil {
		t.Errorf("got %p, want nil from the zero box", got)
	}
	if h.box.Open().secret[0] != 211 {
		t.Error("got another secret than was put in")
	}
}
