package config

import "github.com/quinta-chat/quinta/cmd/internal/cli"

// Nearest returns the key that name may be a misspelling of, or "".
func (t *Table) Nearest(name string) string {
	var names []string
	for _, k := range t.keys {
		names = append(names, k.Name)
	}
	return cli.Nearest(name, names)
}
