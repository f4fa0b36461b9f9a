package keysrv

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/quinta-chat/quinta/internal/form"
	"github.com/quinta-chat/quinta/key"
)

// fileURN begins the name of a file on the key server; the rest is its id.
const fileURN = "urn:quinta:keysrv:file:"

// A FileRef says where a file is and how it opens. It travels only inside a
// sealed message.
type FileRef struct {
	// ID is the id that the key server gave, 1 to 64 letters, digits, "_" and
	// "-".
	ID string
	// Key opens the segments.
	Key key.AttachmentKey
}

// Format hides the key.
func (r FileRef) Format(s fmt.State, _ rune) { io.WriteString(s, "file "+r.ID) }

// refJSON is a FileRef as it travels.
type refJSON struct {
	URL string `json:"url"`
	Key []byte `json:"key"`
}

// Encode returns the JSON of a reference, with its key.
func (r *FileRef) Encode() []byte {
	secret := r.Key.Secret()
	defer clear(secret)
	b, err := json.Marshal(refJSON{URL: fileURN + r.ID, Key: secret})
	if err != nil {
		panic("keysrv: internal error: " + err.Error())
	}
	return b
}

// ParseFileRef reads a reference of at most 1 KiB. One that names another place
// than the key server is ErrUnsupported: no address of a sender's choice is
// ever asked for a file.
func ParseFileRef(raw []byte) (*FileRef, error) {
	var j refJSON
	if err := decode(raw, 1<<10, &j); err != nil {
		return nil, err
	}
	defer clear(j.Key)
	id, ok := strings.CutPrefix(j.URL, fileURN)
	if !ok || !form.Is(id, form.ID, 1, 64) {
		return nil, fmt.Errorf("%w: the file is not on the key server", ErrUnsupported)
	}
	k, err := key.NewSymmetric[key.Attachment](j.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: the key of a file", ErrMalformed)
	}
	return &FileRef{ID: id, Key: k}, nil
}
