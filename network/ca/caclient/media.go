package caclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/attachment"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/dial"
)

// fileURN begins the name of a file inside of a message; the rest is the id
// that the server gave.
const fileURN = "urn:quinta:ca:file:"

// upload seals a file and puts it on the server. It streams: a file whose size
// is not known goes through a temporary file that holds what the server will
// hold.
func (s *Session) upload(ctx context.Context, u *client.Upload) (*quinta.File, error) {
	const op = "uploading"
	if u.From == nil || u.Size < -1 {
		return nil, quinta.E(quinta.KindInvalid, op, "there is nothing to upload")
	}
	seal, err := attachment.NewSealReader(s.env.Rand, u.From)
	if err != nil {
		return nil, fmt.Errorf("sealing the file: %w", err)
	}
	src, size := io.Reader(seal), u.Size
	if size < 0 {
		spool, n, err := dial.Spool(src)
		if err != nil {
			return nil, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
		}
		defer dial.Discard(spool)
		src, size = spool, n
	}
	info, err := s.link.upload(ctx, src, size)
	if err != nil {
		return nil, err
	}
	// The reader of the sealed file must have seen its end.
	if n, err := io.Copy(io.Discard, seal); err != nil || n > 0 {
		return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
	}
	desc, err := seal.File(fileURN + info.File)
	if err != nil {
		return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
	}
	defer desc.Wipe()
	if sum := desc.Hash(); !bytes.Equal(sum[:], info.SHA256) || info.Size != size {
		return nil, quinta.E(quinta.KindUnavailable, op, "the server did not store what was sent")
	}
	f := &quinta.File{Name: u.Name, MediaType: u.MediaType, Size: size, Ref: desc.Encode()}
	if f.Name == "" {
		f.Name = "file"
	}
	return f, nil
}

// upload sends size bytes of r.
func (l *link) upload(ctx context.Context, r io.Reader, size int64) (*wire.FileInfo, error) {
	const op = "uploading"
	ctx, w := dial.NewWatch(ctx)
	defer w.Stop()
	// The body is exactly as long as was said, or the transport fails. It may
	// be read until the transport closes it, also after an answer.
	body := dial.NewUploadBody(w.Reader(r))
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+wire.Base+wire.PathFiles, body)
	if err != nil {
		return nil, &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	}
	q.ContentLength = size
	if size == 0 {
		q.Body = http.NoBody
		body.Close()
	}
	q.Header.Set("Content-Type", "application/octet-stream")
	resp, err := l.send(op, q, false)
	if err != nil {
		body.Wait()
		return nil, err
	}
	defer func() { resp.Body.Close(); w.Stop(); body.Wait() }()
	if resp.StatusCode/100 != 2 {
		return nil, l.refusal(op, resp)
	}
	b, err := dial.ReadAll(resp.Body, maxError)
	if err != nil {
		return nil, dial.Broken(ctx, op, err)
	}
	var info wire.FileInfo
	if err := json.Unmarshal(b, &info); err != nil || !form.Is(info.File, form.ID, 1, 64) {
		return nil, quinta.E(quinta.KindMalformed, op, "the server's answer names no file")
	}
	return &info, nil
}

var _ client.Fetcher = (*Session)(nil)

// Fetch implements client.Fetcher. The ciphertext goes through a temporary
// file, and nothing is written to w before its hash was checked.
func (s *Session) Fetch(ctx context.Context, f *quinta.File, w io.Writer) error {
	const op = "fetching a file"
	if f == nil || len(f.Ref) == 0 {
		return quinta.E(quinta.KindInvalid, op, "there is no file")
	}
	desc, err := attachment.Parse(f.Ref)
	if err != nil {
		return &quinta.Error{Kind: quinta.KindMalformed, Op: op, Err: err}
	}
	defer desc.Wipe()
	id, ok := strings.CutPrefix(desc.URL, fileURN)
	if !ok || !form.Is(id, form.ID, 1, 64) {
		return quinta.E(quinta.KindMalformed, op, "the message does not say where the file is")
	}
	ctx, watch := dial.NewWatch(ctx)
	defer watch.Stop()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.link.base+wire.Base+dial.Path(wire.PathFile, id), nil)
	if err != nil {
		return &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
	}
	resp, err := s.link.send(op, q, false)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s.link.refusal(op, resp)
	}
	spool, err := dial.TempFile()
	if err != nil {
		return &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
	}
	defer dial.Discard(spool)
	plain, err := attachment.Receive(desc, watch.Reader(resp.Body), dial.MaxFile, spool)
	switch {
	case errors.Is(err, attachment.ErrHash):
		return &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	case errors.Is(err, attachment.ErrTooLarge):
		return &quinta.Error{Kind: quinta.KindTooLarge, Op: op, Err: err}
	case err != nil:
		return dial.Broken(ctx, op, err)
	}
	watch.Rest()
	if _, err := io.Copy(w, plain); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}
