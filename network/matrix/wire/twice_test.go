package wire_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A body is a form with named members: a struct with JSON tags, or a map that
// is written down with its names.
type body struct {
	where string
	names []string
}

// TestNoBodyTwice: no body that the server half reads or writes is declared by
// the client half again, and neither declares one that this package has. Two
// bodies count as the same if all members of one are members of the other.
func TestNoBodyTwice(t *testing.T) {
	t.Parallel()
	server := bodiesIn(t, "../matrixserver", "../matrixserver/push", "../matrixserver/sync", "../matrixserver/roomview")
	client := bodiesIn(t, "../matrixclient")
	shared := bodiesIn(t, ".")
	if len(server) < 10 || len(client) < 3 || len(shared) < 20 {
		t.Fatalf("found %d, %d and %d bodies: the search finds nothing any more", len(server), len(client), len(shared))
	}
	held := func(a, b []body) {
		for _, x := range a {
			for _, y := range b {
				if subset(x.names, y.names) || subset(y.names, x.names) {
					t.Errorf("%s and %s are one body, with %q", x.where, y.where, x.names)
				}
			}
		}
	}
	held(client, server)
	held(client, shared)
	held(server, shared)
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(n string) bool { return !slices.Contains(b, n) })
}

// bodiesIn returns the bodies of two members and more in the product files of
// folders.
func bodiesIn(t *testing.T, dirs ...string) []body {
	t.Helper()
	var out []body
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				names := namesOf(n)
				if len(names) > 1 {
					out = append(out, body{set.Position(n.Pos()).String(), names})
				}
				return true
			})
		}
	}
	return out
}

// namesOf returns the members of a body.
func namesOf(n ast.Node) []string {
	var names []string
	switch n := n.(type) {
	case *ast.StructType:
		for _, f := range n.Fields.List {
			if f.Tag == nil {
				continue
			}
			tag, err := strconv.Unquote(f.Tag.Value)
			if err != nil {
				return nil
			}
			if name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ","); name != "" && name != "-" {
				names = append(names, name)
			}
		}
	case *ast.CompositeLit:
		m, ok := n.Type.(*ast.MapType)
		if !ok || !isText(m.Key) {
			return nil
		}
		for _, e := range n.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok {
				return nil
			}
			if lit, ok := kv.Key.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if name, err := strconv.Unquote(lit.Value); err == nil {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

func isText(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "string"
}
