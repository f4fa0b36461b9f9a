package config

import "strings"

// Nearest returns the key that name may be a misspelling of, or "".
func (t *Table) Nearest(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if len(name) > 64 {
		return ""
	}
	best, least := "", 1+max(2, len(name)/3)
	for _, k := range t.keys {
		if d := distance(name, k.Name); d < least {
			best, least = k.Name, d
		}
	}
	for _, k := range t.keys {
		if best == "" && len(name) >= 4 && (strings.HasPrefix(name, k.Name) || strings.HasPrefix(k.Name, name)) {
			best = k.Name
		}
	}
	return best
}

// distance is how many bytes must be put in, taken out or replaced to make b
// of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
