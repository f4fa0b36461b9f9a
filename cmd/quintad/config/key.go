package config

import (
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta/server"
)

// A Secret is a URL that may contain a password or a key, and prints without it.
type Secret string

// String returns the URL with "xxxxx" for a password, and "[redacted]" for
// what cannot be taken apart.
func (s Secret) String() string {
	out, _ := s.redact()
	return out
}

// redact returns the URL without secrets, and whether it had any.
func (s Secret) redact() (string, bool) {
	if s == "" {
		return "", false
	}
	u, err := url.Parse(string(s))
	if err != nil || u.Scheme == "" {
		return "[redacted]", true
	}
	if u.Scheme == "base64key" {
		return "base64key://xxxxx", true // the URL is the key
	}
	_, found := u.User.Password()
	q := u.Query()
	for k := range q {
		if l := strings.ToLower(k); strings.Contains(l, "password") || strings.Contains(l, "secret") || strings.Contains(l, "key") {
			q.Set(k, "xxxxx")
			found = true
		}
	}
	if !found {
		return string(s), false
	}
	u.RawQuery = q.Encode()
	return u.Redacted(), true
}

// GoString returns what String does.
func (s Secret) GoString() string { return s.String() }

// LogValue returns what String does.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String does.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// HasPassword reports whether the URL holds a password.
func (s Secret) HasPassword() bool {
	_, found := s.redact()
	return found
}

// A Key is one setting.
type Key struct {
	// Name is the key in the file and, behind "--", the flag.
	Name string
	// Default is the value in text form.
	Default string
	// Arg stands for the value in usage texts; Help is one line.
	Arg, Help string
	// Secret says that the value is never shown.
	Secret bool
	// Set parses a value into the Config; Get writes it without secrets.
	Set func(c *Config, s string) error
	Get func(c *Config) string
}

// Env returns the environment variable of the key.
func (k *Key) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, "-", "_"))
}

// ownKeys are the settings of quintad itself, in the order in which people
// meet them.
var ownKeys = []*Key{
	text("data", "./quinta-data", "DIR", "the folder in which the server stores its data", func(c *Config) *string { return &c.Data }, filled),
	text("listen", "127.0.0.1:8008", "ADDR", "the address for clients, host:port; port 0 means any free port", func(c *Config) *string { return &c.Listen }, listenAddr),
	text("name", "", "SERVER_NAME", "the name of the server, as it appears in user IDs; it cannot change after the first start", func(c *Config) *string { return &c.Name }, optional(server.CheckName)),
	{
		Name: "registration", Default: "closed", Arg: "open|invite|closed", Help: "who may register an account from a client",
		Set: func(c *Config, s string) error {
			switch r := server.Registration(s); r {
			case server.RegistrationOpen, server.RegistrationInvite, server.RegistrationClosed:
				c.Registration = r
				return nil
			}
			return fmt.Errorf("%.40q is none of open, invite, closed", s)
		},
		Get: func(c *Config) string { return string(c.Registration) },
	},
	{
		Name: "database", Arg: "URL", Help: "a PostgreSQL database; by default the server uses an embedded store in the data folder",
		Set: func(c *Config, s string) error {
			if s != "" && !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
				return fmt.Errorf("not a database URL: it looks like postgres://user@host:5432/name")
			}
			c.Database = Secret(s)
			return nil
		},
		Get: func(c *Config) string { return c.Database.String() },
	},
	{
		Name: "blobs", Arg: "URL", Help: "where media are stored: file:///folder or s3://bucket; by default in the data folder",
		Set: func(c *Config, s string) error {
			if s != "" && !strings.HasPrefix(s, "file:///") && !strings.HasPrefix(s, "s3://") {
				return fmt.Errorf("not a store for media: it looks like file:///folder or s3://bucket")
			}
			c.Blobs = Secret(s)
			return nil
		},
		Get: func(c *Config) string { return c.Blobs.String() },
	},
	{
		Name: "secrets", Arg: "URL", Help: "the key that seals the server's own secrets: file:///folder/secrets.key, hashivault://NAME, awskms:///KEY?region=REGION or base64key://...; by default a file in the data folder",
		Set: func(c *Config, s string) error {
			if s != "" && !strings.HasPrefix(s, "file:///") && !strings.HasPrefix(s, "hashivault://") && !strings.HasPrefix(s, "awskms://") && !strings.HasPrefix(s, "base64key://") {
				return fmt.Errorf("not a key: it looks like file:///folder/secrets.key, hashivault://NAME, awskms:///KEY or base64key://KEY")
			}
			c.Secrets = Secret(s)
			return nil
		},
		Get: func(c *Config) string { return c.Secrets.String() },
	},
	number("max-upload", "100", "MIB", "the largest file that a user may upload, in MiB", func(c *Config) *int { return &c.MaxUploadMiB }),
	size("quota-media", "2048", "the files that one account may keep", func(c *Config) *int64 { return &c.QuotaMedia }),
	size("quota-backup", "256", "the sealed key backups that one account may keep", func(c *Config) *int64 { return &c.QuotaBackup }),
	size("quota-data", "256", "the data and keys that one account may keep", func(c *Config) *int64 { return &c.QuotaData }),
	size("quota-queue", "256", "the messages of one account that may wait until their recipients fetch them", func(c *Config) *int64 { return &c.QuotaQueue }),
	size("quota-messages", "4096", "the messages in rooms and conversations that one account may have sent", func(c *Config) *int64 { return &c.QuotaMessages }),
	size("min-free-disk", "256", "the disk space that the server leaves free: with less, it accepts only acknowledgements and removals", func(c *Config) *int64 { return &c.MinFreeDisk }),
	number("max-connections", "10000", "N", "how many raw TCP connections and websockets may be open at once", func(c *Config) *int { return &c.MaxConnections }),
	number("max-connections-per-address", "256", "N", "how many raw TCP connections and websockets one client address may have open at once", func(c *Config) *int { return &c.MaxConnectionsPerAddress }),
	number("max-http-connections", "10000", "N", "how many HTTP connections may be open at once", func(c *Config) *int { return &c.MaxWebConnections }),
	number("max-http-connections-per-address", "1000", "N", "how many HTTP connections one client address may have open at once, if rate-limits is on", func(c *Config) *int { return &c.MaxWebConnectionsPerAddress }),
	onOff("rate-limits", "on", "limit the rate of requests per account and address", func(c *Config) *bool { return &c.RateLimits }),
	text("public-url", "", "URL", "the address at which clients reach the server from outside", func(c *Config) *string { return &c.PublicURL }, optional(publicURL)),
	text("tls-cert", "", "FILE", "the certificate chain for TLS, in PEM form; without it the server speaks plain HTTP", func(c *Config) *string { return &c.TLSCert }, anything),
	text("tls-key", "", "FILE", "the private key for TLS, in PEM form", func(c *Config) *string { return &c.TLSKey }, anything),
	text("admin-listen", "", "ADDR", "the address for health checks and metrics, host:port; by default there is none", func(c *Config) *string { return &c.AdminListen }, optional(listenAddr)),
	{
		Name: "admin-hosts", Arg: "NAME,...", Help: "host names under which the admin listener answers, besides localhost and IP addresses",
		Set: func(c *Config, s string) error {
			c.AdminHosts = nil
			for name := range list(s) {
				if strings.ContainsAny(name, ":/ ") {
					return fmt.Errorf("%.60q is not a host name: give it without a port", name)
				}
				c.AdminHosts = append(c.AdminHosts, name)
			}
			return nil
		},
		Get: func(c *Config) string { return strings.Join(c.AdminHosts, ",") },
	},
	{
		Name: "trusted-proxies", Arg: "ADDR,...", Help: "reverse proxies, by address or network, whose X-Forwarded-For header is trusted",
		Set: func(c *Config, s string) error {
			c.TrustedProxies = nil
			for p := range list(s) {
				pre, err := netip.ParsePrefix(p)
				if err != nil {
					a, aerr := netip.ParseAddr(p)
					if aerr != nil {
						return fmt.Errorf("%.60q is neither an address nor a network like 10.0.0.0/8", p)
					}
					pre = netip.PrefixFrom(a, a.BitLen())
				}
				c.TrustedProxies = append(c.TrustedProxies, pre.Masked())
			}
			return nil
		},
		Get: func(c *Config) string {
			var out []string
			for _, p := range c.TrustedProxies {
				out = append(out, p.String())
			}
			return strings.Join(out, ",")
		},
	},
	{
		Name: "log-level", Default: "info", Arg: "debug|info|warn|error", Help: "the least severe messages that are logged; debug logs every request",
		Set: func(c *Config, s string) error {
			switch s {
			case "debug", "info", "warn", "error":
				return c.LogLevel.UnmarshalText([]byte(s))
			}
			return fmt.Errorf("%.40q is none of debug, info, warn, error", s)
		},
		Get: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) },
	},
	text("log-format", "text", "text|json", "the format of log lines", func(c *Config) *string { return &c.LogFormat }, func(s string) error {
		if s != "text" && s != "json" {
			return fmt.Errorf("%.40q is none of text, json", s)
		}
		return nil
	}),
}

// text makes the key of a string field; check refuses what cannot be used.
func text(name, def, arg, help string, field func(*Config) *string, check func(string) error) *Key {
	return &Key{
		Name: name, Default: def, Arg: arg, Help: help,
		Set: func(c *Config, s string) error {
			if err := check(s); err != nil {
				return err
			}
			*field(c) = s
			return nil
		},
		Get: func(c *Config) string { return *field(c) },
	}
}

// number makes the key of a whole number of at least 1.
func number(name, def, arg, help string, field func(*Config) *int) *Key {
	const most = 1 << 20
	return &Key{
		Name: name, Default: def, Arg: arg, Help: help,
		Set: func(c *Config, s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 || n > most {
				return fmt.Errorf("%.40q is not a number from 1 to %d", s, most)
			}
			*field(c) = n
			return nil
		},
		Get: func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

// size makes the key of a size in MiB, where 0 stands for no limit. The field
// holds bytes.
func size(name, def, help string, field func(*Config) *int64) *Key {
	const most = 1 << 30
	return &Key{
		Name: name, Default: def, Arg: "MIB", Help: help + ", in MiB; 0 means no limit",
		Set: func(c *Config, s string) error {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 0 || n > most {
				return fmt.Errorf("%.40q is not a number from 0 to %d", s, most)
			}
			*field(c) = n << 20
			return nil
		},
		Get: func(c *Config) string { return strconv.FormatInt(*field(c)>>20, 10) },
	}
}

// onOff makes the key of a switch.
func onOff(name, def, help string, field func(*Config) *bool) *Key {
	return &Key{
		Name: name, Default: def, Arg: "on|off", Help: help,
		Set: func(c *Config, s string) error {
			if err := server.CheckSwitch(s); err != nil {
				return err
			}
			*field(c) = s == "on"
			return nil
		},
		Get: func(c *Config) string {
			if *field(c) {
				return "on"
			}
			return "off"
		},
	}
}

// list yields the words between commas.
func list(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for w := range strings.SplitSeq(s, ",") {
			if w = strings.TrimSpace(w); w != "" && !yield(w) {
				return
			}
		}
	}
}

func anything(string) error { return nil }

func filled(s string) error {
	if s == "" {
		return fmt.Errorf("must not be empty")
	}
	return nil
}

func optional(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func listenAddr(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%.80q is not an address: it looks like 127.0.0.1:8008", s)
	}
	return nil
}

func publicURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%.80q is not an address for clients: it looks like https://chat.example.org", s)
	}
	return nil
}
