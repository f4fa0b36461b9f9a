package xmpphost

import (
	"fmt"
	"os/exec"
)

// prosody is Debian's Prosody.
var prosody = Kind{
	Name:     "prosody",
	programs: []string{"prosody", "prosodyctl"},
	file:     "prosody.cfg.lua",
	config: func(s *Server) string {
		kept := `, "mam", "offline"`
		if s.Forgets {
			kept = ""
		}
		return fmt.Sprintf(`run_as_root = true
daemonize = false
pidfile = %q
data_path = %q
certificates = %q
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { %s }
s2s_ports = { }
c2s_direct_tls_ports = { %s }
http_ports = { }
https_ports = { }
component_ports = { %s }
component_interface = "127.0.0.1"
authentication = "internal_hashed"
storage = "internal"
modules_enabled = { "disco", "roster", "saslauth", "tls", "carbons", "ping", "smacks", "presence", "message", "iq", "c2s", "component"%s }
modules_disabled = { "s2s" }
log = { info = "*console" }
VirtualHost %q
Component %q "muc"
    modules_enabled = { "muc_mam" }
`, s.file("prosody.pid"), s.file("data"), s.file("certs"), port(s.Client), port(s.Direct), port(s.Component), kept, Domain, Rooms)
	},
	run: func(s *Server) *exec.Cmd { return exec.Command("prosody", "--config", s.file("prosody.cfg.lua"), "-F") },
	addUser: func(s *Server, name, password string) {
		s.tb.Helper()
		out, err := exec.Command("prosodyctl", "--root", "--config", s.file("prosody.cfg.lua"), "register", name, Domain, password).CombinedOutput()
		if err != nil {
			s.tb.Fatalf("making an account: %v: %s", err, out)
		}
	},
}
