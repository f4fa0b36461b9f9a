package vectors_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/vectors"
)

const sample = "name: a\nwhat: w\nkind: k\nexpect: bad mac\nwhy: y\nclock: 2026-05-01T12:00:00Z\nkey: AQI=\n\nAAEC\n"

func TestParse(t *testing.T) {
	t.Parallel()
	f, err := vectors.Parse([]byte(sample), "key")
	if err != nil {
		t.Fatal(err)
	}
	want := &vectors.File{Name: "a", What: "w", Kind: "k", Expect: "bad mac", Why: "y", Clock: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		Inputs: map[string]string{"key": "AQI="}, Body: []byte{0, 1, 2}}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got %+v, want %+v", f, want)
	}
	if got := string(f.Encode()); got != sample {
		t.Errorf("got %q, want %q", got, sample)
	}
	if k, err := f.Bytes("key"); err != nil || string(k) != "\x01\x02" {
		t.Errorf("got %x, %v", k, err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"unknown head line": {"why: y", "why: y\nother: x"},
		"head line twice":   {"why: y", "why: y\nwhy: y"},
		"no why":            {"why: y\n", ""},
		"empty value":       {"why: y", "why: "},
		"no colon":          {"why: y", "why"},
		"clock":             {"12:00:00Z", "noon"},
		"no empty line":     {"\n\n", "\n"},
		"not base64":        {"AAEC", "AAE*"},
		"trailing bits":     {"AAEC", "AAF="},
		"too large":         {"AAEC", strings.Repeat("AAEC", vectors.MaxSize/4)},
	} {
		text := strings.Replace(sample, change[0], change[1], 1)
		if _, err := vectors.Parse([]byte(text), "key"); !errors.Is(err, vectors.ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
	if _, err := vectors.Parse([]byte(sample)); !errors.Is(err, vectors.ErrFormat) {
		t.Errorf("an input of another kind: got %v, want ErrFormat", err)
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := vectors.Parse([]byte(sample), "key")
	if err != nil {
		t.Fatal(err)
	}
	other := *f
	other.Name = "b"
	for _, all := range [][]*vectors.File{{f, &other}, {&other}} {
		if err := vectors.WriteDir(dir, all); err != nil {
			t.Fatal(err)
		}
		got, err := vectors.ReadDir(dir, "key")
		if err != nil || !reflect.DeepEqual(got, all) {
			t.Errorf("got %v, %v, want what was written", got, err)
		}
	}
	if err := vectors.Compare(dir, []*vectors.File{&other}, "key"); err != nil {
		t.Errorf("got %v, want the same", err)
	}
	changed := other
	changed.Why = "another reason"
	for name, want := range map[string][]*vectors.File{"missing": {&other, f}, "superfluous": nil, "changed": {&changed}, "twice": {&other, &other}} {
		if err := vectors.Compare(dir, want, "key"); !errors.Is(err, vectors.ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
	if _, err := vectors.ReadDir(dir); !errors.Is(err, vectors.ErrFormat) {
		t.Errorf("got %v, want ErrFormat", err)
	}
}

// TestSize finds that the vectors of all systems are small: together less than
// 1 MB, and none more than 64 KB.
func TestSize(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("*/*.txt")
	if err != nil || len(paths) < 400 {
		t.Fatalf("got %d files, %v; want 400 at least", len(paths), err)
	}
	sum := int64(0)
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 64<<10 {
			t.Errorf("%s has %d bytes", path, info.Size())
		}
		sum += info.Size()
	}
	if sum >= 1<<20 {
		t.Errorf("got %d bytes in all, want less than 1 MB", sum)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("name: a\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := vectors.Parse(raw, "key")
		if err != nil {
			if !errors.Is(err, vectors.ErrFormat) {
				t.Fatalf("got %v, want ErrFormat", err)
			}
			return
		}
		again, err := vectors.Parse(v.Encode(), "key")
		if err != nil || string(again.Encode()) != string(v.Encode()) || string(again.Body) != string(v.Body) {
			t.Fatalf("got %+v, %v, want %+v", again, err, v)
		}
	})
}
