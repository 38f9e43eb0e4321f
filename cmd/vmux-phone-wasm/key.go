//go:build js && wasm

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"syscall/js"
)

// webKey is a P-256 key of WebCrypto that does not leave the browser: no script
// can copy it, though one that runs in the page can use it.
type webKey struct {
	public *ecdsa.PublicKey
	sign   js.Value // Uint8Array → Promise of r and s, 32 bytes each
}

func newWebKey(key js.Value) (*webKey, error) {
	k, err := x509.ParsePKIXPublicKey(bytesOf(key.Get("publicKey")))
	public, ok := k.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return nil, errors.New("the browser's device key is not one")
	}
	return &webKey{public, key.Get("sign")}, nil
}

// Public implements crypto.Signer.
func (k *webKey) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer. WebCrypto hashes itself, so that a hash alone
// cannot be signed.
func (k *webKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the browser signs messages only")
}

// SignMessage implements crypto.MessageSigner, for SHA-256.
func (k *webKey) SignMessage(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 {
		return nil, errors.New("the device key signs with SHA-256 only")
	}
	result, err := await(k.sign.Invoke(arrayOf(message)))
	if err != nil {
		return nil, fmt.Errorf("sign with the device key: %w", err)
	}
	raw := bytesOf(result)
	if len(raw) != 64 {
		return nil, errors.New("the browser made a signature of another size")
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
}

// generateRSA makes an RSA key by WebCrypto: in WebAssembly finding the primes
// takes half a minute.
func generateRSA(_ context.Context, bits int) (*rsa.PrivateKey, error) {
	subtle := js.Global().Get("crypto").Get("subtle")
	pair, err := await(subtle.Call("generateKey", map[string]any{
		"name": "RSASSA-PKCS1-v1_5", "modulusLength": bits, "hash": "SHA-256",
		"publicExponent": arrayOf([]byte{1, 0, 1}),
	}, true, []any{"sign"}))
	if err != nil {
		return nil, fmt.Errorf("make RSA key: %w", err)
	}
	exported, err := await(subtle.Call("exportKey", "pkcs8", pair.Get("privateKey")))
	if err != nil {
		return nil, fmt.Errorf("read RSA key: %w", err)
	}
	array := js.Global().Get("Uint8Array").New(exported)
	der := bytesOf(array)
	array.Call("fill", 0)
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read RSA key: %w", err)
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the browser made no RSA key")
	}
	return private, nil
}
