package test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quinta-chat/quinta/testkit/peer/postgres"
	"github.com/quinta-chat/quinta/testkit/peer/program"
	"github.com/quinta-chat/quinta/testkit/peer/require"
)

// TestStories runs every script of testdata. Besides the commands of package
// testscript there are:
//
//	serve [flags]          start "quintad serve" on a free port and wait until
//	                       it is ready; sets $URL, $ADDR and, if there is one,
//	                       $ADMIN; and the variable of each network that
//	                       takes raw connections, such as $XMPP
//	term                   SIGTERM; the server must end with status 0 in time
//	kill9                  kill it at once
//	call METHOD PATH WANT [BODY]
//	                       one request to $URL, or to a whole URL; the status
//	                       must be WANT; the version of HTTP and the answer are
//	                       the next stdout
//	keep VAR MEMBER        set VAR to a member of the last JSON answer
//	database start|stop    a PostgreSQL server of the script; sets $DATABASE
//	certificate FILE KEY   make a certificate for 127.0.0.1 that call trusts
//	cut FILE N             cut N bytes off the end of a file
//	alter FILE TEXT OTHER  replace TEXT in a file by OTHER of the same length
//	newer FILE             make a store look as if a newer version wrote it
//	catch VAR [N]          set VAR to the Nth word of the last stdout; N is 1
//	log PATTERN            the log of the servers so far must match
//	quiet PATTERN          it must not
func TestStories(t *testing.T) {
	t.Parallel()
	var path []string
	for _, name := range []string{"quintad", "quinta"} {
		bin, err := program.Own(name)
		if err != nil {
			t.Fatal(err)
		}
		path = append(path, filepath.Dir(bin))
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", strings.Join(append(path, env.Getenv("PATH")), string(os.PathListSeparator)))
			env.Values[stageKey{}] = &stage{t: t, client: client}
			env.Defer(func() { stageOf(env.Values).end() })
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "postgresql" {
				return false, errUnknownCondition
			}
			_, err := postgres.Programs()
			if err != nil && os.Getenv(require.Env) != "" {
				return false, err
			}
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":       on((*stage).serve),
			"term":        on((*stage).term),
			"kill9":       on((*stage).kill9),
			"call":        on((*stage).call),
			"keep":        on((*stage).keep),
			"database":    on((*stage).database),
			"certificate": on((*stage).certificate),
			"cut":         on((*stage).cut),
			"alter":       on((*stage).alter),
			"newer":       on((*stage).newer),
			"log":         on((*stage).logged),
			"quiet":       on((*stage).quiet),
			"catch":       on((*stage).catch),
		},
	})
}

// A stage is what one script has besides its folder.
type stage struct {
	t       *testing.T
	server  *server
	cluster *postgres.Cluster
	answer  []byte
	client  *http.Client

	mu sync.Mutex
	// said is what the servers of the script wrote.
	said []byte
}

type stageKey struct{}

func stageOf(values map[any]any) *stage { return values[stageKey{}].(*stage) }

// on makes a command of a method. No command can be negated.
func on(run func(*stage, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command cannot be negated")
		}
		run(ts.Value(stageKey{}).(*stage), ts, args)
	}
}

// end takes down what the script has left running.
func (s *stage) end() {
	if s.server != nil {
		s.server.kill()
	}
}

// need fails the script unless it gave a command n arguments at least.
func need(ts *testscript.TestScript, args []string, n int) {
	if len(args) < n {
		ts.Fatalf("the command needs %d arguments", n)
	}
}
