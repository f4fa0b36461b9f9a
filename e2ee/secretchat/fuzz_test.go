package secretchat

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/tg/e2e"
)

// FuzzOpen: no packet brings Open down, and one that it did not seal does not
// open.
func FuzzOpen(f *testing.F) {
	k, err := ParseKey(bytes.Repeat([]byte{3}, Size))
	if err != nil {
		f.Fatal(err)
	}
	packet, err := Seal(rand.Reader, k, Creator, []byte("body"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet[headSize:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		head := append(bytes.Clone(packet[:headSize]), b...)
		if body, err := Open(k, Creator, head); err == nil && !bytes.Equal(head, packet) {
			t.Errorf("a foreign packet opened to %x", body)
		}
		OpenV1(k, head)
	})
}

// FuzzParse: what parses serializes again to an object that parses alike.
func FuzzParse(f *testing.F) {
	for _, m := range []e2e.DecryptedMessageClass{
		&e2e.DecryptedMessage{Message: "text", Entities: []e2e.MessageEntityClass{&e2e.MessageEntityBold{Length: 2}}, Media: &e2e.DecryptedMessageMediaDocument{}},
		&e2e.DecryptedMessageService{Action: &e2e.DecryptedMessageActionResend{StartSeqNo: 1, EndSeqNo: 3}},
	} {
		b, err := Marshal(rand.Reader, Header{Layer: 144}, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, m, err := Parse(b)
		if err != nil {
			return
		}
		var one, two bin.Buffer
		if err := m.Encode(&one); err != nil {
			t.Fatalf("what was parsed does not serialize: %v", err)
		}
		again, err := Marshal(rand.Reader, h, m)
		if err != nil {
			return // longer than a packet may be
		}
		_, m2, err := Parse(again)
		if err != nil {
			t.Fatalf("what was serialized does not parse: %v", err)
		}
		if err := m2.Encode(&two); err != nil || !bytes.Equal(one.Buf, two.Buf) {
			t.Errorf("another object: %x, then %x (%v)", one.Buf, two.Buf, err)
		}
	})
}

// FuzzFile: opening writes no more than the size that the message says.
func FuzzFile(f *testing.F) {
	k, err := ParseFileKey(make([]byte, 32), make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("sixteen bytes..."), int64(3))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		var out bytes.Buffer
		err := k.Open(&out, bytes.NewReader(b), size, k.Fingerprint())
		if int64(out.Len()) > max(size, 0) || err == nil && int64(len(b)) != SealedFileSize(size) {
			t.Errorf("%d bytes of a file of %d written from %d: %v", out.Len(), size, len(b), err)
		}
	})
}
