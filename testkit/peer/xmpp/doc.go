// Package xmpp holds the tests of the XMPP network beside real XMPP servers.
package xmpp
