package xmppserver

import (
	"errors"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
)

// rateFiles is the rate of uploads of one user.
var rateFiles = server.Rate{Every: 500 * time.Millisecond, Burst: 60}

func (s *xmppServer) fileCalls() {
	s.at(http.MethodPost, wire.PathFiles, endpoint{rate: rateFiles, file: true, status: http.StatusCreated, handle: (*call).postFile})
	s.at(http.MethodGet, wire.PathFile, endpoint{rate: rateRead, file: true, handle: (*call).getFile})
}

// postFile stores sealed bytes. The sealed message that names them says what
// they are.
func (c *call) postFile() (any, error) {
	if c.r.ContentLength > c.MaxUpload {
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "the file is larger than this server allows")
	}
	// The proof counts once, and before anything is stored.
	if err := c.update(func(*db.Tx) error { return nil }); err != nil {
		return nil, err
	}
	id, err := c.Blobs.NewID()
	if err != nil {
		return nil, err
	}
	b := blob.Blob{ID: id, Owner: db.UserOf(network, c.user()), Type: "application/octet-stream"}
	server.LongBody(c.w)
	if b.Bytes, err = c.Blobs.Write(c.ctx(), c.r.Body, c.MaxUpload); err != nil {
		if _, ok := errors.AsType[*quinta.Error](err); !ok {
			err = wire.NewError(http.StatusBadRequest, wire.CodeMalformed, "the body could not be read to its end")
		}
		return nil, err
	}
	if err := c.Update(c.ctx(), func(tx *db.Tx) error {
		if err := blob.Put(tx, b); err != nil {
			return err
		}
		return c.noted(tx, record{Action: "file", Detail: id})
	}); err != nil {
		if derr := c.Blobs.Discard(c.ctx(), b.Bytes); derr != nil {
			c.Log.Warn("xmpp: the bytes of a refused upload remain until the next sweep", "err", derr)
		}
		return nil, err
	}
	return wire.FileInfo{ID: id, Size: b.Size, SHA256: b.Sum}, nil
}

// getFile serves sealed bytes, or a range of them, to a user who knows their id,
// which only the sealed message says.
func (c *call) getFile() (any, error) {
	id := c.r.PathValue("id")
	if !form.Is(id, form.ID, 1, 64) {
		return nil, errNotFound
	}
	var b blob.Blob
	if err := c.update(func(tx *db.Tx) (err error) {
		b, err = blob.Get(tx, id)
		if errors.Is(err, blob.ErrUnknown) || err == nil && (!b.Filled() || b.Owner.Network() != network) {
			return errNotFound
		}
		return err
	}); err != nil {
		return nil, err
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
