package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
)

// maxSecret bounds a secret that is read, in bytes.
const maxSecret = 64 << 10

// alsoFD names the flag that reads a secret from a file descriptor, for the
// secrets that have one in every command that asks for them.
var alsoFD = map[string]string{
	"QUINTA_PASSPHRASE":        ", or use --passphrase-fd 3 3<FILE",
	"QUINTA_EXPORT_PASSPHRASE": ", or use --passphrase-fd 3 3<FILE",
	"QUINTA_RECOVERY_KEY":      ", or use --recovery-fd 3 3<FILE",
	"QUINTA_BACKUP_PASSPHRASE": ", or use --recovery-fd 3 3<FILE",
}

// ask gets a secret: from a file descriptor, from the environment, or from
// the person at the terminal. Secrets are never arguments, which every user of
// the computer can see.
func (a *app) ask(prompt string, fd int, variable string, twice bool) (client.Secret, error) {
	if fd >= 0 {
		return readSecret(fd)
	}
	if v := a.getenv(variable); v != "" {
		return client.NewSecret(v), nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return client.Secret{}, &cli.Misuse{
			Text: "a secret is needed, and there is no terminal to ask for it: " + prompt,
			Hint: "set " + variable + alsoFD[variable],
		}
	}
	first, err := a.promptOnce(f, prompt)
	if err != nil || !twice {
		return first, err
	}
	second, err := a.promptOnce(f, "once more")
	if err != nil {
		return first, err
	}
	if first.Reveal() != second.Reveal() {
		return client.Secret{}, errors.New("the two entries differ")
	}
	return first, nil
}

func (a *app) promptOnce(f *os.File, prompt string) (client.Secret, error) {
	fmt.Fprintf(a.err, "%s: ", prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.err)
	if err != nil {
		return client.Secret{}, fmt.Errorf("reading from the terminal: %w", err)
	}
	if len(b) == 0 {
		return client.Secret{}, errors.New("nothing was entered")
	}
	return client.NewSecret(string(b)), nil
}

// readSecret reads the first line of a file descriptor.
func readSecret(fd int) (client.Secret, error) {
	f := os.NewFile(uintptr(fd), "secret")
	if f == nil {
		return client.Secret{}, misused("file descriptor %d is not open", fd)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return client.Secret{}, misused("file descriptor %d cannot be read", fd)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || len(b) > maxSecret {
		return client.Secret{}, misused("the first line of file descriptor %d is empty or too long", fd)
	}
	return client.NewSecret(line), nil
}

// confirm asks a yes-or-no question; without any input the answer is no.
func (a *app) confirm(question string) (bool, error) {
	fmt.Fprintf(a.err, "%s [yes/no]: ", question)
	line, err := bufio.NewReader(io.LimitReader(a.in, 1024)).ReadString('\n')
	if err != nil && line == "" {
		return false, nil
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
