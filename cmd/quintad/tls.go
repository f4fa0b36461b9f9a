package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

// loadTLS reads the certificate and its key, or returns nil if none is set.
func loadTLS(c *config.Config) (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	for _, f := range []struct{ what, path string }{{"certificate", c.TLSCert}, {"key of the certificate", c.TLSKey}} {
		if _, err := os.Stat(f.path); errors.Is(err, os.ErrNotExist) {
			return nil, &hinted{fmt.Errorf("the %s %s does not exist", f.what, f.path), "set tls-cert and tls-key to files in PEM form, or neither for plain HTTP behind a proxy"}
		}
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s with the key %s cannot be used: %w", c.TLSCert, c.TLSKey, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}
