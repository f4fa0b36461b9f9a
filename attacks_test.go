package quinta_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// attackFolders are where the tests against the attacks on a network are.
var attackFolders = map[string][]string{
	"matrix": {"e2ee/matrix", "e2ee/olm", "e2ee/megolm", "e2ee/sas", "e2ee/secretstorage", "e2ee/keybackup", "network/matrix"},
	"ca":     {"e2ee/ca", "network/ca"}, "rocketchat": {"e2ee/rocketchat", "network/rocketchat"},
	"xmpp": {"e2ee/keysrv", "network/xmpp"}, "mtproto": {"e2ee/secretchat", "network/mtproto"},
}

// TestAttacksHaveTests: each attack that the document of a network lists has a
// test with its number.
func TestAttacksHaveTests(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile(`(?m)^\| (\d+) \| `)
	for _, network := range slices.Sorted(maps.Keys(attackFolders)) {
		b, err := os.ReadFile(filepath.Join("doc", "network", network+".md"))
		if err != nil {
			t.Fatal(err)
		}
		_, text, found := strings.Cut(string(b), "\n## Attacks\n")
		text, _, _ = strings.Cut(text, "\n## ")
		rows := row.FindAllStringSubmatch(text, -1)
		if !found || len(rows) < 10 {
			t.Errorf("%s: the document lists %d attacks", network, len(rows))
		}
		have := attackTests(t, attackFolders[network])
		last := 0
		for _, r := range rows {
			n, err := strconv.Atoi(r[1])
			if err != nil || n <= last {
				t.Errorf("%s: row %s is out of order", network, r[1])
			}
			if last = n; !have[n] {
				t.Errorf("%s: row %d has no test named %s", network, n, fmt.Sprintf("TestAttack%02d", n))
			}
		}
	}
}

// attackTests returns the numbers of the attacks that the tests in some folders
// are named after.
func attackTests(t *testing.T, dirs []string) map[int]bool {
	t.Helper()
	name := regexp.MustCompile(`(?m)^func Test[A-Za-z]*Attack(\d\d)`)
	have := map[int]bool{}
	for _, dir := range dirs {
		if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(p, "_test.go") {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			for _, m := range name.FindAllSubmatch(b, -1) {
				n, err := strconv.Atoi(string(m[1]))
				if err != nil {
					return err
				}
				have[n] = true
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return have
}
