// Package libolm drives libolm, the C library that Olm and Megolm come from,
// for tests and benchmarks: a small C program over a line protocol, compiled
// when it is requested. It needs gcc and libolm's development files (Debian:
// libolm-dev).
package libolm

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

//go:embed c
var source embed.FS

// An Error is libolm's own code of a refused request, such as
// "BAD_MESSAGE_MAC".
type Error string

func (e Error) Error() string { return "libolm: " + string(e) }

// A Peer is one running program. It has slots for accounts, sessions, and
// outbound and inbound group sessions, each numbered from 0 to 63.
type Peer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
}

// Start compiles the program into dir, an empty folder, and starts it.
func Start(dir string) (*Peer, error) {
	for _, name := range []string{"main.c", "bench.h"} {
		b, err := source.ReadFile("c/" + name)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return nil, err
		}
	}
	program := filepath.Join(dir, "libolm-peer")
	build := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, filepath.Join(dir, "main.c"), "-lolm")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("libolm: compiling the peer (it needs gcc and libolm-dev): %w\n%s", err, out)
	}
	p := &Peer{cmd: exec.Command(program)}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// Close ends the program.
func (p *Peer) Close() error {
	if err := p.in.Close(); err != nil {
		return err
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("libolm: %w: %s", err, p.stderr.String())
	}
	return nil
}

// Do sends one request and returns the words of the answer. A refusal is an
// [Error]; anything else means that the program is gone.
func (p *Peer) Do(words ...any) ([]string, error) {
	if _, err := fmt.Fprintln(p.in, words...); err != nil {
		return nil, fmt.Errorf("libolm: %w", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		// The program has written why before it went.
		return nil, errors.Join(fmt.Errorf("libolm: %w", err), p.Close())
	}
	answer := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	switch {
	case answer[0] == "ok":
		return answer[1:], nil
	case answer[0] == "err" && len(answer) == 2:
		return nil, Error(answer[1])
	}
	return nil, fmt.Errorf("libolm: unexpected answer %q", line)
}

// one is Do for an answer of one word.
func (p *Peer) one(words ...any) (string, error) {
	out, err := p.Do(words...)
	if err != nil {
		return "", err
	}
	if len(out) != 1 {
		return "", fmt.Errorf("libolm: got %d words, want 1", len(out))
	}
	return out[0], nil
}

// hexed is how bytes are sent.
func hexed(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return hex.EncodeToString(b)
}

func unhexed(s string) ([]byte, error) { return hex.DecodeString(strings.TrimPrefix(s, "-")) }

// Account makes an account of 64 random bytes in slot a, and returns its
// public keys.
func (p *Peer) Account(a int, random []byte) (signing, identity string, err error) {
	out, err := p.one("account", a, hexed(random))
	if err != nil {
		return "", "", err
	}
	var keys struct{ Curve25519, Ed25519 string }
	err = json.Unmarshal([]byte(out), &keys)
	return keys.Ed25519, keys.Curve25519, err
}

// OneTimeKeys makes n one-time keys of 32 random bytes each, and returns all
// that are not published, oldest first.
func (p *Peer) OneTimeKeys(a, n int, random []byte) ([]string, error) {
	if _, err := p.Do("onetime", a, n, hexed(random)); err != nil {
		return nil, err
	}
	out, err := p.one("keys", a)
	if err != nil {
		return nil, err
	}
	var keys struct{ Curve25519 map[string]string }
	if err := json.Unmarshal([]byte(out), &keys); err != nil {
		return nil, err
	}
	var ids, list []string
	for id := range keys.Curve25519 {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	for _, id := range ids {
		list = append(list, keys.Curve25519[id])
	}
	return list, nil
}

// compareIDs orders key ids, base64 of a number, by that number.
func compareIDs(a, b string) int {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return slices.CompareFunc([]byte(a), []byte(b), func(x, y byte) int {
		return strings.IndexByte(digits, x) - strings.IndexByte(digits, y)
	})
}

// MarkPublished marks the one-time keys of account a as published.
func (p *Peer) MarkPublished(a int) error {
	_, err := p.Do("published", a)
	return err
}

// Sign returns account a's signature of message in base64.
func (p *Peer) Sign(a int, message []byte) (string, error) { return p.one("sign", a, hexed(message)) }

// Outbound makes a session in slot s of 64 random bytes.
func (p *Peer) Outbound(s, a int, identity, oneTime string, random []byte) error {
	_, err := p.Do("outbound", s, a, identity, oneTime, hexed(random))
	return err
}

// Inbound makes a session in slot s from a pre-key message, which is not
// opened by it.
func (p *Peer) Inbound(s, a int, identity, body string) error {
	_, err := p.Do("inbound", s, a, identity, body)
	return err
}

// Remove drops the one-time key of session s from account a.
func (p *Peer) Remove(a, s int) error {
	_, err := p.Do("remove", a, s)
	return err
}

// Matches reports whether the pre-key message is of session s.
func (p *Peer) Matches(s int, identity, body string) (bool, error) {
	out, err := p.one("matches", s, identity, body)
	return out == "1", err
}

// ID returns the id of session s.
func (p *Peer) ID(s int) (string, error) { return p.one("id", s) }

// Encrypt seals plaintext with session s; it uses the 32 random bytes or none
// of them.
func (p *Peer) Encrypt(s int, random, plaintext []byte) (typ int, body string, used int, err error) {
	out, err := p.Do("encrypt", s, hexed(random), hexed(plaintext))
	if err != nil {
		return 0, "", 0, err
	}
	if len(out) != 3 {
		return 0, "", 0, fmt.Errorf("libolm: got %d words, want 3", len(out))
	}
	if typ, err = strconv.Atoi(out[0]); err != nil {
		return 0, "", 0, err
	}
	used, err = strconv.Atoi(out[1])
	return typ, out[2], used, err
}

// Decrypt opens a message with session s.
func (p *Peer) Decrypt(s, typ int, body string) ([]byte, error) {
	out, err := p.one("decrypt", s, typ, body)
	if err != nil {
		return nil, err
	}
	return unhexed(out)
}

// GroupOutbound makes a group session in slot g of 160 random bytes, and
// returns its id.
func (p *Peer) GroupOutbound(g int, random []byte) (string, error) {
	return p.one("group-outbound", g, hexed(random))
}

// GroupKey returns the session key of group session g in base64.
func (p *Peer) GroupKey(g int) (string, error) { return p.one("group-key", g) }

// GroupEncrypt seals plaintext with group session g.
func (p *Peer) GroupEncrypt(g int, plaintext []byte) (string, error) {
	return p.one("group-encrypt", g, hexed(plaintext))
}

// GroupInbound makes an inbound group session in slot h from a session key, in
// the form of exports if imported is true.
func (p *Peer) GroupInbound(h int, sessionKey string, imported bool) (id string, first uint32, err error) {
	command := "group-inbound"
	if imported {
		command = "group-import"
	}
	out, err := p.Do(command, h, sessionKey)
	if err != nil {
		return "", 0, err
	}
	if len(out) != 2 {
		return "", 0, fmt.Errorf("libolm: got %d words, want 2", len(out))
	}
	n, err := strconv.ParseUint(out[1], 10, 32)
	return out[0], uint32(n), err
}

// GroupExport returns the session key of inbound session h from index on.
func (p *Peer) GroupExport(h int, index uint32) (string, error) {
	return p.one("group-export", h, index)
}

// GroupDecrypt opens a message with inbound session h.
func (p *Peer) GroupDecrypt(h int, body string) (index uint32, plaintext []byte, err error) {
	out, err := p.Do("group-decrypt", h, body)
	if err != nil {
		return 0, nil, err
	}
	if len(out) != 2 {
		return 0, nil, fmt.Errorf("libolm: got %d words, want 2", len(out))
	}
	n, err := strconv.ParseUint(out[0], 10, 32)
	if err != nil {
		return 0, nil, err
	}
	plaintext, err = unhexed(out[1])
	return uint32(n), plaintext, err
}

// Bench returns the nanoseconds of processor time of one operation, measured
// over count of them. The names are in c/bench.h.
func (p *Peer) Bench(name string, count int) (float64, error) {
	out, err := p.one("bench", name, count)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(out, 64)
}
