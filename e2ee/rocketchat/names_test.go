package rocketchat

import "testing"

// TestAttackNamesOfAnotherCase: a member of a sealed body whose name is that of
// a field but for its case says nothing, and a body that has a member twice is
// refused.
func TestAttackNamesOfAnotherCase(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		`{"msg":"yes","Msg":"no","TEXT":"no"}`: true,
		`{"MSG":"no","msg":"yes"}`:             true,
		`{"msg":"yes","msg":"no"}`:             false,
		`{"msg":"yes","Msg":"no","Msg":"no"}`:  false,
		`{"Msg":"no"}`:                         false,
	} {
		b, err := ParseBody([]byte(text))
		if (err == nil) != ok || ok && b.Text != "yes" {
			t.Errorf("%s: got %+v, %v, want the text yes: %v", text, b, err, ok)
		}
	}
}
