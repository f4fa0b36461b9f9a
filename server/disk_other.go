//go:build !(linux || darwin || freebsd)

package server

import "errors"

// freeDisk cannot tell on this system.
func freeDisk(string) (int64, error) {
	return 0, errors.New("free disk space is not known on this system")
}
