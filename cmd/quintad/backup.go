package main

import (
	"context"
	"errors"
	"fmt"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/quinta-chat/quinta/cmd/internal/durable"
	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
)

var backupCommand = command{
	Name:  "backup",
	Short: "back up the store and the media to one file",
	Least: 1, Most: 1,
	Long: `
Backup writes everything the server stores, as of one moment, to a new file.
The server may be running. Only the embedded store can be backed up this way;
for PostgreSQL use pg_dump.

    quintad backup quinta-2030-01-01.backup

The file contains what the server sees: names, memberships, who wrote when, and
messages as clients sent them. Protect it as you protect the data folder.
`,
	Prepare: cli.Plain(backup),
}

func backup(ctx context.Context, p *program, c *config.Config, args []string) error {
	if c.Database != "" {
		return &hinted{errors.New("only the embedded store can be backed up to one file"), "use pg_dump for the database, and then copy the media"}
	}
	return writeWhole(args[0], func(w io.Writer) error {
		return withStore(ctx, p, c,
			func(core *server.Core) error {
				dir, err := scratch(c)
				if err != nil {
					return err
				}
				return core.Backup(ctx, dir, w)
			},
			func() error {
				body, err := ask(ctx, c.Data, backupOrder, struct{}{})
				if err != nil {
					return err
				}
				_, err = io.Copy(w, body)
				if err != nil {
					err = fmt.Errorf("the server aborted the backup; its log says why: %w", err)
				}
				return errors.Join(err, body.Close())
			})
	})
}

// writeWhole makes a new file with what fn writes, or no file at all.
func writeWhole(path string, fn func(io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlink(f.Name())) }()
	if err = fn(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, does not replace what came there meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return durable.Sync(dir)
}

// unlink removes a file if it is there.
func unlink(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// scratch returns the folder for files that a backup needs meanwhile. Only
// the process that has the lock of the data folder uses it.
func scratch(c *config.Config) (string, error) {
	dir := filepath.Join(c.Data, "scratch")
	return dir, os.MkdirAll(dir, 0o700)
}

// clearScratch removes what a backup that was killed has left.
func clearScratch(c *config.Config) error { return os.RemoveAll(filepath.Join(c.Data, "scratch")) }

// backupOrder is the name of the order on the control socket.
const backupOrder = "backup"

// serveBackup answers the order with the backup itself. If the backup fails,
// the connection is cut off, so that the file is not taken for a complete
// one.
func serveBackup(c *config.Config) controlHandler {
	return func(core *server.Core, log *slog.Logger) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			dir, err := scratch(c)
			if err != nil {
				refuse(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/x-tar")
			out := &counter{w: w}
			err = core.Backup(r.Context(), dir, out)
			switch {
			case err == nil:
				log.Info("control: done", "operation", backupOrder, "bytes", out.n)
			case out.n == 0:
				refuse(w, err)
			default:
				log.Error("control: the backup was interrupted", "err", err)
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// A counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
