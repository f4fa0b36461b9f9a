package matrixserver

import (
	"errors"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
)

func (s *homeserver) mediaCalls() {
	s.media(http.MethodPost, "/upload", endpoint{rate: rateMedia, file: true, long: true, handle: (*call).postUpload})
	s.media(http.MethodPut, "/upload/{serverName}/{mediaId}", endpoint{rate: rateMedia, file: true, long: true, handle: (*call).putUpload})
	s.at(http.MethodPost, "/_matrix/media/v1/create", endpoint{rate: rateMedia, body: maxBody, handle: (*call).postCreate})

	s.at(http.MethodGet, "/_matrix/client/v1/media/config", endpoint{rate: rateRead, handle: (*call).getMediaConfig})
	s.at(http.MethodGet, "/_matrix/client/v1/media/download/{serverName}/{mediaId}", endpoint{rate: rateRead, file: true, long: true, handle: (*call).getDownload})
	s.at(http.MethodGet, "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}", endpoint{rate: rateRead, file: true, long: true, handle: (*call).getDownloadAs})
	s.at(http.MethodGet, "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", endpoint{rate: rateRead, file: true, long: true, handle: (*call).getThumbnail})

	// The calls that need no token serve no media: all of it is newer than
	// the freeze of these calls in version 1.11.
	s.media(http.MethodGet, "/config", endpoint{rate: rateRead, handle: (*call).getMediaConfig})
	for _, path := range []string{
		"/download/{serverName}/{mediaId}", "/download/{serverName}/{mediaId}/{fileName}", "/thumbnail/{serverName}/{mediaId}",
	} {
		s.media(http.MethodGet, path, endpoint{open: true, rate: rateOpen, handle: (*call).getFrozen})
	}
}

// media registers an endpoint under the r0 and v3 paths of the media API.
func (s *homeserver) media(method, path string, e endpoint) {
	s.router.add(method, "/_matrix/media/v3"+path, "media"+path, &e)
	s.router.add(method, "/_matrix/media/r0"+path, "media"+path, &e)
}

const (
	// maxAnnounced bounds the ids of one user that wait for their upload.
	maxAnnounced = 50
	// announcedTime is how long such an id waits, in milliseconds: the 24
	// hours that the specification advises.
	announcedTime = 24 * 60 * 60 * 1000
	// maxFileName bounds the name of a file, in bytes.
	maxFileName = 255
	// maxMediaType bounds the media type of a file, in bytes.
	maxMediaType = 200
)

// rateMedia bounds uploads and announcements, per user.
var rateMedia = server.Rate{Every: time.Second, Burst: 100}

// uri returns the content URI of a file of this server.
func (c *call) uri(id string) string { return "mxc://" + c.Core.Name + "/" + id }

// postUpload: "POST /_matrix/media/v3/upload".
func (c *call) postUpload() (any, error) {
	b, err := c.upload(func(b *blob.Blob) (func(*db.Tx) error, error) {
		var err error
		b.ID, err = c.Blobs.NewID()
		return func(tx *db.Tx) error { return blob.Put(tx, *b) }, err
	})
	if err != nil {
		return nil, err
	}
	return wire.Upload{URI: c.uri(b.ID)}, nil
}

// postCreate: "POST /_matrix/media/v1/create".
func (c *call) postCreate() (any, error) {
	if err := limited(c.Limits.Allow("upload", server.ByUser(network, c.user), rateMedia, 1)); err != nil {
		return nil, err
	}
	id, err := c.Blobs.NewID()
	if err != nil {
		return nil, err
	}
	var expires int64
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		expires, err = blob.Reserve(tx, id, db.UserOf(network, c.user), announcedTime, maxAnnounced)
		return err
	})
	if err != nil {
		return nil, err
	}
	return wire.Upload{URI: c.uri(id), Expires: expires}, nil
}

// putUpload: "PUT /_matrix/media/v3/upload/{serverName}/{mediaId}".
func (c *call) putUpload() (any, error) {
	id, err := c.mediaID()
	if err != nil {
		return nil, err
	}
	// Asked before the body is read, and again with the write.
	err = c.View(c.ctx(), func(tx *db.Tx) error { return blob.Fillable(tx, id, db.UserOf(network, c.user)) })
	if err != nil {
		return nil, fillError(err)
	}
	_, err = c.upload(func(b *blob.Blob) (func(*db.Tx) error, error) {
		b.ID = id
		return func(tx *db.Tx) error {
			if err := blob.Fill(tx, *b); err != nil {
				return err
			}
			feed.Bump(tx, feed.Blob(id))
			return nil
		}, nil
	})
	if err != nil {
		return nil, fillError(err)
	}
	return empty{}, nil
}

// fillError gives the codes that the specification has for an announced id.
func fillError(err error) error {
	switch {
	case errors.Is(err, blob.ErrFilled):
		return wire.NewError(http.StatusConflict, wire.CodeCannotOverwrite, "the file was already uploaded")
	case errors.Is(err, blob.ErrOwner):
		return wire.NewError(http.StatusForbidden, wire.CodeForbidden, "another user announced this file")
	case errors.Is(err, blob.ErrUnknown):
		return wire.NewError(http.StatusNotFound, wire.CodeNotFound, "the media id was not announced, or was announced too long ago")
	}
	return err
}

// upload makes the body durable and then commits what prepare returned for it.
func (c *call) upload(prepare func(*blob.Blob) (func(*db.Tx) error, error)) (*blob.Blob, error) {
	if err := limited(c.Limits.Allow("upload", server.ByUser(network, c.user), rateMedia, 1)); err != nil {
		return nil, err
	}
	name, err := fileName(c.param("filename"))
	if err != nil {
		return nil, err
	}
	if c.r.ContentLength > c.MaxUpload {
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "the file is larger than this server allows")
	}
	b := &blob.Blob{Owner: db.UserOf(network, c.user), Type: mediaType(c.r.Header.Get("Content-Type")), Name: name}
	commit, err := prepare(b)
	if err != nil {
		return nil, err
	}
	server.LongBody(c.w)
	b.Bytes, err = c.Blobs.Write(c.ctx(), c.r.Body, c.MaxUpload)
	if err != nil {
		if _, ok := errors.AsType[*quinta.Error](err); !ok {
			err = wire.NewError(http.StatusBadRequest, wire.CodeUnknown, "the body could not be read to its end")
		}
		return nil, err
	}
	if err := c.Update(c.ctx(), commit); err != nil {
		if derr := c.Blobs.Discard(c.ctx(), b.Bytes); derr != nil {
			c.Log.Warn("matrix: the bytes of a refused upload remain until the next sweep", "err", derr)
		}
		return nil, err
	}
	return b, nil
}

var mediaIDForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// mediaID returns the media id of the path, which must be one of this server.
func (c *call) mediaID() (string, error) {
	host, id := c.path("serverName"), c.path("mediaId")
	if server.CheckName(host) != nil {
		return "", wire.NewError(http.StatusNotFound, wire.CodeNotFound, "this is not a server name")
	}
	if !mediaIDForm.MatchString(id) {
		return "", wire.NewError(http.StatusNotFound, wire.CodeNotFound, "this is not a media id")
	}
	if host != c.Core.Name {
		return "", wire.NewError(http.StatusNotFound, wire.CodeNotFound, "the file is not on this server, which does not ask others")
	}
	return id, nil
}

// fileName returns a name that can be shown and stored: no control
// characters, no path, not too long.
func fileName(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the file name is not UTF-8")
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		if r == '/' || r == '\\' {
			return '_'
		}
		return r
	}, s)
	for len(s) > maxFileName {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s, nil
}

// mediaType returns the media type as it was given if it is one, and else
// that of bytes of any kind.
func mediaType(s string) string {
	t, _, err := mime.ParseMediaType(s)
	if err != nil || len(s) > maxMediaType || !strings.Contains(t, "/") || !utf8.ValidString(s) {
		return "application/octet-stream"
	}
	return s
}
