// Package prosody runs a Prosody for tests: unmodified, as Debian has it, on
// loopback, with a folder and a certificate of its own.
package prosody

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// Domain is the domain of the users.
const Domain = "localhost"

// A Server is a running Prosody.
type Server struct {
	tb  testing.TB
	dir string
	// Client and Component are the addresses of its ports.
	Client, Component string
	cmd               *exec.Cmd
	out               *bytes.Buffer
	done              chan struct{}
}

// New makes the folder and the certificate of a Prosody; Start runs it. extra
// are lines at the end of its configuration, such as the component's; they may
// be set later with Configure.
func New(tb testing.TB) *Server {
	tb.Helper()
	for _, name := range []string{"prosody", "prosodyctl"} {
		require.Program(tb, name)
	}
	s := &Server{tb: tb, dir: tb.TempDir(), Client: free(tb), Component: free(tb)}
	for _, sub := range []string{"data", "certs"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	s.certificate()
	s.Configure("")
	return s
}

func free(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// ComponentPort is the port for components.
func (s *Server) ComponentPort() string { return port(s.Component) }

// certificate makes a throw-away certificate.
func (s *Server) certificate() {
	s.tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.tb.Fatal(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: Domain}, DNSNames: []string{Domain}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k)
	if err != nil {
		s.tb.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		s.tb.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"localhost.crt": {Type: "CERTIFICATE", Bytes: der}, "localhost.key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(s.dir, "certs", name), pem.EncodeToMemory(block), 0o600); err != nil {
			s.tb.Fatal(err)
		}
	}
}

func (s *Server) config() string { return filepath.Join(s.dir, "prosody.cfg.lua") }

// Configure writes the configuration, with lines at its end.
func (s *Server) Configure(extra string) {
	s.tb.Helper()
	text := fmt.Sprintf(`run_as_root = true
daemonize = false
pidfile = %q
data_path = %q
certificates = %q
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { %s }
s2s_ports = { }
c2s_direct_tls_ports = { }
http_ports = { }
https_ports = { }
component_ports = { %s }
component_interface = "127.0.0.1"
authentication = "internal_hashed"
storage = "internal"
modules_enabled = { "disco", "roster", "saslauth", "tls", "carbons", "mam", "ping", "offline", "presence", "message", "iq", "c2s", "component" }
modules_disabled = { "s2s" }
log = { info = "*console" }
VirtualHost %q
`, filepath.Join(s.dir, "prosody.pid"), filepath.Join(s.dir, "data"), filepath.Join(s.dir, "certs"), port(s.Client), port(s.Component), Domain)
	if err := os.WriteFile(s.config(), []byte(text+extra), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

// AddUser makes an account and returns its JID.
func (s *Server) AddUser(name, password string) string {
	s.tb.Helper()
	out, err := exec.Command("prosodyctl", "--root", "--config", s.config(), "register", name, Domain, password).CombinedOutput()
	if err != nil {
		s.tb.Fatalf("making an account: %v: %s", err, out)
	}
	return name + "@" + Domain
}

// Start runs the server and waits until it takes clients.
func (s *Server) Start() {
	s.tb.Helper()
	s.out, s.done = &bytes.Buffer{}, make(chan struct{})
	s.cmd = exec.Command("prosody", "--config", s.config(), "-F")
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	cmd, done := s.cmd, s.done
	go func() {
		_ = cmd.Wait() // the output says why it ended
		close(done)
	}()
	s.tb.Cleanup(s.Stop)
	for _, addr := range []string{s.Client, s.Component} {
		s.wait(addr)
	}
}

func (s *Server) wait(addr string) {
	s.tb.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-s.done:
			s.tb.Fatalf("prosody ended:\n%s", s.out)
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.tb.Fatalf("prosody does not listen at %s", addr)
}

// Stop ends the server.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.tb.Logf("ending prosody: %v", err)
	}
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		if err := s.cmd.Process.Kill(); err != nil {
			s.tb.Logf("ending prosody: %v", err)
		}
		<-s.done
	}
	if s.tb.Failed() {
		s.tb.Logf("prosody:\n%s", strings.TrimSpace(s.out.String()))
	}
	s.cmd = nil
}

// Files returns all that the server has stored, as one text.
func (s *Server) Files() string {
	s.tb.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		b.Write(raw)
		return err
	})
	if err != nil || b.Len() == 0 {
		s.tb.Fatalf("reading what prosody has stored: %d bytes, %v", b.Len(), err)
	}
	return b.String()
}
