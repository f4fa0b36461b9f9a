package matrix

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/key"
)

// maxSessions is how many Olm sessions with one device are kept; the least
// recently used goes first. The specification asks for at least four.
const maxSessions = 5

// A peerRecord holds the Olm sessions with one device, by its Curve25519 key.
type peerRecord struct {
	Sessions []*peerSession

	dirty bool
}

// A peerSession is one session. Received is when a message was last opened
// with it, or when it was made, or retired; Used is when it last did anything.
type peerSession struct {
	ID       olm.SessionID
	State    []byte
	Received int64
	Used     int64
}

// retired is the time Received of a session that opens messages and seals none
// any more.
const retired = -1

// encode writes the sessions as length-prefixed fields: there are many
// records, and each message changes one.
func (p *peerRecord) encode() []byte {
	size := 0
	for _, s := range p.Sessions {
		size += len(s.ID) + len(s.State) + 4*binary.MaxVarintLen64
	}
	b := make([]byte, 0, size)
	for _, s := range p.Sessions {
		b = binary.AppendUvarint(b, uint64(len(s.ID)))
		b = append(b, s.ID...)
		b = binary.AppendUvarint(b, uint64(len(s.State)))
		b = append(b, s.State...)
		b = binary.AppendVarint(b, s.Received)
		b = binary.AppendVarint(b, s.Used)
	}
	return b
}

// decodePeer reads what encode wrote.
func decodePeer(b []byte) (*peerRecord, error) {
	p := new(peerRecord)
	field := func() []byte {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			b = nil
			return nil
		}
		f := b[k : k+int(n)]
		b = b[k+int(n):]
		return f
	}
	for len(b) > 0 {
		s := &peerSession{ID: olm.SessionID(field()), State: field()}
		for _, v := range []*int64{&s.Received, &s.Used} {
			n, k := binary.Varint(b)
			if k <= 0 {
				return nil, e2ee.Damaged("olm/")
			}
			*v, b = n, b[k:]
		}
		p.Sessions = append(p.Sessions, s)
	}
	return p, nil
}

// peers are the sessions of this device with others, by their Curve25519 keys.
// What a call reads and changes of them is written back by flush.
type peers struct {
	tx   e2ee.Tx
	read map[key.IdentityPublic]*peerRecord
}

func newPeers(tx e2ee.Tx) peers { return peers{tx, map[key.IdentityPublic]*peerRecord{}} }

// get returns the sessions with a device, which may be none. They may be
// changed; the caller sets dirty.
func (p peers) get(curve key.IdentityPublic) (*peerRecord, error) {
	if r := p.read[curve]; r != nil {
		return r, nil
	}
	b, err := p.tx.Get("olm/" + curve.String())
	if err != nil {
		return nil, err
	}
	r, err := decodePeer(b)
	if err != nil {
		return nil, err
	}
	p.read[curve] = r
	return r, nil
}

// retireAll ends the sending with every session.
func (p peers) retireAll() error {
	if err := p.flush(); err != nil {
		return err
	}
	entries, err := e2ee.Entries(p.tx, "olm/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		curve, err := key.ParseAgreementPublic[key.Identity](strings.TrimPrefix(e.Key, "olm/"))
		if err != nil {
			return e2ee.Damaged(e.Key)
		}
		r, err := p.get(curve)
		if err != nil {
			return err
		}
		for _, s := range r.Sessions {
			s.Received = retired
		}
		r.dirty = true
	}
	return nil
}

// drop forgets the sessions with a device.
func (p peers) drop(curve key.IdentityPublic) error {
	delete(p.read, curve)
	return p.tx.Delete("olm/" + curve.String())
}

// flush writes back what changed, in order, so that two runs of one call write
// the same.
func (p peers) flush() error {
	curves := slices.Collect(maps.Keys(p.read))
	order.By(curves, func(a, b key.IdentityPublic) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
	for _, curve := range curves {
		r := p.read[curve]
		if !r.dirty {
			continue
		}
		if err := p.tx.Put("olm/"+curve.String(), r.encode()); err != nil {
			return err
		}
		r.dirty = false
	}
	return nil
}

// add keeps a new session, and drops the least recently used one if there are
// too many.
func (p *peerRecord) add(id olm.SessionID, state []byte, now int64) {
	p.Sessions = append(p.Sessions, &peerSession{ID: id, State: state, Received: now, Used: now})
	if len(p.Sessions) > maxSessions {
		oldest := 0
		for i, s := range p.Sessions {
			if s.Used < p.Sessions[oldest].Used {
				oldest = i
			}
		}
		p.Sessions = slices.Delete(p.Sessions, oldest, oldest+1)
	}
	p.dirty = true
}

// current returns the session to send with: the one on which a message was
// last received. Of two that are equal the later made one is it.
func (p *peerRecord) current() *peerSession {
	var best *peerSession
	for _, s := range p.Sessions {
		if s.Received != retired && (best == nil || s.Received >= best.Received) {
			best = s
		}
	}
	return best
}
