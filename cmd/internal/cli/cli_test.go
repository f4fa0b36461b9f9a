package cli_test

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

// A line is a command line that was understood.
type line struct {
	x     string
	words []string
}

type command = cli.Command[func(words []string) line]

// commands are some of one word, and some of two.
func commands() []*command {
	withX := func(fs *flag.FlagSet) func([]string) line {
		x := fs.String("x-ray", "", "")
		return func(words []string) line { return line{*x, words} }
	}
	return []*command{
		{Name: "user add", Most: -1, Prepare: withX},
		{Name: "user", Least: 1, Most: 2, Prepare: withX},
		{Name: "version", Prepare: cli.Plain(func(words []string) line { return line{words: words} })},
	}
}

func TestFlagsMayComeAnywhere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args  string
		words []string
		x     string
	}{
		{"", nil, ""},
		{"a b", []string{"a", "b"}, ""},
		{"--x-ray 1 a b", []string{"a", "b"}, "1"},
		{"a --x-ray 1 b", []string{"a", "b"}, "1"},
		{"a b -x-ray=1", []string{"a", "b"}, "1"},
		{"a --x-ray 1 -- --x-ray 2", []string{"a", "--x-ray", "2"}, "1"},
		{"-- a", []string{"a"}, ""},
		{"a - b", []string{"a", "-", "b"}, ""},
	} {
		c, _ := cli.Find(commands(), []string{"user", "add"})
		run, words, err := c.Parse(flag.NewFlagSet("", flag.ContinueOnError), strings.Fields(tc.args))
		if err != nil {
			t.Errorf("%q: %v", tc.args, err)
			continue
		}
		if got := run(words); !slices.Equal(got.words, tc.words) || got.x != tc.x {
			t.Errorf("%q: got %+v, want %q, x=%q", tc.args, got, tc.words, tc.x)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"user add alice": "user add:alice", "user alice": "user:alice", "user": "user:", "version": "version:",
		"add": "", "users": "", "": "",
	} {
		c, rest := cli.Find(commands(), strings.Fields(args))
		got := ""
		if c != nil {
			got = c.Name + ":" + strings.Join(rest, " ")
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, text, hint string }{
		{"user --x-rya 1 a", "unknown flag --x-rya", "did you mean --x-ray?"},
		{"user --nothing-like-it a", "unknown flag --nothing-like-it", ""},
		{"user --x-ray", "flag needs an argument: -x-ray", ""},
		{"user", "an argument is missing", ""},
		{"user a b c", "too many arguments: 3 were given", ""},
		{"version --x-ray 1", "unknown flag --x-ray", ""},
	} {
		c, rest := cli.Find(commands(), strings.Fields(tc.args))
		_, _, err := c.Parse(flag.NewFlagSet("", flag.ContinueOnError), rest)
		m, ok := errors.AsType[*cli.Misuse](err)
		if !ok || m.Text != tc.text || m.Hint != tc.hint {
			t.Errorf("%q: got %+v, want %q with the hint %q", tc.args, err, tc.text, tc.hint)
		}
	}
	c, _ := cli.Find(commands(), []string{"user"})
	if _, _, err := c.Parse(flag.NewFlagSet("", flag.ContinueOnError), []string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: got %v, want flag.ErrHelp", err)
	}
	for _, tc := range []struct{ args, text, hint string }{
		{"vresion", `there is no command "vresion"`, `did you mean "version"?`},
		{"user-add alice", `there is no command "user-add alice"`, `did you mean "user add"?`},
		{"frobnicate", `there is no command "frobnicate"`, `"prog help" lists the commands`},
	} {
		if m := cli.Unknown("prog", commands(), strings.Fields(tc.args)); m.Text != tc.text || m.Hint != tc.hint {
			t.Errorf("%q: got %+v, want %q with the hint %q", tc.args, m, tc.text, tc.hint)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"listen", "public-url", "registration", "tls-cert", "tls-key"}
	for word, want := range map[string]string{
		"listen": "listen", "lisen": "listen", "LISTEN": "listen", "public_url": "public-url", "registrations": "registration",
		"regist": "registration", "tls-keys": "tls-key", "": "", "x": "", "colour": "", strings.Repeat("listen", 20): "",
	} {
		if got := cli.Nearest(word, names); got != want {
			t.Errorf("%.20q: got %q, want %q", word, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	if got := commands()[0].Flags(); !slices.Equal(got, []string{"x-ray"}) {
		t.Errorf("got %q, want the one flag", got)
	}
	if got := commands()[2].Flags(); len(got) != 0 {
		t.Errorf("got %q, want none", got)
	}
}
