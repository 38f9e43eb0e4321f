package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"
)

// ecKey is RFC 5915's ECPrivateKey without the public half.
type ecKey struct {
	Version    int
	Private    []byte
	Parameters asn1.RawValue `asn1:"optional,tag:0"` // [0] around them
}

// ecParameters are a curve that is written out instead of named (SEC 1, section
// C.2), as Java and `openssl -param_enc explicit` do.
type ecParameters struct {
	Version int
	Field   struct {
		Type  asn1.ObjectIdentifier
		Prime *big.Int
	}
	Curve    struct{ A, B []byte }
	Base     []byte
	Order    *big.Int
	Cofactor *big.Int `asn1:"optional"`
}

// writtenOut reads a key whose curve is written out, if it is one of those that
// SSH has keys on. outer are the parameters that stand beside the key, if any.
func writtenOut(der, outer []byte) (crypto.PrivateKey, bool) {
	var k ecKey
	if _, err := asn1.Unmarshal(der, &k); err != nil {
		return nil, false
	}
	defer clear(k.Private)
	text := outer
	if len(k.Parameters.FullBytes) > 0 {
		text = k.Parameters.Bytes
	}
	curve := curveOf(text)
	if curve == nil || len(k.Private) > (curve.Params().BitSize+7)/8 {
		return nil, false
	}
	private := make([]byte, (curve.Params().BitSize+7)/8)
	defer clear(private)
	copy(private[len(private)-len(k.Private):], k.Private)
	key, err := ecdsa.ParseRawPrivateKey(curve, private)
	return key, err == nil
}

func curveOf(text []byte) elliptic.Curve {
	var p ecParameters
	if _, err := asn1.Unmarshal(text, &p); err != nil {
		return nil
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		c := curve.Params()
		size := (c.BitSize + 7) / 8
		a := new(big.Int).Sub(c.P, big.NewInt(3))
		if p.Field.Prime != nil && p.Field.Prime.Cmp(c.P) == 0 && p.Order != nil && p.Order.Cmp(c.N) == 0 &&
			new(big.Int).SetBytes(p.Curve.A).Cmp(a) == 0 && new(big.Int).SetBytes(p.Curve.B).Cmp(c.B) == 0 &&
			len(p.Base) > size && bytes.Equal(p.Base[1:size+1], c.Gx.FillBytes(make([]byte, size))) {
			return curve
		}
	}
	return nil
}
