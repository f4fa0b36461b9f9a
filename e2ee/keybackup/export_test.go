package keybackup

// SealText seals any text, as whoever knows the public key can.
var SealText = seal
