package vectors

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A Reader gives the bytes of a vector to what reads them, and returns what
// comes out. It ends the test if the vector itself is at fault.
type Reader func(t *testing.T, f *File) ([]byte, error)

// A Suite says how the vectors of a folder are run.
type Suite struct {
	// Inputs are the head lines of all kinds, beside those that every file has.
	Inputs []string
	// Refusals are the names of refusals, with the errors that they stand for.
	Refusals map[string][]error
	// Kinds are the readers.
	Kinds map[string]Reader
}

// Run runs the vectors of some kinds, of which there must be one each: the
// reader of the kind accepts or refuses it as the file says, and what it
// accepts comes out as "plain". The package that owns a format calls it in its
// test, with the path of the folder.
func (s *Suite) Run(t *testing.T, dir string, kinds ...string) {
	t.Helper()
	all, err := ReadDir(dir, s.Inputs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		read, ok := s.Kinds[kind]
		if !ok {
			t.Fatalf("the kind %q is not known", kind)
		}
		n := 0
		for _, f := range all {
			if f.Kind == kind {
				n++
				t.Run(f.Name, func(t *testing.T) { s.judge(t, f, read) })
			}
		}
		if n == 0 {
			t.Errorf("no vector is of the kind %q", kind)
		}
	}
}

// judge runs one vector.
func (s *Suite) judge(t *testing.T, f *File, read Reader) {
	t.Helper()
	plain, err := read(t, f)
	if f.Expect == Success {
		if err != nil {
			t.Fatalf("got %v, want %s", err, f.Expect)
		}
		if want := Input(t, f, "plain"); !bytes.Equal(plain, want) {
			t.Errorf("got %q, want %q", plain, want)
		}
		return
	}
	if !slices.ContainsFunc(s.Refusals[f.Expect], func(want error) bool { return errors.Is(err, want) }) {
		t.Fatalf("got %v, want %s", err, f.Expect)
	}
}

// Input returns an input that is in base64, nil if the file does not have it.
func Input(t testing.TB, f *File, name string) []byte {
	t.Helper()
	raw, err := f.Bytes(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// CheckRun finds the name of each kind in a test "*vectors_test.go" of one of the
// packages that match, below the module's folder.
func (s *Suite) CheckRun(t *testing.T, module string, packages ...string) {
	t.Helper()
	var tests strings.Builder
	for _, pattern := range packages {
		paths, err := filepath.Glob(filepath.Join(module, pattern, "*vectors_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(raw)
		}
	}
	for kind := range s.Kinds {
		if !strings.Contains(tests.String(), strconv.Quote(kind)) {
			t.Errorf("no package runs the vectors of the kind %q", kind)
		}
	}
}
