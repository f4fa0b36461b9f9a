//go:build linux || darwin || freebsd

package server

import "syscall"

// freeDisk returns the bytes that this process can still write in a folder.
func freeDisk(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(uint64(st.Bavail) * uint64(st.Bsize)), nil
}
