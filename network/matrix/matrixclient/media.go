package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/attachment"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

const (
	// mediaRedirects is how often a download may be sent elsewhere.
	mediaRedirects = 3
)

// upload puts a file on the server, sealed unless the room is not encrypted.
// It streams: a file whose size is not known goes through a temporary file
// that holds what the server will hold.
func (s *Session) upload(ctx context.Context, u *client.Upload, sealed bool) (*quinta.File, error) {
	const op = "uploading"
	if u.From == nil || u.Size < -1 {
		return nil, quinta.E(quinta.KindInvalid, op, "there is nothing to upload")
	}
	src := u.From
	var seal *attachment.SealReader
	mediaType := u.MediaType
	if sealed {
		var err error
		if seal, err = attachment.NewSealReader(s.env.Rand, u.From); err != nil {
			return nil, fmt.Errorf("sealing the file: %w", err)
		}
		src, mediaType = seal, ""
	}
	size := u.Size
	if size < 0 {
		spool, n, err := dial.Spool(src)
		if err != nil {
			return nil, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
		}
		defer dial.Discard(spool)
		src, size = spool, n
	}
	mxc, err := s.link.upload(ctx, src, size, mediaType)
	if err != nil {
		return nil, err
	}
	f := &quinta.File{Name: u.Name, MediaType: u.MediaType, Size: size}
	if f.Name == "" {
		f.Name = "file"
	}
	if !sealed {
		f.Ref, err = json.Marshal(map[string]string{"url": mxc})
		return f, err
	}
	// The reader of the sealed file must have seen its end.
	if n, err := io.Copy(io.Discard, seal); err != nil || n > 0 {
		return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
	}
	desc, err := seal.File(mxc)
	if err != nil {
		return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
	}
	defer desc.Wipe()
	f.Ref = desc.Encode()
	return f, nil
}

// upload sends size bytes of r and returns their mxc address.
func (l *link) upload(ctx context.Context, r io.Reader, size int64, mediaType string) (string, error) {
	const op = "uploading"
	if _, err := l.features(ctx); err != nil {
		return "", err
	}
	ctx, w := dial.NewWatch(ctx)
	defer w.Stop()
	// The body is exactly as long as was said, or the transport fails. It may
	// be read until the transport closes it, also after an answer.
	body := dial.NewUploadBody(w.Reader(r))
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+l.route("/_matrix/media/v3/upload"), body)
	if err != nil {
		return "", &quinta.Error{Kind: quinta.KindInvalid, Op: op, Err: err}
	}
	q.ContentLength = size
	if size == 0 {
		q.Body = http.NoBody
		body.Close()
	}
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	q.Header.Set("Content-Type", mediaType)
	resp, err := l.send(op, q, false)
	if err != nil {
		body.Wait()
		return "", err
	}
	defer func() { resp.Body.Close(); w.Stop(); body.Wait() }()
	if resp.StatusCode/100 != 2 {
		return "", l.refusal(op, resp)
	}
	b, err := dial.ReadAll(resp.Body, maxError)
	if err != nil {
		return "", dial.Broken(ctx, op, err)
	}
	var v wire.Upload
	if err := (answer{body: b}).decode(op, &v); err != nil {
		return "", err
	}
	if _, _, err := splitMXC(v.URI); err != nil {
		return "", err
	}
	return v.URI, nil
}

// splitMXC returns the server name and the media id of an mxc address, whose
// grammar is that of "Matrix Content (mxc://) URIs", security considerations.
func splitMXC(uri string) (server, id string, err error) {
	rest, ok := strings.CutPrefix(uri, "mxc://")
	server, id, found := strings.Cut(rest, "/")
	if !ok || !found || !isServerName(server) || !form.Is(id, form.ID, 1, 255) {
		return "", "", quinta.E(quinta.KindMalformed, "reading the address of a file", "it is not a valid mxc address")
	}
	return server, id, nil
}

// isServerName reports whether s is a host or an IPv6 address in brackets, with
// or without a port.
func isServerName(s string) bool {
	host, rest, bracketed := strings.Cut(s, "]")
	chars, least, most := form.Digits+"ABCDEFabcdef:.", 2, 45
	if bracketed {
		var opened bool
		if host, opened = strings.CutPrefix(host, "["); !opened {
			return false
		}
	} else {
		host, rest = s, ""
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, rest = s[:i], s[i:]
		}
		chars, least, most = form.Upper+form.Lower+form.Digits+".-", 1, 230
	}
	port, found := strings.CutPrefix(rest, ":")
	return form.Is(host, chars, least, most) && (rest == "" || found && form.Is(port, form.Digits, 1, 5))
}

var _ client.Fetcher = (*Session)(nil)

// Fetch implements client.Fetcher. The ciphertext goes through a temporary
// file, and nothing is written to w before its hash was checked.
func (s *Session) Fetch(ctx context.Context, f *quinta.File, w io.Writer) error {
	const op = "fetching a file"
	if f == nil || len(f.Ref) == 0 {
		return quinta.E(quinta.KindInvalid, op, "there is no file")
	}
	var ref struct {
		URL string          `json:"url"`
		Key json.RawMessage `json:"key"`
	}
	if err := json.Unmarshal(f.Ref, &ref); err != nil {
		return quinta.E(quinta.KindMalformed, op, "the message does not say where the file is")
	}
	var desc *attachment.File
	if ref.Key != nil {
		var err error
		if desc, err = attachment.Parse(f.Ref); err != nil {
			return &quinta.Error{Kind: quinta.KindMalformed, Op: op, Err: err}
		}
		defer desc.Wipe()
	}
	server, id, err := splitMXC(ref.URL)
	if err != nil {
		return err
	}
	ctx, watch := dial.NewWatch(ctx)
	defer watch.Stop()
	body, err := s.link.download(ctx, server, id)
	if err != nil {
		return err
	}
	defer body.Close()
	if desc == nil {
		if n, err := io.Copy(w, io.LimitReader(watch.Reader(body), dial.MaxFile+1)); err != nil || n > dial.MaxFile {
			return dial.Broken(ctx, op, errors.Join(err, tooLong(n)))
		}
		return nil
	}
	spool, err := dial.TempFile()
	if err != nil {
		return &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
	}
	defer dial.Discard(spool)
	plain, err := attachment.Receive(desc, watch.Reader(body), dial.MaxFile, spool)
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

func tooLong(n int64) error {
	if n > dial.MaxFile {
		return dial.ErrLarge
	}
	return nil
}

// download opens the bytes of a file. A server of version 1.11 wants a token
// and serves files nowhere else; older ones want none. A server may send the
// download to another host, which never gets the token.
func (l *link) download(ctx context.Context, server, id string) (io.ReadCloser, error) {
	const op = "fetching a file"
	f, err := l.features(ctx)
	if err != nil {
		return nil, err
	}
	at := l.base
	if f.media {
		at += "/_matrix/client/v1/media/download/" + url.PathEscape(server) + "/" + url.PathEscape(id)
	} else {
		at += l.route("/_matrix/media/v3/download/") + url.PathEscape(server) + "/" + url.PathEscape(id)
	}
	open := !f.media
	for range mediaRedirects + 1 {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return nil, quinta.E(quinta.KindMalformed, op, "the server redirects the download to an invalid address")
		}
		resp, err := l.send(op, q, open)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode/100 == 2 {
			return resp.Body, nil
		}
		to, lerr := resp.Location()
		if resp.StatusCode/100 != 3 || lerr != nil {
			err := l.refusal(op, resp)
			resp.Body.Close()
			return nil, err
		}
		resp.Body.Close()
		home, err := url.Parse(l.base)
		if err != nil {
			return nil, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
		}
		if to.Host != home.Host || to.Scheme != home.Scheme {
			open = true
		}
		if to.Scheme != "https" && to.Host != home.Host {
			return nil, quinta.E(quinta.KindForbidden, op, "the server redirects the download to an address that is not https")
		}
		at = to.String()
	}
	return nil, quinta.E(quinta.KindInvalid, op, "the server redirects the download too many times")
}
