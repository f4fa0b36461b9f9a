// Package blob keeps files: their rows in the store, their bytes on a media
// store that is a folder or an S3 bucket. Bytes are streamed and never held
// whole in memory.
//
// [Blobs.Write] makes bytes durable on the media store; they are loose until
// [Put], [Fill] or [PutVariant] refers to them in a transaction. [Reserve]
// makes an id that is filled later. [Get] finds a file, [Blobs.Reader] reads
// it.
//
// A crash at any point loses nothing that was acknowledged and leaves nothing
// behind forever: the key of the bytes is in the table of loose bytes before
// the first of them is written, leaves it in the transaction that refers to
// them, and comes back in the transaction that removes this reference.
// [Blobs.Sweep], which runs at the start and then every ten minutes, removes
// the bytes whose time has expired, and only then their key.
//
// What is not here: who may read a file, and what its type means. The set
// stores what it is given and does not encrypt; files of encrypted
// conversations come sealed by the client.
package blob
