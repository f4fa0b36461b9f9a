package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"flag"
	"fmt"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/quinta-chat/quinta/server/account"
)

// A passwordSource says where a new password comes from; never from an
// argument, which every user of the machine could read.
type passwordSource struct {
	fd       int
	generate bool
}

func (s *passwordSource) flags(fs *flag.FlagSet) {
	fs.IntVar(&s.fd, "password-fd", -1, "read the password from this file descriptor")
	fs.BoolVar(&s.generate, "generate", false, "generate a password and print it")
}

// passwordUsage is the part of the usage texts about these flags.
const passwordUsage = `
The password is asked for on the terminal. Without a terminal:

    --password-fd N
        read the password from file descriptor N, up to the end of the first
        line; 0 means standard input
    --generate
        generate a password and print it
`

// read returns the new password, and whether it was made up.
func (s *passwordSource) read(p *program) (password string, made bool, err error) {
	switch {
	case s.fd >= 0 && s.generate:
		return "", false, cli.Misused("--password-fd and --generate cannot be combined")
	case s.fd >= 0:
		password, err = readDescriptor(p, s.fd)
		return password, false, err
	case s.generate:
		password, err = makeUp()
		return password, true, err
	case p.stdin == nil || !term.IsTerminal(int(p.stdin.Fd())):
		return "", false, &cli.Misuse{Text: "there is no terminal to ask for the password", Hint: "use --generate, or --password-fd 0 to read it from standard input"}
	}
	first, err := p.prompt("Password (leave empty to generate one): ")
	if err != nil {
		return "", false, err
	}
	if first == "" {
		password, err = makeUp()
		return password, true, err
	}
	second, err := p.prompt("Repeat the password: ")
	if err != nil {
		return "", false, err
	}
	if first != second {
		return "", false, errors.New("the two passwords differ")
	}
	return first, false, nil
}

// prompt asks on the terminal without showing what is typed.
func (p *program) prompt(question string) (string, error) {
	fmt.Fprint(p.stderr, question)
	b, err := term.ReadPassword(int(p.stdin.Fd()))
	fmt.Fprintln(p.stderr)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return string(b), nil
}

// readDescriptor reads the first line of a descriptor.
func readDescriptor(p *program, fd int) (string, error) {
	f := p.stdin
	if fd != 0 || f == nil {
		f = os.NewFile(uintptr(fd), "password")
		defer f.Close()
	}
	line, err := bufio.NewReader(io.LimitReader(f, account.MaxPassword+2)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("reading the password from descriptor %d: %w", fd, err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", fmt.Errorf("the password on descriptor %d is empty", fd)
	}
	return line, nil
}

// makeUp returns a password of 100 bits that can be read aloud.
func makeUp() (string, error) {
	raw := make([]byte, 13)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	s := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))[:20]
	return s[:5] + "-" + s[5:10] + "-" + s[10:15] + "-" + s[15:], nil
}
