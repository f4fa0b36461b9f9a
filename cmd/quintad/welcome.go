package main

import (
	_ "embed"
	"html"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta/cmd/quintad/config"
)

// welcomeHTML is the page, with NAME, ADDRESS, ACCOUNT and JOIN for what this
// server is. A template would cost more than the page: package text/template
// calls methods by their names, so the linker would have to keep every exported
// method of every package, two megabytes of them.
//
//go:embed welcome.html
var welcomeHTML string

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

// page is the welcome for a browser. All that comes from outside is escaped.
func (w welcome) page() string {
	account := "<p>Ask the administrator of this server, who adds an account with:</p>\n<p><code>quintad user add NAME</code></p>"
	switch w.Registration {
	case "open":
		account = "<p>Register in a client: registration is open to everyone.</p>"
	case "invite":
		account = "<p>Register in a client with the token that the administrator of this server gave you.</p>"
	}
	join := ""
	for _, how := range w.Join {
		join += "<li>" + html.EscapeString(how) + "</li>\n"
	}
	if join != "" {
		join = "<h2>Join</h2>\n<ul>\n" + join + "</ul>\n"
	}
	return strings.NewReplacer("NAME", html.EscapeString(w.Name), "ADDRESS", html.EscapeString(w.Address()), "ACCOUNT", account, "JOIN", join).Replace(welcomeHTML)
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
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	rw.Write([]byte(w.page())) // an error means that the browser went away
}
