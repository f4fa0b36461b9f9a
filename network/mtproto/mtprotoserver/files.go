package mtprotoserver

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// maxPart is the length of the longest part, of which every other length
	// is a divisor, and partStep what it is a multiple of.
	maxPart  = 512 << 10
	partStep = 1024
	// maxParts bounds the parts of a file.
	maxParts = 8000
	// partsFor is how long parts are kept that no message names, in
	// milliseconds.
	partsFor = 24 * 60 * 60 * 1000
	// filesFor is how long a file is kept after the last message that names it:
	// that message waits a week, and its reader has another week.
	filesFor = 2 * keptFor
)

// rateParts bounds the parts that one device stores.
var rateParts = server.Rate{Every: 5 * time.Millisecond, Burst: 1000}

// saveFilePart stores one part. Its bytes are durable before its row is.
func saveFilePart(ctx context.Context, c *conn, r *wire.SaveFilePart) (any, error) {
	return c.savePart(ctx, r.FileID, r.FilePart, r.Bytes)
}

func saveBigFilePart(ctx context.Context, c *conn, r *wire.SaveBigFilePart) (any, error) {
	if r.FileTotalParts < 1 || r.FileTotalParts > maxParts || r.FilePart >= r.FileTotalParts {
		return nil, refuse(400, "FILE_PARTS_INVALID")
	}
	return c.savePart(ctx, r.FileID, r.FilePart, r.Bytes)
}

func (c *conn) savePart(ctx context.Context, file int64, part int32, data []byte) (any, error) {
	switch {
	case part < 0 || part >= maxParts || len(data) == 0 || len(data) > maxPart:
		return nil, refuse(400, "FILE_PART_INVALID")
	case int64(part)*int64(len(data)) > c.s.MaxUpload:
		return nil, refuse(400, "FILE_PART_TOO_BIG")
	}
	if wait := c.s.Limits.Allow("mtproto part", c.byKey(), rateParts, 1); wait > 0 {
		return nil, flood(wait)
	}
	id, err := c.s.Blobs.NewID()
	if err != nil {
		return nil, err
	}
	b := blob.Blob{ID: id, Type: "application/octet-stream"}
	if b.Bytes, err = c.s.Blobs.Write(ctx, bytes.NewReader(data), maxPart); err != nil {
		return nil, err
	}
	err = c.s.Update(ctx, func(tx *db.Tx) error {
		one := &call{conn: c, sec: c.s.kept, tx: tx}
		if err := one.identify(); err != nil {
			return err
		}
		b.Owner = db.UserOf(name, secretchat.UserID(one.user))
		var old string
		err := tx.Row(`SELECT blob FROM mtproto_part WHERE key_id = $1 AND file_id = $2 AND part = $3`, c.keyID, file, int64(part)).Scan(&old)
		switch {
		case errors.Is(err, db.ErrNoRows):
		case err != nil:
			return err
		default:
			if err := blob.Remove(tx, old); err != nil {
				return err
			}
		}
		if err := blob.Put(tx, b); err != nil {
			return err
		}
		return tx.Queue(`INSERT INTO mtproto_part (key_id, file_id, part, blob, size, expires) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (key_id, file_id, part) DO UPDATE SET blob = excluded.blob, size = excluded.size, expires = excluded.expires`,
			c.keyID, file, int64(part), b.ID, len(data), tx.Millis()+partsFor)
	})
	if err != nil {
		if derr := c.s.Blobs.Discard(ctx, b.Bytes); derr != nil {
			c.s.Log.Warn("mtproto: the bytes of a refused part remain until the next sweep", "err", derr)
		}
		return nil, err
	}
	return true, nil
}

// A piece is one stored part.
type piece struct {
	blob string
	size int64
}

// parts are the parts of an upload, which must all be there.
func (c *call) parts(file int64, n int32) ([]piece, error) {
	if n < 1 || n > maxParts {
		return nil, refuse(400, "FILE_PARTS_INVALID")
	}
	var out []piece
	for row, err := range c.tx.Query(`SELECT part, blob, size FROM mtproto_part WHERE key_id = $1 AND file_id = $2 ORDER BY part`, c.keyID, file) {
		if err != nil {
			return nil, err
		}
		var at int64
		var p piece
		if err := row.Scan(&at, &p.blob, &p.size); err != nil {
			return nil, err
		}
		if at == int64(len(out)) {
			out = append(out, p)
		}
	}
	if len(out) < int(n) {
		return nil, refuse(400, fmt.Sprintf("FILE_PART_%d_MISSING", len(out)))
	}
	out = out[:n]
	size := out[0].size
	for i, p := range out {
		if last := i == len(out)-1; !last && p.size != size || last && p.size > size || !last && (size%partStep != 0 || maxPart%size != 0) {
			return nil, refuse(400, "FILE_PART_SIZE_INVALID")
		}
	}
	return out, nil
}

// A file is one row.
type file struct {
	id, size, partSize, fingerprint int64
}

// take makes a file of the parts of an upload.
func (c *call) take(upload int64, n, fingerprint int32) (*file, error) {
	parts, err := c.parts(upload, n)
	if err != nil {
		return nil, err
	}
	f := &file{partSize: parts[0].size, fingerprint: int64(fingerprint)}
	for _, p := range parts {
		f.size += p.size
	}
	var b [8]byte
	if _, err := io.ReadFull(c.s.Rand, b[:]); err != nil {
		return nil, err
	}
	f.id = int64(binary.LittleEndian.Uint64(b[:]) >> 1)
	if err := c.tx.Queue(`INSERT INTO mtproto_file (id, size, part_size, fingerprint, expires) VALUES ($1, $2, $3, $4, $5)`, f.id, f.size, f.partSize, f.fingerprint, c.tx.Millis()+filesFor); err != nil {
		return nil, err
	}
	for i, p := range parts {
		if err := c.tx.Queue(`INSERT INTO mtproto_piece (file, n, blob) VALUES ($1, $2, $3)`, f.id, i, p.blob); err != nil {
			return nil, err
		}
	}
	return f, c.tx.Queue(`DELETE FROM mtproto_part WHERE key_id = $1 AND file_id = $2 AND part < $3`, c.keyID, upload, int64(n))
}

// fileByID returns a file, or db.ErrNoRows.
func fileByID(tx *db.Tx, id int64) (*file, error) {
	f := &file{id: id}
	return f, tx.Row(`SELECT size, part_size, fingerprint FROM mtproto_file WHERE id = $1`, id).Scan(&f.size, &f.partSize, &f.fingerprint)
}

// fileAccess is the access hash of a file, which only those know who were sent
// it.
func (s *secrets) fileAccess(id int64) int64 { return s.number("file", id) }

// shownFile is a file in a message. One that has gone is shown as none.
func (c *call) shownFile(id *int64) (any, error) {
	if id == nil {
		return &wire.EncryptedFileEmpty{}, nil
	}
	f, err := fileByID(c.tx, *id)
	if errors.Is(err, db.ErrNoRows) {
		return &wire.EncryptedFileEmpty{}, nil
	} else if err != nil {
		return nil, err
	}
	dc, _ := c.dc()
	return &wire.EncryptedFile{ID: f.id, AccessHash: c.sec.fileAccess(f.id), Size: f.size, DCID: int32(dc), KeyFingerprint: int32(f.fingerprint)}, nil
}

// inputFile finds or makes the file that a message names.
func (c *call) inputFile(in any) (*file, error) {
	switch in := in.(type) {
	case *wire.InputEncryptedFileUploaded:
		return c.take(in.ID, in.Parts, in.KeyFingerprint)
	case *wire.InputEncryptedFileBigUploaded:
		return c.take(in.ID, in.Parts, in.KeyFingerprint)
	case *wire.InputEncryptedFile:
		if in.AccessHash != c.sec.fileAccess(in.ID) {
			break
		}
		f, err := fileByID(c.tx, in.ID)
		if errors.Is(err, db.ErrNoRows) {
			break
		} else if err != nil {
			return nil, err
		}
		return f, c.tx.Queue(`UPDATE mtproto_file SET expires = $1 WHERE id = $2`, c.tx.Millis()+filesFor, f.id)
	}
	return nil, refuse(400, "FILE_EMTPY") // so spelt
}

// sendEncryptedFile delivers a packet with a file. The checksum, where there is
// one, is checked before the transaction.
func sendEncryptedFile(ctx context.Context, c *conn, r *wire.SendEncryptedFile) (any, error) {
	if up, ok := r.File.(*wire.InputEncryptedFileUploaded); ok && up.MD5Checksum != "" {
		if err := c.checkSum(ctx, up); err != nil {
			return nil, err
		}
	}
	var answer any
	err := c.s.Update(ctx, func(tx *db.Tx) error {
		one := &call{conn: c, sec: c.s.kept, tx: tx}
		if err := one.identify(); err != nil {
			return err
		}
		date, id, err := one.deliver(delivery{peer: r.Peer, random: r.RandomID, data: r.Data, file: r.File})
		if err != nil {
			return err
		}
		f, err := one.shownFile(id)
		answer = &wire.SentEncryptedFile{Date: int32(date), File: f}
		return err
	})
	return answer, err
}

// checkSum compares the MD5 of an upload. Of one that was sent before, whose
// parts are gone, the answer is that of the first time.
func (c *conn) checkSum(ctx context.Context, up *wire.InputEncryptedFileUploaded) error {
	var stored []blob.Blob
	err := c.s.View(ctx, func(tx *db.Tx) error {
		one := &call{conn: c, sec: c.s.kept, tx: tx}
		parts, err := one.parts(up.ID, up.Parts)
		if _, ok := errors.AsType[refusal](err); ok {
			return nil // said by the transaction, unless it is a repetition
		} else if err != nil {
			return err
		}
		for _, p := range parts {
			b, err := blob.Get(tx, p.blob)
			if err != nil {
				return err
			}
			stored = append(stored, b)
		}
		return nil
	})
	if err != nil || stored == nil {
		return err
	}
	h := md5.New()
	for _, b := range stored {
		r := c.s.Blobs.Reader(ctx, b.Bytes)
		_, err := io.Copy(h, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(h.Sum(nil))), []byte(strings.ToLower(up.MD5Checksum))) != 1 {
		return refuse(400, "MD5_CHECKSUM_INVALID")
	}
	return nil
}

// getFile returns a range of a file to whoever knows its access hash, which is
// in the message.
func getFile(ctx context.Context, c *conn, r *wire.GetFile) (any, error) {
	at, ok := r.Location.(*wire.InputEncryptedFileLocation)
	switch {
	case !ok || at.AccessHash != c.s.kept.fileAccess(at.ID):
		return nil, refuse(400, "LOCATION_INVALID")
	case r.Limit < 1 || r.Limit > maxPart:
		return nil, refuse(400, "LIMIT_INVALID")
	case r.Offset < 0:
		return nil, refuse(400, "OFFSET_INVALID")
	}
	var f *file
	var stored []blob.Blob
	from := int64(0)
	err := c.s.View(ctx, func(tx *db.Tx) (err error) {
		if f, err = fileByID(tx, at.ID); errors.Is(err, db.ErrNoRows) {
			return refuse(400, "LOCATION_INVALID")
		} else if err != nil || r.Offset >= f.size {
			return err
		}
		first, last := r.Offset/f.partSize, min(r.Offset+int64(r.Limit), f.size)
		from = r.Offset - first*f.partSize
		ids := []string{}
		for row, err := range tx.Query(`SELECT blob FROM mtproto_piece WHERE file = $1 AND n >= $2 AND n <= $3 ORDER BY n`, f.id, first, (last-1)/f.partSize) {
			if err != nil {
				return err
			}
			var id string
			if err := row.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		for _, id := range ids {
			b, err := blob.Get(tx, id)
			if err != nil {
				return err
			}
			stored = append(stored, b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, min(int64(r.Limit), max(0, f.size-r.Offset)))
	for _, b := range stored {
		n := min(b.Size-from, int64(cap(out)-len(out)))
		rd, err := c.s.Blobs.Open(ctx, b.Bytes, from, n)
		if err != nil {
			return nil, err
		}
		piece, err := io.ReadAll(io.LimitReader(rd, n))
		if err := errors.Join(err, rd.Close()); err != nil {
			return nil, err
		}
		out, from = append(out, piece...), 0
	}
	return &wire.UploadFile{Type: &wire.StorageFilePartial{}, Bytes: out}, nil
}

// sweepFiles removes parts that no message named, and files that no message
// needs any more.
func (s *mtprotoServer) sweepFiles(ctx context.Context) error {
	return s.UpdateAlways(ctx, func(tx *db.Tx) error {
		for _, sql := range []string{
			`SELECT blob FROM mtproto_part WHERE expires < $1`,
			`SELECT p.blob FROM mtproto_piece p JOIN mtproto_file f ON f.id = p.file WHERE f.expires < $1`,
		} {
			var gone []string
			for row, err := range tx.Query(sql, tx.Millis()) {
				if err != nil {
					return err
				}
				var id string
				if err := row.Scan(&id); err != nil {
					return err
				}
				gone = append(gone, id)
			}
			for _, id := range gone {
				if err := blob.Remove(tx, id); err != nil {
					return err
				}
			}
		}
		for _, sql := range []string{
			`DELETE FROM mtproto_part WHERE expires < $1`,
			`DELETE FROM mtproto_piece WHERE file IN (SELECT id FROM mtproto_file WHERE expires < $1)`,
			`DELETE FROM mtproto_file WHERE expires < $1`,
		} {
			if err := tx.Queue(sql, tx.Millis()); err != nil {
				return err
			}
		}
		return nil
	})
}
