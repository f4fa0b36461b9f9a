package keybackup

// SealText seals any text, as anyone who knows the public key can.
var SealText = seal
