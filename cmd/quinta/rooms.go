package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
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

// inRoom does what caughtUp does for a command whose first argument is a room,
// and which takes at least least arguments and at most most; rest are those
// behind the room.
func (a *app) inRoom(ctx context.Context, args []string, least, most int, fn func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID, rest []string) error) error {
	if err := need(args, least, most); err != nil {
		return err
	}
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		room, err := resolve(ctx, s, args[0])
		if err != nil {
			return err
		}
		return fn(ctx, s, ac, room, args[1:])
	})
}

var roomsCommand = &command{
	name:  "rooms",
	short: "list the rooms of the account",
	long:  "Lists the rooms of the account, with those that it is invited to.\n",
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 0, 0); err != nil {
			return err
		}
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
	},
}

// resolve finds the room that a person means: by its id, or by its name if
// only one room bears it.
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
		return "", failed(exitNotFound, "'quinta rooms' lists the rooms, 'quinta join' joins one", fmt.Errorf("this account is in no room %q", printable(want)))
	}
	return "", &misuse{text: fmt.Sprintf("%d rooms are named %q", len(found), printable(want)), hint: "name one by its id; 'quinta rooms' shows them"}
}

var createCommand = &command{
	name:  "create",
	args:  "[USER ...] [--flag ...]",
	short: "make an encrypted room",
	long: `Makes a room, encrypted from the beginning, and invites the users.

Example: quinta create --name garden @bob:example.org

  --name NAME    what the room is called
  --topic TEXT   what it is about
  --direct       it is a conversation of two people
  --clear        without encryption; there is no way back from it to a secret
  --legacy       with one user of the CA network, in its weak old profile, which
                 that user must choose too; what comes in it is marked
`,
	flags: func(fs *flag.FlagSet, o *options) {
		fs.StringVar(&o.name, "name", "", "")
		fs.StringVar(&o.topic, "topic", "", "")
		fs.BoolVar(&o.direct, "direct", false, "")
		fs.BoolVar(&o.clear, "clear", false, "")
		fs.BoolVar(&o.legacy, "legacy", false, "")
	},
	run: func(ctx context.Context, a *app, args []string) error {
		if a.opt.legacy {
			return a.createLegacy(ctx, args)
		}
		return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
			in := client.NewRoom{Name: a.opt.name, Topic: a.opt.topic, Direct: a.opt.direct, Clear: a.opt.clear}
			for _, u := range args {
				in.Invite = append(in.Invite, quinta.UserID(u))
			}
			room, err := s.Create(ctx, in)
			if err != nil {
				return err
			}
			return a.roomResult(ctx, s, ac, "created", room)
		})
	},
}

// createLegacy chooses the weak profile for a conversation of two.
func (a *app) createLegacy(ctx context.Context, args []string) error {
	if len(args) != 1 || a.opt.name != "" || a.opt.topic != "" || a.opt.clear {
		return misused("--legacy takes one USER, and neither --name, --topic nor --clear")
	}
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		p, ok := client.As[client.ProfileChooser](s)
		if !ok {
			return cannot(ac, "legacy profile")
		}
		room, err := p.Legacy(ctx, quinta.UserID(args[0]))
		if err != nil {
			return err
		}
		a.note("warning: this conversation is weak: doc/security.md says what does not hold in it")
		return a.roomResult(ctx, s, ac, "created", room)
	})
}

// roomResult catches up, so that the change is known on this device too, and
// prints the room.
func (a *app) roomResult(ctx context.Context, s client.Talker, ac *account, typ string, room quinta.RoomID) error {
	if a.opt.json {
		a.emit(eventLine{head: newHead(typ), Account: ac.User, Room: room})
	}
	a.say("%s", room)
	return s.Flush(ctx, func(e2ee.Event) {})
}

var inviteCommand = &command{
	name:  "invite",
	args:  "ROOM USER ...",
	short: "invite users to a room",
	long:  "Invites users to a room.\n\nExample: quinta invite garden @carol:example.org\n",
	run: func(ctx context.Context, a *app, args []string) error {
		return a.inRoom(ctx, args, 2, -1, func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID, users []string) error {
			for _, u := range users {
				if err := s.Invite(ctx, room, quinta.UserID(u)); err != nil {
					return fmt.Errorf("inviting %s: %w", printable(u), err)
				}
			}
			return a.roomResult(ctx, s, ac, "invited", room)
		})
	},
}

var joinCommand = &command{
	name:  "join",
	args:  "ROOM",
	short: "join a room",
	long:  "Joins a room by its id or its public name, or the room of an invitation.\n\nExample: quinta join '#garden:example.org'\n",
	run: func(ctx context.Context, a *app, args []string) error {
		if err := need(args, 1, 1); err != nil {
			return err
		}
		return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
			want := args[0]
			if id, err := resolve(ctx, s, want); err == nil {
				want = string(id)
			} else if _, ambiguous := errors.AsType[*misuse](err); ambiguous {
				return err
			}
			room, err := s.Join(ctx, want)
			if err != nil {
				return err
			}
			return a.roomResult(ctx, s, ac, "joined", room)
		})
	},
}

var leaveCommand = &command{
	name:  "leave",
	args:  "ROOM",
	short: "leave a room, or refuse an invitation",
	long:  "Leaves a room, or refuses an invitation.\n\nExample: quinta leave garden\n",
	run: func(ctx context.Context, a *app, args []string) error {
		return a.inRoom(ctx, args, 1, 1, func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID, _ []string) error {
			if err := s.Leave(ctx, room); err != nil {
				return err
			}
			return a.roomResult(ctx, s, ac, "left", room)
		})
	},
}

var membersCommand = &command{
	name:  "members",
	args:  "ROOM",
	short: "list who is in a room",
	long:  "Lists the members of a room.\n\nExample: quinta members garden\n",
	run: func(ctx context.Context, a *app, args []string) error {
		return a.inRoom(ctx, args, 1, 1, func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID, _ []string) error {
			lister, ok := client.As[client.MemberLister](s)
			if !ok {
				return cannot(ac, "list of members")
			}
			list, err := lister.Members(ctx, room)
			for _, m := range list {
				if a.opt.json {
					a.emit(memberLine{newHead("member"), ac.User, room, m.User, m.Name, m.Membership})
					continue
				}
				if m.Membership == "join" || m.Membership == "invite" {
					a.say("%s %s (%s)", oneLine(string(m.User)), oneLine(m.Name), m.Membership)
				}
			}
			return err
		})
	},
}

// memberLine is a member of a room in JSON.
type memberLine struct {
	head
	Account    quinta.UserID `json:"account"`
	Room       quinta.RoomID `json:"room"`
	User       quinta.UserID `json:"user"`
	Name       string        `json:"name,omitempty"`
	Membership string        `json:"membership"`
}
