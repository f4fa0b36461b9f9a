package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
)

// A bucket is a store in S3 or what speaks its protocol.
type bucket struct{ b *blob.Bucket }

var _ store = (*bucket)(nil)

// partSize and partsAtOnce bound what an upload holds in memory.
const (
	partSize    = 5 << 20
	partsAtOnce = 2
)

// openBucket opens s3://name?region=...&endpoint=...&prefix=...; the
// parameters are those of gocloud.dev/blob/s3blob. It fails if the bucket
// cannot be reached, so that a slip in the configuration shows at the start.
func openBucket(ctx context.Context, u *url.URL) (*bucket, error) {
	v := *u
	q := v.Query()
	prefix := q.Get("prefix")
	q.Del("prefix")
	v.RawQuery = q.Encode()
	b, err := new(s3blob.URLOpener).OpenBucketURL(ctx, &v)
	if err != nil {
		return nil, fmt.Errorf("the media store's bucket: %w", err)
	}
	if prefix != "" {
		b = blob.PrefixedBucket(b, prefix)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ok, err := b.IsAccessible(ctx)
	if err == nil && !ok {
		err = errors.New("there is no such bucket, or it cannot be read")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the media store's bucket %q: %w", u.Host, err), b.Close())
	}
	return &bucket{b}, nil
}

func (s *bucket) put(ctx context.Context, key string, r io.Reader) error {
	// Closing a writer completes the object, unless its context has ended.
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.b.NewWriter(wctx, key, &blob.WriterOptions{
		BufferSize:                  partSize,
		MaxConcurrency:              partsAtOnce,
		ContentType:                 "application/octet-stream",
		DisableContentTypeDetection: true,
	})
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, 64<<10)); err != nil {
		cancel()
		if w.Close() == nil { // the object was complete before the end was known
			return errors.Join(err, s.remove(context.WithoutCancel(ctx), key))
		}
		return err
	}
	return w.Close()
}

func (s *bucket) open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if n == 0 { // a range of no bytes cannot be requested
		if ok, err := s.b.Exists(ctx, key); err != nil {
			return nil, err
		} else if ok {
			return io.NopCloser(strings.NewReader("")), nil
		}
		return nil, errNoBytes
	}
	r, err := s.b.NewRangeReader(ctx, key, off, n, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, errNoBytes
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s *bucket) remove(ctx context.Context, key string) error {
	if err := s.b.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return err
	}
	return nil
}

func (s *bucket) close() error { return s.b.Close() }
