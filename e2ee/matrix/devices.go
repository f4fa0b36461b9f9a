package matrix

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/internal/canonicaljson"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/key"
)

const (
	// maxQuery is how many users one keys/query asks for.
	maxQuery = 250
	// maxDevices is how many devices of one user are kept.
	maxDevices = 1000
	maxNames   = 255
	// maxOwnKeys bounds the keys of this device, which go into every Olm payload.
	maxOwnKeys = 8 << 10
)

// plain reports whether s can be an id: short, not empty, and without control
// characters, which separate the parts of the machine's own keys.
func plain[S ~string](s S) bool {
	if s == "" || len(s) > maxNames {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 {
			return false
		}
	}
	return true
}

// A userRecord is what is known of one user and their devices. It outlives
// restarts and the last shared room, so that a new device is noticed.
type userRecord struct {
	// Tracked: an encrypted room is shared. Outdated: the list must be
	// queried again. Known: it was queried at least once.
	Tracked  bool `json:"tracked,omitempty"`
	Outdated bool `json:"outdated,omitempty"`
	Known    bool `json:"known,omitempty"`
	// Generation grows each time that the list becomes outdated. The answer to
	// a query counts as current only if it did not grow in between.
	Generation uint64 `json:"generation,omitempty"`
	// Querying says that a query is on its way; there is one at a time.
	Querying bool  `json:"querying,omitempty"`
	RetryAt  int64 `json:"retry_at,omitempty"`

	Devices map[quinta.DeviceID]*deviceRecord `json:"devices,omitempty"`

	// Pinned is the master key that counts: the first seen, or the one that
	// was acknowledged since. Verified says that it was compared by hand.
	Pinned   key.MasterPublic `json:"pinned,omitzero"`
	Verified bool             `json:"verified,omitempty"`
	// Master and SelfSigning are the current keys, whose signatures hold; they
	// are of Pinned unless Changed.
	Master      key.MasterPublic      `json:"master,omitzero"`
	MasterRaw   json.RawMessage       `json:"master_raw,omitempty"`
	SelfSigning key.SelfSigningPublic `json:"self_signing,omitzero"`
	UserSigning key.UserSigningPublic `json:"user_signing,omitzero"`
	// Changed: the current master key is not the pinned one.
	Changed bool `json:"changed,omitempty"`

	dirty bool
}

// A deviceRecord is one device of a user.
type deviceRecord struct {
	// Raw is the signed object. It is stored beside the record, as only a
	// signature needs it.
	Raw      json.RawMessage         `json:"-"`
	Curve    key.IdentityPublic      `json:"curve"`
	Ed25519  key.DeviceSigningPublic `json:"ed25519"`
	Name     string                  `json:"name,omitempty"`
	Decision Decision                `json:"decision,omitempty"`
	// Signed: the user's self-signing key signed the device.
	Signed bool `json:"signed,omitempty"`
	// Gone: the server does not list the device any more.
	Gone bool `json:"gone,omitempty"`
	// Changed: the server listed other keys for this device, which were not taken.
	Changed bool `json:"changed,omitempty"`
	// NoOlm: the device was told that no session could be made with it.
	NoOlm bool `json:"no_olm,omitempty"`
	// ClaimAfter is when a one-time key may be claimed again.
	ClaimAfter int64 `json:"claim_after,omitempty"`
	// UnwedgedAt is when a session was last made again.
	UnwedgedAt int64 `json:"unwedged_at,omitempty"`
}

// user returns the record of id, which may be changed; the caller sets dirty.
func (w *work) user(id quinta.UserID) (*userRecord, error) {
	if u := w.users[id]; u != nil {
		return u, nil
	}
	u, _, err := e2ee.Load[userRecord](w.tx, "user/"+string(id))
	if err != nil {
		return nil, err
	}
	if u.Devices == nil {
		u.Devices = map[quinta.DeviceID]*deviceRecord{}
	}
	w.users[id] = &u
	return &u, nil
}

// track begins to follow the devices of a user.
func (w *work) track(id quinta.UserID) error {
	u, err := w.user(id)
	if err != nil || u.Tracked {
		return err
	}
	u.Tracked = true
	w.outdate(u)
	return nil
}

// outdate marks the list of a user as outdated.
func (w *work) outdate(u *userRecord) {
	u.Outdated, u.dirty, u.RetryAt = true, true, 0
	u.Generation++
	w.meta.Epoch++
}

// deviceLists takes the device_lists of a sync.
func (w *work) deviceLists(in In) error {
	for _, id := range in.Changed {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if u.Tracked || id == w.m.user {
			w.outdate(u)
		}
	}
	for _, id := range in.Left {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if id != w.m.user && !slices.Contains(in.Changed, id) {
			u.Tracked, u.dirty = false, true
			w.meta.Epoch++
		}
	}
	return nil
}

// planQuery asks for the lists that are outdated.
func (w *work) planQuery() error {
	if !w.meta.Published {
		return nil
	}
	if err := w.track(w.m.user); err != nil {
		return err
	}
	// Records in memory are newer than those in the store.
	if err := w.flushUsers(); err != nil {
		return err
	}
	entries, err := e2ee.Entries(w.tx, "stale/")
	if err != nil {
		return err
	}
	var ids []quinta.UserID
	for _, e := range entries {
		id := quinta.UserID(strings.TrimPrefix(e.Key, "stale/"))
		u, err := w.user(id)
		if err != nil {
			return err
		}
		if u.Outdated && u.Tracked && !u.Querying && u.RetryAt <= w.now.UnixMilli() {
			ids = append(ids, id)
		}
	}
	for part := range slices.Chunk(ids, maxQuery) {
		if err := w.query(part); err != nil {
			return err
		}
	}
	return nil
}

// flushUsers writes the records that changed, and with each a mark of whether
// its list is to be queried, so that no one has to look through all of them.
func (w *work) flushUsers() error {
	for _, id := range slices.Sorted(maps.Keys(w.users)) {
		u := w.users[id]
		if !u.dirty {
			continue
		}
		u.dirty = false
		if err := e2ee.Store(w.tx, "user/"+string(id), u); err != nil {
			return err
		}
		mark := "stale/" + string(id)
		if !u.Outdated || !u.Tracked {
			if err := w.tx.Delete(mark); err != nil {
				return err
			}
		} else if err := w.tx.Put(mark, []byte{1}); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) query(ids []quinta.UserID) error {
	r := &record{Kind: ReqKeysQuery, Method: "POST", Path: path("keys", "query"), Generations: map[quinta.UserID]uint64{}}
	ask := map[quinta.UserID][]string{}
	for _, id := range ids {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		u.Querying, u.dirty = true, true
		r.Generations[id] = u.Generation
		ask[id] = []string{}
	}
	r.Body = e2ee.JSON(map[string]any{"device_keys": ask, "timeout": 10000})
	return w.reqs.add(r)
}

// queryAnswer is the answer of keys/query.
type queryAnswer struct {
	DeviceKeys  map[quinta.UserID]map[quinta.DeviceID]json.RawMessage `json:"device_keys"`
	Master      map[quinta.UserID]json.RawMessage                     `json:"master_keys"`
	SelfSigning map[quinta.UserID]json.RawMessage                     `json:"self_signing_keys"`
	UserSigning map[quinta.UserID]json.RawMessage                     `json:"user_signing_keys"`
	Failures    map[string]json.RawMessage                            `json:"failures"`
}

// doneQuery stores the lists of the users that were requested. A list stays
// outdated if the user changed while the query was on its way, so that it is
// requested again: neither an old answer nor a lost one is ever the last word.
func (w *work) doneQuery(r *record, ans Ans) error {
	var a queryAnswer
	bad := ans.Failure == Refused || exactjson.Unmarshal(ans.Body, &a) != nil
	// This user first: their keys say who of the others is verified.
	ids := slices.SortedFunc(maps.Keys(r.Generations), func(x, y quinta.UserID) int {
		if x == w.m.user {
			return -1
		}
		if y == w.m.user {
			return 1
		}
		return strings.Compare(string(x), string(y))
	})
	for _, id := range ids {
		u, err := w.user(id)
		if err != nil {
			return err
		}
		u.Querying, u.dirty = false, true
		_, server, _ := strings.Cut(string(id), ":")
		if _, failed := a.Failures[server]; bad || (failed && a.DeviceKeys[id] == nil) {
			u.RetryAt = w.now.Add(refusedWait).UnixMilli()
			w.meta.Epoch++
			continue
		}
		w.takeIdentity(id, u, a.Master[id], a.SelfSigning[id], a.UserSigning[id])
		if err := w.takeDevices(id, u, a.DeviceKeys[id]); err != nil {
			return err
		}
		if id == w.m.user {
			w.checkOwn(a.DeviceKeys[id][w.m.device])
		}
		u.Known = true
		if u.Generation == r.Generations[id] {
			u.Outdated = false
		}
		w.meta.Epoch++
		if err := w.pendingOlm(id); err != nil {
			return err
		}
		if id == w.m.user {
			if err := w.requestKept(); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeDevices replaces the device list of a user.
func (w *work) takeDevices(id quinta.UserID, u *userRecord, list map[quinta.DeviceID]json.RawMessage) error {
	if len(list) > maxDevices {
		list = nil // no one has so many
	}
	for _, device := range slices.Sorted(maps.Keys(list)) {
		d, err := parseDevice(list[device], id, device)
		if err != nil {
			continue // not a device for encryption
		}
		d.Signed = u.signs(id, device, d)
		old := u.Devices[device]
		if old == nil || old.Ed25519 == d.Ed25519 && old.Curve == d.Curve {
			if err := w.tx.Put(rawKey(id, device), d.Raw); err != nil {
				return err
			}
		}
		if old == nil {
			u.Devices[device] = d
			if err := w.owns(id, d.Curve); err != nil {
				return err
			}
			// The devices that a user has at first sight are not news.
			if u.Known && (id != w.m.user || device != w.m.device) {
				w.emit(w.deviceEvent(e2ee.EventDevice, id, u, device, "new"))
			}
			continue
		}
		if old.Ed25519 != d.Ed25519 || old.Curve != d.Curve {
			// The keys of a device never change: this is another device under an
			// old name, and the pinned one stays.
			if !old.Changed {
				old.Changed = true
				w.emit(w.deviceEvent(e2ee.EventKeyChanged, id, u, device, "device keys changed"))
			}
			continue
		}
		old.Raw, old.Name, old.Signed, old.Gone, old.Changed = d.Raw, d.Name, d.Signed, false, false
	}
	for _, device := range slices.Sorted(maps.Keys(u.Devices)) {
		if _, listed := list[device]; !listed && !u.Devices[device].Gone {
			u.Devices[device].Gone = true
			w.emit(w.deviceEvent(e2ee.EventDevice, id, u, device, "gone"))
		}
	}
	return w.forgetGone(id, u)
}

func rawKey(id quinta.UserID, device quinta.DeviceID) string {
	return "device/" + string(id) + "\x00" + string(device)
}

// checkOwn compares the server's list for this device with its keys. If the
// server lists none, they are uploaded again; if it lists others, this store
// does not belong to the device, and nothing more is sent.
func (w *work) checkOwn(raw json.RawMessage) {
	d, err := parseDevice(raw, w.m.user, w.m.device)
	switch {
	case raw == nil:
		w.meta.Published = false
	case err != nil || d.Ed25519 != w.acc.Signing() || d.Curve != w.acc.Identity():
		if !w.meta.Foreign {
			w.meta.Foreign = true
			w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, User: w.m.user, Device: w.m.device, Detail: "the server lists other keys for this device"})
		}
	default:
		w.meta.Foreign = false
		// With the signature of the self-signing key others can check it.
		if bare, err := canonicaljson.Delete(raw, "unsigned"); err == nil && len(bare) <= maxOwnKeys {
			w.meta.Keys = bare
		}
	}
}

func (w *work) deviceEvent(kind e2ee.EventKind, id quinta.UserID, u *userRecord, device quinta.DeviceID, detail string) e2ee.Event {
	return e2ee.Event{Kind: kind, User: id, Device: device, Detail: detail, Message: quinta.Message{Trust: w.trust(id, u, u.Devices[device])}}
}

// signedDevice is a device_keys object.
type signedDevice struct {
	User       quinta.UserID     `json:"user_id"`
	Device     quinta.DeviceID   `json:"device_id"`
	Algorithms []string          `json:"algorithms"`
	Keys       map[string]string `json:"keys"`
	Unsigned   struct {
		Name string `json:"device_display_name"`
	} `json:"unsigned"`
}

// parseDevice checks a device_keys object: it is of that user and device, has
// both keys, speaks Olm and Megolm, and signed itself.
func parseDevice(raw []byte, user quinta.UserID, device quinta.DeviceID) (*deviceRecord, error) {
	var s signedDevice
	if err := exactjson.Unmarshal(raw, &s); err != nil {
		return nil, ErrMalformed
	}
	if s.User != user || s.Device != device || !plain(device) ||
		!slices.Contains(s.Algorithms, algorithmOlm) || !slices.Contains(s.Algorithms, algorithmMegolm) {
		return nil, ErrMalformed
	}
	ed, err := key.ParseSigningPublic[key.Device](s.Keys[edPrefix+string(device)])
	if err != nil {
		return nil, ErrMalformed
	}
	curve, err := key.ParseAgreementPublic[key.Identity](s.Keys[curvePrefix+string(device)])
	if err != nil {
		return nil, ErrMalformed
	}
	if err := canonicaljson.Verify(raw, string(user), edPrefix+string(device), ed.Verify); err != nil {
		return nil, err
	}
	if len(s.Unsigned.Name) > maxNames {
		s.Unsigned.Name = ""
	}
	return &deviceRecord{Raw: raw, Curve: curve, Ed25519: ed, Name: s.Unsigned.Name}, nil
}

// byCurve finds the device of a user with a Curve25519 key.
func (u *userRecord) byCurve(curve key.IdentityPublic) (quinta.DeviceID, *deviceRecord) {
	if curve.IsZero() {
		return "", nil
	}
	for id, d := range u.Devices {
		if d.Curve == curve && !d.Gone {
			return id, d
		}
	}
	return "", nil
}
