package wire_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/gotd/td/crypto"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// script is a connection of which only reading is of interest.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s script) Write(p []byte) (int, error) { return len(p), nil }

// FuzzFrames: no bytes bring the framing down, or make it hand out a packet
// that is longer than it may be.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\xef\x02abcdefgh"))
	f.Add([]byte("\xee\xee\xee\xee\x08\x00\x00\x00abcdefgh"))
	f.Add([]byte("\xdd\xdd\xdd\xdd\x18\x00\x00\x00abcdefghabcdefghabcdefgh"))
	f.Add(append([]byte{16, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 64)...))
	f.Add(bytes.Repeat([]byte{0x55}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := wire.Accept(script{Reader: bytes.NewReader(b)})
		if err != nil {
			return
		}
		for {
			p, _, err := fr.Read()
			if err != nil {
				return
			}
			if len(p) > len(b) {
				t.Fatalf("a packet of %d bytes out of %d", len(p), len(b))
			}
		}
	})
}

// FuzzMessages: what was decrypted is read within its bounds.
func FuzzMessages(f *testing.F) {
	f.Add(wire.Container([]wire.Message{{ID: 4, Body: []byte("body")}}))
	f.Add([]byte("\xdc\xf8\xf1\x73\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := wire.Message{Body: b}
		if all, err := m.Contained(); err == nil {
			n := 0
			for _, c := range all {
				n += len(c.Body)
			}
			if n > len(b) {
				t.Errorf("%d bytes in a container of %d", n, len(b))
			}
		}
		if out, err := wire.Unpack(b); err == nil && len(out) > wire.MaxUnpacked {
			t.Errorf("unpacked %d bytes", len(out))
		}
		if p, err := wire.ParsePlain(b); err == nil && len(p) > len(b) {
			t.Errorf("%d bytes in a message of %d", len(p), len(b))
		}
		wire.ParsePublicKey(b)
	})
}

// TestMessage: a message opens on the other side, and not reflected, changed or
// with false lengths.
func TestMessage(t *testing.T) {
	raw := make([]byte, secretchat.Size)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	k, err := secretchat.ParseKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	in := wire.Message{Salt: 1, Session: 2, ID: 3, SeqNo: 5, Body: []byte("four")}
	packet, err := in.Seal(rand.Reader, k, wire.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.OpenMessage(k, wire.FromClient, packet)
	if err != nil || got.Salt != 1 || got.Session != 2 || got.ID != 3 || !got.NeedsAck() || string(got.Body) != "four" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := wire.OpenMessage(k, wire.FromServer, packet); !errors.Is(err, secretchat.ErrTampered) {
		t.Errorf("reflected: got %v", err)
	}
	packet[40] ^= 1
	if _, err := wire.OpenMessage(k, wire.FromClient, packet); !errors.Is(err, secretchat.ErrTampered) {
		t.Errorf("changed: got %v", err)
	}
	for _, n := range []uint32{0, 3, 100, 1 << 31, 1<<32 - 4} {
		data := make([]byte, 64)
		binary.LittleEndian.PutUint32(data[28:], n)
		packet, err := secretchat.SealPadded(k, wire.FromClient, data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.OpenMessage(k, wire.FromClient, packet); !errors.Is(err, wire.ErrMessage) {
			t.Errorf("length %d: got %v, want %v", n, err, wire.ErrMessage)
		}
	}
}

// TestServerKeys: the fingerprint is that of another make, the forms of PEM are
// read, and a weak key is refused.
func TestServerKeys(t *testing.T) {
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := wire.RSAFingerprint(&good.PublicKey), crypto.RSAFingerprint(&good.PublicKey); got != want {
		t.Errorf("fingerprint: got %d, want %d", got, want)
	}
	back, err := wire.ParsePublicKey(wire.PublicPEM(&good.PublicKey))
	if err != nil || !back.Equal(&good.PublicKey) {
		t.Errorf("public key: got %v", err)
	}
	der := x509.MarshalPKCS1PublicKey(&good.PublicKey)
	if got, want := wire.KeyHash(&good.PublicKey), fmt.Sprintf("%x", sha256.Sum256(der)); got != want {
		t.Errorf("hash: got %s, want %s", got, want)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"3072 bits": wire.PublicPEM(&weak.PublicKey), "not PEM": []byte("text"), "empty": nil} {
		if _, err := wire.ParsePublicKey(text); !errors.Is(err, wire.ErrRSA) {
			t.Errorf("%s: got %v, want %v", name, err, wire.ErrRSA)
		}
	}
}
