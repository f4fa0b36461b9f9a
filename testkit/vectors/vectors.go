// Package vectors reads and writes test vectors: text files that say what goes
// in, what must come of it and why, in a form that any program can read.
//
// A file has head lines "name: value", an empty line, and then the bytes under
// test in base64, broken into lines. The head lines are name, what, kind,
// expect, why and clock, in any order, and the inputs of the kind; a line that
// the reader does not know fails. See README.md.
package vectors

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MaxSize is the greatest length of a file in bytes.
const MaxSize = 1 << 20

// Success is what Expect says of what must be accepted.
const Success = "success"

// ErrFormat is the error of a file that is not a vector.
var ErrFormat = errors.New("vectors: not a vector")

// width is the length of a line of base64.
const width = 76

// A File is one vector.
type File struct {
	// Name is the file's name without ".txt", What says what the bytes are.
	Name, What string
	// Kind says which reader the bytes are for.
	Kind string
	// Expect is Success or the name of the refusal, Why the reason for it.
	Expect, Why string
	// Clock is the reader's time, zero where time does not count.
	Clock time.Time
	// Inputs are the head lines of the kind, such as keys.
	Inputs map[string]string
	// Body are the bytes under test.
	Body []byte
}

// required are the head lines that each file has.
var required = []string{"name", "what", "kind", "expect", "why"}

// Parse reads a vector that has no inputs but those named, or returns
// ErrFormat.
func Parse(raw []byte, inputs ...string) (*File, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFormat, MaxSize)
	}
	head, body, ok := strings.Cut(string(raw), "\n\n")
	if !ok {
		return nil, fmt.Errorf("%w: no empty line behind the head", ErrFormat)
	}
	f := &File{Inputs: map[string]string{}}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(head, "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || value == "" || seen[name] {
			return nil, fmt.Errorf("%w: the head line %.60q", ErrFormat, line)
		}
		seen[name] = true
		if err := f.set(name, value, inputs); err != nil {
			return nil, err
		}
	}
	for _, name := range required {
		if !seen[name] {
			return nil, fmt.Errorf("%w: no head line %q", ErrFormat, name)
		}
	}
	var err error
	if f.Body, err = base64.StdEncoding.Strict().DecodeString(body); err != nil {
		return nil, fmt.Errorf("%w: the bytes: %w", ErrFormat, err)
	}
	return f, nil
}

func (f *File) set(name, value string, inputs []string) (err error) {
	switch name {
	case "name":
		f.Name = value
	case "what":
		f.What = value
	case "kind":
		f.Kind = value
	case "expect":
		f.Expect = value
	case "why":
		f.Why = value
	case "clock":
		if f.Clock, err = time.Parse(time.RFC3339, value); err != nil || f.Clock.IsZero() {
			return fmt.Errorf("%w: the clock %.40q", ErrFormat, value)
		}
	default:
		if !slices.Contains(inputs, name) {
			return fmt.Errorf("%w: a head line %.40q is not known", ErrFormat, name)
		}
		f.Inputs[name] = value
	}
	return nil
}

// Bytes returns an input that is in base64, nil if the file does not have it.
func (f *File) Bytes(input string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(f.Inputs[input])
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, input, err)
	}
	return raw, nil
}

// Encode returns the file's text; the inputs are in the order of their names.
func (f *File) Encode() []byte {
	var b bytes.Buffer
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	line("name", f.Name)
	line("what", f.What)
	line("kind", f.Kind)
	line("expect", f.Expect)
	line("why", f.Why)
	if !f.Clock.IsZero() {
		line("clock", f.Clock.Format(time.RFC3339Nano))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Inputs)) {
		line(name, f.Inputs[name])
	}
	b.WriteByte('\n')
	for part := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(f.Body)), width) {
		b.Write(append(part[:len(part):len(part)], '\n'))
	}
	return b.Bytes()
}

// ReadDir returns the vectors of a folder, which are its files "*.txt", in the
// order of their names. The name inside each is that of its file.
func ReadDir(dir string, inputs ...string) ([]*File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []*File
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := Parse(raw, inputs...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if f.Name+".txt" != filepath.Base(path) {
			return nil, fmt.Errorf("%s: %w: it is named %.60q inside", path, ErrFormat, f.Name)
		}
		all = append(all, f)
	}
	return all, nil
}

// WriteDir makes the vectors of a folder be those given: it writes each and
// removes those that are not among them.
func WriteDir(dir string, all []*File) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for _, f := range all {
		if err := os.WriteFile(filepath.Join(dir, f.Name+".txt"), f.Encode(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Compare returns an error that names the first vector of a folder that is
// missing, superfluous or not the one wanted; the order of want is of no matter.
func Compare(dir string, want []*File, inputs ...string) error {
	have, err := ReadDir(dir, inputs...)
	if err != nil {
		return err
	}
	all := map[string]*File{}
	for _, f := range want {
		if all[f.Name] != nil {
			return fmt.Errorf("%w: two have the name %s", ErrFormat, f.Name)
		}
		all[f.Name] = f
	}
	for _, f := range have {
		if all[f.Name] == nil || !bytes.Equal(all[f.Name].Encode(), f.Encode()) {
			return fmt.Errorf("%w: %s is not the one that is wanted", ErrFormat, f.Name)
		}
		delete(all, f.Name)
	}
	for name := range all {
		return fmt.Errorf("%w: %s is missing", ErrFormat, name)
	}
	return nil
}
