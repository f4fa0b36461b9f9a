package client

import (
	"context"
	"io"

	"github.com/quinta-chat/quinta"
)

// A Fetcher is a Session that can fetch files.
type Fetcher interface {
	Session
	// Fetch downloads a file, decrypts it and streams it to w. Only after
	// Fetch has returned nil is the content authentic: after an error, what
	// was written must not be used.
	Fetch(ctx context.Context, f *quinta.File, w io.Writer) error
}
