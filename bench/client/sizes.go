package main

import (
	"os"

	"github.com/quinta-chat/quinta/testkit/peer/program"
)

// sizes measures the programs as make build makes them: stripped, without cgo.
func sizes(r *report) error {
	for _, p := range []struct {
		name string
		bar  float64
	}{
		{"quinta", barQuinta},
		{"quintad", barQuintad},
	} {
		path, err := program.Own(p.name, "-trimpath")
		if err != nil {
			return err
		}
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		r.value("size of "+p.name+", stripped", mb(st.Size()), "MB", p.bar)
	}
	return nil
}
