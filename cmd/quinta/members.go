package main

import (
	"context"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

// memberLine is a member of a room in JSON.
type memberLine struct {
	head
	Account    quinta.UserID `json:"account"`
	Room       quinta.RoomID `json:"room"`
	User       quinta.UserID `json:"user"`
	Name       string        `json:"name,omitempty"`
	Membership string        `json:"membership"`
}

var membersCommand = &command{
	Name:  "members",
	Args:  "ROOM",
	Short: "list the members of a room",
	Long: `Lists the members of a room, and the users who are invited to it.

Example: quinta members garden
`,
	Least: 1, Most: 1,
	Prepare: cli.Plain(runMembers),
}

func runMembers(ctx context.Context, a *app, args []string) error {
	return a.inRoom(ctx, args[0], func(ctx context.Context, s client.Talker, ac *account, room quinta.RoomID) error {
		lister, ok := client.As[client.MemberLister](s)
		if !ok {
			return cannot(ac, "listing members")
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
}
