// Package keeper runs what has to be done after a test binary has ended, in
// whatever way it ended: a server to stop, a folder to remove. A test's own
// cleanup does not run when the binary is killed or panics; a keeper does.
package keeper

import (
	"io"
	"os"
	"os/exec"
	"syscall"
)

// A Keeper is a shell that waits for the end of the process that started it.
type Keeper struct {
	life io.WriteCloser
	gone chan struct{}
}

// Start runs the shell script with args as $1, $2 and so on, as the user that
// attr names if it is not nil. Its "read" of standard input returns when this
// process ends, or calls Release; what it writes goes to log if that is not
// nil.
func Start(attr *syscall.SysProcAttr, log *os.File, script string, args ...string) (*Keeper, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "keeper"}, args...)...)
	cmd.Dir = "/"
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	own := syscall.SysProcAttr{}
	if attr != nil {
		own = *attr
	}
	// A group of its own: an interrupt at the terminal ends the test binary,
	// and only its end counts here.
	own.Setpgid = true
	cmd.SysProcAttr = &own
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	k := &Keeper{life: life, gone: make(chan struct{})}
	go func() {
		defer close(k.gone)
		// Its exit status is that of its last command, which says nothing.
		var _ = cmd.Wait()
	}()
	return k, nil
}

// Say writes one line to the script's standard input.
func (k *Keeper) Say(line string) error {
	_, err := io.WriteString(k.life, line+"\n")
	return err
}

// Release lets the script continue now and returns when it has ended.
func (k *Keeper) Release() error {
	err := k.life.Close()
	<-k.gone
	return err
}

// Gone is closed when the script has ended.
func (k *Keeper) Gone() <-chan struct{} { return k.gone }
