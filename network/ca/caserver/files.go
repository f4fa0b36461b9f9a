package caserver

import (
	"errors"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
)

func (s *caServer) fileCalls() {
	s.at(http.MethodPost, wire.PathFiles, endpoint{long: true, file: true, rate: rateFiles, status: http.StatusCreated, handle: (*call).postFile})
	s.at(http.MethodGet, wire.PathFile, endpoint{long: true, file: true, rate: rateRead, handle: (*call).getFile})
}

// postFile stores sealed bytes. The sealed message that names them says what
// they are.
func (c *call) postFile() (any, error) {
	if c.r.ContentLength > c.MaxUpload {
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "the file is larger than this server allows")
	}
	id, err := c.Blobs.NewID()
	if err != nil {
		return nil, err
	}
	b := blob.Blob{ID: id, Owner: db.UserOf(network, c.user), Type: "application/octet-stream"}
	server.LongBody(c.w)
	if b.Bytes, err = c.Blobs.Write(c.ctx(), c.r.Body, c.MaxUpload); err != nil {
		if _, ok := errors.AsType[*quinta.Error](err); !ok {
			err = wire.NewError(http.StatusBadRequest, wire.CodeMalformed, "the body could not be read to its end")
		}
		return nil, err
	}
	if err := c.Update(c.ctx(), func(tx *db.Tx) error { return blob.Put(tx, b) }); err != nil {
		if derr := c.Blobs.Discard(c.ctx(), b.Bytes); derr != nil {
			c.Log.Warn("ca: the bytes of a refused upload remain until the next sweep", "err", derr)
		}
		return nil, err
	}
	return wire.FileInfo{File: id, Size: b.Size, SHA256: b.Sum}, nil
}

// getFile serves sealed bytes to whoever knows their id, which only the sealed
// message says.
func (c *call) getFile() (any, error) {
	id := c.r.PathValue("file")
	if !form.Is(id, form.ID, 1, 64) {
		return nil, notFound("there is no such file")
	}
	var b blob.Blob
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		b, err = blob.Get(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !b.Filled() || b.Owner.Network() != network {
		return nil, notFound("there is no such file")
	}
	r := c.Blobs.Reader(c.ctx(), b.Bytes)
	defer r.Close()
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, max-age=86400, immutable")
	h.Set("Content-Disposition", "attachment")
	c.done = true
	http.ServeContent(c.w, c.r, "", time.Time{}, r)
	return nil, nil
}
