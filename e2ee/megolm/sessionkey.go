package megolm

import (
	"fmt"

	"github.com/quinta-chat/quinta/internal/octet"
	"github.com/quinta-chat/quinta/key"
)

// Lengths of the two forms of a session key (Megolm specification,
// "Session-sharing format", "Session export format").
const (
	// SessionKeySize is the length of the signed form, which m.room_key has.
	SessionKeySize = ExportSize + key.SignatureSize
	// ExportSize is the length of the unsigned form, which exports, backups
	// and m.forwarded_room_key have.
	ExportSize = 1 + 4 + ratchetSize + key.Size
)

const (
	exportVersion  = 1
	sharingVersion = 2
)

// appendKey appends the part that both forms of a session key have.
func appendKey(b []byte, version byte, r *ratchet, public key.MegolmSessionPublic) []byte {
	b = octet.AppendUint32(append(b, version), r.index)
	b = append(b, r.parts[:]...)
	return append(b, public.Bytes()...)
}

// parseKey reads a session key of the given version and length.
func parseKey(b []byte, version byte, size int) (r ratchet, public key.MegolmSessionPublic, err error) {
	switch {
	case len(b) == 0:
		return r, public, ErrMalformed
	case b[0] != version:
		return r, public, ErrVersion
	case len(b) != size:
		return r, public, ErrMalformed
	}
	in := octet.NewReader(b[1:ExportSize])
	r.index = in.Uint32()
	copy(r.parts[:], in.Take(ratchetSize))
	if public, err = key.NewSigningPublic[key.MegolmSession](in.Take(key.Size)); err != nil {
		return r, public, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, public, nil
}
