package megolm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/megolm"
)

// FuzzMerge merges sessions of any two states: the order of the two is the
// same from both sides, a merge takes the earlier ratchet of the same session,
// and one that is refused changes nothing.
func FuzzMerge(f *testing.F) {
	out := newOutbound(f, 1)
	first := newInbound(f, out).Encode()
	for range 300 {
		seal(f, out, "x")
	}
	later := newInbound(f, out).Encode()
	f.Add(first, later)
	f.Add(later, first)
	f.Add(first, first)
	f.Add(first, newInbound(f, newOutbound(f, 2)).Encode())
	opposite := map[megolm.Order]megolm.Order{megolm.Unconnected: megolm.Unconnected, megolm.Equal: megolm.Equal, megolm.Better: megolm.Worse, megolm.Worse: megolm.Better}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		a, err := megolm.DecodeInbound(one)
		if err != nil {
			return
		}
		b, err := megolm.DecodeInbound(two)
		if err != nil {
			return
		}
		order := a.Compare(b)
		if got := b.Compare(a); got != opposite[order] {
			t.Fatalf("got %d from one side and %d from the other", order, got)
		}
		want := min(a.FirstIndex(), b.FirstIndex())
		merged, err := a.Merge(b)
		switch {
		case order == megolm.Unconnected:
			if !errors.Is(err, megolm.ErrUnconnected) || merged || !bytes.Equal(a.Encode(), one) {
				t.Errorf("not one session: got %v, %v", merged, err)
			}
		case err != nil || merged != (order == megolm.Worse) || a.FirstIndex() != want || a.Signing() != b.Signing():
			t.Errorf("got %v, %v, from index %d, want %d", merged, err, a.FirstIndex(), want)
		case a.Compare(b) == megolm.Worse || a.Compare(b) == megolm.Unconnected:
			t.Errorf("after the merge they are %d", a.Compare(b))
		}
		if !bytes.Equal(b.Encode(), two) {
			t.Error("a merge changed the other session")
		}
	})
}
