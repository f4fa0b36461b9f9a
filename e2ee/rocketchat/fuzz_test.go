package rocketchat

import (
	"bytes"
	"crypto/rand"
	"testing"
)

func FuzzKeyBlob(f *testing.F) {
	for _, b := range load(f).Blobs {
		f.Add(b.Blob)
	}
	f.Add(`{"iv":"AAAAAAAAAAAAAAAA","ciphertext":"","salt":"s","iterations":1e9}`)
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := parseBlob(text, "user"); err == nil && (b.iterations < iterationsV1 || b.iterations > maxIterations || len(b.sealed) < minBlobText || b.salt == "") {
			t.Errorf("got %+v of %q", b, text)
		}
	})
}

func FuzzJWK(f *testing.F) {
	v := load(f)
	for _, k := range v.KeyPairs {
		f.Add(k.Public)
		f.Add(k.Private)
	}
	for _, k := range v.SessionKeys {
		f.Add(k.JWK)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParsePublicKey(text); err == nil {
			if again, err := ParsePublicKey(p.String()); err != nil || !again.Equal(p) {
				t.Errorf("got %v, %v of %q", again, err, text)
			}
		}
		if k, err := ParseRoomKey("id", text); err == nil {
			c, err := SealContent(rand.Reader, k, []byte("x"))
			if k.Form() == V1 {
				return // an id of two characters has no string form
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := OpenContent(k, c); err != nil || string(got) != "x" {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

func FuzzContent(f *testing.F) {
	v := load(f)
	for _, m := range v.Messages[:60] {
		f.Add([]byte(m.Content))
	}
	for _, m := range v.Mixed {
		f.Add([]byte(m.Content))
	}
	keys := []RoomKey{v.room(f, 0), v.room(f, 1), v.room(f, 2), v.room(f, 3)}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseContent(raw)
		if err != nil {
			return
		}
		for _, k := range keys {
			if plain, err := OpenContent(k, c); err == nil {
				if c.RoomKeyID() != k.ID() {
					t.Errorf("got %q opened with another key", plain)
				}
				_, _ = ParseBody(plain)
			}
		}
	})
}

func FuzzWrapped(f *testing.F) {
	v := load(f)
	for _, k := range v.SessionKeys {
		f.Add(k.Wrapped[0].E2EKey)
	}
	mine := v.private(f, 0)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Unwrap(mine, text)
		if err == nil && (k.ID() == "" || k.IsZero()) {
			t.Errorf("got a key without an id of %q", text)
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, m := range load(f).Messages[:30] {
		f.Add([]byte(m.Plain))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBody(raw)
		if err == nil {
			again, err := ParseBody(TextBody(b.Text))
			if err != nil || again.Text != string(bytes.ToValidUTF8([]byte(b.Text), []byte("\ufffd"))) {
				t.Errorf("got %q, %v, want %q", again.Text, err, b.Text)
			}
		}
	})
}
