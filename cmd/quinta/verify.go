package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
)

// comparedLine has the strings to compare, in JSON.
type comparedLine struct {
	head
	Account quinta.UserID   `json:"account"`
	User    quinta.UserID   `json:"user"`
	Device  quinta.DeviceID `json:"device,omitempty"`
	Emoji   []string        `json:"emoji,omitempty"`
	Decimal []int           `json:"decimal,omitempty"`
	Words   []string        `json:"words,omitempty"`
	Picture []string        `json:"picture,omitempty"`
}

var verifyCommand = &command{
	Name:  "verify",
	Args:  "USER [DEVICE] [--flag] | --wait [--flag]",
	Short: "verify a user or device by comparing short strings",
	Long: `Verifies a user, or another of your own devices. Both sides see the same short
strings; compare them over another channel, such as a call or side by side, and
answer yes or no, which is read from standard input. If the strings differ,
someone may be listening in, and the exit code is 5. Where a network sends the
request as a message, it goes to your direct conversation with the user, which
they must have joined.

Example: quinta verify @bob:example.org

  --wait        wait for a request from the other side
  --show-code   show a code for the other side to scan. Its content is printed
                in base64; base64 -d | qrencode -8 -t ANSIUTF8 draws it.
                Answer yes or no when asked whether the other side has
                scanned it
  --scan-code   scan the other side's code. Its content is read from standard
                input in base64; zbarimg --raw -Sbinary FILE | base64 -w0
                prints it
`,
	Most: 2,
	Prepare: func(fs *flag.FlagSet) run {
		f := new(verifyFlags)
		fs.BoolVar(&f.wait, "wait", false, "")
		fs.BoolVar(&f.showCode, "show-code", false, "")
		fs.BoolVar(&f.scanCode, "scan-code", false, "")
		return f.run
	},
}

type verifyFlags struct{ wait, showCode, scanCode bool }

func (f *verifyFlags) run(ctx context.Context, a *app, args []string) error {
	if f.wait != (len(args) == 0) {
		return misused("give a USER and perhaps a DEVICE, or --wait")
	}
	if f.showCode && f.scanCode {
		return misused("--show-code and --scan-code cannot be combined: one side shows, the other scans")
	}
	return with(ctx, a, "verification", func(ctx context.Context, s client.Verifier, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		rctx, stop := context.WithCancel(ctx)
		ran := make(chan error, 1)
		go func() { ran <- s.Run(rctx, func(e2ee.Event) {}) }()
		err := f.verify(ctx, a, s, ac, args)
		stop()
		if err = errors.Join(err, <-ran); err != nil {
			return err
		}
		if a.opt.json {
			a.emit(eventLine{head: newHead("verified"), Account: ac.User})
		}
		a.say("verified")
		return nil
	})
}

func (f *verifyFlags) verify(ctx context.Context, a *app, s client.Verifier, ac *account, args []string) error {
	var by client.Comparison
	switch {
	case f.showCode:
		by.Show = func(code []byte) error { return a.showCode(ac, code) }
		by.Scanned = func(context.Context, quinta.Device) (bool, error) {
			return a.confirm("does the other side say that it has scanned the code?")
		}
	case f.scanCode:
		by.Scan = func(context.Context) ([]byte, error) { return a.scanCode() }
	default:
		by.Strings = func(_ context.Context, str client.ShortStrings) (bool, error) { return a.compare(ac, str) }
	}
	codes, ok := client.As[client.CodeVerifier](s)
	if by.Strings == nil && !ok {
		return cannot(ac, "codes to scan")
	}
	if f.wait {
		accept := func(from quinta.Device) bool {
			a.note("%s, device %s, asks for a verification", oneLine(string(from.User)), oneLine(string(from.ID)))
			return true
		}
		if by.Strings == nil {
			return codes.AwaitVerifyBy(ctx, accept, by)
		}
		return s.AwaitVerify(ctx, accept, by.Strings)
	}
	var id quinta.DeviceID
	if len(args) == 2 {
		id = quinta.DeviceID(args[1])
	}
	a.note("the other side must accept, or run the same command")
	if by.Strings == nil {
		return codes.VerifyBy(ctx, quinta.UserID(args[0]), id, by)
	}
	return s.Verify(ctx, quinta.UserID(args[0]), id, by.Strings)
}

// codeLine is the content of a code to scan, in JSON.
type codeLine struct {
	head
	Account quinta.UserID `json:"account"`
	Code    string        `json:"code"`
}

// showCode prints the content of a code for the other side to see. It is secret
// until the verification has ended.
func (a *app) showCode(ac *account, code []byte) error {
	text := base64.StdEncoding.EncodeToString(code)
	if a.opt.json {
		a.emit(codeLine{newHead("code"), ac.User, text})
	}
	a.say("%s", text)
	return nil
}

// maxCode bounds the text of a code: the largest holds 2953 bytes.
const maxCode = 8 << 10

// scanCode reads the content of a code from one line of standard input.
func (a *app) scanCode() ([]byte, error) {
	a.note("enter the content of the other side's code in base64:")
	line, err := bufio.NewReader(io.LimitReader(a.in, maxCode)).ReadString('\n')
	if err != nil && line == "" {
		return nil, errors.New("no code was read")
	}
	code, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err != nil || len(code) == 0 {
		return nil, errors.New("the input is not the content of a code in base64")
	}
	return code, nil
}

// compare shows the strings and asks whether the other side shows the same.
func (a *app) compare(ac *account, s client.ShortStrings) (bool, error) {
	var emoji []string
	for _, e := range s.Emoji {
		emoji = append(emoji, e.Symbol+" "+e.Name)
	}
	if a.opt.json {
		a.emit(comparedLine{newHead("compare"), ac.User, s.With.User, s.With.ID, emoji, s.Decimal, s.Words, squares(s.Picture)})
	}
	lines := a.drawn(s.Picture)
	if len(emoji) > 0 {
		lines = append(lines, strings.Join(emoji, "  "))
	}
	if len(s.Decimal) > 0 {
		lines = append(lines, strings.Trim(fmt.Sprint(s.Decimal), "[]"))
	}
	if len(s.Words) > 0 {
		lines = append(lines, strings.Join(s.Words, " "))
	}
	a.say("%s", strings.Join(lines, "\n"))
	return a.confirm("does the other side show the same?")
}
