// Package order sorts lists of structs. The functions of package slices are
// compiled once for each shape of element, 10 kB at a time; here, all types
// share the code that sorts pointers.
package order

import "slices"

// By sorts list by compare. Elements that compare equal keep their order.
func By[T any](list []T, compare func(a, b T) int) {
	sorted := slices.Clone(list)
	at := make([]*T, len(list))
	for i := range sorted {
		at[i] = &sorted[i]
	}
	slices.SortStableFunc(at, func(a, b *T) int { return compare(*a, *b) })
	for i, p := range at {
		list[i] = *p
	}
}
