package rocketchatclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

var _ client.Fetcher = (*Session)(nil)

// upload seals a file and puts it on the server. What the file is goes with it,
// sealed with the room's key; the message that shows it is sent later.
func (s *Session) upload(ctx context.Context, room quinta.RoomID, u *client.Upload) (*rocketchat.UploadedFile, error) {
	const op = "uploading"
	if u.From == nil || u.Size < -1 {
		return nil, quinta.E(quinta.KindInvalid, op, "there is nothing to upload")
	}
	if err := s.change(ctx, op, func(tx e2ee.Tx) error { return s.machine.Establish(tx, room) }); err != nil {
		return nil, err
	}
	if err := s.runner.Wait(ctx, "waiting for the room's key", func(tx e2ee.Tx) (bool, error) {
		r, err := s.machine.Room(tx, room)
		return r.HasKey, err
	}); err != nil {
		return nil, errorOf(op, err)
	}
	sealer, err := rocketchat.NewFileSealer(s.env.Rand, u.From)
	if err != nil {
		return nil, err
	}
	// The form needs the hash of the whole before its bytes: the sealed file goes
	// through a temporary file that holds what the server will hold.
	spool, n, err := dial.Spool(sealer)
	if err != nil {
		return nil, &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
	}
	defer dial.Discard(spool)
	key, size, err := sealer.Key()
	if err != nil || size != n || u.Size >= 0 && u.Size != size {
		return nil, quinta.E(quinta.KindInvalid, op, "the file does not have the announced length")
	}
	f := &rocketchat.UploadedFile{Name: u.Name, MediaType: u.MediaType, Size: size, Key: key}
	if f.Name == "" {
		f.Name = "file"
	}
	if f.MediaType == "" {
		f.MediaType = "application/octet-stream"
	}
	var content rocketchat.Content
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		content, err = s.machine.SealUpload(tx, room, f.Name, f.MediaType, key)
		return err
	}); err != nil {
		return nil, errorOf(op, err)
	}
	f.ID, f.Link, err = s.link.upload(ctx, room, rocketchat.HashName(f.Name), content, spool)
	return f, err
}

// upload sends the form of a file.
func (l *link) upload(ctx context.Context, room quinta.RoomID, name string, content rocketchat.Content, sealed io.Reader) (id, link string, err error) {
	const op = "uploading"
	ctx, watch := dial.NewWatch(ctx)
	defer watch.Stop()
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	go func() { pw.CloseWithError(writeForm(form, name, content, sealed)) }()
	body := dial.NewUploadBody(watch.Reader(pr))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.base+wire.PathAPI+"rooms.media/"+url.PathEscape(string(room)), body)
	if err != nil {
		return "", "", quinta.E(quinta.KindInvalid, op, "the request has no valid address")
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := l.send(op, r)
	if err != nil {
		pr.CloseWithError(err)
		body.Wait()
		return "", "", err
	}
	defer func() { resp.Body.Close(); watch.Stop(); pr.CloseWithError(io.ErrClosedPipe); body.Wait() }()
	if resp.StatusCode/100 != 2 {
		return "", "", l.refusal(op, resp)
	}
	raw, err := dial.ReadAll(resp.Body, maxError)
	if err != nil {
		return "", "", dial.Broken(ctx, op, err)
	}
	var a struct {
		File struct {
			ID  string `json:"_id"`
			URL string `json:"url"`
		} `json:"file"`
	}
	if json.Unmarshal(raw, &a) != nil || a.File.ID == "" || !strings.HasPrefix(a.File.URL, wire.PathFiles) {
		return "", "", quinta.E(quinta.KindMalformed, op, "the server's answer names no file")
	}
	return a.File.ID, a.File.URL, nil
}

func writeForm(form *multipart.Writer, name string, content rocketchat.Content, sealed io.Reader) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if err := form.WriteField("content", string(raw)); err != nil {
		return err
	}
	part, err := form.CreateFormFile("file", name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(part, sealed); err != nil {
		return err
	}
	return form.Close()
}

// Fetch implements client.Fetcher. The opened file goes through a temporary file,
// and nothing is written to w before its hash was checked.
func (s *Session) Fetch(ctx context.Context, f *quinta.File, w io.Writer) error {
	const op = "fetching a file"
	if f == nil || len(f.Ref) == 0 {
		return quinta.E(quinta.KindInvalid, op, "there is no file")
	}
	link, key, err := rocketchat.ParseFileRef(f.Ref)
	if err != nil {
		return errorOf(op, err)
	}
	// The login goes to the server's own files alone, whatever a message says.
	if !strings.HasPrefix(link, wire.PathFiles) || strings.Contains(link, "..") || strings.ContainsAny(link, "\\?#") {
		return quinta.E(quinta.KindMalformed, op, "the message does not say where the file is")
	}
	ctx, watch := dial.NewWatch(ctx)
	defer watch.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.link.base+link, nil)
	if err != nil {
		return quinta.E(quinta.KindMalformed, op, "the message does not say where the file is")
	}
	resp, err := s.link.send(op, r)
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
	switch err := rocketchat.OpenFile(spool, key, io.LimitReader(watch.Reader(resp.Body), dial.MaxFile)); {
	case errors.Is(err, rocketchat.ErrTampered):
		return errorOf(op, err)
	case err != nil:
		return dial.Broken(ctx, op, err)
	}
	watch.Rest()
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return &quinta.Error{Kind: quinta.KindInternal, Op: op, Err: err}
	}
	if _, err := io.Copy(w, spool); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}
