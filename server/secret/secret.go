// Package secret seals the few secrets that the server itself has to keep,
// such as the key of a certificate authority, so that someone who gets only
// the store does not have them.
//
// [Open] takes a URL: "file:///folder/secrets.key" for a key in a file, made
// when the first secret is sealed; "hashivault://NAME" for a key that a Vault
// or OpenBao server holds and never gives away; "awskms:///KEY" for one that
// the key management service of AWS holds; or "base64key://..." for a key from
// the configuration itself.
//
// What is not here: keys of users. The server has none.
package secret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/awskms"
	"gocloud.dev/secrets/localsecrets"

	"github.com/quinta-chat/quinta"
)

// ErrOpen says that a secret cannot be opened: its key is another one, or not
// there.
var ErrOpen = &quinta.Error{Kind: quinta.KindUnavailable, Op: "secrets", Err: errors.New("a secret of the server cannot be opened: its key is missing or has changed")}

// A Keeper seals and opens. It is safe for concurrent use.
type Keeper struct {
	file string
	rand io.Reader

	mu     sync.Mutex
	keeper *secrets.Keeper
}

// Open returns a keeper. The key file is read when it is needed; a service is
// not called before. An error does not repeat the URL, which may be a secret.
func Open(ctx context.Context, where string, rand io.Reader) (*Keeper, error) {
	k := &Keeper{rand: rand}
	u, err := url.Parse(where)
	if err != nil {
		return nil, errors.New("secrets: the URL cannot be parsed")
	}
	switch u.Scheme {
	case "file":
		if !filepath.IsAbs(u.Path) || u.Host != "" {
			return nil, errors.New("secrets: a key file is named as file:///folder/secrets.key")
		}
		k.file = u.Path
		return k, nil
	case vaultScheme:
		k.keeper, err = openVault(u)
	case localsecrets.Scheme:
		k.keeper, err = secrets.OpenKeeper(ctx, where)
		if err != nil {
			err = errors.New("secrets: a base64key URL holds 32 bytes in base64")
		}
	case awskms.Scheme:
		if u.Host == "" && strings.Trim(u.Path, "/") == "" {
			return nil, errors.New("secrets: a key of AWS is named as awskms:///KEY?region=REGION, where KEY is an id, an ARN or an alias")
		}
		if k.keeper, err = secrets.OpenKeeper(ctx, where); err != nil {
			err = errors.New("secrets: the awskms URL has an unknown parameter, or the AWS environment is not set up correctly")
		}
	default:
		return nil, errors.New("secrets: the scheme of the URL must be file, hashivault, awskms or base64key")
	}
	return k, err
}

// serviceTimeout bounds a call of a service that holds the key.
const serviceTimeout = 30 * time.Second

// Seal seals a secret of at most 4 KiB, which is what every service takes.
func (k *Keeper) Seal(ctx context.Context, plain []byte) ([]byte, error) {
	s, err := k.open(true)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	sealed, err := s.Encrypt(ctx, plain)
	if err != nil {
		return nil, fmt.Errorf("sealing a secret: %w", err)
	}
	return sealed, nil
}

// Unseal opens what Seal has made, or returns ErrOpen.
func (k *Keeper) Unseal(ctx context.Context, sealed []byte) ([]byte, error) {
	s, err := k.open(false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	plain, err := s.Decrypt(ctx, sealed)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Close ends the keeper.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keeper == nil {
		return nil
	}
	return k.keeper.Close()
}

// open returns the keeper of the file, which is made if it is not there and
// make is set.
func (k *Keeper) open(make bool) (*secrets.Keeper, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keeper != nil {
		return k.keeper, nil
	}
	text, err := os.ReadFile(k.file)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return nil, ErrOpen
		}
		text, err = k.create()
	}
	if err != nil {
		return nil, fmt.Errorf("secrets: reading the key file: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != 32 {
		return nil, errors.New("secrets: the key file does not hold 32 bytes in base64")
	}
	k.keeper = localsecrets.NewKeeper([32]byte(raw))
	return k.keeper, nil
}

// create makes the key file, durable and for the server's user alone. Of two
// processes that try at once one makes it, and the other reads that.
func (k *Keeper) create() ([]byte, error) {
	var raw [32]byte
	if _, err := io.ReadFull(k.rand, raw[:]); err != nil {
		return nil, err
	}
	text := []byte(base64.StdEncoding.EncodeToString(raw[:]) + "\n")
	dir := filepath.Dir(k.file)
	f, err := os.CreateTemp(dir, ".secrets-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	// A link, unlike a rename, never takes the place of a key that is there.
	if err := os.Link(f.Name(), k.file); errors.Is(err, fs.ErrExist) {
		return os.ReadFile(k.file)
	} else if err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return text, errors.Join(d.Sync(), d.Close())
}
