// Package test holds the stories of the operator: each file of testdata is a
// script in which the real quintad is started, stopped, misused and hurt, and
// what it says and keeps is compared with what is written there.
package test
