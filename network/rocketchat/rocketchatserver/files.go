package rocketchatserver

import (
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
)

const (
	maxField = rocketchat.MaxContent // of a form, besides the file
	maxName  = 255
)

func (s *rcServer) fileCalls() {
	s.rest["POST rooms.media"] = endpoint{handle: (*call).postMedia, long: true, rate: rateFiles}
	s.post("rooms.mediaConfirm", (*call).confirmMedia)
	s.rest["GET file-upload"] = endpoint{handle: (*call).getFile, long: true, rate: rateRead}
}

// An upload is what a form of rooms.media holds.
type upload struct {
	name    string
	content []byte
	bytes   blob.Bytes
	found   bool
}

// postMedia takes the sealed bytes of a file, streamed. No message shows it until
// it is confirmed.
func (c *call) postMedia() (any, error) {
	room := quinta.RoomID(c.tail)
	if err := c.View(c.ctx, func(tx *db.Tx) error { _, _, err := c.encryptedRoom(tx, room); return err }); err != nil {
		return nil, err
	}
	server.LongBody(c.w)
	form, err := c.r.MultipartReader()
	if err != nil {
		return nil, malformed("a file must be sent as multipart/form-data")
	}
	u, err := c.readForm(form)
	if err == nil {
		var a any
		if a, err = c.keepUpload(room, u); err == nil {
			return a, nil
		}
	}
	if u.found {
		if derr := c.Blobs.Discard(c.ctx, u.bytes); derr != nil {
			c.Log.Warn("rocketchat: the bytes of a refused upload remain until the next sweep", "err", derr)
		}
	}
	return nil, err
}

func (c *call) readForm(form *multipart.Reader) (u upload, err error) {
	for n := 0; ; n++ {
		part, err := form.NextPart()
		if err == io.EOF {
			return u, nil
		}
		if err != nil || n > 8 {
			return u, malformed("the form could not be read to its end")
		}
		switch part.FormName() {
		case "file":
			if u.found {
				return u, invalid("one file at a time")
			}
			if u.name = part.FileName(); len(u.name) > maxName || u.name == "" {
				return u, invalid("the name of a file has 1 to 255 bytes")
			}
			if u.bytes, err = c.Blobs.Write(c.ctx, part, c.MaxUpload); err != nil {
				if _, ok := errors.AsType[*quinta.Error](err); !ok {
					err = malformed("the file could not be read to its end")
				}
				return u, err
			}
			u.found = true
		default:
			field, err := io.ReadAll(io.LimitReader(part, maxField+1))
			if err != nil || len(field) > maxField {
				return u, malformed("a field of the form is too long")
			}
			if part.FormName() == "content" {
				u.content = field
			}
		}
	}
}

func (c *call) keepUpload(room quinta.RoomID, u upload) (any, error) {
	if !u.found {
		return nil, refused("error-no-file", "the form has no file")
	}
	// In an encrypted room, the sealed content says what a file is.
	if _, err := rocketchat.ParseContent(u.content); err != nil {
		return nil, invalid("content is not a sealed object")
	}
	id, err := c.Blobs.NewID()
	if err != nil {
		return nil, err
	}
	err = c.Update(c.ctx, func(tx *db.Tx) error {
		if _, _, err := c.encryptedRoom(tx, room); err != nil {
			return err
		}
		if err := blob.Put(tx, blob.Blob{ID: id, Owner: db.UserOf(name, c.me.user()), Type: "application/octet-stream", Bytes: u.bytes}); err != nil {
			return err
		}
		tx.Count(db.UserOf(name, c.me.user()), db.ClassMedia, int64(len(u.content)))
		return tx.Queue(`INSERT INTO rocketchat_upload (id, room, user_id, name, size, content, message, at) VALUES ($1, $2, $3, $4, $5, $6, '', $7)`,
			id, room, c.me.ID, u.name, u.bytes.Size, u.content, tx.Millis())
	})
	return answer{"file": answer{"_id": id, "url": fileURL(id, u.name)}}, err
}

func fileURL(id, name string) string { return wire.PathFiles + id + "/" + url.PathEscape(name) }

// confirmMedia makes the message that carries an upload. Doing it again gives the
// same message.
func (c *call) confirmMedia() (any, error) {
	room, id, _ := strings.Cut(c.tail, "/")
	var q struct {
		Msg         string           `json:"msg"`
		Thread      quinta.MessageID `json:"tmid"`
		Type        string           `json:"t"`
		Content     json.RawMessage  `json:"content"`
		E2E         string           `json:"e2e"`
		ID          quinta.MessageID `json:"_id"`
		FileName    string           `json:"fileName"`
		FileContent json.RawMessage  `json:"fileContent"`
		Description string           `json:"description"`
	}
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if q.ID == "" {
		fresh, err := rocketchat.NewID(c.Rand)
		if err != nil {
			return nil, err
		}
		q.ID = quinta.MessageID(fresh)
	}
	if !idForm.MatchString(string(q.ID)) || q.Description != "" {
		return nil, invalid("the id of a message must consist of letters and digits, and a description must be sealed with the content")
	}
	var m *rocketchat.Message
	err := c.Update(c.ctx, func(tx *db.Tx) error {
		r, _, err := c.encryptedRoom(tx, quinta.RoomID(room))
		if err != nil {
			return err
		}
		var owner, of, in string
		err = tx.Row(`SELECT user_id, message, room FROM rocketchat_upload WHERE id = $1`, id).Scan(&owner, &of, &in)
		if errors.Is(err, db.ErrNoRows) || err == nil && (owner != c.me.ID || in != room) {
			return refused("invalid-file", "there is no such upload")
		}
		if err != nil {
			return err
		}
		if of != "" {
			m, _, err = getMessage(tx, quinta.MessageID(of))
			return err
		}
		if len(q.Content) == 0 || checkBody(r, q.Type, q.Msg, q.Content) != nil {
			return invalid("a file in an encrypted room needs t:\"e2e\" and a sealed content")
		}
		m = &rocketchat.Message{ID: q.ID, Room: r.ID, Type: q.Type, Msg: q.Msg, Content: q.Content, E2E: q.E2E, Thread: q.Thread}
		if m, err = c.store(tx, r, m); err != nil {
			return err
		}
		return tx.Queue(`UPDATE rocketchat_upload SET message = $2 WHERE id = $1`, id, m.ID)
	})
	return answer{"message": m}, err
}

// getFile serves sealed bytes to the members of their room, with a login and only
// then.
func (c *call) getFile() (any, error) {
	id, _, _ := strings.Cut(c.tail, "/")
	gone := wire.NewError(http.StatusNotFound, "error-file-not-found", "there is no such file")
	var b blob.Blob
	err := c.View(c.ctx, func(tx *db.Tx) error {
		var room quinta.RoomID
		err := tx.Row(`SELECT room FROM rocketchat_upload WHERE id = $1`, id).Scan(&room)
		if errors.Is(err, db.ErrNoRows) {
			return gone
		}
		if err != nil {
			return err
		}
		if _, err := getSub(tx, room, c.me.ID); err != nil {
			if quinta.KindOf(err) == quinta.KindNotFound {
				return forbidden("you are not in the room of this file")
			}
			return err
		}
		b, err = blob.Get(tx, id)
		if errors.Is(err, blob.ErrUnknown) || err == nil && !b.Filled() {
			return gone
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	r := c.Blobs.Reader(c.ctx, b.Bytes)
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
