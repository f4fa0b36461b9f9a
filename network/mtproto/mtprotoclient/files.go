package mtprotoclient

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

var _ client.Fetcher = (*Session)(nil)

const (
	// partSize is the length of every part but the last.
	partSize = 512 << 10
	// bigFrom is from which size on parts are those of a big file.
	bigFrom = 10 << 20
)

// upload seals a file and stores it on the server part by part. A file whose
// size is not known goes through a temporary file that holds what the server
// will hold.
func (s *Session) upload(ctx context.Context, u *client.Upload) (*quinta.File, error) {
	const op = "uploading"
	if u.From == nil || u.Size < -1 || u.Size == 0 || u.Size > secretchat.MaxFileSize {
		return nil, quinta.E(quinta.KindInvalid, op, "the file is empty or too large")
	}
	key, err := secretchat.NewFileKey(s.env.Rand)
	if err != nil {
		return nil, err
	}
	counted := &counter{r: u.From}
	src, err := key.Seal(s.env.Rand, counted)
	if err != nil {
		return nil, err
	}
	sealed := secretchat.SealedFileSize(u.Size)
	if u.Size < 0 {
		spool, n, err := dial.Spool(src)
		if err != nil {
			return nil, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
		}
		defer dial.Discard(spool)
		src, sealed = spool, n
	}
	up, err := s.store(ctx, src, sealed)
	if err != nil {
		return nil, err
	}
	if u.Size >= 0 && counted.n != u.Size || counted.n == 0 {
		return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
	}
	up.Fingerprint = key.Fingerprint()
	f := &quinta.File{Name: u.Name, MediaType: u.MediaType, Size: counted.n, Ref: e2ee.JSON(secretchat.FileRef{Key: key.Key(), IV: key.IV(), Size: counted.n, Upload: up})}
	if f.Name == "" {
		f.Name = "file"
	}
	return f, nil
}

// A counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// store stores size bytes in parts.
func (s *Session) store(ctx context.Context, r io.Reader, size int64) (*secretchat.Upload, error) {
	const op = "uploading"
	var b [8]byte
	if _, err := io.ReadFull(s.env.Rand, b[:]); err != nil {
		return nil, fmt.Errorf("making an id: %w", err)
	}
	up := &secretchat.Upload{ID: int64(binary.LittleEndian.Uint64(b[:])), Big: size > bigFrom}
	total := int32((size + partSize - 1) / partSize)
	live, release, err := s.runner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	buf := make([]byte, partSize)
	for {
		n, err := io.ReadFull(r, buf)
		if n == 0 && err == io.EOF {
			return up, nil
		}
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
		}
		var req any = &wire.SaveFilePart{FileID: up.ID, FilePart: int32(up.Parts), Bytes: buf[:n]}
		if up.Big {
			req = &wire.SaveBigFilePart{FileID: up.ID, FilePart: int32(up.Parts), FileTotalParts: total, Bytes: buf[:n]}
		}
		if up.Parts >= int(total) {
			return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
		}
		if _, err := s.link.call(live, req); err != nil {
			return nil, errorOf(op, err)
		}
		up.Parts++
	}
}

// Fetch implements client.Fetcher. The sealed file goes through a temporary file,
// and nothing is written to w before all of it has arrived. Its content is not
// authenticated: a server can garble it, but cannot forge it.
func (s *Session) Fetch(ctx context.Context, f *quinta.File, w io.Writer) error {
	const op = "fetching a file"
	if f == nil || len(f.Ref) == 0 {
		return quinta.E(quinta.KindInvalid, op, "there is no file")
	}
	var ref secretchat.FileRef
	if err := json.Unmarshal(f.Ref, &ref); err != nil || ref.Location == nil {
		return quinta.E(quinta.KindMalformed, op, "the message does not say where the file is")
	}
	key, err := secretchat.ParseFileKey(ref.Key, ref.IV)
	if err != nil {
		return &quinta.Error{Kind: quinta.KindMalformed, Op: op, Err: err}
	}
	if ref.Size < 0 || ref.Size > secretchat.MaxFileSize || ref.Location.Size != secretchat.SealedFileSize(ref.Size) {
		return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: secretchat.ErrFileSize}
	}
	live, release, err := s.runner.Connect(ctx)
	if err != nil {
		return err
	}
	defer release()
	spool, err := dial.TempFile()
	if err != nil {
		return &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
	}
	defer dial.Discard(spool)
	// The spooled file is what the server has: it stays sealed until it is
	// written to w.
	n, err := io.Copy(spool, io.LimitReader(&ranges{ctx: live, link: s.link, at: ref.Location}, ref.Location.Size+1))
	if err == nil && n != ref.Location.Size {
		err = secretchat.ErrFileSize
	}
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = key.Open(w, spool, ref.Size, ref.Location.Fingerprint)
	}
	switch {
	case errors.Is(err, secretchat.ErrFileKey), errors.Is(err, secretchat.ErrFileSize):
		return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	case err != nil:
		return errorOf(op, err)
	}
	if ref.Room == "" {
		return nil
	}
	defer s.link.nudge() // a timer may have begun
	return s.do(ctx, op, func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, s.machine.Opened(tx, ref.Room, ref.ID) })
}

// ranges reads a file of the server range by range.
type ranges struct {
	ctx  context.Context
	link *link
	at   *secretchat.Location
	off  int64
	have []byte
	end  bool
}

// Read implements io.Reader.
func (r *ranges) Read(p []byte) (int, error) {
	if len(r.have) == 0 && !r.end {
		o, err := r.link.call(r.ctx, &wire.GetFile{Location: &wire.InputEncryptedFileLocation{ID: r.at.ID, AccessHash: r.at.Access}, Offset: r.off, Limit: partSize})
		if err != nil {
			return 0, err
		}
		f, ok := o.(*wire.UploadFile)
		if !ok || len(f.Bytes) > partSize {
			return 0, quinta.E(quinta.KindUnavailable, "fetching a file", "the server's answer is not what this call returns")
		}
		r.have, r.end = f.Bytes, len(f.Bytes) < partSize
		r.off += int64(len(f.Bytes))
	}
	if len(r.have) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.have)
	r.have = r.have[n:]
	return n, nil
}
