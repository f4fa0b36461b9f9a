package ca

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/internal/form"
)

// directPrefix begins the ids of direct conversations.
const directPrefix = "d_"

// Direct returns the id of the conversation of two users under a profile, the
// same for both: "d_" and base64url of a hash. So the id itself determines the
// members and the profile, and a server cannot change either. A user's
// conversation with themselves is for their own devices.
func Direct(a, b quinta.UserID, profile string) quinta.RoomID {
	list := []string{string(a), string(b)}
	slices.Sort(list)
	sum := sha256.Sum256([]byte("quinta-ca-direct/1\x00" + profile + "\x00" + strings.Join(list, "\x00")))
	return quinta.RoomID(directPrefix + base64.RawURLEncoding.EncodeToString(sum[:24]))
}

// IsDirect reports whether an id is one that Direct makes; the members must then
// be exactly the two that it is made from.
func IsDirect(id quinta.RoomID) bool { return strings.HasPrefix(string(id), directPrefix) }

// CheckConv reports whether the id of a conversation has its form.
func CheckConv(id quinta.RoomID) bool { return form.Is(string(id), form.ID, 16, 64) }

// maxMembers bounds the members of a conversation.
const maxMembers = 500

// A convRecord is what is known of a conversation.
type convRecord struct {
	// Profile never changes once it is known.
	Profile string          `json:"profile"`
	Members []quinta.UserID `json:"members"`
	// Chosen are the members who chose the legacy profile, as the server
	// claims; Chose says that the user of this device did.
	Chosen []quinta.UserID `json:"chosen,omitempty"`
	Chose  bool            `json:"chose,omitempty"`
	// Known says that the server has it, Outdated that its members are to be
	// requested again, Left that this user is not in it.
	Known    bool `json:"known,omitempty"`
	Outdated bool `json:"outdated,omitempty"`
	Left     bool `json:"left,omitempty"`
	// After is when the server may be asked again, and ChoiceAfter when it may
	// be for the peer's choice of the profile, in Unix milliseconds.
	After       int64 `json:"after,omitempty"`
	ChoiceAfter int64 `json:"choiceAfter,omitempty"`
	// Seq numbers what this device says in it. It is never taken back.
	Seq uint64 `json:"seq"`
	// Sessions turns session mode on or off here, whatever the policy says.
	Sessions *bool `json:"sessions,omitempty"`
	dirty    bool
}

// conv returns the record of a conversation, or nil.
func (w *work) conv(id quinta.RoomID) (*convRecord, error) {
	if c, ok := w.convs[id]; ok {
		return c, nil
	}
	c, found, err := e2ee.Load[convRecord](w.tx, "conv/"+string(id))
	if err != nil || !found {
		return nil, err
	}
	w.convs[id] = &c
	return &c, nil
}

// knownConv returns the record of a conversation and has it asked for if it is
// not known; then it returns nil.
func (w *work) knownConv(id quinta.RoomID) (*convRecord, error) {
	c, err := w.conv(id)
	if err != nil {
		return nil, err
	}
	if c != nil && c.Known {
		return c, nil
	}
	if c != nil && w.early(c.After, again) {
		return nil, nil
	}
	making, err := w.reqs.any(func(r *reqRecord) bool { return r.Req.Kind == ReqPutConversation && r.Req.Conv == id })
	if err != nil || making {
		return nil, err
	}
	return nil, w.reqs.once(reqRecord{Req: Req{Kind: ReqConversation, Conv: id}})
}

// listEvery is how often the conversations are requested, since a server tells
// no one that they were added before someone speaks.
const listEvery = time.Hour

// planConversations asks for the conversations at first and now and then, and
// for those that are outdated.
func (w *work) planConversations() error {
	self, err := w.self()
	if err != nil {
		return err
	}
	// Messages from before this device could decrypt are in the history; later
	// ones are sealed for it.
	age := w.now.UnixMilli() - w.meta.ListedAt
	due := !w.meta.Listed || age >= listEvery.Milliseconds() || age < 0
	if due && !w.early(w.meta.ListAfter, again) && self.Encrypt != nil {
		if err := w.reqs.once(reqRecord{Req: Req{Kind: ReqConversations}}); err != nil {
			return err
		}
	}
	entries, err := e2ee.Entries(w.tx, "refresh/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		id := quinta.RoomID(e.Key[len("refresh/"):])
		c, err := w.conv(id)
		if err != nil {
			return err
		}
		if c != nil && w.early(c.After, again) {
			continue
		}
		if err := w.reqs.once(reqRecord{Req: Req{Kind: ReqConversation, Conv: id}}); err != nil {
			return err
		}
	}
	return nil
}

// refresh schedules another request for the members of a conversation.
func (w *work) refresh(id quinta.RoomID, c *convRecord) error {
	c.Outdated, c.dirty = true, true
	return w.tx.Put("refresh/"+string(id), []byte{1})
}

// doneConversations takes the list of this user's conversations.
func (w *work) doneConversations(_ *reqRecord, ans Ans) error {
	if ans.Code != "" {
		w.meta.ListAfter = w.now.Add(again).UnixMilli()
		w.trouble("the conversations", ans)
		return nil
	}
	first := !w.meta.Listed
	w.meta.Listed, w.meta.ListedAt = true, w.now.UnixMilli()
	for i := range ans.Conversations {
		if _, err := w.takeConversation(&ans.Conversations[i]); err != nil {
			return err
		}
	}
	if !first {
		return nil
	}
	return w.beginHistory()
}

// doneConversation takes one conversation, or learns that there is none.
func (w *work) doneConversation(r *reqRecord, ans Ans) error {
	id := r.Req.Conv
	c, err := w.conv(id)
	if err != nil {
		return err
	}
	if ans.Code == "" && ans.Conversation != nil && ans.Conversation.Conv == id {
		taken, err := w.takeConversation(ans.Conversation)
		if err != nil || taken {
			return err
		}
	} else {
		w.trouble("the conversation "+string(id), ans)
		if err := w.tx.Delete("refresh/" + string(id)); err != nil {
			return err
		}
	}
	if c == nil {
		return w.failWaiting(waitConv + string(id))
	}
	c.After, c.dirty = w.now.Add(again).UnixMilli(), true
	if ans.Code == CodeNotFound && r.Req.Kind == ReqConversation && !c.Left {
		c.Left = true
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: id}, Detail: "left"})
	}
	return nil
}

// takeConversation takes what the server reports of a conversation. Its membership is
// not authenticated beyond that, except where the id itself says it; the
// profile never changes. It reports whether it was taken.
func (w *work) takeConversation(n *Conversation) (bool, error) {
	id := n.Conv
	if err := w.checkConversation(n); err != nil {
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, Message: quinta.Message{Room: id}, Detail: err.Error()})
		return false, nil
	}
	c, err := w.conv(id)
	if err != nil {
		return false, err
	}
	if c == nil {
		c = &convRecord{Profile: n.Profile}
		w.convs[id] = c
	}
	if c.Profile != n.Profile {
		w.emit(e2ee.Event{Kind: e2ee.EventKeyChanged, Message: quinta.Message{Room: id}, Detail: ErrDowngrade.Error()})
		return false, nil
	}
	news := !c.Known || c.Left || !sameUsers(c.Members, n.Members) || !sameUsers(c.Chosen, n.Chosen)
	var added []string
	for _, u := range n.Members {
		if c.Known && !slices.Contains(c.Members, u) {
			added = append(added, string(u))
		}
	}
	c.Members, c.Chosen = slices.Clone(n.Members), slices.Clone(n.Chosen)
	c.Known, c.Outdated, c.Left, c.dirty = true, false, false, true
	if err := w.tx.Delete("refresh/" + string(id)); err != nil {
		return false, err
	}
	if news {
		detail := ""
		if len(added) > 0 {
			detail = "added " + strings.Join(added, " ")
		}
		w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: id}, Detail: detail})
	}
	w.retry(waitConv + string(id))
	return true, nil
}

func sameUsers(a, b []quinta.UserID) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// checkConversation compares what the server says with what the id says.
func (w *work) checkConversation(n *Conversation) error {
	switch {
	case !CheckConv(n.Conv) || len(n.Members) > maxMembers || !slices.Contains(n.Members, w.m.user):
		return fmt.Errorf("%w: the server's description of a conversation", cert.ErrMalformed)
	case n.Profile != cert.ProfileSecure && n.Profile != cert.ProfileLegacy:
		return fmt.Errorf("%w: the profile of a conversation", cert.ErrUnsupported)
	case n.Profile == cert.ProfileLegacy && !IsDirect(n.Conv):
		return fmt.Errorf("%w: the legacy profile is for two users", ErrDowngrade)
	}
	for _, u := range n.Members {
		if err := (cert.Identity{User: u, Device: "x", Use: cert.UseSign}).Check(); err != nil {
			return err
		}
	}
	if !IsDirect(n.Conv) {
		return nil
	}
	for _, profile := range []string{cert.ProfileSecure, cert.ProfileLegacy} {
		if len(n.Members) <= 2 && n.Conv == Direct(n.Members[0], n.Members[len(n.Members)-1], profile) {
			if profile != n.Profile {
				return fmt.Errorf("%w: %s", ErrDowngrade, n.Profile)
			}
			return nil
		}
		// The other one may have left.
		if len(n.Members) == 1 {
			if c, err := w.conv(n.Conv); err == nil && c != nil && c.Profile == n.Profile {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: the conversation has other members than its id says", cert.ErrMismatch)
}

// Direct returns the direct conversation with a user, or with the user's own devices
// if it is this user, and creates it if there is none.
func (m *Machine) Direct(tx e2ee.Tx, peer quinta.UserID) (quinta.RoomID, error) {
	return m.make(tx, Direct(m.user, peer, cert.ProfileSecure), []quinta.UserID{peer}, cert.ProfileSecure)
}

// Create makes a conversation with users.
func (m *Machine) Create(tx e2ee.Tx, users []quinta.UserID) (quinta.RoomID, error) {
	var id quinta.MessageID
	if _, err := m.run(tx, func(w *work) (err error) { id, err = w.newID(); return err }); err != nil {
		return "", err
	}
	return m.make(tx, quinta.RoomID("g_"+string(id)), users, cert.ProfileSecure)
}

// ChooseLegacy chooses the legacy profile for the conversation with a user.
// Since it is weak, nothing is sent in it before the peer has chosen it too.
func (m *Machine) ChooseLegacy(tx e2ee.Tx, peer quinta.UserID) (quinta.RoomID, error) {
	if peer == m.user {
		return "", fmt.Errorf("%w: the legacy profile is for two users", cert.ErrMismatch)
	}
	return m.make(tx, Direct(m.user, peer, cert.ProfileLegacy), []quinta.UserID{peer}, cert.ProfileLegacy)
}

// make stores a conversation and has it made at the server.
func (m *Machine) make(tx e2ee.Tx, id quinta.RoomID, users []quinta.UserID, profile string) (quinta.RoomID, error) {
	_, err := m.run(tx, func(w *work) error {
		members := append([]quinta.UserID{w.m.user}, users...)
		slices.Sort(members)
		members = slices.Compact(members)
		if len(members) > maxMembers {
			return quinta.E(quinta.KindTooLarge, "making a conversation", "too many members")
		}
		for _, u := range members {
			if err := (cert.Identity{User: u, Device: "x", Use: cert.UseSign}).Check(); err != nil {
				return err
			}
			if u != w.m.user {
				if _, _, err := w.known(u); err != nil {
					return err
				}
			}
		}
		c, err := w.conv(id)
		if err != nil {
			return err
		}
		if c == nil {
			c = &convRecord{Profile: profile, Members: members}
			w.convs[id] = c
		} else if c.Known && !c.Left && (profile != cert.ProfileLegacy || c.Chose) {
			return nil
		}
		c.Chose, c.dirty = c.Chose || profile == cert.ProfileLegacy, true
		others := slices.DeleteFunc(slices.Clone(members), func(u quinta.UserID) bool { return u == w.m.user })
		return w.reqs.once(reqRecord{Req: Req{Kind: ReqPutConversation, Conv: id, Members: others, Profile: profile}})
	})
	return id, err
}

// Add adds users to a group. They can read from then on.
func (m *Machine) Add(tx e2ee.Tx, id quinta.RoomID, users []quinta.UserID) error {
	_, err := m.run(tx, func(w *work) error {
		c, err := w.conv(id)
		if err != nil {
			return err
		}
		if c == nil || c.Left {
			return ErrUnknownConversation
		}
		if IsDirect(id) || c.Profile != cert.ProfileSecure {
			return fmt.Errorf("%w: a direct conversation cannot become a group", cert.ErrUnsupported)
		}
		for _, u := range users {
			if err := (cert.Identity{User: u, Device: "x", Use: cert.UseSign}).Check(); err != nil {
				return err
			}
			if _, _, err := w.known(u); err != nil {
				return err
			}
		}
		return w.reqs.add(reqRecord{Req: Req{Kind: ReqMembers, Conv: id, Members: slices.Clone(users)}})
	})
	return err
}

// Leave removes this user from a conversation.
func (m *Machine) Leave(tx e2ee.Tx, id quinta.RoomID) error {
	_, err := m.run(tx, func(w *work) error {
		if c, err := w.conv(id); err != nil || c == nil {
			if err == nil {
				err = ErrUnknownConversation
			}
			return err
		}
		return w.reqs.once(reqRecord{Req: Req{Kind: ReqLeave, Conv: id}})
	})
	return err
}

// doneLeave learns that this user has left.
func (w *work) doneLeave(r *reqRecord, ans Ans) error {
	c, err := w.conv(r.Req.Conv)
	if err != nil || c == nil {
		return err
	}
	if ans.Code != "" && ans.Code != CodeNotFound {
		w.trouble("leaving a conversation", ans)
		return nil
	}
	c.Left, c.dirty = true, true
	w.emit(e2ee.Event{Kind: e2ee.EventRoom, Message: quinta.Message{Room: r.Req.Conv}, Detail: "left"})
	return nil
}

// A RoomInfo is a conversation as this device knows it.
type RoomInfo struct {
	quinta.Room
	Profile string
	// Direct says that it is a direct conversation, or of one user's devices.
	Direct bool
	// Chosen are the members who chose the legacy profile.
	Chosen []quinta.UserID
	// Pending says that the server has not confirmed it yet, Left that this
	// user is not in it.
	Pending, Left bool
	// Unsent is how many messages wait to be sent.
	Unsent int
}

// Room returns what is known of a conversation.
func (m *Machine) Room(tx e2ee.Tx, id quinta.RoomID) (RoomInfo, error) {
	var out RoomInfo
	_, err := m.run(tx, func(w *work) error {
		c, err := w.conv(id)
		if err != nil {
			return err
		}
		if c == nil {
			return ErrUnknownConversation
		}
		out = RoomInfo{Room: quinta.Room{ID: id, Encrypted: true, Members: slices.Clone(c.Members)}, Profile: c.Profile,
			Direct: IsDirect(id), Chosen: slices.Clone(c.Chosen), Pending: !c.Known, Left: c.Left}
		for o, err := range e2ee.Records[outEntry](w.tx, "outbox/") {
			if err != nil {
				return err
			}
			if o.Value.Conv == id {
				out.Unsent++
			}
		}
		return nil
	})
	return out, err
}

// Rooms returns the conversations that this user is in, by id.
func (m *Machine) Rooms(tx e2ee.Tx) ([]quinta.RoomID, error) {
	var out []quinta.RoomID
	_, err := m.run(tx, func(w *work) error {
		for c, err := range e2ee.Records[convRecord](w.tx, "conv/") {
			if err != nil {
				return err
			}
			if !c.Value.Left {
				out = append(out, quinta.RoomID(c.Name))
			}
		}
		return nil
	})
	return out, err
}
