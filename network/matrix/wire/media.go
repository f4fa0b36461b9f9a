package wire

// An Upload is the answer of "POST /_matrix/media/v3/upload" and "POST
// /_matrix/media/v1/create". Expires, in Unix milliseconds, says until when an
// address that was only announced is kept.
type Upload struct {
	URI     string `json:"content_uri"`
	Expires int64  `json:"unused_expires_at,omitempty"`
}
