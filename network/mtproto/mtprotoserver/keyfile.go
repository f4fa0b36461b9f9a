package mtprotoserver

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// maxKeyFile bounds a file of a key in bytes.
const maxKeyFile = 64 << 10

var (
	errPassphrase = errors.New("the key has a passphrase, which the server cannot enter: store it without one, readable by the server alone")
	errPublicKey  = errors.New("this is a public key: the server needs the private one")
)

func checkKeys(v string) error { _, err := readKeys(v); return err }

// readKeys reads the files of the setting, each with one private key.
func readKeys(v string) ([]*rsa.PrivateKey, error) {
	var out []*rsa.PrivateKey
	seen := map[string]bool{}
	for _, file := range list(v) {
		k, err := readKey(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		h := wire.KeyHash(&k.PublicKey)
		if seen[h] {
			return nil, fmt.Errorf("%s: the key is named twice", file)
		}
		seen[h] = true
		out = append(out, k)
	}
	return out, nil
}

func readKey(file string) (*rsa.PrivateKey, error) {
	f, err := os.Open(file)
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	return parseKey(text)
}

// parseKey reads a private key, PKCS #1 or PKCS #8 in PEM. An error has nothing
// of the key.
func parseKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, wire.ErrRSA
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, errPassphrase
	case strings.HasSuffix(block.Type, "PUBLIC KEY"):
		return nil, errPublicKey
	}
	k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		var ok bool
		if k, ok = any.(*rsa.PrivateKey); err != nil || !ok {
			return nil, wire.ErrRSA
		}
	}
	return k, wire.CheckRSA(&k.PublicKey)
}
