package xmppserver

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// commands are what an operator can do with the key server.
var commands = []server.Command{
	{
		Name: "xmpp setup", Line: "create the component's secret and print the XMPP server's configuration",
		Usage: `
Xmpp setup creates the secret with which the key server authenticates to the
XMPP server, stores it encrypted, and prints the lines to add to that server's
configuration: for prosody at the end of the file, for ejabberd at the end of
the list "listen". If there is a secret already, it is kept and printed, unless
you pass --new on.

    quintad xmpp setup prosody
    quintad xmpp setup ejabberd --component keys.example.org

Without --component, the name is taken from the setting xmpp-component.
`,
		Args: 1,
		Flags: []server.CommandFlag{
			{Name: "component", Help: "the name of the component, such as keys.example.org"},
			{Name: "port", Default: "5347", Help: "the port at which the XMPP server accepts components"},
			{Name: "new", Default: "off", Help: "on: replace the existing secret with a new one"},
		},
		Run: onServer(commandSetup),
	},
	{
		Name: "xmpp show", Line: "show what the key server stores",
		Usage: `
Xmpp show prints the component, the domains that are served, and the numbers of
devices, conversations, keys and wrapped copies of keys.

    quintad xmpp show
`,
		Run: onServer(commandShow),
	},
	{
		Name: "xmpp token", Line: "print a token for a user, to use in services and with curl",
		Usage: `
Xmpp token prints a token for a user that is not bound to a device's key. It is
valid for escrow conversations only, and only for the first client ID that uses
it. Treat it as a password. The audit log records that it was created.

    quintad xmpp token romeo@example.org
`,
		Args: 1,
		Run:  onServer(commandToken),
	},
	{
		Name: "xmpp audit", Line: "print what was done, and who was given which key",
		Usage: `
Xmpp audit prints the latest entries of the audit log, oldest first.

    quintad xmpp audit
    quintad xmpp audit --user romeo@example.org --limit 500
`,
		Flags: []server.CommandFlag{
			{Name: "user", Help: "only entries about this user, given as a bare JID"},
			{Name: "conversation", Help: "only entries about the conversation with this ID"},
			{Name: "limit", Default: "50", Help: "how many entries to print"},
		},
		Run: onServer(commandAudit),
	},
}

// onServer gives a command its server.
func onServer(run func(context.Context, *xmppServer, server.CommandInput) (string, error)) func(context.Context, server.Front, server.CommandInput) (string, error) {
	return func(ctx context.Context, f server.Front, in server.CommandInput) (string, error) {
		s, ok := f.(*xmppServer)
		if !ok {
			return "", errors.New("xmpp: the command is for another network")
		}
		return run(ctx, s, in)
	}
}

func commandSetup(ctx context.Context, s *xmppServer, in server.CommandInput) (string, error) {
	lines, ok := setups[in.Args[0]]
	if !ok {
		return "", quinta.E(quinta.KindInvalid, "xmpp", "setup can write the configuration of prosody and of ejabberd only")
	}
	name := strings.ToLower(in.Flags["component"])
	if name == "" {
		name = s.component.name
	}
	port := in.Flags["port"]
	if _, err := parseComponent(name + "@" + net.JoinHostPort("127.0.0.1", port)); err != nil || name == "" {
		return "", quinta.E(quinta.KindInvalid, "xmpp", "give the name of the component, as in --component keys.example.org, and a port from 1 to 65535")
	}
	secret := ""
	if s.Setting(settingSecret) != "" && in.Flags["new"] != "on" {
		var err error
		if secret, err = s.componentSecret(ctx); err != nil {
			return "", err
		}
	} else {
		raw, err := s.secret(ctx, secretComponent, in.Flags["new"] == "on")
		if err != nil {
			return "", err
		}
		secret = hex.EncodeToString(raw)
	}
	return lines(name, port, secret), nil
}

// setups are the lines of a component for the XMPP servers that are known.
var setups = map[string]func(name, port, secret string) string{
	"prosody": func(name, port, secret string) string {
		lines := fmt.Sprintf("Component %q\n    component_secret = %q\n", name, secret)
		if port != "5347" {
			lines = fmt.Sprintf("-- before the first VirtualHost: component_ports = { %s }\n", port) + lines
		}
		return lines
	},
	"ejabberd": func(name, port, secret string) string {
		return fmt.Sprintf("  -\n    port: %s\n    ip: \"127.0.0.1\"\n    module: ejabberd_service\n    hosts:\n      %s:\n        password: %q\n", port, name, secret)
	},
}

func commandShow(ctx context.Context, s *xmppServer, _ server.CommandInput) (string, error) {
	var b strings.Builder
	name := s.component.name
	if name == "" {
		name = "none: set xmpp-component"
	}
	fmt.Fprintf(&b, "component      %s\n", name)
	fmt.Fprintf(&b, "domains        %s\n", strings.Join(s.domains, " "))
	fmt.Fprintf(&b, "escrow         %s\n", s.Setting(settingEscrow))
	err := s.View(ctx, func(tx *db.Tx) error {
		for _, n := range []struct{ name, sql string }{
			{"devices", `SELECT COUNT(*) FROM xmpp_device WHERE retired IS NULL`},
			{"unapproved", `SELECT COUNT(*) FROM xmpp_device WHERE retired IS NULL AND NOT approved`},
			{"sealed", `SELECT COUNT(*) FROM xmpp_conversation WHERE mode = 'sealed'`},
			{"in escrow", `SELECT COUNT(*) FROM xmpp_conversation WHERE mode = 'escrow'`},
			{"keys", `SELECT COUNT(*) FROM xmpp_key`},
			{"copies", `SELECT COUNT(*) FROM xmpp_copy`},
			{"wanted copies", `SELECT COUNT(*) FROM xmpp_want`},
		} {
			var count int64
			if err := tx.Row(n.sql).Scan(&count); err != nil {
				return err
			}
			fmt.Fprintf(&b, "%-14s %d\n", n.name, count)
		}
		return nil
	})
	return b.String(), err
}

func commandToken(ctx context.Context, s *xmppServer, in server.CommandInput) (string, error) {
	user := quinta.UserID(in.Args[0])
	if err := keysrv.CheckJID(user); err != nil {
		return "", quinta.E(quinta.KindInvalid, "xmpp", "a user is named by a bare JID, such as romeo@example.org")
	}
	token, _, err := s.mint(ctx, user, "")
	if err != nil {
		return "", err
	}
	if err := s.Update(ctx, func(tx *db.Tx) error {
		return audit(tx, record{Action: "token", User: user, Detail: "by the operator"})
	}); err != nil {
		return "", err
	}
	return token + "\n", nil
}

func commandAudit(ctx context.Context, s *xmppServer, in server.CommandInput) (string, error) {
	n, err := strconv.Atoi(in.Flags["limit"])
	if err != nil || n < 1 || n > 10_000 {
		return "", quinta.E(quinta.KindInvalid, "xmpp", "--limit must be a number from 1 to 10000")
	}
	var b strings.Builder
	err = s.View(ctx, func(tx *db.Tx) error {
		lines, err := auditTail(tx, quinta.UserID(in.Flags["user"]), in.Flags["conversation"], n)
		for _, r := range lines {
			fmt.Fprintf(&b, "%s  %-12s %s %s %s %s %s\n", time.UnixMilli(r.Time).UTC().Format(time.RFC3339), r.Action, dash(string(r.User)), dash(string(r.Device)), dash(r.Conversation), dash(r.Key), r.Detail)
		}
		return err
	})
	return b.String(), err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
