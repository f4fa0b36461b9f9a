package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
)

// table is the table of the program.
func table(t testing.TB) *config.Table {
	t.Helper()
	tab, err := config.New(servers.All(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func keys(t testing.TB) []*config.Key { return table(t).Keys() }

// load reads a configuration file with that text, with flags and environment.
func load(t *testing.T, text string, environ []string, args ...string) (*config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "q.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	g := table(t).Flags(fs)
	if err := fs.Parse(append([]string{"--config", path}, args...)); err != nil {
		t.Fatal(err)
	}
	return g.Load(environ)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "./quinta-data" || c.Listen != "127.0.0.1:8008" || c.Registration != server.RegistrationClosed ||
		!c.RateLimits || c.AdminListen != "" || c.Database != "" || c.TLSCert != "" || c.MaxUploadMiB != 100 || c.MaxConnections != 10_000 || c.MaxConnectionsPerAddress != 256 || c.MaxWebConnections != 10_000 || c.MaxWebConnectionsPerAddress != 1000 ||
		c.LogLevel != slog.LevelInfo || len(c.TrustedProxies) != 0 {
		t.Errorf("got %+v", c)
	}
}

// example gives every key a value that is not its default.
var example = map[string]string{
	"data": "/srv/quinta", "listen": "127.0.0.1:9", "name": "example.org", "registration": "invite",
	"database": "postgres://q@h/n", "blobs": "s3://bucket", "secrets": "hashivault://quinta", "client-certificates": "on", "max-upload": "7", "quota-media": "1", "quota-backup": "2", "quota-data": "3", "quota-queue": "4", "quota-messages": "0", "min-free-disk": "6", "max-connections": "8", "max-connections-per-address": "9", "max-http-connections": "10", "max-http-connections-per-address": "11", "rate-limits": "off", "private-gateways": "on", "rocketchat-version": "8.8.1", "rocketchat-force-encryption": "on", "public-url": "https://example.org",
	"tls-cert": "c.pem", "tls-key": "k.pem", "admin-listen": "[::1]:9", "admin-hosts": "quintad,q.example.org", "trusted-proxies": "10.0.0.0/8,192.0.2.1/32", "networks": "ca", "xmpp-component": "keys.example.org@127.0.0.1:5347", "xmpp-secret": "s.txt", "xmpp-domains": "example.org,example.net", "xmpp-escrow": "on", "xmpp-history": "all", "xmpp-token-minutes": "5", "log-level": "warn", "log-format": "json",
	"rocketchat-push": "https://gateway.example.org", "rocketchat-push-content": "encrypted", "rocketchat-otr": "on",
	"mtproto-listen":   "127.0.0.1:9,[::1]:9",
	"mtproto-key":      "testdata/mtproto.pem",
	"mtproto-dc":       "3",
	"mtproto-announce": "2=192.0.2.1:443",
}

// TestEveryKeyEverywhere sets every key in the file, by the environment and by
// a flag: each wins over the one before, and prints as it was set.
func TestEveryKeyEverywhere(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	var environ, args []string
	for _, k := range keys(t) {
		v := example[k.Name]
		if v == "" || v == k.Default {
			t.Fatalf("%s has no example", k.Name)
		}
		fmt.Fprintf(&text, "%s = %s\n", k.Name, v)
		environ = append(environ, k.Env()+"="+v)
		args = append(args, "--"+k.Name, v)
	}
	for _, tc := range []struct {
		name    string
		text    string
		environ []string
		args    []string
		origin  func(k *config.Key) string
	}{
		{"file", text.String(), nil, nil, func(*config.Key) string { return "line" }},
		{"environment", text.String(), environ, nil, func(k *config.Key) string { return k.Env() }},
		{"flag", text.String(), environ, args, func(*config.Key) string { return "command line" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := load(t, tc.text, tc.environ, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys(t) {
				if got := k.Get(c); got != example[k.Name] {
					t.Errorf("%s: got %q, want %q", k.Name, got, example[k.Name])
				}
				if got := c.Origin(k.Name); !strings.Contains(got, tc.origin(k)) {
					t.Errorf("%s comes from %q, want %q", k.Name, got, tc.origin(k))
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text, want, hint string
	}{
		{"nmae = x", `line 1: unknown key "nmae"`, `did you mean "name"?`},
		{"\n\nLISTEN_ADDR = x", `line 3: unknown key "LISTEN_ADDR"`, `did you mean "listen"?`},
		{"tls_cert = x", `unknown key "tls_cert"`, `did you mean "tls-cert"?`},
		{strings.Repeat("long", 1000) + " = x", "unknown key", "lists the keys"},
		{"just words", "line 1: not a setting", ""},
		{"= x", "line 1: not a setting", ""},
		{`name = "x`, "begins with a quote", ""},
		{"name = x\nname = x", "is set twice", ""},
		{"name = a b", "not a server name", ""},
		{"listen = 8008", "not an address", ""},
		{"listen =", "not an address", ""},
		{"listen = 127.0.0.1:99999", "not an address", ""},
		{"data =", "must not be empty", ""},
		{"registration = ajar", "none of open, invite, closed", ""},
		{"database = mysql://x", "not a database URL", ""},
		{"blobs = http://x", "not a store for media", ""},
		{"secrets = http://x", "not a key", ""},
		{"max-upload = 0", "not a number from 1", ""},
		{"quota-media = -1", "not a number from 0", ""},
		{"min-free-disk = 1 GiB", "not a number from 0", ""},
		{"max-upload = 9999999999999999999", "not a number from 1", ""},
		{"rate-limits = true", "neither on nor off", ""},
		{"private-gateways = 10.0.0.0/8", "neither on nor off", ""},
		{"public-url = example.org", "not an address for clients", ""},
		{"public-url = https://u:p@example.org", "not an address for clients", ""},
		{"trusted-proxies = 10.0.0.0/99", "neither an address nor a network", ""},
		{"admin-hosts = q.example.org:9090", "not a host name: give it without a port", ""},
		{"networks = matrix,irc", `"irc" is not a network: the networks are matrix`, ""},
		{"log-level = loud", "none of debug", ""},
		{"log-format = xml", "none of text, json", ""},
		{"tls-key = k.pem", "tls-key is set and tls-cert is not", ""},
		{"name = \xff", "not text in UTF-8", ""},
		{strings.Repeat("# much\n", 200_000), "larger than", ""},
	} {
		_, err := load(t, tc.text, nil)
		e, ok := err.(*config.Error)
		if !ok || !strings.Contains(e.Error(), tc.want) || !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%.40q: got %v, want %q with the hint %q", tc.text, err, tc.want, tc.hint)
		}
		if ok && e.Misused {
			t.Errorf("%.40q: a file is no misuse of the command line", tc.text)
		}
	}
	_, err := load(t, "", nil, "--listen", "nowhere")
	if e, ok := err.(*config.Error); !ok || !e.Misused || !strings.Contains(e.Error(), "--listen") {
		t.Errorf("got %v, want a misuse of --listen", err)
	}
}

func TestNothingInTheEnvironmentIsNotSet(t *testing.T) {
	t.Parallel()
	c, err := load(t, "name = example.org", []string{"QUINTA_NAME=", "NAME=other"})
	if err != nil || c.Name != "example.org" {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"postgres://user:geheim@host/name",
		"postgres://user@host/name?password=geheim",
		"postgres://host/name?sslpassword=geheim&x=1",
		"base64key://geheim",
		"base64key:geheim",
		"s3://bucket?secretAccessKey=geheim",
		"geheim",
		"::geheim\x7f://",
	} {
		s := config.Secret(text)
		j, err := json.Marshal(map[string]any{"s": s})
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s)
		c := config.Config{Database: s}
		for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), string(j), log.String(), fmt.Sprintf("%+v %#v", c, c)} {
			if strings.Contains(out, "geheim") {
				t.Errorf("%q prints as %s", text, out)
			}
		}
		if !s.HasPassword() {
			t.Errorf("%q: no password was seen", text)
		}
	}
	for _, text := range []string{"", "postgres://user@host/name", "postgres:///name?host=/run/x&user=y"} {
		if s := config.Secret(text); s.HasPassword() || s.String() != text {
			t.Errorf("%q prints as %q", text, s)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"registraton": "registration", "Registration": "registration", "data-dir": "data", "admin": "admin-listen",
		"adminlisten": "admin-listen", "loglevel": "log-level", "": "", "zzzzzzzz": "", "max_upload": "max-upload",
	} {
		if got := table(t).Nearest(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("name = x\n# y\nlisten = \"127.0.0.1:1\"\n")
	f.Add("a==b\n\x00=\"\\xff\"")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(t, text, nil)
		if err != nil {
			return
		}
		// What was understood prints as a file that is understood the same.
		var again strings.Builder
		for _, k := range keys(t) {
			if k.Name != "database" && k.Name != "blobs" && k.Name != "secrets" {
				fmt.Fprintf(&again, "%s = %q\n", k.Name, k.Get(c))
			}
		}
		d, err := load(t, again.String(), nil)
		if err != nil {
			t.Fatalf("%q: %v", again.String(), err)
		}
		for _, k := range keys(t) {
			if k.Name != "database" && k.Name != "blobs" && k.Name != "secrets" && k.Get(c) != k.Get(d) {
				t.Errorf("%s: got %q, want %q", k.Name, k.Get(d), k.Get(c))
			}
		}
	})
}
