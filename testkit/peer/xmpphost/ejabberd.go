package xmpphost

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// ejabberd is Debian's ejabberd, run by Erlang itself: Debian's own script
// changes the user and uses folders of the system.
var ejabberd = Kind{
	Name:     "ejabberd",
	programs: []string{"erl", "ejabberdctl"},
	file:     "ejabberd.yml",
	config: func(s *Server) string {
		kept := `  mod_mam:
    default: always
  mod_offline: {}
`
		if s.Forgets {
			kept = ""
		}
		return fmt.Sprintf(`loglevel: info
hosts:
  - %s
certfiles:
  - %q
auth_method: internal
auth_password_format: scram
modules:
  mod_carboncopy: {}
  mod_disco: {}
%s  mod_muc:
    host: %s
  mod_ping: {}
  mod_roster: {}
  mod_stream_mgmt: {}
listen:
  -
    port: %s
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls_required: true
  -
    port: %s
    ip: "127.0.0.1"
    module: ejabberd_c2s
    tls: true
`, Domain, s.file("both.pem"), kept, Rooms, port(s.Client), port(s.Direct))
	},
	run: func(s *Server) *exec.Cmd {
		var users []string
		for i := 0; i < len(s.users); i += 2 {
			users = append(users, fmt.Sprintf("{<<%q>>, <<%q>>}", s.users[i], s.users[i+1]))
		}
		start := fmt.Sprintf("{ok, _} = application:ensure_all_started(ejabberd), [ejabberd_auth:try_register(U, <<%q>>, P) || {U, P} <- [%s]].", Domain, strings.Join(users, ", "))
		cmd := exec.Command("erl", "-noinput", "-mnesia", "dir", fmt.Sprintf("%q", s.file("data")), "-eval", start)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "ERL_LIBS=/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu", "HOME="+s.dir, "EJABBERD_CONFIG_PATH="+s.file("ejabberd.yml"),
			"EJABBERD_LOG_PATH="+s.file("ejabberd.log"), "ERL_CRASH_DUMP="+s.file("crash"))
		return cmd
	},
	addUser: func(s *Server, name, password string) { s.users = append(s.users, name, password) },
}
