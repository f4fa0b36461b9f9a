package matrix

import (
	"cmp"
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/order"
	"github.com/quinta-chat/quinta/key"
)

// Every member of a room holds the signed key of a session and can send it on
// as their own. So an m.room_key proves that its sender has the session, not
// that the session is theirs: it is a claim, by the Curve25519 key that it came
// with. Claims stand side by side, none replaces another, and a message is
// opened under a claim of its own sender. The same ratchet under two owners is
// marked, since only one of them can have made it.

// A claim says that a session belongs to the device with a Curve25519 key.
type claim struct {
	State  []byte `json:"state"`
	Source source `json:"source"`
	// Owner is the user whose messages the session opens; empty if nothing
	// says it.
	Owner quinta.UserID `json:"owner,omitempty"`
	// Curve and Ed25519 are the keys of the device that made the session. They
	// are text, as they may come out of a file or from another device, and be no
	// keys at all.
	Curve   string   `json:"curve,omitempty"`
	Ed25519 string   `json:"ed25519,omitempty"`
	Chain   []string `json:"chain,omitempty"`
	Shared  bool     `json:"shared,omitempty"`
	// Opened is when a message first opened under this claim while there was
	// another one, in Unix milliseconds.
	Opened int64 `json:"opened,omitempty"`
	// Apart: the indices used under this claim are noted apart from those of
	// the claim that came first.
	Apart bool `json:"apart,omitempty"`
}

// An inboundRecord is one inbound Megolm session: the claim that counts for
// backup, export and forwards, and those beside it.
type inboundRecord struct {
	claim
	Rivals []claim `json:"rivals,omitempty"`
}

// maxClaims bounds the claims on one session.
const maxClaims = 8

// all returns the claims, the one that counts first.
func (r *inboundRecord) all() []claim { return append([]claim{r.claim}, r.Rivals...) }

// set puts the claims in the order in which they count: those under which
// messages opened, then those that their owner has proven, then the older.
func (r *inboundRecord) set(claims []claim) {
	order.By(claims, func(a, b claim) int {
		switch {
		case (a.Opened != 0) != (b.Opened != 0):
			return cmp.Compare(b.Opened, a.Opened)
		case a.Opened != b.Opened:
			return cmp.Compare(a.Opened, b.Opened)
		}
		return cmp.Compare(b.Source, a.Source)
	})
	r.claim, r.Rivals = claims[0], claims[1:]
}

// contested reports whether two users have proven that they hold the session.
func (r *inboundRecord) contested() bool {
	owner := r.Owner
	for _, c := range r.Rivals {
		if owner == "" {
			owner = c.Owner
		}
		if c.Owner != "" && c.Owner != owner {
			return true
		}
	}
	return false
}

// proven reports whether a user has sent the session.
func (r *inboundRecord) proven(by quinta.UserID) bool {
	return slices.ContainsFunc(r.all(), func(c claim) bool { return c.Owner == by })
}

// add takes in a claim with the session that it is about. It reports whether
// anything got better.
func (r *inboundRecord) add(s *megolm.Inbound, c claim) (bool, error) {
	c.State = s.Encode()
	claims := r.all()
	at := slices.IndexFunc(claims, func(have claim) bool { return have.Curve == c.Curve })
	if at < 0 {
		if len(claims) == maxClaims {
			// A claim that no one has proven is replaced by a proven one.
			last := &claims[maxClaims-1]
			if last.Source >= c.Source || last.Opened != 0 {
				return false, nil
			}
			claims = claims[:maxClaims-1]
		}
		c.Apart = true
		r.set(append(claims, c))
		return true, nil
	}
	better, err := claims[at].merge(s, c)
	if better {
		r.set(claims)
	}
	return better, err
}

// merge takes in another claim by the same key. It replaces this one only if
// it comes from a source that is as good, says the same owner, and is the same
// ratchet at an earlier or equal index.
func (have *claim) merge(s *megolm.Inbound, c claim) (bool, error) {
	old, err := megolm.DecodeInbound(have.State)
	if err != nil {
		return false, err
	}
	defer old.Wipe()
	if have.Owner != "" && c.Owner != "" && have.Owner != c.Owner {
		return false, nil
	}
	c.Opened, c.Apart = have.Opened, have.Apart
	order := s.Compare(old)
	switch {
	case order == megolm.Unconnected && !(c.Source == fromOlm && have.Source != fromOlm):
		return false, nil
	case order == megolm.Unconnected:
		// The imported ratchet was not the owner's; the owner's counts.
	case order == megolm.Better && c.Source < have.Source:
		// The ratchet is the same one, so the earlier index is the owner's
		// too; what is known of them stays.
		have.State = c.State
		return true, nil
	case order == megolm.Better:
	case c.Source > have.Source:
		// The owner is proven now; the earlier ratchet stays.
		if order == megolm.Worse {
			c.State = have.State
		}
	default:
		return false, nil
	}
	*have = c
	return true, nil
}

// fitting returns the claims under which a message of sender may open, the best
// first: what the sender has proven, then what no one has, unless the key
// belongs to a device of someone else.
func (w *work) fitting(r *inboundRecord, sender quinta.UserID) ([]claim, error) {
	var proven, open []claim
	for _, c := range r.all() {
		switch {
		case c.Owner == sender:
			proven = append(proven, c)
		case c.Owner == "":
			owner, err := w.ownerOf(c.Curve)
			if err != nil {
				return nil, err
			}
			if owner == "" || owner == sender {
				open = append(open, c)
			}
		}
	}
	return append(proven, open...), nil
}

// opened notes that a message opened under a claim, where that says which of
// several counts.
func (w *work) opened(room quinta.RoomID, session string, r inboundRecord, under claim) error {
	if len(r.Rivals) == 0 || under.Opened != 0 {
		return nil
	}
	claims := r.all()
	for i := range claims {
		if claims[i].Curve == under.Curve {
			claims[i].Opened = max(1, w.now.UnixMilli())
		}
	}
	before := r.Curve
	r.set(claims)
	if r.Curve != before {
		if err := w.tx.Put(unsavedKey(room, session), []byte{1}); err != nil {
			return err
		}
	}
	return e2ee.Store(w.tx, inboundKey(room, session), &r)
}

// replay is where the used indices of a claim on a session are noted.
func (c *claim) replay(session string) string {
	if c.Apart {
		return "replay/" + session + "/" + c.Curve + "/"
	}
	return "replay/" + session + "/"
}

// curveKey is where the owner of a device key is.
func curveKey(curve string) string { return "curve/" + curve }

// ownerOf returns the user who has, or had, a device with a Curve25519 key, as
// far as this device knows; empty if it knows none.
func (w *work) ownerOf(curve string) (quinta.UserID, error) {
	if curve == "" {
		return "", nil
	}
	if !w.meta.Curves {
		// A store of an earlier version has no such entries.
		for u, err := range e2ee.Records[userRecord](w.tx, "user/") {
			if err != nil {
				return "", err
			}
			for _, d := range u.Value.Devices {
				if err := w.owns(quinta.UserID(u.Name), d.Curve); err != nil {
					return "", err
				}
			}
		}
		w.meta.Curves = true
	}
	raw, err := w.tx.Get(curveKey(curve))
	return quinta.UserID(raw), err
}

// owns notes the owner of a device key. The first one stays: a server that
// lists the key for someone else as well does not take it from them.
func (w *work) owns(user quinta.UserID, curve key.IdentityPublic) error {
	have, err := w.tx.Get(curveKey(curve.String()))
	if err != nil || have != nil {
		return err
	}
	return w.tx.Put(curveKey(curve.String()), []byte(user))
}
