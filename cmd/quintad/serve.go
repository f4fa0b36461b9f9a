package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"github.com/quinta-chat/quinta/cmd/internal/cli"
	"net"
	"os"
	"syscall"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/cmd/quintad/config"
	"github.com/quinta-chat/quinta/server"
)

// newName is the server name of a store that is made without one: it suits a
// server for one machine, which is all that a server without settings is.
const newName = "localhost"

var serveCommand = command{
	Name:  "serve",
	Short: "run the server",
	Long: `
Serve runs the server until it receives SIGTERM or SIGINT. By default it
listens on loopback and stores all data in ./quinta-data.

    quintad serve
    quintad serve --name chat.example.org --public-url https://chat.example.org

When the server is ready it prints "quintad: ready URL". Before that it prints
"quintad: admin URL" if there is an admin listener, and "quintad: NETWORK
tcp://HOST:PORT" for each raw TCP listener of a network.
`,
	Prepare: cli.Plain(serve),
}

func serve(ctx context.Context, p *program, c *config.Config, _ []string) error {
	log := logger(c, p.stderr)
	if c.Database.HasPassword() && c.Origin("database") == "command line" {
		p.say("hint", "the password of the database is visible in the process list: set the URL in QUINTA_DATABASE or in the configuration file")
	}
	for _, k := range p.settings.Keys() {
		if k.Secret && c.Origin(k.Name) == "command line" {
			p.say("hint", "the value of --"+k.Name+" is visible in the process list: set it in "+k.Env()+" or in the configuration file")
		}
	}
	if c.Database != "" && c.Blobs == "" {
		p.say("hint", "media are stored in the data folder of this node, where other nodes cannot read them: if there are several nodes, set blobs")
	}
	cert, err := loadTLS(c)
	if err != nil {
		return err
	}
	cfg := coreConfig(c, log)
	cfg.NewName = newName
	if c.AdminListen != "" {
		cfg.Metrics = server.NewMetrics()
	}
	o, err := p.open(ctx, c, cfg)
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, p, c, o.core, cert), o.close())
}

// run opens the listeners of an open core and serves until ctx ends.
func run(ctx context.Context, p *program, c *config.Config, core *server.Core, cert *tls.Config) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var sides []func() error
	defer func() {
		cancel()
		for _, wait := range sides {
			err = errors.Join(err, wait())
		}
	}()
	l, err := listen(c.Listen, "--listen")
	if err != nil {
		return err
	}
	if c.Database == "" {
		if err := clearScratch(c); err != nil {
			return errors.Join(err, l.Close())
		}
		control, err := serveControl(ctx, c, core, core.Log)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		sides = append(sides, control)
	}
	if c.AdminListen != "" {
		admin, err := serveAdmin(ctx, p, c, core)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		sides = append(sides, admin)
	}
	streams, err := core.Listen(func(_ quinta.NetworkName, addr string) (net.Listener, error) {
		return listen(addr, "the settings of the network")
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	for _, s := range streams {
		fmt.Fprintf(p.stdout, "quintad: %s %s\n", s.Network, s.URL())
	}
	go giveBack(ctx)
	scheme := "http"
	if cert != nil {
		scheme = "https"
	}
	url := scheme + "://" + l.Addr().String()
	w := welcome{Name: core.Name, URL: url, Public: c.PublicURL, Registration: string(c.Registration), Command: addCommand(c)}
	w.Join = core.Join(w.Address())
	fmt.Fprint(p.stderr, w.text())
	fmt.Fprintf(p.stdout, "quintad: ready %s\n", url)
	return core.Serve(ctx, l, core.Handler(w), cert)
}

// listen opens a listener; what an operator may meet becomes a clear line.
func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &hinted{fmt.Errorf("the address %s is in use by another program", addr), "stop that program, or choose another address with " + flag}
	case errors.Is(err, os.ErrPermission):
		return nil, &hinted{fmt.Errorf("the server's user is not allowed to listen on %s", addr), "use a port above 1023 with " + flag}
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return l, nil
}
