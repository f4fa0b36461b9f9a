package rocketchat

import (
	"strings"
	"testing"
)

func TestQuotation(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for _, c := range []struct{ text, id, rest string }{
		{"[ ](https://h/channel/x?msg=abc)\n yes", "abc", "yes"},
		{"[ ](?msg=abc&x=1)", "abc", ""},
		{"[ ](https://h/?x=1&msg=abc) yes", "abc", "yes"},
		{"[ ](?msg=first&msg=last)", "last", ""},
		{"[ ](?msg=first&msg=-)", "first", ""},
		{"[ ](?msg=" + long + "b)c", long, "c"},
		{"[ ](?msg=)", "", ""},
		{"[ ](msg=abc)", "", ""},
		{"[ ](?msg=abc", "", ""},
		{"[ ](?msg=abc d)", "", ""},
		{"[ ](?msg=abc(d)", "", ""},
		{"[x](?msg=abc)", "", ""},
		{" [ ](?msg=abc)", "", ""},
		{"plain", "", ""},
		{"", "", ""},
	} {
		id, rest, ok := quotation(c.text)
		if id != c.id || rest != c.rest || ok != (c.id != "") {
			t.Errorf("%q: got %q, %q, %v, want %q, %q", c.text, id, rest, ok, c.id, c.rest)
		}
	}
}
