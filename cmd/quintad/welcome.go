package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

//go:embed welcome.html
var welcomeHTML string

var welcomePage = template.Must(template.New("welcome").Parse(welcomeHTML))

// A welcome says how to use a running server: on the terminal, and in a
// browser.
type welcome struct {
	// Name is the server name, URL where it listens, Public its address from
	// outside or "".
	Name, URL, Public string
	// Registration is who may register.
	Registration string
	// Join says for each network how a user joins.
	Join []string
	// Command adds an account. The page leaves its paths out: they are for
	// the administrator alone.
	Command string
}

// Address is what people type into a client.
func (w welcome) Address() string {
	if w.Public != "" {
		return w.Public
	}
	return w.URL
}

// addCommand is the command line that adds an account to this server.
func addCommand(c *config.Config) string {
	cmd := "quintad user add NAME"
	for _, key := range []string{"config", "data", "database"} {
		switch {
		case key == "config" && c.File() != "":
			return cmd + " --config " + c.File()
		case key == "data" && c.Origin(key) != "default":
			cmd += " --data " + c.Data
		case key == "database" && c.Database != "":
			cmd = "QUINTA_DATABASE=... " + cmd
		}
	}
	return cmd
}

// text is the welcome for the terminal.
func (w welcome) text() string {
	var b strings.Builder
	b.WriteString("Quinta serves " + w.Name + " at " + w.Address() + "\n\n")
	b.WriteString("  Add an account:  " + w.Command + "\n")
	switch w.Registration {
	case "open":
		b.WriteString("                   or register in a client: registration is open to everyone\n")
	case "invite":
		b.WriteString("                   or register in a client with a token: quintad user invite\n")
	}
	for _, how := range w.Join {
		b.WriteString("  Join:            " + how + "\n")
	}
	b.WriteByte('\n')
	return b.String()
}

// ServeHTTP answers a browser, and everything that no network answers.
func (w welcome) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.Error(rw, "there is nothing here", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(rw, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	var b bytes.Buffer
	if err := welcomePage.Execute(&b, w); err != nil {
		http.Error(rw, "internal error", http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	rw.Write(b.Bytes()) // an error means that the browser went away
}
