package cli

import "strings"

// longestName bounds what is compared: no one misspells such a long word.
const longestName = 64

// Nearest returns the name that word may be a misspelling of, or "". Case is
// ignored, and "_" is read as "-".
func Nearest(word string, names []string) string {
	word = strings.ReplaceAll(strings.ToLower(word), "_", "-")
	if len(word) > longestName {
		return ""
	}
	best, least := "", 1+max(2, len(word)/3)
	for _, n := range names {
		if d := distance(word, n); d < least {
			best, least = n, d
		}
	}
	for _, n := range names {
		if best == "" && len(word) >= 4 && (strings.HasPrefix(word, n) || strings.HasPrefix(n, word)) {
			best = n
		}
	}
	return best
}

// distance is how many bytes must be inserted, deleted or replaced to turn a
// into b (Levenshtein).
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
