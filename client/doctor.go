package client

import "context"

// A Doctor is a Session that can examine itself and report what is wrong.
type Doctor interface {
	Session
	// Examine checks the device, its keys and its server.
	Examine(ctx context.Context) ([]Finding, error)
}

// A Finding is the result of one check of a Doctor.
type Finding struct {
	// Name is a stable word for what was checked, such as "clock".
	Name string
	OK   bool
	// Text says what was found, and Remedy what to do if it is not in order.
	Text, Remedy string
}
