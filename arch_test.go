package quinta_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTreeIsDrawn: doc/arch.md names each room of the house, and no room that is
// not there.
func TestTreeIsDrawn(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("doc/arch.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "\n## The house\n")
	text, _, _ = strings.Cut(text, "\nTo add a network")
	if !found || len(text) < 1000 {
		t.Fatal("the document has no drawing of the house")
	}
	// The name of a room stands as a word of its own, alone or as the end of a
	// path.
	named := func(name string) bool {
		return regexp.MustCompile("(^|[^a-z0-9])" + regexp.QuoteMeta(name) + "($|[^a-z0-9])").MatchString(text)
	}
	for _, of := range []string{".", "server", "client", "e2ee", "e2ee/ca", "network", "network/internal", "network/all", "network/matrix/matrixserver", "cmd", "cmd/internal", "testkit"} {
		dirs, err := os.ReadDir(of)
		if err != nil {
			t.Fatal(err)
		}
		rooms := 0
		for _, d := range dirs {
			if !d.IsDir() || !hasGo(t, filepath.Join(of, d.Name())) {
				continue
			}
			rooms++
			if !named(d.Name()) {
				t.Errorf("%s is in no line of the drawing", filepath.Join(of, d.Name()))
			}
		}
		if rooms == 0 {
			t.Errorf("%s has no rooms", of)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z0-9]+(?:/[a-z0-9]+)+)`").FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(m[1]); err != nil {
			if _, err := os.Stat(filepath.Join("e2ee", m[1])); err != nil {
				t.Errorf("the drawing names %s, which is not there", m[1])
			}
		}
	}
}

// hasGo reports whether a folder or one below it has Go files.
func hasGo(t *testing.T, dir string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		found = found || strings.HasSuffix(p, ".go")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
