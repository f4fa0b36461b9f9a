package sas_test

// Known answers, made with OpenSSL (X25519) and Python's hashlib and hmac.
// Alice's short-lived key is 00..1f and Bob's 20..3f; Alice started.
var (
	knownAlice      = "j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8"
	knownBob        = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ"
	knownBytes      = [6]byte{0x17, 0x1c, 0x16, 0xe1, 0x8a, 0x51}
	knownDecimals   = [3]int{1739, 5187, 5293}
	knownEmojis     = [7]int{5, 49, 48, 22, 56, 24, 41}
	knownMAC        = "hlc7s8D+i1OpvBL/ig4lroeH44HZoBBYtDGN422v1WY"
	knownCommitment = "jcvQI6uczKZDYTMov1I9XDBboBFKqGjCgEV7fNz95H4"
)
