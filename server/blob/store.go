package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"

	"github.com/quinta-chat/quinta"
)

// A store is where bytes lie, each under its key. Keys are made by this
// package: 32 hexadecimal digits.
type store interface {
	// put stores what r gives. The bytes are durable when it returns nil, and
	// not there when it returns an error.
	put(ctx context.Context, key string, r io.Reader) error
	// open reads n bytes from off; a negative n means to the end. It returns
	// errNoBytes if there is nothing under the key.
	open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	// remove removes the bytes and what a put that was cut off has left. It
	// is not an error if there is nothing.
	remove(ctx context.Context, key string) error
	close() error
}

// errNoBytes says that the media store lacks what a row refers to.
var errNoBytes = errors.New("blob: the media store has no such bytes")

var keyForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// openStore opens the media store of a URL: "file:///folder" or
// "s3://bucket?region=...".
func openStore(ctx context.Context, cfg Config) (store, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("the media store is not a URL: give file:///folder or s3://bucket")
	}
	if u.User != nil {
		return nil, errors.New("the URL of the media store holds a user or a password: give credentials in the environment or in the files of the AWS tools")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || u.Path == "" || u.RawQuery != "" {
			return nil, errors.New("the media store's folder must be given as file:///folder")
		}
		return openFolder(u.Path, cfg.Faults)
	case "s3":
		return openBucket(ctx, u)
	}
	return nil, fmt.Errorf("the media store %q is of an unknown kind: give file:///folder or s3://bucket", u.Scheme+"://")
}

// unavailable is what callers see of a media store that fails; the cause is
// for the log.
func (b *Blobs) unavailable(op string, err error) error {
	if _, ok := errors.AsType[*quinta.Error](err); ok {
		return err
	}
	if full(err) {
		b.cfg.Log.Error("media store: no space left", "op", op)
		return quinta.E(quinta.KindFull, "", "the media store is full")
	}
	b.cfg.Log.Error("media store: operation failed", "op", op, "err", err)
	return quinta.E(quinta.KindUnavailable, "", "the media store does not answer")
}
