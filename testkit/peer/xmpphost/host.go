// Package xmpphost runs XMPP servers for tests: Prosody and ejabberd, unmodified,
// as Debian has them, on loopback, with a folder and a certificate of their own.
package xmpphost

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// Domain is the domain of the users.
const Domain = "localhost"

// Rooms is the service of the rooms.
const Rooms = "rooms." + Domain

// A Kind is one make of server.
type Kind struct {
	// Name is its name in "quintad xmpp setup".
	Name string
	// programs are what must be there.
	programs []string
	// file is the name of its configuration.
	file string
	// config is its configuration, before the lines of the component; run the
	// command that runs it in the foreground.
	config func(s *Server) string
	run    func(s *Server) *exec.Cmd
	// addUser makes an account before the server runs.
	addUser func(s *Server, name, password string)
}

// Kinds are the servers that everything is tested beside.
var Kinds = []Kind{prosody, ejabberd}

// A Server is a server with its folder.
type Server struct {
	Kind Kind
	tb   testing.TB
	dir  string
	// Client and Component are the addresses of its ports.
	Client, Component string
	// Direct is the address of its port for connections that begin with TLS.
	Direct string
	// Forgets says that the server keeps no messages: it has neither an archive
	// nor an offline storage. It counts from Configure on.
	Forgets bool
	users   []string // of ejabberd: name and password in turn
	cmd     *exec.Cmd
	out     *bytes.Buffer
	done    chan struct{}
}

// New makes the folder and the certificate of a server; Start runs it.
func New(tb testing.TB, k Kind) *Server {
	tb.Helper()
	for _, name := range k.programs {
		require.Program(tb, name)
	}
	s := &Server{Kind: k, tb: tb, dir: tb.TempDir(), Client: free(tb), Component: free(tb), Direct: free(tb)}
	for _, sub := range []string{"data", "certs"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	s.certificate()
	s.Configure("")
	return s
}

// The ports that free chooses from: the system gives these to no connection
// that goes out, so that one is still free when the server comes to take it.
const firstPort, ports = 20000, 12000

// free returns an address whose port no one uses.
func free(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		n, err := rand.Int(rand.Reader, big.NewInt(ports))
		if err != nil {
			tb.Fatal(err)
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.FormatInt(firstPort+n.Int64(), 10))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		return addr
	}
	tb.Fatal("no port is free")
	return ""
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
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(s.file("both.pem"), both, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"localhost.crt": {Type: "CERTIFICATE", Bytes: der}, "localhost.key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(s.dir, "certs", name), pem.EncodeToMemory(block), 0o600); err != nil {
			s.tb.Fatal(err)
		}
	}
}

// Configure writes the configuration, with lines at its end.
func (s *Server) Configure(lines string) {
	s.tb.Helper()
	if err := os.WriteFile(s.file(s.Kind.file), []byte(s.Kind.config(s)+lines), 0o600); err != nil {
		s.tb.Fatal(err)
	}
}

// file is a file in the server's folder.
func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// AddUser makes an account and returns its JID. The server does not run yet.
func (s *Server) AddUser(name, password string) string {
	s.tb.Helper()
	s.Kind.addUser(s, name, password)
	return name + "@" + Domain
}

// Start runs the server and waits until it takes clients.
func (s *Server) Start() {
	s.tb.Helper()
	s.out, s.done = &bytes.Buffer{}, make(chan struct{})
	s.cmd = s.Kind.run(s)
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
			s.tb.Fatalf("%s ended:\n%s", s.Kind.Name, s.out)
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.tb.Fatalf("%s does not listen at %s", s.Kind.Name, addr)
}

// Stop ends the server.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.tb.Logf("ending %s: %v", s.Kind.Name, err)
	}
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		if err := s.cmd.Process.Kill(); err != nil {
			s.tb.Logf("ending %s: %v", s.Kind.Name, err)
		}
		<-s.done
	}
	if s.tb.Failed() {
		s.tb.Logf("%s:\n%s", s.Kind.Name, strings.TrimSpace(s.out.String()))
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
		s.tb.Fatalf("reading what %s has stored: %d bytes, %v", s.Kind.Name, b.Len(), err)
	}
	return b.String()
}
