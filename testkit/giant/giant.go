// Package giant makes certificates, requests and keys with RSA moduli of any
// size, which no one signed: what a stranger sends to have someone else work
// with them.
package giant

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

type publicKey struct {
	N *big.Int
	E int
}

type keyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

var (
	rsaEncryption = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	sha256WithRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
)

func must(der []byte, err error) []byte {
	if err != nil {
		panic(err) // the structures below can all be written
	}
	return der
}

// modulus is an odd number of so many bits.
func modulus(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	return n.Sub(n, big.NewInt(1))
}

// RSAPublicKey returns a key in the form of PKCS #1 in DER.
func RSAPublicKey(bits int) []byte { return must(asn1.Marshal(publicKey{modulus(bits), 65537})) }

func info(bits int) keyInfo {
	raw := RSAPublicKey(bits)
	return keyInfo{pkix.AlgorithmIdentifier{Algorithm: rsaEncryption, Parameters: asn1.NullRawValue}, asn1.BitString{Bytes: raw, BitLength: 8 * len(raw)}}
}

func algorithm() pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: sha256WithRSA, Parameters: asn1.NullRawValue}
}

// signature is as long as the modulus, and below it.
func signature(bits int) asn1.BitString {
	b := make([]byte, (bits+7)/8)
	b[len(b)-1] = 2
	return asn1.BitString{Bytes: b, BitLength: 8 * len(b)}
}

// PublicKey returns a SubjectPublicKeyInfo in DER.
func PublicKey(bits int) []byte { return must(asn1.Marshal(info(bits))) }

// Certificate returns a certificate in DER.
func Certificate(bits int) []byte {
	type body struct {
		Version   int `asn1:"optional,explicit,default:0,tag:0"`
		Serial    *big.Int
		Algorithm pkix.AlgorithmIdentifier
		Issuer    pkix.RDNSequence
		Validity  struct{ NotBefore, NotAfter time.Time }
		Subject   pkix.RDNSequence
		Key       keyInfo
	}
	b := body{Version: 2, Serial: big.NewInt(1), Algorithm: algorithm(), Key: info(bits)}
	b.Issuer = pkix.Name{CommonName: "giant"}.ToRDNSequence()
	b.Subject = b.Issuer
	b.Validity.NotBefore, b.Validity.NotAfter = time.Unix(1_700_000_000, 0).UTC(), time.Unix(2_500_000_000, 0).UTC()
	return must(asn1.Marshal(struct {
		Body      body
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{b, algorithm(), signature(bits)}))
}

// Request returns a certificate request (PKCS #10) in DER.
func Request(bits int) []byte {
	type body struct {
		Version    int
		Subject    pkix.RDNSequence
		Key        keyInfo
		Attributes asn1.RawValue
	}
	b := body{Subject: pkix.Name{CommonName: "giant"}.ToRDNSequence(), Key: info(bits),
		Attributes: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true}}
	return must(asn1.Marshal(struct {
		Body      body
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{b, algorithm(), signature(bits)}))
}

// Fastest calls fn a few times and returns the least time that it took, with
// what it returned last: other work on the machine makes a call seem longer,
// never shorter.
func Fastest(fn func() error) (took time.Duration, err error) {
	for i := range 5 {
		begin := time.Now()
		err = fn()
		if d := time.Since(begin); i == 0 || d < took {
			took = d
		}
	}
	return took, err
}
