package sync

import "testing"

// FuzzParsePlace: a token is read as what it was written for, and any other
// text is refused.
func FuzzParsePlace(f *testing.F) {
	for _, s := range []string{"s0", "s17", "s17_3", "s17_17", "s3_17", "s017", "s1_", "s_1", "s-1", "s4611686018427387904", "", "s1_2_3", "S1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlace(s)
		if err != nil {
			return
		}
		if p.Pos < 0 || p.Box < 0 || p.Box > p.Pos {
			t.Errorf("%q: got %v", s, p)
		}
		again, err := ParsePlace(p.String())
		if err != nil || again != p {
			t.Errorf("%q: written as %s and read as %v, %v", s, p, again, err)
		}
		if pos, err := ParseToken(s); err != nil || pos != p.Pos {
			t.Errorf("%q: its position reads %d, %v, want %d", s, pos, err, p.Pos)
		}
	})
}
