package rocketchat

import (
	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// takeBack looks at what was sealed and has not left, since the server could not
// be reached or did not answer: a wrapped room key leaves only for those who
// would be given it now, and a message only under the key that the room has now.
// A message that is taken back is sealed again under the same id, of which the
// server keeps one.
func (w *work) takeBack() error {
	for rec, err := range w.reqs.All() {
		if err != nil {
			return err
		}
		switch q := rec.Value; q.Kind {
		case ReqProvide:
			err = w.takeBackKeys(rec.Name, q)
		case ReqSend, ReqConfirm, ReqUpdate:
			err = w.takeBackMessage(rec.Name, q)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeBackKeys leaves out those who are not to get the key of a room any more.
func (w *work) takeBackKeys(name string, q Req) error {
	r, err := w.room(q.Room)
	if err != nil {
		return err
	}
	if r == nil || r.Left || r.Rotate != "" || q.KeyID != "" && q.KeyID != r.State.KeyID {
		return w.reqs.Done(name)
	}
	keep := make([]Provided, 0, len(q.Provide))
	for _, p := range q.Provide {
		ok, err := w.pinnedAs(p.User, q.For[p.User])
		if err != nil {
			return err
		}
		if ok {
			keep = append(keep, p)
		}
	}
	switch {
	case len(keep) == 0:
		return w.reqs.Done(name)
	case len(keep) < len(q.Provide):
		q.Provide = keep
		return w.reqs.Set(name, q)
	}
	return nil
}

// pinnedAs reports whether a user has the public key of a fingerprint and may be
// given room keys.
func (w *work) pinnedAs(user, fingerprint string) (bool, error) {
	p, found, err := e2ee.Load[pinned](w.tx, pinKey(user))
	if err != nil || !found {
		return false, err
	}
	k, err := ParsePublicKey(p.Public)
	if err != nil {
		return false, e2ee.Damaged(pinKey(user))
	}
	return p.New == "" && k.Fingerprint() == fingerprint && p.Trust != quinta.TrustRejected, nil
}

// takeBackMessage has a message sealed again, unless it may leave as it is.
func (w *work) takeBackMessage(name string, q Req) error {
	if q.Message == nil || q.Message.Type != TypeE2E {
		return nil
	}
	r, err := w.room(q.Room)
	if err != nil || r == nil || r.Left {
		return err // the server refuses it
	}
	who, err := w.blocked(r)
	if err != nil {
		return err
	}
	if id, err := q.Message.keyID(); err == nil && who == "" && r.Rotate == "" && id == r.State.KeyID {
		return nil
	}
	for o, err := range w.out.All() {
		if err != nil {
			return err
		}
		if o.Value.Req != name {
			continue
		}
		o.Value.Req = ""
		if err := w.out.Set(o.Name, o.Value); err != nil {
			return err
		}
		return w.reqs.Done(name)
	}
	return nil
}
