package client_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryMachineIsLaned: the requests of every machine below e2ee name their
// lanes, so that one that cannot get through holds up no other.
func TestEveryMachineIsLaned(t *testing.T) {
	t.Parallel()
	dirs, err := os.ReadDir("../e2ee")
	if err != nil {
		t.Fatal(err)
	}
	machines := 0
	for _, dir := range dirs {
		if !dir.IsDir() {
			continue
		}
		reqs, laned := methods(t, filepath.Join("../e2ee", dir.Name()))
		for req := range reqs {
			machines++
			if !laned[req] {
				t.Errorf("%s: the type %s of the machine's requests has no method Lane", dir.Name(), req)
			}
		}
	}
	if machines < 2 {
		t.Errorf("got %d machines, want those of the house", machines)
	}
}

// methods returns the types of the requests of a package's machines, which is
// what Outgoing returns a list of, and the types that have a method Lane.
func methods(t *testing.T, dir string) (reqs, laned map[string]bool) {
	t.Helper()
	reqs, laned = map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil {
				continue
			}
			switch fn.Name.Name {
			case "Outgoing":
				list, ok := fn.Type.Results.List[0].Type.(*ast.ArrayType)
				if !ok {
					t.Fatalf("%s: Outgoing returns no list", name)
				}
				reqs[list.Elt.(*ast.Ident).Name] = true
			case "Lane":
				if recv, ok := fn.Recv.List[0].Type.(*ast.Ident); ok {
					laned[recv.Name] = true
				}
			}
		}
	}
	return reqs, laned
}
