package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/cmd/internal/durable"
)

// maxServerKey bounds a file of --server-key in bytes.
const maxServerKey = 16 << 10

// pins are the keys of servers that were seen at earlier logins. Each has a
// file of its own in the folder servers of the home folder.
type pins struct {
	a       *app
	network quinta.NetworkName
	// key is that of --server-key, and given its fingerprint.
	key   []byte
	given string
}

// A pinned is the content of such a file.
type pinned struct {
	Network     quinta.NetworkName `json:"network"`
	Server      string             `json:"server"`
	Fingerprint string             `json:"fingerprint"`
}

// newPins reads the file of --server-key, if there is one.
func (a *app) newPins(n client.Network, file string) (*pins, error) {
	p := &pins{a: a, network: n.Name()}
	if file == "" {
		return p, nil
	}
	k, ok := n.(client.Keyed)
	if !ok {
		return nil, misused("servers of %s do not have a key: log in without --server-key", n.Name())
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the server's key: %w", err)
	}
	defer f.Close()
	if p.key, err = io.ReadAll(io.LimitReader(f, maxServerKey)); err != nil {
		return nil, fmt.Errorf("reading the server's key: %w", err)
	}
	p.given, err = k.ServerKeyFingerprint(p.key)
	return p, err
}

func (p *pins) path(server string) string {
	h := sha256.Sum256([]byte(string(p.network) + "\x00" + server))
	return filepath.Join(p.a.opt.home, "servers", hex.EncodeToString(h[:16])+".json")
}

// pin compares the key of a server with the one that was seen before. One that
// was never seen is shown and stored; another one is refused, unless it was
// given by --server-key.
func (p *pins) pin(server, fingerprint string) error {
	b, err := os.ReadFile(p.path(server))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the known key of the server: %w", err)
	}
	var known pinned
	if err == nil {
		if err := json.Unmarshal(b, &known); err != nil || known.Fingerprint == "" {
			return fmt.Errorf("the file %s is damaged: it holds the known key of the server", p.path(server))
		}
	}
	switch {
	case known.Fingerprint == fingerprint:
		return nil
	case known.Fingerprint != "" && p.given == "":
		return failed(exitNotTrusted, "someone may be between you and the server: ask its operator for the key, and log in with --server-key FILE only if the key was replaced",
			fmt.Errorf("THE KEY OF THE SERVER HAS CHANGED: it was %s and is now %s", oneLine(known.Fingerprint), fingerprint))
	case known.Fingerprint != "":
		p.a.note("the key of the server has changed from " + oneLine(known.Fingerprint) + " to the one that you gave, " + fingerprint)
	case p.given != "":
		p.a.note("the server has proved that it has the key that you gave, SHA-256 " + fingerprint)
	default:
		p.a.note("this is the first login at " + oneLine(server) + "; its key has the SHA-256 " + fingerprint + ". Compare it with what the operator says")
	}
	if b, err = json.Marshal(pinned{p.network, server, fingerprint}); err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(p.path(server))); err != nil {
		return fmt.Errorf("creating the folder of known servers: %w", err)
	}
	if err := durable.WriteFile(p.path(server), append(b, '\n')); err != nil {
		return fmt.Errorf("storing the key of the server: %w", err)
	}
	return nil
}
