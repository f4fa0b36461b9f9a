package matrixserver

import (
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/blob"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/feed"
)

const (
	// mediaWait is how long a call waits for a file that was announced, in
	// milliseconds, if the caller does not say; and maxMediaWait the longest.
	mediaWait    = 20_000
	maxMediaWait = 60_000
	// lookAgain is how often a waiter looks without having been woken, since
	// the word of another node can be lost.
	lookAgain = 15 * time.Second
	// slowest is the fewest bytes a second at which a file is still sent.
	slowest = 8 << 10
)

// mediaHeaders keep what a user uploaded from being a page of this server
// (client-server API, "Content repository": "Security considerations").
var mediaHeaders = map[string]string{
	"Content-Security-Policy":      "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';",
	"Cross-Origin-Resource-Policy": "cross-origin",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	// The bytes of a media id never change; a shared cache must not hold what
	// needs a token.
	"Cache-Control": "private, max-age=86400, immutable",
}

// inlineTypes may be shown by a browser in place ("Serving inline content");
// everything else is for saving.
var inlineTypes = map[string]bool{
	"text/css": true, "text/plain": true, "text/csv": true,
	"application/json": true, "application/ld+json": true,
	"image/jpeg": true, "image/gif": true, "image/png": true, "image/apng": true, "image/webp": true, "image/avif": true,
	"video/mp4": true, "video/webm": true, "video/ogg": true, "video/quicktime": true,
	"audio/mp4": true, "audio/webm": true, "audio/aac": true, "audio/mpeg": true, "audio/ogg": true,
	"audio/wave": true, "audio/wav": true, "audio/x-wav": true, "audio/x-pn-wav": true,
	"audio/flac": true, "audio/x-flac": true,
}

// getMediaConfig: "GET /_matrix/client/v1/media/config".
func (c *call) getMediaConfig() (any, error) {
	return map[string]int64{"m.upload.size": c.MaxUpload}, nil
}

// getDownload: "GET /_matrix/client/v1/media/download/{serverName}/{mediaId}".
func (c *call) getDownload() (any, error) {
	b, err := c.file()
	if err != nil {
		return nil, err
	}
	return nil, c.sendFile(b.Type, b.Name, b.Bytes)
}

// getDownloadAs: "GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}".
func (c *call) getDownloadAs() (any, error) {
	name, err := fileName(c.path("fileName"))
	if err != nil {
		return nil, err
	}
	b, err := c.file()
	if err != nil {
		return nil, err
	}
	return nil, c.sendFile(b.Type, name, b.Bytes)
}

// getFrozen: the calls without a token, "GET /_matrix/media/v3/download" and
// "thumbnail". They tell an announced file from one that they do not serve.
func (c *call) getFrozen() (any, error) {
	if _, err := c.file(); err != nil {
		return nil, err
	}
	return nil, wire.NewError(http.StatusNotFound, wire.CodeNotFound, "media are served only with an access token, under /_matrix/client/v1/media")
}

// file finds the file of the path. If it was announced and has not come, it
// waits for as long as the caller says: M_NOT_YET_UPLOADED.
func (c *call) file() (blob.Blob, error) {
	id, err := c.mediaID()
	if err != nil {
		return blob.Blob{}, err
	}
	wait, err := c.paramInt("timeout_ms", mediaWait, 0, maxMediaWait)
	if err != nil {
		return blob.Blob{}, err
	}
	if c.ep.open {
		wait = 0 // no one waits without a token
	}
	b, err := c.findFile(id)
	if err != nil || b.Filled() {
		return b, err
	}
	w := c.Hub.Wait(feed.Blob(id))
	defer w.Close()
	end := time.NewTimer(time.Duration(wait) * time.Millisecond)
	defer end.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	late := false
	for {
		b, err := c.findFile(id)
		if err != nil || b.Filled() {
			return b, err
		}
		if late {
			return b, wire.NewError(http.StatusGatewayTimeout, wire.CodeNotYetUploaded, "the file was announced and has not been uploaded yet")
		}
		select {
		case <-w.C():
		case <-again.C:
		case <-end.C:
			late = true
		case <-c.Draining():
			late = true
		case <-c.ctx().Done():
			return b, c.ctx().Err()
		}
	}
}

// findFile finds a file or an announced id.
func (c *call) findFile(id string) (b blob.Blob, err error) {
	err = c.View(c.ctx(), func(tx *db.Tx) error { b, err = blob.Get(tx, id); return err })
	if errors.Is(err, blob.ErrUnknown) || err == nil && b.Owner.Network() != network {
		return blob.Blob{}, wire.NewError(http.StatusNotFound, wire.CodeNotFound, "there is no such file")
	}
	return b, err
}

// sendFile answers with bytes of the media store.
func (c *call) sendFile(mediaType, name string, w blob.Bytes) error {
	r := c.Blobs.Reader(c.ctx(), w)
	defer r.Close()
	if c.r.Method != http.MethodHead && w.Size > 0 {
		if err := r.Ready(); err != nil {
			return err
		}
	}
	c.serveFile(mediaType, name, w, r)
	return nil
}

// serveFile writes the answer, whole or the range asked for.
func (c *call) serveFile(mediaType, name string, w blob.Bytes, r io.ReadSeeker) {
	h := c.w.Header()
	for k, v := range mediaHeaders {
		h.Set(k, v)
	}
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", disposition(mediaType, name))
	h.Set("ETag", `"`+hex.EncodeToString(w.Sum[:min(len(w.Sum), 16)])+`"`)
	// Many ranges in one request cost more than they are worth.
	if strings.Contains(c.r.Header.Get("Range"), ",") {
		c.r.Header.Del("Range")
	}
	// A client that reads too slowly is cut off, so that every download ends.
	rc := http.NewResponseController(c.w)
	bound := time.Minute + time.Duration(w.Size/slowest)*time.Second
	if err := rc.SetWriteDeadline(time.Now().Add(bound)); err != nil {
		c.Log.Debug("matrix: a deadline could not be set for a download", "err", err)
	}
	http.ServeContent(c.w, c.r, "", time.Time{}, r)
	c.done = true
	// The connection may serve other calls after this one.
	if err := errors.Join(rc.Flush(), rc.SetWriteDeadline(time.Time{})); err != nil {
		c.Log.Debug("matrix: the client disconnected", "route", c.route())
	}
}

// disposition says whether a browser may show a file in place, and under
// which name it is saved (RFC 6266; RFC 5987 for what is not ASCII).
func disposition(mediaType, name string) string {
	how := "attachment"
	if t, _, err := mime.ParseMediaType(mediaType); err == nil && inlineTypes[t] {
		how = "inline"
	}
	if name == "" {
		return how
	}
	if s := mime.FormatMediaType(how, map[string]string{"filename": name}); s != "" {
		return s
	}
	return how
}
