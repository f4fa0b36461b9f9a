package quinta_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// list returns the lines of "go list" with the arguments.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// serverOnly are the packages that a client program never links.
var serverOnly = []string{
	module + "/server/...", module + "/network/*/*server/...", module + "/network/all/servers", module + "/network/internal/incoming",
	"github.com/jackc/pgx/...", "github.com/aws/...", "gocloud.dev/...", "google.golang.org/...", "github.com/prometheus/...", "go.opentelemetry.io/...",
}

// TestClientLinksNoServer: quinta holds no server, no database of a server,
// and nothing that only a server needs. The same list finds them in quintad.
func TestClientLinksNoServer(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	deep := func(pkg string) string {
		for _, pat := range serverOnly {
			if _, ok := match(pat, pkg); ok {
				return pat
			}
		}
		return ""
	}
	for _, pkg := range list(t, "-deps", "./cmd/quinta") {
		if pat := deep(pkg); pat != "" {
			t.Errorf("quinta links %s", pkg)
		}
	}
	for _, pkg := range list(t, "-deps", "./cmd/quintad") {
		found[deep(pkg)] = true
	}
	for _, pat := range serverOnly {
		if !found[pat] {
			t.Errorf("quintad has no package like %s: the list is out of date", pat)
		}
	}
}

// impure lists modules' packages that import something of noIO, below the
// pure systems, and why that does no harm.
var impure = map[string]string{
	"golang.org/x/sys/cpu": "reads what the processor can do, once, at the start",
}

// TestPureInside: no module below the end-to-end systems and the small formats
// does what these may not do themselves, however deep it is.
func TestPureInside(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, line := range list(t, "-deps", "-f", `{{.ImportPath}} {{.Standard}} {{join .Imports " "}}`, "./e2ee/...", "./internal/...", "./key") {
		words := strings.Fields(line)
		pkg, standard, imports := words[0], words[1], words[2:]
		if standard == "true" {
			// The standard library parses addresses in certificates, and so
			// links net and os; a client, a process or a log it may not.
			if slices.Contains([]string{"net/http", "os/exec", "database/sql", "log", "log/slog"}, pkg) {
				t.Errorf("the pure systems link %s", pkg)
			}
			continue
		}
		for _, imp := range imports {
			if !slices.Contains(noIO, imp) {
				continue
			}
			seen[pkg] = true
			if impure[pkg] == "" {
				t.Errorf("the pure systems link %s, which imports %s", pkg, imp)
			}
		}
	}
	for pkg := range impure {
		if !seen[pkg] {
			t.Errorf("%s is not linked any more: take it off the list", pkg)
		}
	}
}

// budget lists the modules that this one may require directly, at these
// versions, and what for. A further one needs a sentence in doc/decision.
var budget = map[string]string{
	"filippo.io/age":                         "v1.3.2",   // archive files
	"filippo.io/bigmod":                      "v0.1.0",   // arithmetic with secret exponents
	"filippo.io/edwards25519":                "v1.2.0",   // one-time keys
	"github.com/anishathalye/porcupine":      "v1.0.3",   // test: linearizability
	"github.com/chromedp/chromedp":           "v0.23.1",  // test: browsers
	"github.com/coder/websocket":             "v1.8.15",  // websockets
	"github.com/emersion/go-smtp":            "v0.26.0",  // mail
	"github.com/go-jose/go-jose/v4":          "v4.1.8",   // JOSE
	"github.com/gotd/ige":                    "v0.3.0",   // AES-IGE
	"github.com/gotd/td":                     "v0.161.0", // forms and transport of MTProto
	"github.com/jackc/pgx/v5":                "v5.7.6",   // PostgreSQL
	"github.com/johannesboyne/gofakes3":      "v1.2.0",   // test: S3
	"github.com/letsencrypt/pebble/v2":       "v2.10.3",  // test: ACME
	"github.com/modelcontextprotocol/go-sdk": "v1.8.0",   // tools for agents
	"github.com/ncruces/go-sqlite3":          "v0.35.0",  // SQLite
	"github.com/prometheus/client_golang":    "v1.23.2",  // metrics
	"github.com/rogpeppe/go-internal":        "v1.15.0",  // test: scripts
	"github.com/smallstep/pkcs7":             "v0.2.3",   // SignedData
	"gocloud.dev":                            "v0.47.0",  // blobs and KMS
	"golang.org/x/crypto":                    "v0.56.0",  // argon2, ocsp, acme
	"golang.org/x/image":                     "v0.34.0",  // doc/decision/035
	"golang.org/x/sys":                       "v0.48.0",  // doc/decision/035
	"golang.org/x/term":                      "v0.45.0",  // doc/decision/035
	"golang.org/x/time":                      "v0.15.0",  // rates
	"honnef.co/go/tools":                     "v0.7.0",   // lint
	"mellium.im/sasl":                        "v0.3.2",   // XMPP
	"mellium.im/xmlstream":                   "v0.15.4",  // doc/decision/041
	"mellium.im/xmpp":                        "v0.22.0",  // XMPP
	"pgregory.net/rapid":                     "v1.2.0",   // test: properties
	"rsc.io/qr":                              "v0.2.0",   // QR codes
	"software.sslmate.com/src/go-pkcs12":     "v0.7.4",   // S/MIME
}

// TestModulesAreInBudget holds the direct requirements of go.mod against the
// budget.
func TestModulesAreInBudget(t *testing.T) {
	t.Parallel()
	mods := list(t, "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}} {{.Version}}{{end}}", "all")
	if len(mods) < 10 {
		t.Fatalf("got the modules %q: the list is broken", mods)
	}
	for _, line := range mods {
		mod, version, _ := strings.Cut(line, " ")
		switch want := budget[mod]; want {
		case version:
		case "":
			t.Errorf("%s %s is required and in no budget", mod, version)
		default:
			t.Errorf("%s: got %s, want %s", mod, version, want)
		}
	}
}
