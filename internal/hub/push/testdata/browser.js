// What a browser and its push service do with a push, by other people's code:
// `keys` makes a subscription's keys, `open` verifies the sender (RFC 8292) and
// decrypts (RFC 8291) what it finds on standard input. Both print JSON.
'use strict'
const crypto = require('crypto')
const fs = require('fs')
const ece = require('http_ece')

const fail = (why) => { throw new Error(why) }

function keys () {
  const ecdh = crypto.createECDH('prime256v1')
  const p256dh = ecdh.generateKeys()
  return {
    privateKey: ecdh.getPrivateKey('base64url'),
    p256dh: p256dh.toString('base64url'),
    auth: crypto.randomBytes(16).toString('base64url')
  }
}

function verify (authorization) {
  const [, token, key] = /^vapid t=([^,]+), ?k=([\w-]+)$/.exec(authorization) ?? fail('not a vapid header')
  const point = Buffer.from(key, 'base64url')
  const jwk = {
    kty: 'EC', crv: 'P-256',
    x: point.subarray(1, 33).toString('base64url'), y: point.subarray(33).toString('base64url')
  }
  const [header, claims, signature] = token.split('.')
  const ok = crypto.verify('sha256', Buffer.from(header + '.' + claims),
    { key: crypto.createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url'))
  if (!ok || JSON.parse(Buffer.from(header, 'base64url')).alg !== 'ES256') fail('the token is not signed by k')
  return { key, claims: JSON.parse(Buffer.from(claims, 'base64url')) }
}

function open ({ privateKey, auth, body, authorization }) {
  const ecdh = crypto.createECDH('prime256v1')
  ecdh.setPrivateKey(privateKey, 'base64url')
  const payload = ece.decrypt(Buffer.from(body, 'base64'), {
    version: 'aes128gcm', privateKey: ecdh, authSecret: auth
  })
  return { payload: payload.toString(), ...verify(authorization) }
}

const result = process.argv[2] === 'keys' ? keys() : open(JSON.parse(fs.readFileSync(0)))
console.log(JSON.stringify(result))
