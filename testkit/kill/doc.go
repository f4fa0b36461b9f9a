// Package kill puts a quintad under load and keeps book of every answer it
// gave, so that a test can kill the server, take its disk away or its
// database, and then ask whether it kept its word: nothing acknowledged is
// lost, no one-time key is given out twice, no message to a device comes
// twice or out of order, no secret chat is open on two devices.
//
// The clients speak plain HTTP, and MTProto over websockets. They behave as real ones do: a request
// without an answer is repeated with the same transaction id and body until
// it is answered, a sync continues from the last token that arrived whole.
// [Start] begins the load, [Load.Stop] ends it and [Load.Check] compares the
// book with what the server then holds.
package kill
