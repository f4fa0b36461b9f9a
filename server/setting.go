package server

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Setting is one setting of a network. The program makes a flag, an
// environment variable and a key of the configuration file of it, as it does
// of its own settings.
type Setting struct {
	// Name is in lower case, with "-" between words, and unique among all
	// networks and the program's own settings.
	Name string
	// Default is the value if none is given; Check accepts it.
	Default string
	// Arg stands for the value in usage texts, such as "ADDR"; Help says in one
	// line what the setting does.
	Arg, Help string
	// Secret says that the value is never shown.
	Secret bool
	// Check returns an error that says what a value should look like, or nil.
	// A nil Check accepts everything. The error never holds a secret value.
	Check func(value string) error
}

// Switch makes a setting that is "on" or "off".
func Switch(name, def, help string) Setting {
	return Setting{Name: name, Default: def, Arg: "on|off", Help: help, Check: CheckSwitch}
}

// CheckSwitch accepts "on" and "off".
func CheckSwitch(value string) error {
	if value != "on" && value != "off" {
		return fmt.Errorf("%.40q is neither on nor off", value)
	}
	return nil
}

// Accepts checks a value of the setting.
func (s *Setting) Accepts(value string) error {
	if s.Check == nil {
		return nil
	}
	return s.Check(value)
}

// Setting returns the value of a network's setting. It panics if no network
// has a setting of that name.
func (c *Core) Setting(name string) string {
	v, ok := c.settings[name]
	if !ok {
		panic("server: internal error: no network has a setting " + name)
	}
	return v
}

// settle returns the values of all settings of the networks.
func settle(networks []Network, given map[string]string) (map[string]string, error) {
	values := map[string]string{}
	for _, n := range networks {
		for i := range n.Settings {
			s := &n.Settings[i]
			v, ok := given[s.Name]
			if !ok {
				v = s.Default
			}
			if err := s.Accepts(v); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
			values[s.Name] = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := values[name]; !ok {
			return nil, fmt.Errorf("no network has a setting %q", name)
		}
	}
	return values, nil
}

// nameOfSetting is the form of the names of settings and flags.
var nameOfSetting = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// CheckNames refuses networks that share a name with each other or with the
// program: of a network, a setting, a command, or a flag of a command that is
// also a setting. settings and commands are the program's own. [Open] checks
// the networks among themselves.
func CheckNames(networks []Network, settings, commands []string) error {
	names := claims{what: "the network name"}
	sets := claims{what: "the setting"}
	cmds := claims{what: "the command"}
	for _, s := range settings {
		sets.take(s, "quintad")
	}
	for _, c := range commands {
		cmds.take(c, "quintad")
	}
	for _, n := range networks {
		names.take(string(n.Name), "another network")
		for _, s := range n.Settings {
			if !nameOfSetting.MatchString(s.Name) {
				return fmt.Errorf("server: %s: %q is not a name for a setting", n.Name, s.Name)
			}
			sets.take(s.Name, string(n.Name))
		}
		for _, c := range n.Commands {
			cmds.take(c.Name, string(n.Name))
		}
	}
	for _, n := range networks {
		for _, c := range n.Commands {
			flags := claims{what: "the flag"}
			for _, f := range c.Flags {
				if !nameOfSetting.MatchString(f.Name) {
					return fmt.Errorf("server: %s: %q is not a name for a flag of %s", n.Name, f.Name, c.Name)
				}
				if o, taken := sets.owner[f.Name]; taken {
					return fmt.Errorf("server: the flag --%s of %s is also a setting of %s", f.Name, c.Name, o)
				}
				flags.take(f.Name, c.Name)
			}
			if flags.err != nil {
				return flags.err
			}
		}
	}
	for _, c := range []*claims{&names, &sets, &cmds} {
		if c.err != nil {
			return c.err
		}
	}
	return cmds.within()
}

// claims notes who has taken which name.
type claims struct {
	what  string
	owner map[string]string
	err   error
}

func (c *claims) take(name, by string) {
	if o, taken := c.owner[name]; taken && c.err == nil {
		c.err = fmt.Errorf("server: %s %q is claimed twice, by %s and by %s", c.what, name, o, by)
	}
	if c.owner == nil {
		c.owner = map[string]string{}
	}
	c.owner[name] = by
}

// within refuses a command whose words begin another command, since a command
// line could mean either.
func (c *claims) within() error {
	for _, name := range slices.Sorted(maps.Keys(c.owner)) {
		words := strings.Fields(name)
		for i := 1; i < len(words); i++ {
			first := strings.Join(words[:i], " ")
			if o, taken := c.owner[first]; taken {
				return fmt.Errorf("server: the command %q of %s hides %q of %s", first, o, name, c.owner[name])
			}
		}
	}
	return nil
}
