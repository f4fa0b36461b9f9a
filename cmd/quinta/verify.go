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

// comparedLine is what is to be compared, in JSON.
type comparedLine struct {
	head
	Account quinta.UserID   `json:"account"`
	User    quinta.UserID   `json:"user"`
	Device  quinta.DeviceID `json:"device,omitempty"`
	Emoji   []string        `json:"emoji,omitempty"`
	Decimal []int           `json:"decimal,omitempty"`
	Words   []string        `json:"words,omitempty"`
}

var verifyCommand = &command{
	name:  "verify",
	args:  "USER [DEVICE] [--flag] | --wait [--flag]",
	short: "compare with somebody that nobody listens in",
	long: `Verifies a user, or another device of the own account: both see the same short
strings, compare them over another channel (by voice, side by side), and say
whether they are equal. The answer is read from standard input: yes or no.

Example: quinta verify @bob:example.org

  --wait        wait for a request of somebody else instead
  --show-code   show a code for the other side to scan: its content is printed
                in base64; base64 -d | qrencode -8 -t ANSIUTF8 draws it. The
                answer, whether the other side scanned it, is yes or no
  --scan-code   scan the other side's code: its content in base64 is read from
                standard input; zbarimg --raw -Sbinary FILE | base64 -w0 does so
`,
	flags: func(fs *flag.FlagSet, o *options) {
		fs.BoolVar(&o.wait, "wait", false, "")
		fs.BoolVar(&o.showCode, "show-code", false, "")
		fs.BoolVar(&o.scanCode, "scan-code", false, "")
	},
	run: runVerify,
}

func runVerify(ctx context.Context, a *app, args []string) error {
	if a.opt.wait != (len(args) == 0) || len(args) > 2 {
		return misused("give a USER and perhaps a DEVICE, or --wait")
	}
	if a.opt.showCode && a.opt.scanCode {
		return misused("either this side shows the code or it scans")
	}
	return with(ctx, a, "verification", func(ctx context.Context, s client.Verifier, ac *account) error {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		rctx, stop := context.WithCancel(ctx)
		ran := make(chan error, 1)
		go func() { ran <- s.Run(rctx, func(e2ee.Event) {}) }()
		err := a.verify(ctx, s, ac, args)
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

func (a *app) verify(ctx context.Context, s client.Verifier, ac *account, args []string) error {
	var by client.Comparison
	switch {
	case a.opt.showCode:
		by.Show = func(code []byte) error { return a.showCode(ac, code) }
		by.Scanned = func(context.Context, quinta.Device) (bool, error) {
			return a.confirm("does the other side say that it scanned the code?")
		}
	case a.opt.scanCode:
		by.Scan = func(context.Context) ([]byte, error) { return a.scanCode() }
	default:
		by.Strings = func(_ context.Context, str client.ShortStrings) (bool, error) { return a.compare(ac, str) }
	}
	codes, ok := client.As[client.CodeVerifier](s)
	if by.Strings == nil && !ok {
		return quinta.E(quinta.KindInvalid, "verifying", "this network has no codes to scan")
	}
	if a.opt.wait {
		accept := func(from quinta.Device) bool {
			a.note("%s, device %s, asks to verify", oneLine(string(from.User)), oneLine(string(from.ID)))
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
	a.note("the other side must accept, or do the same there")
	if by.Strings == nil {
		return codes.VerifyBy(ctx, quinta.UserID(args[0]), id, by)
	}
	return s.Verify(ctx, quinta.UserID(args[0]), id, by.Strings)
}

// codeLine is the content of a code to be scanned, in JSON.
type codeLine struct {
	head
	Account quinta.UserID `json:"account"`
	Code    string        `json:"code"`
}

// showCode prints the content of a code. It is a secret until the
// verification is over, and is shown so that the other side sees it.
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

// scanCode reads the content of a code from a line of standard input.
func (a *app) scanCode() ([]byte, error) {
	a.note("the content of the other side's code, in base64:")
	line, err := bufio.NewReader(io.LimitReader(a.in, maxCode)).ReadString('\n')
	if err != nil && line == "" {
		return nil, errors.New("no code was read")
	}
	code, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err != nil || len(code) == 0 {
		return nil, errors.New("this is not the content of a code in base64")
	}
	return code, nil
}

// compare shows the strings and asks whether they are equal.
func (a *app) compare(ac *account, s client.ShortStrings) (bool, error) {
	var emoji []string
	for _, e := range s.Emoji {
		emoji = append(emoji, e.Symbol+" "+e.Name)
	}
	if a.opt.json {
		a.emit(comparedLine{newHead("compare"), ac.User, s.With.User, s.With.ID, emoji, s.Decimal, s.Words})
	}
	var lines []string
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
