package quinta_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// nameless are the packages that know no network: those of the cores, the
// programs and the rooms that the networks share.
var nameless = []string{"server/...", "client/...", "cmd/...", "quintatest", "network/internal/..."}

// TestCoresNameNoNetwork: no identifier, import or text of a package that
// serves all networks has the name of one, so that a new network changes none
// of them. What comments say is theirs.
func TestCoresNameNoNetwork(t *testing.T) {
	t.Parallel()
	names := networkNames(t)
	found := false
	products(t, parser.SkipObjectResolution, func(dir, file string, f *ast.File) {
		if strings.HasPrefix(dir, "network/") && dir != "network/all/servers" && !matchAny(nameless, dir) {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			text := ""
			switch n := n.(type) {
			case *ast.Ident:
				text = n.Name
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					text = n.Value
				}
			}
			for _, name := range names {
				if !slices.Contains(wordsOf(text), name) && !slices.Contains(wordsOf(strings.ReplaceAll(text, ".", "")), name) {
					continue
				}
				found = found || dir == "network/all/servers"
				if matchAny(nameless, dir) {
					t.Errorf("%s names the network %s: %.80s", file, name, text)
				}
			}
			return true
		})
	})
	if !found {
		t.Error("the list of networks names none: the test looks for the wrong thing")
	}
}

// networkNames are the folders of the networks.
func networkNames(t *testing.T) (names []string) {
	t.Helper()
	dirs, err := os.ReadDir("network")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if d.IsDir() && d.Name() != "all" && d.Name() != "internal" {
			names = append(names, d.Name())
		}
	}
	if len(names) < 2 {
		t.Fatalf("got the networks %q", names)
	}
	return names
}

// wordsOf splits a text or an identifier into its words, in lower case.
func wordsOf(s string) (words []string) {
	begin, runes := 0, []rune(s)
	end := func(i int) {
		if i > begin {
			words = append(words, strings.ToLower(string(runes[begin:i])))
		}
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			end(i)
			begin = i + 1
		case i > begin && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			end(i)
			begin = i
		}
	}
	end(len(runes))
	return words
}

// TestWords: wordsOf finds the parts of identifiers and of texts.
func TestWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"newCAServer": "new ca server", "/_matrix/client": "matrix client", "xmppServer": "xmpp server", "a CA's": "a ca s", "cancel": "cancel",
	} {
		if got := strings.Join(wordsOf(in), " "); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
