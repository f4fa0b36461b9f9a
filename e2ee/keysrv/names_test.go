package keysrv

import "testing"

// TestAttackNamesOfAnotherCase: a member of a sealed body whose name is that of
// a field but for its case says nothing, and a body that has a member twice is
// refused.
func TestAttackNamesOfAnotherCase(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		`{"kind":"text","text":"yes","Text":"no","KIND":"file","other":{}}`: true,
		`{"TEXT":"no","kind":"text","text":"yes"}`:                          true,
		`{"kind":"text","text":"yes","text":"no"}`:                          false,
		`{"kind":"text","text":"yes","Text":"no","Text":"no"}`:              false,
		`{"kind":"text","text":"yes","relation":{"To":"a","To":"b"}}`:       false,
	} {
		b, err := parseBody([]byte(text))
		if (err == nil) != ok || ok && (b.Text != "yes" || b.Kind != "text") {
			t.Errorf("%s: got %+v, %v, want the text yes: %v", text, b, err, ok)
		}
	}
}
