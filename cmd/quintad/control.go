package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
)

// An embedded store belongs to one process. So a subcommand that works on the
// store of a server that runs asks that server, over a socket in the data
// folder that only the server's user can open; if none runs it opens the
// store itself.

// socketName is the socket in the data folder.
const socketName = "control.sock"

// maxOrder bounds what goes over the socket in one direction, for all that
// is not a backup.
const maxOrder = 1 << 20

// An operation is what a subcommand asks of the store, by itself or through
// the server that runs.
type operation[Q, A any] struct {
	name string
	run  func(ctx context.Context, core *server.Core, q Q) (A, error)
}

// A handler of the socket.
type controlHandler func(core *server.Core, log *slog.Logger) http.HandlerFunc

// orders are all operations that the socket knows.
var orders = map[string]controlHandler{
	addUser.name:     handle(addUser),
	listUsers.name:   handle(listUsers),
	removeUser.name:  handle(removeUser),
	setPassword.name: handle(setPassword),
	newInvite.name:   handle(newInvite),
	runNetwork.name:  handle(runNetwork),
}

// handle makes the socket's side of an operation.
func handle[Q, A any](op operation[Q, A]) controlHandler {
	return func(core *server.Core, log *slog.Logger) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var q Q
			var a A
			err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&q)
			if err == nil {
				a, err = op.run(r.Context(), core, q)
			}
			if err != nil {
				refuse(w, err)
				return
			}
			log.Info("control: done", "operation", op.name)
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(a); err != nil {
				log.Warn("control: the answer could not be delivered", "operation", op.name)
			}
		}
	}
}

// refuse answers with the text of an error, for the operator's eyes.
func refuse(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusConflict) }

// serveControl serves the socket until ctx ends. The lock of the folder is
// held, so a socket that is there belongs to no one.
func serveControl(ctx context.Context, c *config.Config, core *server.Core, log *slog.Logger) (wait func() error, err error) {
	dir := c.Data
	path, release, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	// The name is removed by hand: the path may not lead there any more.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	for name, h := range orders {
		mux.Handle("POST /"+name, h(core, log))
	}
	mux.Handle("POST /"+backupOrder, serveBackup(c)(core, log))
	closed := serveSide(ctx, l, mux, log)
	return func() error {
		err := closed()
		return errors.Join(err, os.Remove(filepath.Join(dir, socketName)))
	}, nil
}

// longestSocket is how long the path of a socket may be everywhere.
const longestSocket = 100

// socketPath returns a path of the socket that is short enough for the
// kernel: a deep folder is reached through a descriptor. release is to be
// called when the path has been used.
func socketPath(dir string) (path string, release func(), err error) {
	path = filepath.Join(dir, socketName)
	if len(path) <= longestSocket {
		return path, func() {}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(f.Fd())), socketName), func() { f.Close() }, nil
}

// errNoServer says that no one listens on the socket.
var errNoServer = errors.New("no server is listening")

// ask sends one order to the server that has the folder and returns the body
// of its answer.
func ask(ctx context.Context, dir, order string, q any) (io.ReadCloser, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, release, err := socketPath(dir)
		if err != nil {
			return nil, err
		}
		defer release()
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("the server runs as another user: run this command as that user")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoServer, err)
		}
		return conn, nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://quintad/"+order, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxOrder))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of the server: %w", err)
	}
	return nil, errors.New(string(bytes.TrimSpace(text)))
}

// takeover bounds the wait for a server that is just starting or stopping.
const takeover = 15 * time.Second

// withStore calls alone with the opened store if no server has it, and served
// if one does.
func withStore(ctx context.Context, p *program, c *config.Config, alone func(*server.Core) error, served func() error) error {
	if c.Database == "" {
		if _, err := os.Stat(filepath.Join(c.Data, storeFile)); err != nil {
			return &hinted{fmt.Errorf("there is no store in %s", c.Data), "start \"quintad serve\" once, or name the data folder with --data"}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, takeover)
	stopTimer := time.AfterFunc(takeover, cancel)
	defer cancel()
	for {
		o, err := p.open(ctx, c, coreConfig(c, slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))))
		if err == nil {
			stopTimer.Stop()
			return errors.Join(alone(o.core), o.close())
		}
		if !errors.Is(err, errInUse) {
			return err
		}
		if err := served(); !errors.Is(err, errNoServer) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// do carries out an operation, by itself or through the server.
func do[Q, A any](ctx context.Context, p *program, c *config.Config, op operation[Q, A], q Q) (a A, err error) {
	err = withStore(ctx, p, c,
		func(core *server.Core) (err error) { a, err = op.run(ctx, core, q); return err },
		func() error {
			body, err := ask(ctx, c.Data, op.name, q)
			if err != nil {
				return err
			}
			defer body.Close()
			return json.NewDecoder(io.LimitReader(body, maxOrder*16)).Decode(&a)
		})
	return a, err
}
