package quinta_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/quinta-chat/quinta"

// A floor says what the packages that match it may import. The first floor
// that matches a package is its floor.
type floor struct {
	// pkg is a path below the module; "*" stands for one path element, "*"
	// and more text for an element with that ending, a final "..." for any
	// number of elements.
	pkg string
	// own lists the packages of this module that it may import, as patterns.
	own []string
	// mods lists the modules that it may import; "*" allows all.
	mods []string
	// never lists packages that it may not import, even of the standard library.
	never []string
}

// primitives are the cryptographic modules that stand on the lowest floors.
var primitives = []string{"golang.org/x/crypto", "filippo.io/edwards25519", "filippo.io/bigmod", "github.com/gotd/ige"}

// noIO is what a pure end-to-end system never touches.
var noIO = []string{"net", "net/http", "os", "os/exec", "database/sql", "log", "log/slog", "crypto/rand", "math/rand", "math/rand/v2", "syscall"}

// noFrontEnd keeps the cores blind to what goes over a wire.
var noFrontEnd = []string{"net/http"}

// floors is the table of the house, from the bottom up. $n stands for the
// path element that the n-th "*" of pkg matched.
var floors = []floor{
	{pkg: ""},
	{pkg: "internal/...", own: []string{"internal/..."}, mods: primitives, never: noIO},
	{pkg: "key", own: []string{"internal/..."}, mods: primitives, never: noIO},

	{pkg: "e2ee", own: []string{""}, never: noIO},
	{pkg: "e2ee/matrix", own: []string{"", "key", "internal/...", "e2ee", "e2ee/olm", "e2ee/megolm", "e2ee/sas", "e2ee/attachment", "e2ee/keyexport", "e2ee/keybackup", "e2ee/secretstorage"}, mods: primitives, never: noIO},
	{pkg: "e2ee/ca/cert", own: []string{"", "key", "internal/..."}, mods: primitives, never: noIO},
	{pkg: "e2ee/ca/seal", own: []string{"", "key", "internal/...", "e2ee/ca/cert"}, mods: primitives, never: noIO},
	{pkg: "e2ee/ca", own: []string{"", "key", "internal/...", "e2ee", "e2ee/ca/*"}, mods: primitives, never: noIO},
	{pkg: "e2ee/secretchat/schema", own: []string{"internal/tl"}},
	{pkg: "e2ee/secretchat", own: []string{"", "key", "internal/...", "e2ee", "e2ee/secretchat/schema"}, mods: primitives, never: noIO},
	{pkg: "e2ee/*", own: []string{"", "key", "internal/...", "e2ee"},
		mods:  append([]string{"github.com/go-jose/go-jose/v4", "github.com/smallstep/pkcs7"}, primitives...),
		never: noIO},

	{pkg: "server/db", own: []string{""}, mods: []string{"github.com/ncruces/go-sqlite3", "github.com/jackc/pgx/v5"}, never: noFrontEnd},
	{pkg: "server/blob", own: []string{"", "key", "server/db"}, mods: []string{"gocloud.dev"}, never: noFrontEnd},
	{pkg: "server/secret", own: []string{"", "key"}, mods: []string{"gocloud.dev"}},
	{pkg: "server/*", own: []string{"", "key", "server/db"}, mods: []string{"golang.org/x/crypto"}, never: noFrontEnd},
	{pkg: "server", own: []string{"", "key", "server/*"}, mods: []string{"golang.org/x/time", "github.com/prometheus/client_golang"}},

	{pkg: "client/store/*", own: []string{"", "key", "e2ee", "client", "client/store"}, mods: []string{"github.com/ncruces/go-sqlite3", "golang.org/x/crypto"}},
	{pkg: "client/...", own: []string{"", "key", "internal/...", "e2ee", "e2ee/*", "client", "client/..."}, mods: primitives},

	{pkg: "network/internal/socket", own: []string{"server", "network/internal/..."}, mods: []string{"github.com/coder/websocket"}},
	{pkg: "network/internal/seat", own: []string{"", "key", "internal/...", "client", "e2ee"}},
	{pkg: "network/internal/dial", own: []string{"", "key", "internal/...", "client"}},
	{pkg: "network/internal/...", own: []string{"", "key", "internal/...", "server", "server/*", "network/internal/..."}, mods: []string{"golang.org/x/time"}},
	{pkg: "network/all/servers", own: []string{"server", "network/*/*server"}},
	{pkg: "network/all/clients", own: []string{"client", "network/*/*client"}},
	{pkg: "network/*/wire/...", own: []string{"", "key", "internal/...", "e2ee", "e2ee/$system", "network/$1/wire/..."}, mods: []string{"*"}},
	{pkg: "network/*/$1client/...", own: []string{"", "key", "internal/...", "client", "client/...", "e2ee", "e2ee/$system", "network/$1/wire/...", "network/$1/$1client/...", "network/internal/..."}, mods: []string{"*"}},
	{pkg: "network/*/$1server/...", own: []string{"", "key", "internal/...", "server", "server/*", "e2ee", "e2ee/$verified", "network/$1/wire/...", "network/$1/$1server/...", "network/internal/..."}, mods: []string{"*"}},

	{pkg: "testkit/...", own: []string{"..."}, mods: []string{"*"}},
	{pkg: "quintatest", own: []string{"..."}, mods: []string{"*"}},
	{pkg: "bench/...", own: []string{"..."}, mods: []string{"*"}},
	{pkg: "test", own: []string{"..."}, mods: []string{"*"}},
	{pkg: "cmd/internal/durable"},
	{pkg: "cmd/internal/...", own: []string{"", "internal/...", "cmd/internal/..."}},
	{pkg: "cmd/quinta", own: []string{"", "key", "internal/...", "e2ee", "client", "client/...", "network/all/clients", "cmd/internal/..."}, mods: []string{"*"}},
	{pkg: "cmd/...", own: []string{"..."}, mods: []string{"*"}},
}

// systems names the end-to-end systems of a network where they do not bear
// its name.
var systems = map[string][]string{
	"matrix":  {"matrix", "olm", "megolm", "sas", "attachment", "keyexport", "keybackup", "secretstorage"},
	"ca":      {"ca", "ca/cert", "ca/seal", "attachment"},
	"mtproto": {"secretchat"},
	"xmpp":    {"keysrv"},
}

// verified names what the server half of a network may import of its systems,
// where that is less than the client half may: what parses and verifies, and
// nothing that opens.
var verified = map[string][]string{
	"ca": {"ca/cert"},
}

// testOnly lists packages that product code never imports.
var testOnly = []string{"testkit/...", "client/store/storetest", "quintatest", "bench/...", "test", toyHouse + "..."}

// toyHouse is where the toy network has folders like those of the house. Its
// packages are on the floors that they would be on without it: what a network
// may touch is the same for the toy.
const toyHouse = "network/internal/sixth/"

// products calls fn with the folder below the module and the syntax of every
// product file.
func products(t *testing.T, mode parser.Mode, fn func(dir, file string, f *ast.File)) {
	t.Helper()
	checked := 0
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "node_modules" || n == "testdata" || (p != "." && strings.HasPrefix(n, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		checked++
		dir := path.Dir(filepath.ToSlash(p))
		if dir == "." {
			dir = ""
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, mode)
		if err != nil {
			return err
		}
		fn(dir, p, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 4 {
		t.Fatalf("looked at %d files: the walk is broken", checked)
	}
}

// TestFloors holds every import of every product file against the table.
func TestFloors(t *testing.T) {
	t.Parallel()
	products(t, parser.ImportsOnly, func(dir, file string, f *ast.File) {
		for _, im := range f.Imports {
			imp, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := refuse(dir, imp); why != "" {
				t.Errorf("%s: %s", file, why)
			}
		}
	})
}

// TestRenamesAreDurable: the programs rename files only by package durable,
// which also syncs the folder.
func TestRenamesAreDurable(t *testing.T) {
	t.Parallel()
	const room = "cmd/internal/durable"
	found := false
	products(t, parser.SkipObjectResolution, func(dir, file string, f *ast.File) {
		if !strings.HasPrefix(dir, "cmd/") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Rename" {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "os" {
				found = found || dir == room
				if dir != room {
					t.Errorf("%s renames with package os: use %s", file, room)
				}
			}
			return true
		})
	})
	if !found {
		t.Errorf("%s renames nothing: the test looks for the wrong thing", room)
	}
}

// TestFloorsRefuse holds the table itself against imports that every row must
// refuse or allow, so that a hole in it is seen.
func TestFloorsRefuse(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		ok       bool
	}{
		{"", "time", true},
		{"", module + "/key", false},
		{"", "golang.org/x/crypto/argon2", false},
		{"internal/canonicaljson", "os", false},
		{"key", module + "/internal/pickle", true},
		{"key", module + "/e2ee", false},
		{"e2ee/olm", "crypto/ecdh", true},
		{"e2ee/olm", "crypto/rand", false},
		{"e2ee/olm", "net", false},
		{"e2ee/secretchat", module + "/e2ee/secretchat/schema", true},
		{"e2ee/secretchat", "github.com/gotd/td/tg/e2e", false},
		{"e2ee/secretchat", "github.com/gotd/td/telegram", false},
		{"e2ee/secretchat", "github.com/gotd/td/transport", false},
		{"e2ee/olm", module + "/e2ee/megolm", false},
		{"e2ee/matrix", module + "/e2ee/megolm", true},
		{"e2ee/matrix", module + "/server/db", false},
		{"server/db", module, true},
		{"server/db", module + "/server/room", false},
		{"server/room", module + "/server/db", true},
		{"server/room", module + "/server/mailbox", false},
		{"server/room", module + "/e2ee", false},
		{"server/room", "net/http", false},
		{"server", module + "/server/room", true},
		{"server", module + "/network/all/servers", false},
		{"client", module + "/server", false},
		{"client", module + "/network/matrix/wire", false},
		{"client/store/sqlite", "github.com/ncruces/go-sqlite3", true},
		{"network/matrix/wire", module + "/server/room", false},
		{"network/matrix/matrixclient", module + "/server/room", false},
		{"network/matrix/matrixclient", module + "/client", true},
		{"network/matrix/matrixserver", module + "/client", false},
		{"network/matrix/matrixserver", module + "/server/room", true},
		{"network/matrix/matrixserver", module + "/e2ee/megolm", true},
		{"network/matrix/matrixserver", module + "/e2ee/ca", false},
		{"network/ca/caserver", module + "/e2ee/ca/cert", true},
		{"network/ca/caserver", module + "/e2ee/ca/seal", false},
		{"network/ca/caserver", module + "/e2ee/ca", false},
		{"network/ca/caclient", module + "/e2ee/ca/seal", true},
		{"e2ee/ca", module + "/e2ee/ca/seal", true},
		{"e2ee/ca/cert", module + "/e2ee/ca/seal", false},
		{"network/matrix/matrixserver", module + "/network/ca/wire", false},
		{"network/all/servers", module + "/network/matrix/matrixserver", true},
		{"network/all/servers", module + "/network/matrix/matrixclient", false},
		{"network/all/clients", module + "/network/ca/caclient", true},
		{"network/all/clients", module + "/network/ca/caserver", false},
		{"network/all", module + "/network/ca/caclient", false},
		{"cmd/quintad", module + "/network/all/servers", true},
		{"cmd/quintad", module + "/network/all/clients", true},
		{"cmd/quinta", module + "/network/all/clients", true},
		{"cmd/quinta", module + "/network/all/servers", false},
		{"cmd/quinta", module + "/server", false},
		{"cmd/internal/cli", module + "/client", false},
		{"cmd/quintad", module + "/testkit/peer", false},
		{"nowhere", "time", false},
		{toyHouse + "e2ee/sixth", module + "/e2ee", true},
		{toyHouse + "e2ee/sixth", "net", false},
		{toyHouse + "network/sixth/sixthclient", module + "/" + toyHouse + "e2ee/sixth", true},
		{toyHouse + "network/sixth/sixthclient", module + "/server", false},
		{toyHouse + "network/sixth/sixthclient", module + "/network/matrix/wire", false},
		{"network/all/servers", module + "/" + toyHouse + "network/sixth/sixthserver", false},
	} {
		if why := refuse(c.pkg, c.imp); (why == "") != c.ok {
			t.Errorf("%q importing %q: got refusal %q, want allowed %v", c.pkg, c.imp, why, c.ok)
		}
	}
}

// refuse says why pkg may not import imp, or returns "".
func refuse(pkg, imp string) string {
	fl, star, ok := floorOf(strings.TrimPrefix(pkg, toyHouse))
	if !ok {
		return "package " + pkg + " is on no floor"
	}
	if slices.Contains(fl.never, imp) {
		return pkg + " may never import " + imp
	}
	own, ours := strings.CutPrefix(imp, module+"/")
	if imp == module {
		own, ours = "", true
	}
	if ours {
		if !strings.HasPrefix(pkg, "testkit") && !matchAny(testOnly, pkg) && matchAny(testOnly, own) {
			return pkg + " may not import the test package " + own
		}
		own = strings.TrimPrefix(own, toyHouse)
		for _, pat := range fl.own {
			for _, p := range expand(pat, star) {
				if _, ok := match(p, own); ok {
					return ""
				}
			}
		}
		return pkg + " may not import " + own
	}
	if !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
		return "" // the standard library
	}
	for _, m := range fl.mods {
		if m == "*" || imp == m || strings.HasPrefix(imp, m+"/") {
			return ""
		}
	}
	return pkg + " may not import the module of " + imp
}

// floorOf finds the floor of pkg, and what its "*" stood for.
func floorOf(pkg string) (floor, string, bool) {
	for _, fl := range floors {
		pat := fl.pkg
		star := ""
		if strings.Contains(pat, "$1") {
			if elems := strings.Split(pkg, "/"); len(elems) > 1 {
				pat = strings.ReplaceAll(pat, "$1", elems[1])
			}
		}
		s, ok := match(pat, pkg)
		if ok {
			star = s
			return fl, star, true
		}
	}
	return floor{}, "", false
}

// expand puts star, and the systems of the network star, into pat.
func expand(pat, star string) []string {
	pat = strings.ReplaceAll(pat, "$1", star)
	names := systems[star]
	switch {
	case strings.Contains(pat, "$verified"):
		if v := verified[star]; v != nil {
			names = v
		}
		pat = strings.ReplaceAll(pat, "$verified", "$system")
	case !strings.Contains(pat, "$system"):
		return []string{pat}
	}
	if names == nil {
		names = []string{star}
	}
	var out []string
	for _, n := range names {
		out = append(out, strings.ReplaceAll(pat, "$system", n))
	}
	return out
}

// match reports whether pkg matches pat, and what the first "*" matched.
func match(pat, pkg string) (star string, ok bool) {
	if base, found := strings.CutSuffix(pat, "..."); found {
		base = strings.TrimSuffix(base, "/")
		if base == "" {
			return "", true
		}
		pe, be := strings.Split(pkg, "/"), strings.Split(base, "/")
		if len(pe) < len(be) {
			return "", false
		}
		return match(base, strings.Join(pe[:len(be)], "/"))
	}
	a, b := strings.Split(pat, "/"), strings.Split(pkg, "/")
	if len(a) != len(b) {
		return "", false
	}
	for i := range a {
		if a[i] == "*" {
			if star == "" {
				star = b[i]
			}
			continue
		}
		if ending, ok := strings.CutPrefix(a[i], "*"); ok && strings.HasSuffix(b[i], ending) {
			continue
		}
		if a[i] != b[i] {
			return "", false
		}
	}
	return star, true
}

func matchAny(pats []string, pkg string) bool {
	return slices.ContainsFunc(pats, func(p string) bool { _, ok := match(p, pkg); return ok })
}

// TestForeignJSONIsExact: the machines read what others have signed or sealed
// with package exactjson alone, for encoding/json takes "Sender" for "sender".
func TestForeignJSONIsExact(t *testing.T) {
	loose := map[string]string{
		"e2ee/record.go":            "the device's own records",
		"e2ee/keyexport/session.go": "a list that is read one by one; each session has package sessiondata",
	}
	seen := 0
	products(t, parser.SkipObjectResolution, func(dir, file string, f *ast.File) {
		if dir != "e2ee" && !strings.HasPrefix(dir, "e2ee/") && dir != "internal/sessiondata" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && (sel.Sel.Name == "Unmarshal" || sel.Sel.Name == "NewDecoder" || sel.Sel.Name == "Strict") {
				switch {
				case x.Name == "exactjson":
					seen++
				case x.Name == "json" && loose[path.Join(dir, path.Base(file))] == "":
					t.Errorf("%s: json.%s reads names in any case: use package internal/exactjson", file, sel.Sel.Name)
				}
			}
			return true
		})
	})
	if seen < 60 {
		t.Errorf("got %d uses of exactjson, want all machines to use it", seen)
	}
}
