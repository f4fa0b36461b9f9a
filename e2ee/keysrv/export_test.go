package keysrv_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

func (d *device) exports(passphrase string) []byte {
	d.p.t.Helper()
	var file []byte
	d.do(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		file, _, err = d.m.ExportKeys(tx, passphrase)
		return nil, err
	})
	return file
}

func (d *device) imports(file []byte, passphrase string) (n int, err error) {
	err = d.update(func(tx e2ee.Tx) (events []e2ee.Event, err error) {
		n, events, err = d.m.ImportKeys(tx, file, passphrase)
		return events, err
	})
	return n, err
}

// TestExport: a device that no other one has approved reads what the keys of a
// file open, and marks it; the file opens with its passphrase only.
func TestExport(t *testing.T) {
	t.Parallel()
	const passphrase = "correct horse battery"
	p, a, b, room := couple(t)
	a.says(room, "one", "two")
	b.settle()
	b.reads("one", "two")
	file := b.exports(passphrase)
	second := p.login(juliet, 9)
	second.settle()
	second.take()
	if _, err := second.imports(file, "another passphrase"); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("another passphrase: got %v", err)
	}
	altered := bytes.Replace(file, []byte(`"ciphertext":"`), []byte(`"ciphertext":"AAAA`), 1)
	if _, err := second.imports(altered, passphrase); quinta.KindOf(err) != quinta.KindUnauthenticated {
		t.Errorf("an altered file: got %v", err)
	}
	weak := bytes.Replace(file, []byte(`600000`), []byte(`1000`), 1)
	if _, err := second.imports(weak, passphrase); !errors.Is(err, keysrv.ErrUnsupported) {
		t.Errorf("a file of few rounds: got %v", err)
	}
	if _, err := a.imports(file, passphrase); !errors.Is(err, keysrv.ErrMismatch) {
		t.Errorf("another user's file: got %v", err)
	}
	if n, err := second.imports(file, passphrase); err != nil || n != 1 {
		t.Fatalf("got %d, %v, want 1 key", n, err)
	}
	for _, e := range second.reads("one", "two") {
		if e.Message.Weakness != quinta.WeakKeySource || e.Message.Trust != quinta.TrustUnknown || e.Message.Sender != romeo {
			t.Errorf("got %+v", e.Message)
		}
	}
	if n, err := second.imports(file, passphrase); err != nil || n != 0 {
		t.Errorf("a second time: got %d, %v, want 0", n, err)
	}
	if err := b.update(func(tx e2ee.Tx) ([]e2ee.Event, error) { _, _, err := b.m.ExportKeys(tx, "short"); return nil, err }); quinta.KindOf(err) != quinta.KindInvalid {
		t.Errorf("a short passphrase: got %v", err)
	}
	if strings.Contains(string(file), string(romeo)) {
		t.Error("the file names a conversation in clear")
	}
}
