// Package rocketchat holds stories of the official Rocket.Chat clients' libraries
// with quinta, on quintad. They run with the tag peers.
package rocketchat
