package quinta_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/quinta-chat/quinta"
)

// constants returns the values of the constants in quinta.go that have the type
// of this name.
func constants(t *testing.T, typ string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "quinta.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != typ {
			return true
		}
		for _, e := range v.Values {
			if lit, ok := e.(*ast.BasicLit); ok {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, text)
			}
		}
		return true
	})
	slices.Sort(out)
	return out
}

// TestListsAreComplete: the lists that documents and tables rely on have every
// constant.
func TestListsAreComplete(t *testing.T) {
	t.Parallel()
	var reasons, weaknesses []string
	for _, r := range quinta.Reasons {
		reasons = append(reasons, string(r))
		if text := quinta.ReasonText[r]; text.Sentence == "" || text.Remedy == "" {
			t.Errorf("%s has no sentence or no remedy", r)
		}
	}
	for _, w := range quinta.Weaknesses {
		weaknesses = append(weaknesses, string(w))
	}
	slices.Sort(reasons)
	slices.Sort(weaknesses)
	if want := constants(t, "Reason"); !slices.Equal(reasons, want) || len(want) == 0 {
		t.Errorf("got the reasons %q, want %q", reasons, want)
	}
	if want := constants(t, "Weakness"); !slices.Equal(weaknesses, want) || len(want) == 0 {
		t.Errorf("got the weaknesses %q, want %q", weaknesses, want)
	}
}
