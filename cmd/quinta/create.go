package main

import (
	"context"
	"flag"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
)

var createCommand = &command{
	Name:  "create",
	Args:  "[USER ...] [--flag ...]",
	Short: "create an encrypted room",
	Long: `Creates a room that is encrypted from the beginning, and invites users to it.

Example: quinta create --name garden @bob:example.org

  --name NAME    the name of the room
  --topic TEXT   the topic of the room
  --direct       make it a direct conversation with one user
  --clear        create it without encryption. 'quinta encrypt' can switch it on
                 later, on networks that allow this
  --legacy       use the old, weak profile of the network, if it has one.
                 Messages in it are marked as weak. On a network where direct
                 conversations can use it, give one USER, or --direct; where
                 both users must choose it, nothing is sent until the other
                 user has done so too
`,
	Most: -1,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(createFlags)
		fs.StringVar(&f.name, "name", "", "")
		fs.StringVar(&f.topic, "topic", "", "")
		fs.BoolVar(&f.direct, "direct", false, "")
		fs.BoolVar(&f.clear, "clear", false, "")
		fs.BoolVar(&f.legacy, "legacy", false, "")
		return f.run
	},
}

type createFlags struct {
	name, topic           string
	direct, clear, legacy bool
}

func (f *createFlags) run(ctx context.Context, a *app, args []string) error {
	if f.legacy && (f.direct || len(args) == 1 && f.name == "") {
		return f.openLegacy(ctx, a, args)
	}
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		in := client.NewRoom{Name: f.name, Topic: f.topic, Direct: f.direct, Clear: f.clear, Legacy: f.legacy}
		for _, u := range args {
			in.Invite = append(in.Invite, quinta.UserID(u))
		}
		room, err := s.Create(ctx, in)
		if err != nil {
			return err
		}
		if f.legacy {
			a.note(weakNote)
		}
		return a.roomResult(ctx, s, ac, "created", room)
	})
}

// weakNote is said of each new room in a legacy profile.
const weakNote = "warning: this conversation is weak: doc/security.md says what is not protected in it"

// openLegacy opens a direct conversation in the weak profile.
func (f *createFlags) openLegacy(ctx context.Context, a *app, args []string) error {
	if len(args) != 1 || f.name != "" || f.topic != "" || f.clear {
		return misused("a direct conversation with --legacy takes one USER, and none of --name, --topic and --clear")
	}
	return a.caughtUp(ctx, func(ctx context.Context, s client.Talker, ac *account) error {
		p, ok := client.As[client.Profiled](s)
		if !ok {
			return cannot(ac, "the legacy profile")
		}
		room, err := p.Legacy(ctx, quinta.UserID(args[0]))
		if err != nil {
			return err
		}
		a.note(weakNote)
		return a.roomResult(ctx, s, ac, "created", room)
	})
}
