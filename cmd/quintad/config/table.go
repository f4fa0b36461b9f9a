package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
)

// A Table is the list of all keys: quintad's own, and those of the networks.
type Table struct{ keys []*Key }

// EnvPrefix begins the environment variable of every key.
const EnvPrefix = "QUINTA_"

// reserved are flags that are no keys.
var reserved = []string{"config", "help", "h"}

// New makes the table. commands are the program's own. A name that the
// networks share with each other, or with the program, is an error.
func New(networks []server.Network, commands []string) (*Table, error) {
	t := &Table{keys: slices.Concat(ownKeys, []*Key{networksKey(networks)})}
	taken := slices.Clone(reserved)
	for _, k := range t.keys {
		taken = append(taken, k.Name)
	}
	if err := server.CheckNames(networks, taken, commands); err != nil {
		return nil, err
	}
	for _, n := range networks {
		for i := range n.Settings {
			t.keys = append(t.keys, networkKey(&n.Settings[i]))
		}
	}
	return t, nil
}

// Keys returns all keys, in the order in which people meet them.
func (t *Table) Keys() []*Key { return t.keys }

// Lookup returns the key of that name, or nil.
func (t *Table) Lookup(name string) *Key {
	i := slices.IndexFunc(t.keys, func(k *Key) bool { return k.Name == name })
	if i < 0 {
		return nil
	}
	return t.keys[i]
}

// networkKey makes the key of a network's setting.
func networkKey(s *server.Setting) *Key {
	return &Key{
		Name: s.Name, Default: s.Default, Arg: s.Arg, Help: s.Help, Secret: s.Secret,
		Set: func(c *Config, v string) error {
			if err := s.Accepts(v); err != nil {
				return err
			}
			c.Settings[s.Name] = v
			return nil
		},
		Get: func(c *Config) string {
			v := c.Settings[s.Name]
			if s.Secret && v != "" {
				return "[redacted]"
			}
			return v
		},
	}
}

// networksKey is the key that says which networks run.
func networksKey(networks []server.Network) *Key {
	var known []string
	for _, n := range networks {
		known = append(known, string(n.Name))
	}
	return &Key{
		Name: "networks", Arg: "NAME,...", Help: "the networks to run, from " + strings.Join(known, ", ") + "; by default all of them",
		Set: func(c *Config, s string) error {
			c.Networks = nil
			for name := range list(s) {
				if !slices.Contains(known, name) {
					return fmt.Errorf("%.40q is not a network: the networks are %s", name, strings.Join(known, ", "))
				}
				c.Networks = append(c.Networks, quinta.NetworkName(name))
			}
			return nil
		},
		Get: func(c *Config) string {
			var out []string
			for _, n := range c.Networks {
				out = append(out, string(n))
			}
			return strings.Join(out, ",")
		},
	}
}
