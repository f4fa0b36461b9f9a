package xmppclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

// fetchTries is how often in a row a file may break off without a segment more.
const fetchTries = 5

// upload seals a file in segments and puts it on the key server. It streams: a
// file whose size is not known goes through a temporary file that holds what
// the server will hold.
func (s *Session) upload(ctx context.Context, u *client.Upload) (*quinta.File, error) {
	const op = "uploading"
	if u.From == nil || u.Size < -1 || u.Size > keysrv.MaxFile {
		return nil, quinta.E(quinta.KindInvalid, op, "there is nothing to upload, or too much")
	}
	k, err := key.GenerateSymmetric[key.Attachment](s.env.Rand)
	if err != nil {
		return nil, fmt.Errorf("making the key of a file: %w", err)
	}
	seal, err := keysrv.NewSegmentSealer(k, u.From)
	if err != nil {
		return nil, fmt.Errorf("sealing the file: %w", err)
	}
	sum := sha256.New()
	src, size := io.TeeReader(seal, sum), int64(0)
	if u.Size >= 0 {
		size = keysrv.SealedFileSize(u.Size)
	} else {
		spool, n, err := dial.Spool(src)
		if err != nil {
			return nil, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
		}
		defer dial.Discard(spool)
		src, size = spool, n
	}
	var info *wire.FileInfo
	if err := s.online(ctx, func(ctx context.Context, c *connection) error {
		info, err = s.link.keys.upload(ctx, c, s.account.Component, src, size)
		return err
	}); err != nil {
		return nil, err
	}
	if n, err := io.Copy(io.Discard, seal); err != nil || n > 0 || u.Size >= 0 && seal.Size() != u.Size {
		return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
	}
	if !bytes.Equal(sum.Sum(nil), info.SHA256) || info.Size != size {
		return nil, quinta.E(quinta.KindUnavailable, op, "the server did not store what was sent")
	}
	ref := keysrv.FileRef{ID: info.ID, Key: k}
	f := &quinta.File{Name: u.Name, MediaType: u.MediaType, Size: seal.Size(), Ref: ref.Encode()}
	if f.Name == "" {
		f.Name = "file"
	}
	return f, nil
}

// upload sends size bytes of r.
func (k *keyServer) upload(ctx context.Context, c *connection, component string, r io.Reader, size int64) (*wire.FileInfo, error) {
	const op = "uploading"
	token, base, now, err := k.session(ctx, c, component)
	if err != nil {
		return nil, err
	}
	ctx, w := dial.NewWatch(ctx)
	defer w.Stop()
	// The body may be read until the transport closes it, also after an answer.
	body := dial.NewUploadBody(w.Reader(r))
	q, err := k.request(ctx, op, http.MethodPost, base, wire.PathFiles, token, now, body)
	if err != nil {
		return nil, err
	}
	q.ContentLength = size
	q.Header.Set("Content-Type", "application/octet-stream")
	resp, err := k.http.Do(q)
	if err != nil {
		body.Wait()
		return nil, dial.Broken(ctx, op, err)
	}
	defer func() { resp.Body.Close(); w.Stop(); body.Wait() }()
	raw, err := dial.ReadAll(resp.Body, wire.MaxAnswer)
	if err != nil {
		return nil, dial.Broken(ctx, op, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusalOf(op, resp.StatusCode, raw)
	}
	var info wire.FileInfo
	if err := json.Unmarshal(raw, &info); err != nil || !form.Is(info.ID, form.ID, 1, 64) {
		return nil, quinta.E(quinta.KindMalformed, op, "the server's answer names no file")
	}
	return &info, nil
}

var _ client.Fetcher = (*Session)(nil)

// errCut: the transfer of a file broke off.
var errCut = errors.New("the transfer broke off")

// Fetch implements client.Fetcher. Each segment is authentic when it is written;
// a transfer that breaks off is resumed at the next one.
func (s *Session) Fetch(ctx context.Context, f *quinta.File, w io.Writer) error {
	const op = "fetching a file"
	if f == nil || len(f.Ref) == 0 {
		return quinta.E(quinta.KindInvalid, op, "there is no file")
	}
	ref, err := keysrv.ParseFileRef(f.Ref)
	if err != nil {
		return &quinta.Error{Kind: quinta.KindMalformed, Op: op, Err: err}
	}
	return s.online(ctx, func(ctx context.Context, c *connection) error { return s.fetch(ctx, c, ref, f.Size, w) })
}

// fetch fetches a file of size bytes.
func (s *Session) fetch(ctx context.Context, c *connection, ref *keysrv.FileRef, size int64, w io.Writer) error {
	next := uint64(0) // the segment that comes next
	for tries := 0; ; tries++ {
		before := next
		err := s.fetchFrom(ctx, c, ref, &next, size, w)
		if next > before {
			tries = 0
		}
		if err == nil || quinta.KindOf(err) != quinta.KindUnavailable || ctx.Err() != nil || tries >= fetchTries {
			return err
		}
	}
}

// fetchFrom fetches segments from the one numbered *next on, which it counts up.
func (s *Session) fetchFrom(ctx context.Context, c *connection, ref *keysrv.FileRef, next *uint64, size int64, w io.Writer) error {
	const op = "fetching a file"
	keys := s.link.keys
	token, base, now, err := keys.session(ctx, c, s.account.Component)
	if err != nil {
		return err
	}
	ctx, watch := dial.NewWatch(ctx)
	defer watch.Stop()
	q, err := keys.request(ctx, op, http.MethodGet, base, dial.Path(wire.PathFile, ref.ID), token, now, nil)
	if err != nil {
		return err
	}
	want := http.StatusOK
	if *next > 0 {
		want = http.StatusPartialContent
		q.Header.Set("Range", fmt.Sprintf("bytes=%d-", *next*keysrv.SealedSegmentSize))
	}
	resp, err := keys.http.Do(q)
	if err != nil {
		return dial.Broken(ctx, op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		raw, err := dial.ReadAll(resp.Body, wire.MaxAnswer)
		if err != nil {
			return dial.Broken(ctx, op, err)
		}
		return refusalOf(op, resp.StatusCode, raw)
	}
	open, err := keysrv.NewSegmentOpener(ref.Key, cutReader{watch.Reader(resp.Body)}, *next)
	if err != nil {
		return dial.Broken(ctx, op, err)
	}
	buf := make([]byte, keysrv.SegmentSize)
	for {
		n, err := io.ReadFull(open, buf)
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch {
		case errors.Is(err, keysrv.ErrTampered):
			return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
		case err != nil && !end:
			return dial.Broken(ctx, op, err)
		}
		if end && int64(*next)*keysrv.SegmentSize+int64(n) != size {
			return quinta.E(quinta.KindInvalid, op, "the file does not have the length that its message says")
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return fmt.Errorf("writing the file: %w", err)
		}
		if end {
			return nil
		}
		*next++
	}
}

// A cutReader tells the end of a transfer that broke off from that of a file.
type cutReader struct{ io.Reader }

func (r cutReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return n, err
}
