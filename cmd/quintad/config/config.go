// Package config holds every setting of quintad: one table of keys, each of
// them a command-line flag, an environment variable and a key of the
// configuration file.
//
// [New] makes the [Table] of quintad's own keys and of the settings that the
// networks bring. [Table.Flags] puts the keys on a flag set, and [Given.Load]
// makes a [Config] of what the command line, the environment and the file say;
// the command line overrides the environment, and the environment overrides
// the file. An invalid setting is an [*Error] that says where it is.
package config

import (
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
)

// A Config is what a quintad runs with.
type Config struct {
	// Data is the data folder.
	Data string
	// Listen and AdminListen are "host:port"; AdminListen may be empty.
	Listen, AdminListen string
	// AdminHosts are the names by which the admin listener may be called.
	AdminHosts []string
	// Name is the server name; empty means the name in the store.
	Name         string
	Registration server.Registration
	// Database is the URL of a PostgreSQL database, or empty for the embedded
	// store.
	Database Secret
	// Blobs is the URL of the store for media; empty means a folder below Data.
	Blobs Secret
	// Secrets is the URL of the key that seals the server's own secrets; empty
	// means a file in Data.
	Secrets Secret
	// MaxUploadMiB bounds a file in MiB.
	MaxUploadMiB int
	// QuotaMedia, QuotaBackup, QuotaData, QuotaQueue and QuotaMessages bound, in
	// bytes, what is kept for one account; zero means no limit.
	QuotaMedia, QuotaBackup, QuotaData, QuotaQueue, QuotaMessages int64
	// MinFreeDisk is how many bytes of disk space the server leaves free; zero
	// means that it does not check.
	MinFreeDisk int64
	// MaxConnections limits raw connections and websockets in total,
	// MaxConnectionsPerAddress those of one address.
	MaxConnections, MaxConnectionsPerAddress int
	// MaxWebConnections limits HTTP connections in total,
	// MaxWebConnectionsPerAddress those of one address.
	MaxWebConnections, MaxWebConnectionsPerAddress int
	PublicURL                                      string
	// RateLimits switches the limits per account and address on.
	RateLimits bool
	// TLSCert and TLSKey are files in PEM form, both set or both empty.
	TLSCert, TLSKey string
	// TrustedProxies are the proxies that are trusted to report a client's
	// address in X-Forwarded-For.
	TrustedProxies []netip.Prefix
	LogLevel       slog.Level
	// LogFormat is "text" or "json".
	LogFormat string
	// Networks are the networks that run; empty means all.
	Networks []quinta.NetworkName
	// Settings are the settings of the networks, by name.
	Settings Settings

	origins map[string]string
	file    string
}

// File returns the path of the configuration file that was read, or "".
func (c *Config) File() string { return c.file }

// Origin says where the value of a key comes from: "default", "command line",
// the name of an environment variable, or "FILE line N".
func (c *Config) Origin(key string) string {
	if o := c.origins[key]; o != "" {
		return o
	}
	return "default"
}

// An Error is a setting that cannot be used.
type Error struct {
	// Where says where the setting is, Text what is wrong with it, Hint what to
	// do, or "".
	Where, Text, Hint string
	// Misused says that it is on the command line.
	Misused bool
}

// Error returns "where: text".
func (e *Error) Error() string { return e.Where + ": " + e.Text }

// Settings are values of settings, some of which are secret: none is printed.
type Settings map[string]string

// String returns "[redacted]".
func (s Settings) String() string { return "[redacted]" }

// GoString returns what String does.
func (s Settings) GoString() string { return s.String() }

// LogValue returns what String does.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String does.
func (s Settings) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// commandLine is the origin of a value that was given as a flag.
const commandLine = "command line"

// Given is the content of a command line.
type Given struct {
	table  *Table
	values map[string]string
	file   string
}

// Flags defines the flag of every key on fs, and --config. The values that fs
// parses are put into the Given.
func (t *Table) Flags(fs *flag.FlagSet) *Given {
	g := &Given{table: t, values: map[string]string{}}
	for _, k := range t.keys {
		fs.Func(k.Name, k.Help, func(s string) error {
			g.values[k.Name] = s
			return nil
		})
	}
	fs.StringVar(&g.file, "config", "", "the configuration file")
	return g
}

// EnvFile names the environment variable with the configuration file.
const EnvFile = "QUINTA_CONFIG"

// Load makes a Config. environ is in the form of os.Environ.
func (g *Given) Load(environ []string) (*Config, error) {
	env := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, "QUINTA_") {
			env[name] = value
		}
	}
	c := &Config{origins: map[string]string{}, file: g.file, Settings: Settings{}}
	if c.file == "" {
		c.file = env[EnvFile]
	}
	for _, k := range g.table.keys {
		if err := k.Set(c, k.Default); err != nil {
			panic("config: internal error: the default of " + k.Name + ": " + err.Error())
		}
	}
	if err := c.readFile(g.table); err != nil {
		return nil, err
	}
	for _, k := range g.table.keys {
		// A variable that is set to nothing counts as not set.
		if v := env[k.Env()]; v != "" {
			if err := c.set(k, v, k.Env()); err != nil {
				return nil, err
			}
		}
		if v, ok := g.values[k.Name]; ok {
			if err := c.set(k, v, commandLine); err != nil {
				return nil, err
			}
		}
	}
	return c, c.check()
}

// set gives k a value and remembers where it stood.
func (c *Config) set(k *Key, value, origin string) error {
	if err := k.Set(c, value); err != nil {
		name := k.Name
		if origin == commandLine {
			name = "--" + name
		}
		return &Error{Where: origin, Text: name + ": " + err.Error(), Misused: origin == commandLine}
	}
	c.origins[k.Name] = origin
	return nil
}

// readFile reads the configuration file, if there is one.
func (c *Config) readFile(t *Table) error {
	if c.file == "" {
		return nil
	}
	text, err := os.ReadFile(c.file)
	if err != nil {
		return &Error{Where: "configuration file", Text: err.Error()}
	}
	lines, err := parse(c.file, text)
	if err != nil {
		return err
	}
	for _, l := range lines {
		where := fmt.Sprintf("%s line %d", c.file, l.number)
		k := t.Lookup(l.key)
		if k == nil {
			e := &Error{Where: where, Text: fmt.Sprintf("unknown key %.60q", l.key), Hint: "\"quintad config print\" lists the keys"}
			if n := t.Nearest(l.key); n != "" {
				e.Hint = fmt.Sprintf("did you mean %q?", n)
			}
			return e
		}
		if o := c.origins[k.Name]; o != "" {
			return &Error{Where: where, Text: fmt.Sprintf("the key %q is set twice, first in %s", k.Name, o)}
		}
		if err := c.set(k, l.value, where); err != nil {
			return err
		}
	}
	return nil
}

// check compares settings with each other.
func (c *Config) check() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		have, lack := "tls-cert", "tls-key"
		if c.TLSCert == "" {
			have, lack = lack, have
		}
		return &Error{Where: c.Origin(have), Text: have + " is set and " + lack + " is not: TLS needs both", Misused: c.Origin(have) == commandLine}
	}
	return nil
}
