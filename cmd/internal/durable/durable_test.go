package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/quinta-chat/quinta/cmd/internal/durable"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"one", "another"} {
		if err := durable.WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); string(got) != text || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file for its user alone", st, err)
	}
	// What cannot be put in place leaves the old one as it was.
	taken := filepath.Join(dir, "taken")
	if err := durable.MkdirAll(filepath.Join(taken, "full")); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(taken, []byte("x")); err == nil {
		t.Error("a folder was replaced by a file")
	}
}

func TestMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v, want a folder for its user alone", st, err)
	}
	file := filepath.Join(dir, "file")
	if err := durable.WriteFile(file, nil); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(filepath.Join(file, "below")); err == nil {
		t.Error("a folder was made below a file")
	}
}
