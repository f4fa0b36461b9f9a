package sync

import (
	"encoding/json"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/prekey"
	"github.com/quinta-chat/quinta/server/vault"
)

// accountData gives the account data that changed, and keeps that of rooms
// for them.
func (l *look) accountData() error {
	list, err := vault.DataSince(l.tx, network, l.User, l.q.Since.Pos)
	if err != nil {
		return err
	}
	f := &l.q.Filter.AccountData
	var global []any
	for _, d := range list {
		e := dataEvent(d)
		switch {
		case d.Scope != "":
			if l.data == nil {
				l.data = map[quinta.RoomID][]any{}
			}
			l.data[quinta.RoomID(d.Scope)] = append(l.data[quinta.RoomID(d.Scope)], e)
		case f.Match(d.Name, string(l.User)):
			global = append(global, e)
		}
	}
	if f.Match(wire.DataPushRules, string(l.User)) {
		rules, pos, err := l.Notices.Rules(l.tx, l.User)
		if err != nil {
			return err
		}
		if l.q.Initial || pos > l.q.Since.Pos {
			raw, err := wire.Encode(rules)
			if err != nil {
				return err
			}
			global = append(global, wire.DataEvent{Type: wire.DataPushRules, Content: raw})
		}
	}
	if global = global[:min(len(global), f.Max(len(global), len(global)))]; len(global) > 0 {
		l.answer.rest.AccountData = newEventList().add(global...)
	}
	return nil
}

// dataEvent is account data as a sync gives it; what was removed has an empty
// content (MSC3391).
func dataEvent(d vault.Datum) wire.DataEvent {
	e := wire.DataEvent{Type: d.Name, Content: d.Value}
	if d.Value == nil {
		e.Content = json.RawMessage("{}")
	}
	return e
}

// loadIgnored reads whom the user ignores (client-server API, "Ignoring
// Users").
func (l *look) loadIgnored() error {
	raw, err := vault.GetData(l.tx, network, l.User, "", "m.ignored_user_list")
	if err != nil {
		if quinta.KindOf(err) == quinta.KindNotFound {
			err = nil
		}
		return err
	}
	var list struct {
		Users map[quinta.UserID]json.RawMessage `json:"ignored_users"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil // the client's own data, in a shape of its own
	}
	l.ignored = map[quinta.UserID]bool{}
	for u := range list.Users {
		l.ignored[u] = u != l.User
	}
	return nil
}

// deviceLists says whose devices changed since the sync before.
func (l *look) deviceLists() error {
	if l.q.Initial {
		return nil
	}
	changed, left, err := DeviceLists(l.tx, l.User, l.q.Since.Pos, l.now)
	if err == nil && len(changed)+len(left) > 0 {
		l.answer.rest.DeviceLists = &deviceLists{changed, left}
	}
	return err
}

// keyCounts says how many one-time keys of the device are left and which of
// its fallback keys were never used.
func (l *look) keyCounts() error {
	counts, err := prekey.Counts(l.tx, network, l.User, l.ID)
	if err != nil {
		return err
	}
	if _, there := counts["signed_curve25519"]; !there {
		// Some clients take a missing count for an unknown one.
		counts["signed_curve25519"] = 0
	}
	l.answer.rest.OneTime = counts
	l.answer.rest.Fallback, err = prekey.UnusedFallback(l.tx, network, l.User, l.ID)
	return err
}
