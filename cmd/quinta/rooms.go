package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"github.com/quinta-chat/quinta/e2ee"
)

// roomLine is a room in JSON.
type roomLine struct {
	head
	Account    quinta.UserID   `json:"account"`
	Room       quinta.RoomID   `json:"room"`
	Name       string          `json:"name,omitempty"`
	Membership string          `json:"membership"`
	Encrypted  bool            `json:"encrypted"`
	Members    []quinta.UserID `json:"members,omitempty"`
	Topic      string          `json:"topic,omitempty"`
	Inviter    quinta.UserID   `json:"inviter,omitempty"`
	Direct     bool            `json:"direct,omitempty"`
}

// caughtUp opens a session that has rooms, catches up with the server, and
// runs fn.
func (a *app) caughtUp(ctx context.Context, fn func(ctx context.Context, s client.Talker, ac *account) error) error {
	return with(ctx, a, "rooms", func(ctx context.Context, s client.Talker, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		if err := s.Flush(ctx, func(e2ee.Event) {}); err != nil {
			return err
		}
		return fn(ctx, s, ac)
	})
}

// inRoom does what caughtUp does, and finds the room with this id or name.
func (a *app) inRoom(ctx context.Context, name string, fn func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error) error {
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		room, err := resolve(ctx, s, name)
		if err != nil {
			return err
		}
		return fn(ctx, s, ac, room)
	})
}

var roomsCommand = &command{
	Name:    "rooms",
	Short:   "list your rooms",
	Long:    "Lists the rooms of the account, including those it is invited to.\n\nExample: quinta rooms\n",
	Prepare: cli.Plain(runRooms),
}

func runRooms(ctx context.Context, a *app, args []string) error {
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		list, err := s.Rooms(ctx)
		for _, r := range list {
			if a.opt.json {
				a.emit(roomLine{newHead("room"), ac.User, r.ID, r.Name, r.Membership, r.Encrypted, r.Members, r.Topic, r.Inviter, r.Direct})
				continue
			}
			state := r.Membership
			if r.Membership == "join" {
				state = fmt.Sprintf("%d members", len(r.Members))
			}
			if !r.Encrypted {
				state += ", in clear"
			}
			a.say("%s %s (%s)", oneLine(string(r.ID)), oneLine(r.Name), state)
		}
		return err
	})
}

// resolve finds a room by its id, or by its name if only one room has that name.
func resolve(ctx context.Context, s client.Talker, want string) (quinta.RoomID, error) {
	list, err := s.Rooms(ctx)
	if err != nil {
		return "", err
	}
	var found []quinta.RoomID
	for _, r := range list {
		if string(r.ID) == want {
			return r.ID, nil
		}
		if r.Name != "" && strings.EqualFold(r.Name, want) {
			found = append(found, r.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", failed(exitNotFound, "'quinta rooms' lists your rooms, and 'quinta join' joins one", fmt.Errorf("this account is in no room %q", printable(want)))
	}
	return "", &cli.Misuse{Text: fmt.Sprintf("%d rooms are named %q", len(found), printable(want)), Hint: "use the id of the room; 'quinta rooms' shows it"}
}

// roomResult prints the room, and catches up so that this device knows the change
// as well.
func (a *app) roomResult(ctx context.Context, s client.Talker, ac *account, typ string, room quinta.RoomID) error {
	if a.opt.json {
		a.emit(eventLine{head: newHead(typ), Account: ac.User, Room: room})
	}
	a.say("%s", room)
	return s.Flush(ctx, func(e2ee.Event) {})
}
