package mtprotoserver_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
)

// TestAttack16Upload: missing parts, parts of odd sizes, a wrong checksum, a
// foreign access hash and ranges that are none are refused; a repetition gets
// the file of the first time; a file can be sent on without being stored twice.
func TestAttack16Upload(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		s := start(t, store)
		a, b, c := logged(t, s, "alice"), logged(t, s, "bob"), logged(t, s, "carol")
		ca, _ := opens(t, a, b, "bob", 81)
		send := func(random int64, file any) *wire.SendEncryptedFile {
			return &wire.SendEncryptedFile{Peer: ca, RandomID: random, Data: packet(t, 8), File: file}
		}
		data := bytes.Repeat([]byte("0123456789abcdef"), 150) // 2,400 bytes: two parts and a rest
		part := func(p *peer, file int64, n int32, b []byte) {
			ask[bool](p, &wire.SaveFilePart{FileID: file, FilePart: n, Bytes: b})
		}
		up := func(parts int32, sum string) *wire.InputEncryptedFileUploaded {
			return &wire.InputEncryptedFileUploaded{ID: 5, Parts: parts, MD5Checksum: sum, KeyFingerprint: -7}
		}
		part(a, 5, 0, data[:1024])
		part(a, 5, 2, data[2048:])
		a.refused(send(1, up(3, "")), 400, "FILE_PART_1_MISSING")
		part(a, 5, 1, data[1024:2047])
		a.refused(send(1, up(3, "")), 400, "FILE_PART_SIZE_INVALID")
		part(a, 5, 1, data[1024:2048])
		a.refused(send(1, up(0, "")), 400, "FILE_PARTS_INVALID")
		a.refused(send(1, up(1<<31-1, "")), 400, "FILE_PARTS_INVALID")
		a.refused(send(1, up(3, "00")), 400, "MD5_CHECKSUM_INVALID")
		a.refused(send(1, &wire.InputEncryptedFileEmpty{}), 400, "FILE_EMTPY")
		for _, bad := range []*wire.SaveFilePart{{FilePart: -1, Bytes: []byte("x")}, {FilePart: 1 << 30, Bytes: []byte("x")}, {}, {Bytes: make([]byte, 513<<10)}} {
			a.refused(bad, 400, "FILE_PART_INVALID")
		}
		a.refused(&wire.SaveBigFilePart{FilePart: 3, FileTotalParts: 3, Bytes: []byte("x")}, 400, "FILE_PARTS_INVALID")
		sum := md5.Sum(data)
		sent := ask[*wire.SentEncryptedFile](a, send(1, up(3, hex.EncodeToString(sum[:])))).File.(*wire.EncryptedFile)
		if sent.Size != int64(len(data)) || sent.KeyFingerprint != -7 || sent.DCID != 2 {
			t.Errorf("got %+v", sent)
		}
		if again := ask[*wire.SentEncryptedFile](a, send(1, up(3, hex.EncodeToString(sum[:])))).File.(*wire.EncryptedFile); again.ID != sent.ID {
			t.Error("a repetition made another file")
		}
		on := ask[*wire.SentEncryptedFile](a, send(2, &wire.InputEncryptedFile{ID: sent.ID, AccessHash: sent.AccessHash})).File.(*wire.EncryptedFile)
		if on.ID != sent.ID {
			t.Error("a file that was sent on was stored twice")
		}
		a.refused(send(3, &wire.InputEncryptedFile{ID: sent.ID, AccessHash: sent.AccessHash + 1}), 400, "FILE_EMTPY")
		d := b.difference(0, 0).NewEncryptedMessages
		got := d[0].(*wire.EncryptedMessage).File.(*wire.EncryptedFile)
		if len(d) != 2 || got.ID != sent.ID || got.AccessHash != sent.AccessHash {
			t.Fatalf("bob has %d messages, the first with %+v", len(d), got)
		}
		at := &wire.InputEncryptedFileLocation{ID: got.ID, AccessHash: got.AccessHash}
		for _, r := range []struct {
			off   int64
			limit int32
		}{{0, 512 << 10}, {0, 1}, {1000, 48}, {1024, 1024}, {2000, 4096}, {2400, 100}, {1 << 40, 100}} {
			from := min(r.off, int64(len(data)))
			want := data[from:min(from+int64(r.limit), int64(len(data)))]
			if f := ask[*wire.UploadFile](b, &wire.GetFile{Location: at, Offset: r.off, Limit: r.limit}); !bytes.Equal(f.Bytes, want) {
				t.Errorf("%+v: got %d bytes, want %d", r, len(f.Bytes), len(want))
			}
		}
		c.refused(&wire.GetFile{Location: &wire.InputEncryptedFileLocation{ID: got.ID, AccessHash: got.AccessHash + 1}, Limit: 1024}, 400, "LOCATION_INVALID")
		b.refused(&wire.GetFile{Location: at, Limit: 1 << 30}, 400, "LIMIT_INVALID")
		b.refused(&wire.GetFile{Location: at, Limit: 1, Offset: -1}, 400, "OFFSET_INVALID")
		join(t, s).refused(&wire.SaveFilePart{Bytes: []byte("x")}, 401, "AUTH_KEY_UNREGISTERED")
	})
}

// TestFilesEnd: a file is kept for as long as its message and its reader may
// need it, and then goes.
func TestFilesEnd(t *testing.T) {
	each(t, func(t *testing.T, store quintatest.Option) {
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		s := start(t, store, quintatest.Clock(now))
		a, b := logged(t, s, "alice"), logged(t, s, "bob")
		a.now, b.now = now, now
		ca, _ := opens(t, a, b, "bob", 91)
		ask[bool](a, &wire.SaveFilePart{FileID: 5, Bytes: []byte("0123456789abcdef")})
		f := ask[*wire.SentEncryptedFile](a, &wire.SendEncryptedFile{Peer: ca, RandomID: 1, Data: packet(t, 8), File: &wire.InputEncryptedFileUploaded{ID: 5, Parts: 1}}).File.(*wire.EncryptedFile)
		get := &wire.GetFile{Location: &wire.InputEncryptedFileLocation{ID: f.ID, AccessHash: f.AccessHash}, Limit: 1024}
		ahead.Add(int64(13 * 24 * time.Hour))
		if err := s.Core.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		ask[*wire.UploadFile](b, get)
		ahead.Add(int64(2 * 24 * time.Hour))
		if err := s.Core.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.refused(get, 400, "LOCATION_INVALID")
	})
}
