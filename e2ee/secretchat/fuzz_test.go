package secretchat

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
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
	for _, m := range []schema.Message{
		&schema.DecryptedMessage{Message: "text", Entities: []schema.Entity{&schema.MessageEntityBold{Length: 2}}, Media: &schema.DecryptedMessageMediaDocument{}},
		&schema.DecryptedMessageService{Action: &schema.DecryptedMessageActionResend{StartSeqNo: 1, EndSeqNo: 3}},
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
		again, err := Marshal(rand.Reader, h, m)
		if err != nil {
			return // longer than a packet may be
		}
		_, m2, err := Parse(again)
		if err != nil {
			t.Fatalf("what was serialized does not parse: %v", err)
		}
		if one, two := serialized(t, m), serialized(t, m2); !bytes.Equal(one, two) {
			t.Errorf("another object: %x, then %x", one, two)
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
