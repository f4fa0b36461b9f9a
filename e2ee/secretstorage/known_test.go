package secretstorage_test

// Known answers, made with OpenSSL (aes-256-ctr) and Python's hashlib and
// hmac. The key is 00..1f; the IV has bit 63 set, which must not matter.
const (
	knownIV         = "ZGVmZ2hpamvwAAAAAAAAAA=="
	knownCiphertext = "ee6Ujf8Kjdm/2van/5SZyVgSgS09TFkmgnq+keciEHfM7DTMTn27MFnlrtk="
	knownMAC        = "u/0elJTDbPwyc1um+5NFvqhI1GjwE8+e3ZtFg2rKIIk="
	knownCheckMAC   = "4Wah/CT8y5tcUjtGgRrSQ+GTbl8f5danXQM13h7yjSU="
	knownSecret     = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
	// The key of the passphrase "pässphrase" with the salt "salt of text" and
	// 100,000 iterations.
	knownPassphraseKey = "c8e5afd144d7835a91eeea3c3f5ad7e083a3bdbd99b5666d1af46ce91e429396"
)
