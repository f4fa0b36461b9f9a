package cli

import "fmt"

// A Misuse is an error in how a program was called. Programs end with exit code
// 2 for it.
type Misuse struct {
	// Text says what is wrong.
	Text string
	// Hint says what to do, or is empty.
	Hint string
}

// Error returns the text.
func (m *Misuse) Error() string { return m.Text }

// Misused makes a Misuse without a hint.
func Misused(format string, args ...any) *Misuse { return &Misuse{Text: fmt.Sprintf(format, args...)} }
