package attachment_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/attachment"
)

// A turning source gives another byte from some reading of a place on.
type turning struct {
	data   []byte
	at     int  // the byte that changes
	by     byte // how
	passes int  // how many readings of it are right
}

func (c *turning) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(c.data)) {
		return 0, io.EOF
	}
	n := copy(p, c.data[off:])
	if c.at >= int(off) && c.at < int(off)+n {
		if c.passes <= 0 {
			p[c.at-int(off)] ^= c.by
		}
		c.passes--
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// FuzzChanging opens files whose source changes, before or between the two
// readings: what is read to its end without an error is what was sealed.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("a file"), 3, byte(1), 1, uint8(4))
	f.Add(bytes.Repeat([]byte("long "), 30_000), 70_000, byte(0x80), 0, uint8(200))
	f.Add([]byte{}, 0, byte(0), 2, uint8(0))
	f.Fuzz(func(t *testing.T, plain []byte, at int, by byte, passes int, step uint8) {
		var sealed bytes.Buffer
		w, err := attachment.NewSealWriter(bytes.NewReader(make([]byte, 64)), &sealed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		d, err := w.File("mxc://hs1/x")
		if err != nil {
			t.Fatal(err)
		}
		src := &turning{sealed.Bytes(), at, by, passes}
		r, err := attachment.Open(d, src, int64(sealed.Len()))
		if err != nil {
			if !errors.Is(err, attachment.ErrHash) {
				t.Errorf("got %v, want ErrHash", err)
			}
			return
		}
		var got []byte
		for buf := make([]byte, int(step)+1); err == nil; {
			var n int
			n, err = r.Read(buf)
			got = append(got, buf[:n]...)
		}
		if err == io.EOF && !bytes.Equal(got, plain) {
			t.Errorf("got %d bytes that are not those of the file, and no error", len(got))
		}
		if err != io.EOF && !errors.Is(err, attachment.ErrHash) {
			t.Errorf("got %v", err)
		}
	})
}
