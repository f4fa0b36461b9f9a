package machine

import (
	"os/exec"
	"syscall"
)

// bind makes the system end a child with its parent, however that ends.
func bind(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
