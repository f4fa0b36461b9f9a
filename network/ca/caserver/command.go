package caserver

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
)

// commands are what an operator can do with the authority.
var commands = []server.Command{
	{
		Name: "ca init", Line: "create the certificate authority",
		Usage: `
Ca init creates the server's certificate authority: a root certificate, an
intermediate certificate and their keys. The server does this by itself when a
client first needs it; run the command beforehand to choose another type of key.

    quintad ca init
    quintad ca init --key rsa-3072
`,
		Flags: []server.CommandFlag{{Name: "key", Default: keyP256, Help: "the type of the authority's keys, p256 or rsa-3072"}},
		Run:   onServer(commandInit),
	},
	{
		Name: "ca show", Line: "show the authority and the latest entries of its audit log",
		Usage: `
Ca show prints the authority's certificates, the number of keys, and the latest
entries of its audit log.

    quintad ca show
    quintad ca show --audit 500
`,
		Flags: []server.CommandFlag{{Name: "audit", Default: "20", Help: "how many entries of the audit log to show"}},
		Run:   onServer(commandShow),
	},
	{
		Name: "ca revoke", Line: "revoke a key, named by its fingerprint",
		Usage: `
Ca revoke revokes a key. Clients see this in the revocation list, over OCSP and
in the directory. The owner and everyone who shares a conversation with them are
notified.

    quintad ca revoke 3f0c... --reason key-compromise
`,
		Args:  1,
		Flags: []server.CommandFlag{{Name: "reason", Default: "unspecified", Help: "the reason: unspecified, key-compromise, superseded or cessation"}},
		Run:   onServer(commandRevoke),
	},
	{
		Name: "ca crl", Line: "print the revocation list in PEM form",
		Usage: `
Ca crl prints the current revocation list, in PEM form.

    quintad ca crl | openssl crl -noout -text
`,
		Run: onServer(commandCRL),
	},
}

// onServer gives a command its server.
func onServer(run func(context.Context, *caServer, server.CommandInput) (string, error)) func(context.Context, server.Front, server.CommandInput) (string, error) {
	return func(ctx context.Context, f server.Front, in server.CommandInput) (string, error) {
		s, ok := f.(*caServer)
		if !ok {
			return "", errors.New("ca: the command is for another network")
		}
		return run(ctx, s, in)
	}
}

func commandInit(ctx context.Context, s *caServer, in server.CommandInput) (string, error) {
	if err := s.authority.create(ctx, in.Flags["key"]); err != nil {
		return "", err
	}
	return s.describe(ctx)
}

func commandShow(ctx context.Context, s *caServer, in server.CommandInput) (string, error) {
	n, err := strconv.Atoi(in.Flags["audit"])
	if err != nil || n < 0 || n > 10_000 {
		return "", quinta.E(quinta.KindInvalid, "ca", "--audit must be a number from 0 to 10000")
	}
	text, err := s.describe(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(text)
	err = s.View(ctx, func(tx *db.Tx) error {
		var keys, revoked int64
		if err := tx.Row(`SELECT COUNT(*), COUNT(revoked) FROM ca_key WHERE expires > $1`, tx.Millis()).Scan(&keys, &revoked); err != nil {
			return err
		}
		fmt.Fprintf(&b, "keys          %d, %d of them revoked\n", keys, revoked)
		lines, err := auditTail(tx, n)
		for _, r := range lines {
			fmt.Fprintf(&b, "%s  %-10s %s %s %s %s\n", utc(r.Time).Format(time.RFC3339), r.Action, r.User, r.Device, r.KeyID, r.Detail)
		}
		return err
	})
	return b.String(), err
}

// describe says what the authority is.
func (s *caServer) describe(ctx context.Context) (string, error) {
	k, err := s.authority.read(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "domain        %s\n", s.domain)
	fmt.Fprintf(&b, "root          %s, until %s\n", cert.KeyID(k.root), k.root.NotAfter.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "intermediate  %s, until %s\n", cert.KeyID(k.cert), k.cert.NotAfter.UTC().Format(time.RFC3339))
	b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.root.Raw}))
	return b.String(), nil
}

func commandRevoke(ctx context.Context, s *caServer, in server.CommandInput) (string, error) {
	reason, ok := cert.Reasons[in.Flags["reason"]]
	if !ok {
		return "", quinta.E(quinta.KindInvalid, "ca", "a reason is unspecified, key-compromise, superseded or cessation")
	}
	id := cert.Fingerprint(strings.ToLower(in.Args[0]))
	var k *key
	err := s.Update(ctx, func(tx *db.Tx) (err error) {
		if k, err = keyByID(tx, id); errors.Is(err, errNoKey) {
			return quinta.E(quinta.KindNotFound, "ca", "there is no key with this fingerprint")
		} else if err != nil {
			return err
		}
		return s.revoke(tx, k, reason, "by the operator")
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("revoked the %s key of %s, device %s\n", k.Usage, k.User, k.Device), nil
}

func commandCRL(ctx context.Context, s *caServer, _ server.CommandInput) (string, error) {
	raw, err := s.crl(ctx)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: raw})), nil
}
