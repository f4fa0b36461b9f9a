package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/attachment"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// A record is what a test may know of an event.
type record struct {
	ID        id.EventID   `json:"id"`
	Sender    id.UserID    `json:"sender"`
	Room      id.RoomID    `json:"-"`
	Type      string       `json:"type"`
	Wire      string       `json:"wire"`
	Body      string       `json:"body"`
	Msgtype   string       `json:"msgtype"`
	Session   id.SessionID `json:"session"`
	Algorithm id.Algorithm `json:"algorithm"`
	Failure   string       `json:"failure"`
	Clear     bool         `json:"clear"`

	file *event.EncryptedFileInfo
}

// keep holds an encrypted event, to open it when its key comes. The lock is
// held.
func (d *device) keep(e *event.Event) {
	if _, known := d.raw[e.ID]; !known {
		d.raw[e.ID] = e
		d.order = append(d.order, e.ID)
	}
}

// note holds a message that can be read. The lock is held.
func (d *device) note(e *event.Event) {
	m := e.Content.AsMessage()
	r := record{ID: e.ID, Sender: e.Sender, Room: e.RoomID, Type: e.Type.Type, Wire: e.Type.Type, Body: m.Body, Msgtype: string(m.MsgType), Clear: true, file: m.File}
	if raw := d.raw[e.ID]; raw != nil {
		c := raw.Content.AsEncrypted()
		r.Wire, r.Session, r.Algorithm, r.Clear = raw.Type.Type, c.SessionID, c.Algorithm, false
	} else {
		d.order = append(d.order, e.ID)
	}
	d.read[e.ID] = r
}

// reopenAll tries once more to open what is still closed in a room, and returns
// why it cannot, by event.
func (d *device) reopenAll(ctx context.Context, room id.RoomID) map[id.EventID]error {
	d.mu.Lock()
	var closed []*event.Event
	for eid, e := range d.raw {
		if _, ok := d.read[eid]; !ok && e.RoomID == room {
			closed = append(closed, e)
		}
	}
	d.mu.Unlock()
	why := map[id.EventID]error{}
	for _, e := range closed {
		opened, err := d.mach.DecryptMegolmEvent(ctx, e)
		if err != nil {
			why[e.ID] = err
			continue
		}
		d.mu.Lock()
		d.note(opened)
		d.mu.Unlock()
	}
	return why
}

var roomCalls = map[string]call{
	"createRoom":      method(createRoom),
	"invite":          method(invite),
	"join":            method(join),
	"leave":           method(leave),
	"kick":            method(kick),
	"untilMembership": method(untilMembership),
	"sendText":        method(sendText),
	"sendBurst":       method(sendBurst),
	"read":            method(readOne),
	"readAll":         method(readAll),
	"unreadable":      method(unreadable),
	"timeline":        method(timeline),
	"scrollback":      method(scrollback),
	"discardSession":  method(discardSession),
	"sendFile":        method(sendFile),
	"readFile":        method(readFile),
}

type roomArgs struct {
	Invite     []id.UserID
	Rotation   int
	Visibility event.HistoryVisibility
	Name       string
	Direct     bool
}

type made struct {
	Room id.RoomID `json:"room"`
}

func createRoom(ctx context.Context, d *device, a roomArgs) (made, error) {
	empty := ""
	state := []*event.Event{{Type: event.StateEncryption, StateKey: &empty, Content: event.Content{Parsed: &event.EncryptionEventContent{
		Algorithm: id.AlgorithmMegolmV1, RotationPeriodMessages: a.Rotation,
	}}}}
	if a.Visibility != "" {
		state = append(state, &event.Event{Type: event.StateHistoryVisibility, StateKey: &empty,
			Content: event.Content{Parsed: &event.HistoryVisibilityEventContent{HistoryVisibility: a.Visibility}}})
	}
	r, err := d.client.CreateRoom(ctx, &mautrix.ReqCreateRoom{
		Preset: "private_chat", Invite: a.Invite, Name: a.Name, IsDirect: a.Direct, InitialState: state,
	})
	if err != nil {
		return made{}, err
	}
	return made{r.RoomID}, d.untilEncrypted(ctx, r.RoomID)
}

func (d *device) untilEncrypted(ctx context.Context, room id.RoomID) error {
	return d.until(ctx, func() (bool, error) { return d.state.IsEncrypted(ctx, room) })
}

type memberArgs struct {
	Room       id.RoomID
	User       id.UserID
	Membership event.Membership
}

func invite(ctx context.Context, d *device, a memberArgs) (none, error) {
	_, err := d.client.InviteUser(ctx, a.Room, &mautrix.ReqInviteUser{UserID: a.User})
	return none{}, err
}

func join(ctx context.Context, d *device, a memberArgs) (none, error) {
	err := d.until(ctx, func() (bool, error) {
		return d.state.IsMembership(ctx, a.Room, d.account.User, event.MembershipInvite, event.MembershipJoin), nil
	})
	if err != nil {
		return none{}, err
	}
	if _, err := d.client.JoinRoomByID(ctx, a.Room); err != nil {
		return none{}, err
	}
	return none{}, d.untilEncrypted(ctx, a.Room)
}

func leave(ctx context.Context, d *device, a memberArgs) (none, error) {
	_, err := d.client.LeaveRoom(ctx, a.Room)
	return none{}, err
}

func kick(ctx context.Context, d *device, a memberArgs) (none, error) {
	_, err := d.client.KickUser(ctx, a.Room, &mautrix.ReqKickUser{UserID: a.User})
	return none{}, err
}

func untilMembership(ctx context.Context, d *device, a memberArgs) (none, error) {
	return none{}, d.until(ctx, func() (bool, error) {
		return d.state.IsMembership(ctx, a.Room, a.User, a.Membership), nil
	})
}

type textArgs struct {
	Room id.RoomID
	Body string
}

type sent struct {
	ID  id.EventID `json:"id"`
	URL string     `json:"url,omitempty"`
}

// sendText sends a text, which the client seals because the room is encrypted.
func sendText(ctx context.Context, d *device, a textArgs) (sent, error) {
	r, err := d.client.SendMessageEvent(ctx, a.Room, event.EventMessage, &event.MessageEventContent{MsgType: event.MsgText, Body: a.Body})
	if err != nil {
		return sent{}, err
	}
	return sent{ID: r.EventID}, nil
}

type burstArgs struct {
	Room   id.RoomID
	Bodies []string
}

type sentMany struct {
	IDs []id.EventID `json:"ids"`
}

// sendBurst seals the texts one after the other, as the SDK does not make room
// keys for several at once, and sends them without waiting between them.
func sendBurst(ctx context.Context, d *device, a burstArgs) (sentMany, error) {
	type one struct {
		at  int
		id  id.EventID
		err error
	}
	done := make(chan one, len(a.Bodies))
	for i, body := range a.Bodies {
		content := event.MessageEventContent{MsgType: event.MsgText, Body: body}
		sealed, err := d.client.Crypto.Encrypt(ctx, a.Room, event.EventMessage, &content)
		if err != nil {
			return sentMany{}, err
		}
		go func() {
			r, err := d.client.SendMessageEvent(ctx, a.Room, event.EventEncrypted, sealed)
			if err != nil {
				done <- one{i, "", err}
				return
			}
			done <- one{i, r.EventID, nil}
		}()
	}
	all := sentMany{IDs: make([]id.EventID, len(a.Bodies))}
	var errs []error
	for range a.Bodies {
		o := <-done
		all.IDs[o.at] = o.id
		errs = append(errs, o.err)
	}
	return all, errors.Join(errs...)
}

type whereArgs struct {
	Room id.RoomID
	ID   id.EventID
	Body *string
}

// readOne waits until one event with the id or body can be read.
func readOne(ctx context.Context, d *device, a whereArgs) (record, error) {
	var found record
	err := d.until(ctx, func() (bool, error) {
		d.reopenAll(ctx, a.Room)
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, eid := range d.order {
			r, ok := d.read[eid]
			if ok && r.Room == a.Room && (a.ID == eid || a.ID == "" && a.Body != nil && r.Body == *a.Body) {
				found = r
				return true, nil
			}
		}
		return false, nil
	})
	return found, err
}

func readAll(ctx context.Context, d *device, a burstArgs) (none, error) {
	for _, body := range a.Bodies {
		if _, err := readOne(ctx, d, whereArgs{Room: a.Room, Body: &body}); err != nil {
			return none{}, fmt.Errorf("%q: %w", body, err)
		}
	}
	return none{}, nil
}

func unreadable(ctx context.Context, d *device, a whereArgs) (record, error) {
	found := record{ID: a.ID}
	err := d.until(ctx, func() (bool, error) {
		if why, ok := d.reopenAll(ctx, a.Room)[a.ID]; ok {
			found.Failure = why.Error()
			return true, nil
		}
		return false, nil
	})
	return found, err
}

type timelineResult struct {
	Membership event.Membership `json:"membership"`
	Events     []record         `json:"events"`
}

// timeline answers the messages of a room in the order in which they came.
func timeline(ctx context.Context, d *device, a memberArgs) (timelineResult, error) {
	why := d.reopenAll(ctx, a.Room)
	m, err := d.state.GetMember(ctx, a.Room, d.account.User)
	if err != nil {
		return timelineResult{}, err
	}
	res := timelineResult{Membership: m.Membership}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, eid := range d.order {
		r, ok := d.read[eid]
		if !ok {
			raw := d.raw[eid]
			r = record{ID: eid, Sender: raw.Sender, Room: raw.RoomID, Wire: raw.Type.Type, Failure: fmt.Sprint(why[eid])}
		}
		if r.Room == a.Room {
			res.Events = append(res.Events, r)
		}
	}
	return res, nil
}

// scrollback fetches the room's history from its end to its beginning.
func scrollback(ctx context.Context, d *device, a memberArgs) (none, error) {
	from := ""
	for {
		page, err := d.client.Messages(ctx, a.Room, from, "", mautrix.DirectionBackward, nil, 50)
		if err != nil {
			return none{}, err
		}
		for _, e := range page.Chunk {
			e.RoomID = a.Room
			e.Type.Class = event.MessageEventType
			if e.StateKey != nil || e.Type != event.EventEncrypted {
				continue
			}
			if err := e.Content.ParseRaw(e.Type); err != nil {
				return none{}, err
			}
			d.change(func() { d.keep(e) })
		}
		if page.End == "" || len(page.Chunk) == 0 {
			return none{}, nil
		}
		from = page.End
	}
}

func discardSession(ctx context.Context, d *device, a memberArgs) (none, error) {
	return none{}, d.store.RemoveOutboundGroupSession(ctx, a.Room)
}

type fileArgs struct {
	Room id.RoomID
	Name string
	Data []byte
}

func sendFile(ctx context.Context, d *device, a fileArgs) (sent, error) {
	file := attachment.NewEncryptedFile()
	sealed := slices.Clone(a.Data)
	file.EncryptInPlace(sealed)
	up, err := d.client.UploadBytes(ctx, sealed, "application/octet-stream")
	if err != nil {
		return sent{}, err
	}
	r, err := d.client.SendMessageEvent(ctx, a.Room, event.EventMessage, &event.MessageEventContent{
		MsgType: event.MsgFile, Body: a.Name,
		File: &event.EncryptedFileInfo{EncryptedFile: *file, URL: up.ContentURI.CUString()},
	})
	if err != nil {
		return sent{}, err
	}
	return sent{r.EventID, string(up.ContentURI.CUString())}, nil
}

type fileResult struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

func readFile(ctx context.Context, d *device, a whereArgs) (fileResult, error) {
	r, err := readOne(ctx, d, a)
	if err != nil {
		return fileResult{}, err
	}
	if r.file == nil {
		return fileResult{}, errors.New("the message has no encrypted file")
	}
	url, err := r.file.URL.Parse()
	if err != nil {
		return fileResult{}, err
	}
	data, err := d.client.DownloadBytes(ctx, url)
	if err != nil {
		return fileResult{}, err
	}
	data = bytes.Clone(data)
	if err := r.file.DecryptInPlace(data); err != nil {
		return fileResult{}, err
	}
	return fileResult{r.Body, data}, nil
}
