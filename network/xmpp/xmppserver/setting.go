package xmppserver

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
)

// The names of the settings.
const (
	settingComponent = "xmpp-component"
	settingSecret    = "xmpp-secret"
	settingDomains   = "xmpp-domains"
	settingEscrow    = "xmpp-escrow"
	settingMinutes   = "xmpp-token-minutes"
	settingHistory   = "xmpp-history"
)

var settings = []server.Setting{
	{Name: settingComponent, Arg: "NAME@HOST:PORT", Help: "the name of the component, and the component port of the XMPP server; by default the key server does not connect to one",
		Check: func(v string) error { _, err := parseComponent(v); return err }},
	{Name: settingSecret, Arg: "FILE", Help: "the file with the component's secret; by default the secret that \"xmpp setup\" created"},
	{Name: settingDomains, Arg: "DOMAIN,...", Help: "the domains whose users are served; by default the parent domain of the component's name"},
	{Name: settingEscrow, Default: escrowOff, Arg: "on|off", Help: "let the server hold the keys of a conversation itself if the conversation's creator asks for it",
		Check: func(v string) error {
			if v != escrowOff && v != escrowOn {
				return errors.New("it must be off or on")
			}
			return nil
		}},
	{Name: settingHistory, Default: historyJoined, Arg: "joined|all", Help: "which keys a new member of a room is given: those made after they joined, or all",
		Check: func(v string) error {
			if v != historyJoined && v != historyAll {
				return errors.New("it is joined or all")
			}
			return nil
		}},
	{Name: settingMinutes, Default: "10", Arg: "N", Help: "how many minutes a token is valid, 1 to 10",
		Check: func(v string) error {
			if n, err := strconv.Atoi(v); err != nil || n < 1 || n > 10 {
				return errors.New("it is a number from 1 to 10")
			}
			return nil
		}},
}

// The values of xmpp-escrow.
const (
	escrowOff = "off"
	escrowOn  = "on"
)

// The values of xmpp-history.
const (
	historyJoined = "joined"
	historyAll    = "all"
)

// A componentAddr is the name of the component and where it connects to.
type componentAddr struct{ name, addr string }

var errComponent = errors.New(`it looks like "keys.example.org@127.0.0.1:5347"`)

// parseComponent reads the setting.
func parseComponent(v string) (componentAddr, error) {
	if v == "" {
		return componentAddr{}, nil
	}
	name, addr, ok := strings.Cut(v, "@")
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.ParseUint(port, 10, 16) // without a sign
	if !ok || name == "" || err != nil || host == "" || perr != nil || n == 0 || server.CheckName(name) != nil || strings.Contains(name, ":") {
		return componentAddr{}, errComponent
	}
	return componentAddr{name: strings.ToLower(name), addr: addr}, nil
}

// tokenLife is how long a token serves.
func (s *xmppServer) tokenLife() time.Duration {
	n, err := strconv.Atoi(s.Setting(settingMinutes))
	if err != nil {
		return time.Minute
	}
	return time.Duration(n) * time.Minute
}

// maxSecret bounds the file with the component's secret, in bytes.
const maxSecret = 4096

// readSecret reads the component's secret from a file.
func readSecret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", quinta.E(quinta.KindUnavailable, "xmpp", "the file of xmpp-secret cannot be read")
	}
	defer f.Close()
	b := make([]byte, maxSecret+1)
	n, _ := f.Read(b)
	text := strings.TrimSpace(string(b[:n]))
	if text == "" || n > maxSecret {
		return "", quinta.E(quinta.KindInvalid, "xmpp", "the file of xmpp-secret holds no secret")
	}
	return text, nil
}
