package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/foreign"
)

// Anchors are pinned at first sight, as keys are: a server that later gives
// another root is not believed, and the user is told.

// again is how long a call that gave nothing of use is not repeated.
const again = time.Minute

// maxAnchors bounds the certificates of an authority.
const maxAnchors = 32

// planAnchors asks for the anchors and the revocation list when they are due,
// and reports whether certificates can be judged now.
func (w *work) planAnchors() (bool, error) {
	v, err := w.verifier()
	if err != nil {
		return false, err
	}
	if v == nil || w.meta.RootsDue {
		if !w.early(w.meta.RootsAfter, again) {
			if err := w.reqs.once(reqRecord{Req: Req{Kind: ReqRoots}}); err != nil {
				return false, err
			}
		}
		if v == nil {
			return false, nil
		}
	}
	until := v.StatusUntil()
	if w.meta.CRLDue || w.now.After(until.Add(-listMargin)) {
		if !w.early(w.meta.CRLAfter, again) {
			if err := w.reqs.once(reqRecord{Req: Req{Kind: ReqCRL}}); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// listMargin is how long before its end a revocation list is fetched again.
const listMargin = 6 * time.Hour

// verifier returns the verifier of the stored anchors and list, or nil if
// there are no anchors yet.
func (w *work) verifier() (*cert.Verifier, error) {
	if w.v != nil {
		return w.v, nil
	}
	raw, err := w.tx.Get("anchors")
	if err != nil || raw == nil {
		return nil, err
	}
	crl, err := w.tx.Get("crl")
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	for _, part := range [][]byte{raw, crl} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	sum := [32]byte(h.Sum(nil))
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.m.verifier == nil || w.m.judged != sum {
		r, _, err := e2ee.Load[Roots](w.tx, "anchors")
		if err != nil {
			return nil, err
		}
		v, err := r.verifier()
		if err != nil {
			return nil, e2ee.Damaged("anchors")
		}
		if crl != nil {
			if err := v.SetCRL(crl); err != nil {
				return nil, e2ee.Damaged("crl")
			}
		}
		w.m.verifier, w.m.judged = v, sum
	}
	w.v = w.m.verifier
	return w.v, nil
}

// status reports whether it is known which certificates are revoked.
func (w *work) status() (bool, error) {
	v, err := w.verifier()
	return err == nil && v != nil && !w.now.After(v.StatusUntil()), err
}

func parseCerts(list [][]byte) ([]*x509.Certificate, error) {
	if len(list) == 0 || len(list) > maxAnchors {
		return nil, fmt.Errorf("%w: the number of an authority's certificates", cert.ErrMalformed)
	}
	var out []*x509.Certificate
	for _, raw := range list {
		c, err := foreign.Certificate(raw)
		if err != nil || !c.IsCA || !c.BasicConstraintsValid {
			return nil, fmt.Errorf("%w: an authority's certificate", cert.ErrMalformed)
		}
		out = append(out, c)
	}
	return out, nil
}

// verifier makes the verifier of anchors. Each intermediate must be signed by
// one of the roots.
func (r *Roots) verifier() (*cert.Verifier, error) {
	roots, err := parseCerts(r.Roots)
	if err != nil {
		return nil, err
	}
	inter, err := parseCerts(r.Intermediates)
	if err != nil {
		return nil, err
	}
	for _, c := range inter {
		if !slices.ContainsFunc(roots, func(root *x509.Certificate) bool { return c.CheckSignatureFrom(root) == nil }) {
			return nil, fmt.Errorf("%w: an intermediate that no root has signed", cert.ErrUntrusted)
		}
	}
	if r.Domain == "" {
		return nil, fmt.Errorf("%w: the authority names no domain", cert.ErrMalformed)
	}
	return cert.NewVerifier(roots, inter, r.Domain), nil
}

// doneRoots takes the anchors: the first ones are pinned. Later ones may bring
// new intermediates under the same roots.
func (w *work) doneRoots(_ *reqRecord, ans Ans) error {
	w.meta.RootsAfter = w.now.Add(again).UnixMilli()
	w.meta.RootsDue = false
	if ans.Code != "" || ans.Roots == nil {
		w.trouble("the authority's certificates", ans)
		return nil
	}
	have, found, err := e2ee.Load[Roots](w.tx, "anchors")
	if err != nil {
		return err
	}
	if _, err := ans.Roots.verifier(); err != nil {
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the authority's certificates are refused: " + err.Error()})
		return nil
	}
	if id := (cert.Identity{User: w.m.user, Device: w.m.device, Use: cert.UseSign}); !bytes.HasSuffix([]byte(id.User), []byte("@"+ans.Roots.Domain)) {
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the authority belongs to another domain"})
		return nil
	}
	if found && (have.Domain != ans.Roots.Domain || !slices.EqualFunc(have.Roots, ans.Roots.Roots, bytes.Equal)) {
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, Detail: "the server presents another root for its authority; it is not accepted"})
		return nil
	}
	if found && slices.EqualFunc(have.Intermediates, ans.Roots.Intermediates, bytes.Equal) {
		return nil
	}
	w.v = nil
	w.meta.CRLDue = true
	if found { // a list of an older intermediate says nothing of the new one
		if err := w.tx.Delete("crl"); err != nil {
			return err
		}
	}
	w.retry(waitRoots)
	return e2ee.Store(w.tx, "anchors", ans.Roots)
}

// doneCRL takes a revocation list. An older one than is known, and one that is
// not the authority's, change nothing.
func (w *work) doneCRL(_ *reqRecord, ans Ans) error {
	w.meta.CRLAfter = w.now.Add(again).UnixMilli()
	if ans.Code != "" {
		w.trouble("the revocation list", ans)
		return nil
	}
	r, _, err := e2ee.Load[Roots](w.tx, "anchors")
	if err != nil {
		return err
	}
	v, err := r.verifier()
	if err != nil {
		return e2ee.Damaged("anchors")
	}
	old, err := w.tx.Get("crl")
	if err != nil {
		return err
	}
	if old != nil {
		if err := v.SetCRL(old); err != nil {
			return e2ee.Damaged("crl")
		}
	}
	if err := v.SetCRL(ans.CRL); err != nil {
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the revocation list is refused: " + err.Error()})
		return nil
	}
	w.meta.CRLDue = false
	if w.now.After(v.StatusUntil()) {
		w.emit(e2ee.Event{Kind: e2ee.EventTrouble, Detail: "the revocation list is out of date, or the clock of this device is wrong: nothing is sent or opened until there is a newer list"})
	}
	w.v = nil
	w.retry(waitStatus)
	return w.tx.Put("crl", ans.CRL)
}

// ListUntil verifies a revocation list against the anchors and returns when
// its validity ends.
func (r *Roots) ListUntil(crl []byte) (time.Time, error) {
	v, err := r.verifier()
	if err != nil {
		return time.Time{}, err
	}
	if err := v.SetCRL(crl); err != nil {
		return time.Time{}, err
	}
	return v.StatusUntil(), nil
}
