package config_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
)

// toy is a network with settings of its own.
var toy = server.Network{Name: "toy", Settings: []server.Setting{
	{Name: "toy-listen", Default: "127.0.0.1:7", Arg: "ADDR", Help: "where the toy listens"},
	{Name: "toy-secret", Arg: "TEXT", Help: "what the toy's servers share", Secret: true, Check: func(s string) error {
		if s != "" && len(s) < 8 {
			return errors.New("a secret has at least 8 characters")
		}
		return nil
	}},
}}

// loadToy loads settings with the toy among the networks.
func loadToy(t *testing.T, environ []string, args ...string) (*config.Table, *config.Config, error) {
	t.Helper()
	table, err := config.New(append(servers.All(), toy), nil)
	if err != nil {
		t.Fatal(err)
	}
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	g := table.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, err := g.Load(environ)
	return table, c, err
}

func TestSettingsOfANetwork(t *testing.T) {
	t.Parallel()
	table, c, err := loadToy(t, []string{"QUINTA_TOY_LISTEN=127.0.0.1:8", "QUINTA_TOY_SECRET=geheim-in-variable", "QUINTA_NETWORKS=toy"}, "--toy-secret", "geheim-in-flag")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"toy-listen": "127.0.0.1:8", "toy-secret": "geheim-in-flag", "private-gateways": "off"} {
		if got := c.Settings[name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if len(c.Networks) != 1 || c.Networks[0] != "toy" {
		t.Errorf("got the networks %v, want the toy", c.Networks)
	}
	if got := c.Origin("toy-secret"); got != "command line" {
		t.Errorf("the secret comes from %q", got)
	}
	if got := table.Nearest("toy-listn"); got != "toy-listen" {
		t.Errorf("got %q as the nearest key", got)
	}
	for _, out := range []string{table.Lookup("toy-secret").Get(c), fmt.Sprintf("%v %+v %#v", c, c, *c), fmt.Sprintf("%s %q", c.Settings, c.Settings)} {
		if strings.Contains(out, "geheim") {
			t.Errorf("the secret is shown: %s", out)
		}
	}
	if got := table.Lookup("toy-listen").Get(c); got != "127.0.0.1:8" {
		t.Errorf("got %q as the value that is shown", got)
	}
	_, _, err = loadToy(t, []string{"QUINTA_TOY_SECRET=geheim"})
	if e, ok := err.(*config.Error); !ok || e.Where != "QUINTA_TOY_SECRET" || !strings.Contains(e.Text, "toy-secret: a secret has at least 8") {
		t.Errorf("got %v, want what a secret looks like", err)
	}
}

// TestNamesOfAllNetworks: no name of a network is that of another one or of a
// key, and New finds those that are.
func TestNamesOfAllNetworks(t *testing.T) {
	t.Parallel()
	if _, err := config.New(servers.All(), []string{"serve", "user add"}); err != nil {
		t.Error(err)
	}
	for _, k := range append(keys(t), &config.Key{Name: "config"}) {
		if _, err := config.New(append(servers.All(), server.Network{Name: "other", Settings: []server.Setting{{Name: k.Name}}}), nil); err == nil {
			t.Errorf("a network took the name of the key %s", k.Name)
		}
	}
}
