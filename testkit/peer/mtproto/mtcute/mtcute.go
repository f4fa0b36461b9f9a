// Package mtcute starts mtcute, a client of MTProto in TypeScript, as a peer of
// a test. It has no secret chats of its own: it takes part up to the request
// for one.
//
// It is an npm package at the exact version of package-lock.json, with the Node
// that runs it; testkit/peer/install.sh brings both.
package mtcute

import (
	"context"
	"os/exec"

	"github.com/quinta-chat/quinta/testkit/peer/npm"
)

// Command is a run of the peer, which reads a task from its standard input. The
// error says that the peer is missing.
func Command(ctx context.Context) (*exec.Cmd, error) {
	dir, err := npm.Folder("@mtcute/node")
	if err != nil {
		return nil, err
	}
	node, err := npm.Node(dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, node, "peer.mjs")
	cmd.Dir = dir
	return cmd, nil
}
