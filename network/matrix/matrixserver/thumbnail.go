package matrixserver

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/matrixserver/thumbnail"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	// thumbnailsAtOnce bounds the memory that making thumbnails takes, with
	// thumbnail.MaxMemory for each.
	thumbnailsAtOnce = 2
	// thumbnailWait bounds how long a call waits for its turn.
	thumbnailWait = 30 * time.Second
	// maxThumbnail bounds a thumbnail that was made, in bytes.
	maxThumbnail = 8 << 20
)

// rateThumbnail bounds thumbnails that have to be made, per user.
var rateThumbnail = server.Rate{Every: 100 * time.Millisecond, Burst: 200}

// thumbnailTypes are the types of which thumbnails are made. An encrypted
// file is not among them: only the recipients can see what it shows.
var thumbnailTypes = map[string]bool{"image/png": true, "image/jpeg": true, "image/gif": true}

// getThumbnail: "GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}".
func (c *call) getThumbnail() (any, error) {
	size, err := c.thumbnailSize()
	if err != nil {
		return nil, err
	}
	b, err := c.file()
	if err != nil {
		return nil, err
	}
	if t, _, err := mime.ParseMediaType(b.Type); err != nil || !thumbnailTypes[t] {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "no thumbnail can be made of a file of this type")
	}
	v, err := c.madeBefore(b, size)
	if err != nil {
		return nil, err
	}
	if v == nil {
		if err := limited(c.Limits.Allow("thumbnail", server.ByUser(network, c.user), rateThumbnail, 1)); err != nil {
			return nil, err
		}
		if v, err = c.makeThumbnail(b, size); err != nil {
			return nil, err
		}
	}
	return nil, c.sendFile(v.Type, thumbnailName(v.Type), v.Bytes)
}

// thumbnailSize reads which size is requested.
func (c *call) thumbnailSize() (thumbnail.Size, error) {
	var dim [2]int
	for i, name := range []string{"width", "height"} {
		s := c.param(name)
		if s == "" {
			return thumbnail.Size{}, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, name+" is missing")
		}
		n, err := strconv.Atoi(s)
		if err != nil || n <= 0 {
			return thumbnail.Size{}, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, name+" is not a positive number")
		}
		dim[i] = n
	}
	switch m := c.param("method"); m {
	case "crop", "scale", "":
		return thumbnail.Pick(dim[0], dim[1], m == "crop"), nil
	}
	return thumbnail.Size{}, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "method is neither crop nor scale")
}

// madeBefore finds a thumbnail that is there already, or returns nil.
func (c *call) madeBefore(b blob.Blob, size thumbnail.Size) (*blob.Variant, error) {
	var v blob.Variant
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) { v, err = blob.GetVariant(tx, b.ID, size.String()); return err })
	if errors.Is(err, blob.ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// makeThumbnail makes a thumbnail and keeps it. An image that is small enough
// is its own.
func (c *call) makeThumbnail(b blob.Blob, size thumbnail.Size) (*blob.Variant, error) {
	ctx, cancel := context.WithTimeout(c.ctx(), thumbnailWait)
	defer cancel()
	select {
	case c.thumbnails <- struct{}{}:
		defer func() { <-c.thumbnails }()
	case <-ctx.Done():
		return nil, quinta.E(quinta.KindUnavailable, "", "too many thumbnails are being made")
	}
	// Another call may have made it meanwhile.
	if v, err := c.madeBefore(b, size); err != nil || v != nil {
		return v, err
	}
	r := c.Blobs.Reader(c.ctx(), b.Bytes)
	defer r.Close()
	im, err := thumbnail.Make(r, size)
	switch {
	case errors.Is(err, thumbnail.ErrUnsupported):
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "the file is not an image that can be read")
	case errors.Is(err, thumbnail.ErrTooLarge):
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "the image is too large for a thumbnail")
	case err != nil:
		return nil, err
	case im.Data == nil:
		return &blob.Variant{Type: im.Type, Bytes: b.Bytes}, nil
	}
	w, err := c.Blobs.Write(c.ctx(), bytes.NewReader(im.Data), maxThumbnail)
	if err != nil {
		return nil, err
	}
	v := &blob.Variant{Type: im.Type, Bytes: w}
	err = c.Update(c.ctx(), func(tx *db.Tx) error { return blob.PutVariant(tx, b.ID, size.String(), *v) })
	if err != nil {
		return nil, errors.Join(err, c.Blobs.Discard(c.ctx(), w))
	}
	return v, nil
}

func thumbnailName(mediaType string) string {
	switch mediaType {
	case "image/jpeg":
		return "thumbnail.jpg"
	case "image/gif":
		return "thumbnail.gif"
	}
	return "thumbnail.png"
}
