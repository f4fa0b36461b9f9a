package matrix

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

const (
	// unwedgeEvery is how often a session with one device is made again.
	unwedgeEvery = time.Hour
	// claimAgain is how long a device without one-time keys is left alone.
	claimAgain = 5 * time.Minute
	// maxClaim is how many devices one keys/claim asks for.
	maxClaim = 500
)

// An olmItem is a payload that waits for an Olm session.
type olmItem struct {
	To      target          `json:"to"`
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
	// Fresh: a new session is to be made for it.
	Fresh bool `json:"fresh,omitempty"`
}

// post puts a payload on its way to one device.
func (w *work) post(i olmItem) error { return e2ee.Store(w.tx, "olmq/"+w.next(), &i) }

// entitled returns the present record of a target, or nil if it is gone, was
// rejected, or has other keys now.
func (w *work) entitled(t target) (*deviceRecord, error) {
	u, err := w.user(t.User)
	if err != nil {
		return nil, err
	}
	d := u.Devices[t.Device]
	if d == nil || d.Gone || d.Changed || d.Decision == Reject || d.Curve != t.Curve {
		return nil, nil
	}
	return d, nil
}

// receiver returns the present record of the device that a payload waits for, or
// nil if it may not have it any more. Secrets and keys of earlier messages are
// for verified devices of the user alone, and a device may have lost that while
// the payload waited for a session.
func (w *work) receiver(i olmItem) (*deviceRecord, error) {
	d, err := w.entitled(i.To)
	if err != nil || d == nil || i.Type != typeSecretSend && i.Type != typeForwarded {
		return d, err
	}
	u, err := w.user(i.To.User)
	if err != nil || i.To.User != w.m.user || w.trust(i.To.User, u, d) < quinta.TrustVerified {
		return nil, err
	}
	return d, nil
}

// planOlm seals the payloads that wait and have a session.
func (w *work) planOlm() error {
	var out []deviceMessage
	seen := map[target]bool{}
	for e, err := range e2ee.Records[olmItem](w.tx, "olmq/") {
		if err != nil {
			return err
		}
		i := e.Value
		d, err := w.receiver(i)
		if err != nil {
			return err
		}
		if d == nil {
			if err := w.tx.Delete(e.Key); err != nil {
				return err
			}
			continue
		}
		if i.Fresh || seen[i.To] { // one message to a device in each request
			continue
		}
		p, err := w.peers.get(d.Curve)
		if err != nil {
			return err
		}
		if p.current() == nil {
			continue
		}
		sealed, err := w.sealAll(w.letter(i.Type, i.Content), []target{i.To})
		if err != nil {
			return err
		}
		seen[i.To] = true
		out = append(out, sealed...)
		if err := w.tx.Delete(e.Key); err != nil {
			return err
		}
	}
	_, err := w.toDevice(typeEncrypted, out, record{})
	return err
}

// planClaims claims one-time keys for all who need a session: one request
// for many devices, and one at a time for each device.
func (w *work) planClaims() error {
	claiming := map[target]bool{}
	for r, err := range w.reqs.all() {
		if err != nil {
			return err
		}
		if r.Value.Kind == ReqKeysClaim {
			for _, t := range r.Value.Targets {
				claiming[t] = true
			}
		}
	}
	var need []target
	want := func(t target) error {
		if claiming[t] {
			return nil
		}
		d, err := w.entitled(t)
		if err != nil || d == nil || d.ClaimAfter > w.now.UnixMilli() {
			return err
		}
		claiming[t] = true
		need = append(need, t)
		return nil
	}
	for e, err := range e2ee.Records[olmItem](w.tx, "olmq/") {
		if err != nil {
			return err
		}
		i := e.Value
		p, err := w.peers.get(i.To.Curve)
		if err != nil {
			return err
		}
		if i.Fresh || p.current() == nil {
			if err := want(i.To); err != nil {
				return err
			}
		}
	}
	for e, err := range e2ee.Records[[]target](w.tx, "claim/") {
		if err != nil {
			return err
		}
		for _, t := range e.Value {
			if err := want(t); err != nil {
				return err
			}
		}
		if err := w.tx.Delete(e.Key); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(need, maxClaim) {
		if err := w.claim(part); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) claim(ts []target) error {
	ask := map[quinta.UserID]map[quinta.DeviceID]string{}
	for _, t := range ts {
		if ask[t.User] == nil {
			ask[t.User] = map[quinta.DeviceID]string{}
		}
		ask[t.User][t.Device] = otkAlgorithm
	}
	return w.reqs.add(&record{
		Kind: ReqKeysClaim, Method: "POST", Path: path("keys", "claim"), Targets: ts,
		Body: e2ee.JSON(map[string]any{"one_time_keys": ask, "timeout": 10000}),
	})
}

// doneClaim makes sessions of the keys that were claimed. A device that gave
// none is left alone for a while, and told so once.
func (w *work) doneClaim(r *record, ans Ans) error {
	var a struct {
		Keys map[quinta.UserID]map[quinta.DeviceID]map[string]json.RawMessage `json:"one_time_keys"`
	}
	if ans.Failure == 0 && exactjson.Unmarshal(ans.Body, &a) != nil {
		a.Keys = nil
	}
	jobs, err := w.claimJobs(r, a.Keys)
	if err != nil {
		return err
	}
	if err := w.makeSessions(jobs); err != nil {
		return err
	}
	made := map[target]bool{}
	for _, j := range jobs {
		u, err := w.user(j.to.User)
		if err != nil {
			return err
		}
		if j.session == nil {
			j.device.ClaimAfter, u.dirty = w.now.Add(claimAgain).UnixMilli(), true
			continue
		}
		p, err := w.peers.get(j.device.Curve)
		if err != nil {
			return err
		}
		p.add(j.id, j.session, w.now.UnixMilli())
		if j.device.ClaimAfter != 0 || j.device.NoOlm {
			j.device.ClaimAfter, j.device.NoOlm, u.dirty = 0, false, true
		}
		made[j.to] = true
	}
	w.meta.Epoch++
	return w.freshen(made)
}

// A claimJob is one session to be made.
type claimJob struct {
	to     target
	device *deviceRecord
	keys   map[string]json.RawMessage
	rand   io.Reader

	id      olm.SessionID
	session []byte // nil if the keys were not good
	err     error
}

// claimJobs pairs the targets of a claim with what came for them.
func (w *work) claimJobs(r *record, keys map[quinta.UserID]map[quinta.DeviceID]map[string]json.RawMessage) ([]*claimJob, error) {
	var jobs []*claimJob
	for _, t := range r.Targets {
		d, err := w.entitled(t)
		if err != nil {
			return nil, err
		}
		if d == nil {
			continue
		}
		rand, err := w.draw(2 * key.Size)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, &claimJob{to: t, device: d, keys: keys[t.User][t.Device], rand: rand})
	}
	return jobs, nil
}

// makeSessions checks the claimed keys and makes the sessions. Each worker
// has its own copy of the account, as an account is not shared.
func (w *work) makeSessions(jobs []*claimJob) error {
	state := w.acc.Encode()
	defer clear(state)
	accounts := make([]*olm.Account, workers(len(jobs)))
	for i := range accounts {
		a, err := olm.DecodeAccount(state)
		if err != nil {
			return err
		}
		defer a.Wipe()
		accounts[i] = a
	}
	spread(len(jobs), func(worker, i int) { jobs[i].run(accounts[worker]) })
	for _, j := range jobs {
		if j.err != nil {
			return j.err
		}
	}
	return nil
}

// run makes one session. A device whose keys are not signed by it, or weak,
// gets none.
func (j *claimJob) run(acc *olm.Account) {
	public, ok := claimed(j.keys, j.to, j.device)
	if !ok {
		return
	}
	s, err := acc.NewOutbound(j.rand, j.device.Curve, public)
	if errors.Is(err, key.ErrWeak) {
		return
	}
	if err != nil {
		j.err = err
		return
	}
	j.id, j.session = s.ID(), s.Encode()
	s.Wipe()
}

// claimed returns the one-time key of an answer if the device signed it.
func claimed(keys map[string]json.RawMessage, t target, d *deviceRecord) (key.OneTimePublic, bool) {
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if !strings.HasPrefix(name, otkAlgorithm+":") {
			continue
		}
		var k struct {
			Key string `json:"key"`
		}
		if exactjson.Unmarshal(keys[name], &k) != nil ||
			canonicaljson.Verify(keys[name], string(t.User), edPrefix+string(t.Device), d.Ed25519.Verify) != nil {
			continue
		}
		if p, err := key.ParseAgreementPublic[key.OneTime](k.Key); err == nil {
			return p, true
		}
	}
	return key.OneTimePublic{}, false
}

// freshen marks the payloads that waited for a new session as ready, and
// gives up those for which there is none.
func (w *work) freshen(made map[target]bool) error {
	for e, err := range e2ee.Records[olmItem](w.tx, "olmq/") {
		if err != nil {
			return err
		}
		i := e.Value
		if i.Fresh && made[i.To] {
			i.Fresh = false
			if err := e2ee.Store(w.tx, e.Key, &i); err != nil {
				return err
			}
		}
	}
	return nil
}

// unwedge makes a new session with a device whose message did not open, at
// most once an hour, and tells it by m.dummy.
func (w *work) unwedge(sender quinta.UserID, curve key.IdentityPublic) error {
	u, err := w.user(sender)
	if err != nil {
		return err
	}
	id, d := u.byCurve(curve)
	if d == nil || d.Decision == Reject || d.Changed || (sender == w.m.user && id == w.m.device) {
		return nil
	}
	if d.UnwedgedAt != 0 && w.now.UnixMilli()-d.UnwedgedAt < unwedgeEvery.Milliseconds() {
		return nil
	}
	d.UnwedgedAt, u.dirty = w.now.UnixMilli(), true
	return w.post(olmItem{To: target{sender, id, curve}, Type: typeDummy, Content: json.RawMessage(`{}`), Fresh: true})
}
