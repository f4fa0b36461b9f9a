package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/keeper"
)

// superuser is the role that initdb makes; the socket's folder is closed to
// other users of the machine, so it has no password.
const superuser = "quinta"

// socketPath is the longest path of a Unix socket that all systems take.
const socketPath = 100

// A cluster is a running PostgreSQL server with its data.
type cluster struct {
	// dir holds the data and the socket.
	dir string
	// keeper stops the server and removes dir when this process ends.
	keeper *keeper.Keeper
}

// keep is the parent of the server: when the test binary has ended it stops
// the server at once (SIGQUIT: nothing in it is needed again), waits for it
// and removes the folder. Told "stop" it stops the server in order and waits
// to be told "start". $1 is the folder of the programs, $2 the cluster's.
const keep = `while :; do
	"$1/postgres" -D "$2/data" </dev/null &
	server=$!
	read -r word
	case "$word" in
	stop) kill -INT "$server" ;;
	*) kill -QUIT "$server" ;;
	esac 2>/dev/null
	wait "$server"
	[ "$word" = stop ] && read -r word && [ "$word" = start ] || break
done
rm -rf "$2"
`

// settings of the server. Writes are as safe as in production; only limits
// that a test binary meets are raised.
const settings = `
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 400
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 64MB
log_min_messages = warning
timezone = 'UTC'
`

// start makes a cluster, starts it and waits until it answers.
func start() (*cluster, error) {
	bin, err := Programs()
	if err != nil {
		return nil, err
	}
	who, err := credential()
	if err != nil {
		return nil, err
	}
	dir, err := folder(who)
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir}
	if err := c.run(bin, who); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// run fills the folder of c and starts the server in it.
func (c *cluster) run(bin string, who *syscall.SysProcAttr) error {
	data := filepath.Join(c.dir, "data")
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", superuser,
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = c.dir, who
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(settings + "unix_socket_directories = '" + c.dir + "'\n")
	if cerr := conf.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return c.serve(ctx, bin, who)
}

// serve starts the keeper with the server and returns when the server answers.
func (c *cluster) serve(ctx context.Context, bin string, who *syscall.SysProcAttr) error {
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.keeper, err = keeper.Start(who, log, keep, bin, c.dir)
	if err != nil {
		return err
	}
	if err := c.ready(ctx); err != nil {
		said, rerr := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("%w: %s", err, bytes.TrimSpace(said)), rerr, c.keeper.Release())
	}
	return nil
}

// ready returns when the server takes connections, or why it does not.
func (c *cluster) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.exec("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-c.keeper.Gone():
			return errors.New("the server ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w", err)
		case <-tick.C:
		}
	}
}

// credential says as whom the server runs: PostgreSQL refuses root, so root
// gives it to the user postgres; anyone else keeps it.
func credential() (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// folder makes a private folder that belongs to the server's user, with a
// path short enough for a socket.
func folder(who *syscall.SysProcAttr) (string, error) {
	parent := os.TempDir()
	if testing.Testing() && roomy(memory) {
		parent = memory
	}
	if len(parent)+len("/quinta-pg-0123456789/.s.PGSQL.5432") > socketPath {
		return "", fmt.Errorf("the path of the temporary folder %s is too long for a socket in it", parent)
	}
	dir, err := os.MkdirTemp(parent, "quinta-pg-")
	if err != nil {
		return "", err
	}
	if cr := who.Credential; cr != nil {
		err = os.Chown(dir, int(cr.Uid), int(cr.Gid))
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// memory is a file system in memory. Tests make and drop hundreds of
// databases, and each drop writes a checkpoint; on a disk that is most of
// their time. Programs that measure get the disk.
const memory = "/dev/shm"

// roomy reports whether a folder has two gigabytes free.
func roomy(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && st.Bavail*uint64(st.Bsize) > 2<<30
}

// newestFirst orders folders such as /usr/lib/postgresql/15/bin by the number
// in them, the greatest first.
func newestFirst(dirs []string) []string {
	version := func(dir string) int {
		n, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err != nil {
			return 0
		}
		return n
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	return dirs
}
