package matrixserver

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/quinta-chat/quinta/server"
)

// A router finds the endpoint of a path. Segments are compared escaped and
// handed on unescaped, since room aliases and state keys may hold slashes.
type router struct {
	root node
	// bounds are those of all endpoints.
	bounds []server.Bound
}

type node struct {
	fixed   map[string]*node
	any     *node
	methods map[string]*endpoint
}

// An endpoint is one call of the API.
type endpoint struct {
	// route is the path as the specification writes it, for logs and metrics.
	route string
	// params are the names of the path's variables, in order.
	params []string
	handle func(*call) (any, error)
	// open says that no access token is needed.
	open bool
	// rate is how often one user, or one address where the call is open, may
	// make the call.
	rate server.Rate
	// body bounds the body in bytes; zero means that there is none.
	body int64
	// long says that the call may take longer than callTimeout: it waits for
	// something to happen, or carries a file. It bounds itself.
	long bool
	// file says that the call carries a file.
	file bool
	// counted is what the calls are counted under, the same for all versions
	// of the path.
	counted string
}

// add registers an endpoint under a path like "/rooms/{roomId}/state". name is
// the path without its version.
func (r *router) add(method, path, name string, e *endpoint) {
	n := &r.root
	var params []string
	for seg := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if strings.HasPrefix(seg, "{") {
			params = append(params, strings.Trim(seg, "{}"))
			if n.any == nil {
				n.any = &node{}
			}
			n = n.any
			continue
		}
		if n.fixed == nil {
			n.fixed = map[string]*node{}
		}
		if n.fixed[seg] == nil {
			n.fixed[seg] = &node{}
		}
		n = n.fixed[seg]
	}
	if n.methods == nil {
		n.methods = map[string]*endpoint{}
	}
	if n.methods[method] != nil {
		panic("matrixserver: internal error: " + method + " " + path + " is registered twice")
	}
	c := *e
	c.route, c.params, c.counted = path, params, "matrix "+method+" "+name
	r.bounds = append(r.bounds, server.Bound{Call: method + " " + path, Open: c.open, Rate: c.rate, Body: c.body, File: c.file, Waits: c.long && !c.file})
	n.methods[method] = &c
}

// find returns the endpoint and the values of its variables. known is true if
// the path exists with another method.
func (r *router) find(method, escaped string) (e *endpoint, vars []string, known bool) {
	n := &r.root
	for seg := range strings.SplitSeq(strings.TrimPrefix(escaped, "/"), "/") {
		if next := n.fixed[seg]; next != nil {
			n = next
			continue
		}
		if n.any == nil {
			return nil, nil, false
		}
		v, err := url.PathUnescape(seg)
		if err != nil {
			return nil, nil, false
		}
		n = n.any
		vars = append(vars, v)
	}
	e = n.methods[method]
	if e == nil && method == http.MethodHead {
		e = n.methods[http.MethodGet]
	}
	return e, vars, len(n.methods) > 0
}
