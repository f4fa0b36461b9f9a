// Package peer gathers the other programs that Quinta is proven against: real
// clients, real servers, real databases. The programs of one network have a
// folder named after it; what several networks need, such as PostgreSQL and
// processes that are stopped with their test, is beside it. Nothing here
// imitates a peer: a test whose peer is not installed is left out, or fails
// where the variable of package require is set.
//
// install.sh installs every peer; it does nothing for those that are in place.
package peer
