package main

import (
	"context"
	"errors"
	"fmt"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/quinta-chat/quinta/cmd/internal/durable"
	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
)

var restoreCommand = command{
	Name:  "restore",
	Short: "restore a data folder from a backup",
	Least: 1, Most: 1,
	Long: `
Restore creates a data folder from a file written by "quintad backup". It checks
the whole file first. The folder must not exist or must be empty. If restore
fails, no folder is left behind.

    quintad restore quinta-2030-01-01.backup --data ./quinta-data

Devices that were logged in when the backup was made still are. One-time keys
are not restored, so that none is handed out twice; clients upload new ones.
`,
	Prepare: cli.Plain(restore),
}

func restore(ctx context.Context, p *program, c *config.Config, args []string) (err error) {
	if c.Database != "" {
		return &hinted{errors.New("a backup can be restored only into the embedded store, but a database is set"), "for PostgreSQL, use pg_restore"}
	}
	if err := mustBeEmpty(c.Data); err != nil {
		return err
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	target, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	parent := filepath.Dir(target)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "."+filepath.Base(target)+"-restoring-")
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	cfg := coreConfig(c, slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	cfg.DB.Path = filepath.Join(dir, storeFile)
	if c.Blobs == "" {
		cfg.BlobURL = folderURL(filepath.Join(dir, mediaFolder))
	}
	head, err := server.Restore(ctx, cfg, p.networks, f)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], plain(err))
	}
	if err := durable.Sync(dir); err != nil {
		return err
	}
	// A renamed folder can replace an empty one, but not a full one; the
	// rename of package os would refuse both.
	if err := syscall.Rename(dir, target); err != nil {
		return &hinted{fmt.Errorf("moving the folder to its place %s: %w", target, err), "a folder on which a disk is mounted cannot be replaced: restore into a folder inside it"}
	}
	if err := durable.Sync(parent); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s as of %s is in %s\n", head.Name, time.UnixMilli(head.Created).UTC().Format(time.RFC3339), c.Data)
	return err
}

// mustBeEmpty refuses a folder that holds something.
func mustBeEmpty(dir string) error {
	es, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(es) > 0:
		return &hinted{fmt.Errorf("the folder %s is not empty", dir), "move it away, or restore into another folder with --data"}
	}
	return nil
}

// folderURL is the URL of a folder as a media store.
func folderURL(dir string) string { return (&url.URL{Scheme: "file", Path: dir}).String() }
