package keysrv_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
)

// FuzzOpen hands made-up payloads to both suites: in the default one nothing
// opens that was not sealed.
func FuzzOpen(f *testing.F) {
	gcm, cbc := newCipher(f, keysrv.SuiteGCM, 1), newCipher(f, keysrv.SuiteCBC, 1)
	real, err := keysrv.Seal(gcm, random(1), binding(), hello())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(real)
	f.Add(bytes.Repeat([]byte{1}, 48))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if _, err := keysrv.Open(gcm, binding(), payload); err == nil && !bytes.Equal(payload, real) {
			t.Error("something opened that no one sealed")
		}
		if _, err := keysrv.Open(cbc, binding(), payload); err != nil && keysrv.ReasonOf(err) == "" {
			t.Errorf("got %v, want a reason", err)
		}
	})
}

// FuzzPacket reads attributes and texts: what is read is written in the same
// form again.
func FuzzPacket(f *testing.F) {
	f.Add("5YGC0FF90k", " 5MFUu9BmMxjkAhHs5OSqjQ== ")
	f.Fuzz(func(t *testing.T, id, text string) {
		p, err := keysrv.ParsePacket(id, text)
		if err != nil {
			if !errors.Is(err, keysrv.ErrMalformed) {
				t.Errorf("got %v, want ErrMalformed", err)
			}
			return
		}
		again, err := keysrv.ParsePacket(p.ObjectID, p.Text())
		if err != nil || !bytes.Equal(again.Payload, p.Payload) {
			t.Errorf("got %v, %v", again, err)
		}
	})
}

// FuzzObject reads JSON of objects and devices: what is taken has the right form
// when it was written and read again.
func FuzzObject(f *testing.F) {
	a := newOwner(f, romeo, 1)
	raw, err := json.Marshal(a.Device)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"id":"a","conversation":"d_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","mode":"escrow","suite":"A256GCM","created":"2026-05-01T12:00:00Z","expires":"2026-05-02T12:00:00Z","creator":"a@b","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if o, err := keysrv.ParseObject(raw); err == nil {
			if _, err := keysrv.ParseObject(o.Encode()); err != nil {
				t.Errorf("an object: %v", err)
			}
		}
		if d, err := keysrv.ParseDevice(raw); err == nil && !d.Same(a.Device) {
			t.Error("a device that no one signed")
		}
	})
}

// FuzzProof reads made-up proofs: none passes that its key did not sign.
func FuzzProof(f *testing.F) {
	a := newOwner(f, romeo, 1)
	text, err := keysrv.NewProof(random(1), a.sign, "GET", "https://h/x", "t", began)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, in string) {
		if p, err := keysrv.ParseProof(in); err == nil && p.Key == a.Signing && in != text {
			t.Error("a proof that no one signed")
		}
	})
}

// FuzzSegments opens made-up files: only the real one does not end in an error.
func FuzzSegments(f *testing.F) {
	k, err := key.GenerateSymmetric[key.Attachment](random(1))
	if err != nil {
		f.Fatal(err)
	}
	s, err := keysrv.NewSegmentSealer(k, bytes.NewReader([]byte("a file")))
	if err != nil {
		f.Fatal(err)
	}
	real, err := io.ReadAll(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(real, uint64(0))
	f.Fuzz(func(t *testing.T, sealed []byte, first uint64) {
		o, err := keysrv.NewSegmentOpener(k, bytes.NewReader(sealed), first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(o); err == nil && !(first == 0 && bytes.Equal(sealed, real)) {
			t.Error("a file opened that no one sealed")
		}
	})
}
