package rocketchat

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// Restored takes in that the store is an old copy, or a copy of one that is still in
// use. No nonce is counted on this network, so no key has to be given up. What is
// given up is what an old copy would do over again in the place of what was done since:
// key pairs that were to be stored, resets of room keys, edits, redactions and
// reactions. A message that is sent again has the same id, and the server keeps it
// once. The key pair is compared with what the server has before it is used again.
func (m *Machine) Restored(tx e2ee.Tx) error {
	_, err := m.run(tx, func(w *work) error {
		for r, err := range w.reqs.All() {
			if err != nil {
				return err
			}
			if k := r.Value.Kind; k == ReqSend || k == ReqConfirm {
				continue
			}
			if err := w.reqs.Done(r.Name); err != nil {
				return err
			}
		}
		for rec, err := range w.out.All() {
			if err != nil {
				return err
			}
			switch rec.Value.Message.Relation.Kind {
			case quinta.RelationReplace, quinta.RelationRedaction, quinta.RelationReaction:
				if err := w.fail(rec.Name, &rec.Value, "the store was restored from an old copy, in which this had not been sent yet: send it again if you still want to"); err != nil {
					return err
				}
			}
		}
		k := &w.meta.Keys
		switch k.Phase {
		case PhaseOpen, PhaseStoring:
			// Until the server's pair was seen, nothing is wrapped or sealed.
			k.Phase, k.Check, k.Wait = PhaseStoring, true, 0
		default:
			*k = keyState{}
		}
		w.meta.Rotating, w.meta.OfferAfter, w.meta.AskAfter = nil, 0, 0
		ids, err := w.roomIDs()
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := w.room(id)
			if err != nil {
				return err
			}
			if r.Rotate != "" {
				w.meta.Rotating = append(w.meta.Rotating, id) // if the room still has the key that is to be replaced
			}
		}
		return w.keepEvents()
	})
	return err
}
