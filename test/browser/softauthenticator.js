// An authenticator in the page's place of one, for Chromium's own virtual one
// forgets its PRF secrets with the browser. This one keeps nothing, like a
// security key: its credentials' keys and secrets follow from two secrets that
// the test keeps, and from the credential's ID, by which it knows its own.
(keySecret, prfSecret) => {
	const bytes = (hex) => Uint8Array.from(hex.match(/../g), (b) => parseInt(b, 16));
	const join = (...parts) => new Uint8Array(parts.flatMap((p) => [...new Uint8Array(p)]));
	const text = (s) => new TextEncoder().encode(s);
	const base64url = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
	const sha256 = (b) => crypto.subtle.digest('SHA-256', b);
	const ecdsa = { name: 'ECDSA', namedCurve: 'P-256' };
	async function hmac(secret, ...parts) {
		const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
		return new Uint8Array(await crypto.subtle.sign('HMAC', key, join(...parts)));
	}
	const mark = async (nonce) => (await hmac(bytes(keySecret), text('mine'), nonce)).slice(0, 16);
	async function isMine(id) {
		const b = new Uint8Array(id);
		return b.length === 32 && base64url(await mark(b.slice(0, 16))) === base64url(b.slice(16));
	}
	async function keyOf(id) {
		const scalar = await hmac(bytes(keySecret), text('key'), id);
		// RFC 5958 around RFC 5915, without the public key
		const pkcs8 = join(bytes('3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420'), scalar);
		return crypto.subtle.importKey('pkcs8', pkcs8, ecdsa, true, ['sign']);
	}
	// WebAuthn level 3, section 10.1.4: what CTAP is given is a hash of the input
	async function prf(id, input) {
		const salt = await sha256(join(text('WebAuthn PRF\0'), input));
		return (await hmac(await hmac(bytes(prfSecret), id), salt)).buffer;
	}
	function der(signature) {
		const integer = (b) => {
			let i = 0;
			while (i < b.length - 1 && b[i] === 0) {
				i++;
			}
			const short = b[i] & 0x80 ? join([0], b.slice(i)) : b.slice(i);
			return join([2, short.length], short);
		};
		const body = join(integer(signature.slice(0, 32)), integer(signature.slice(32)));
		return join([0x30, body.length], body).buffer;
	}
	const clientData = (type, options) => text((globalThis.clientDataText ?? JSON.stringify)({
		type, challenge: base64url(options.challenge), origin: location.origin, crossOrigin: false,
	})).buffer;
	// WebAuthn level 3, section 6.5.4, without a statement
	const attestation = (data) => join([0xa3, 0x63], text('fmt'), [0x64], text('none'), [0x67], text('attStmt'), [0xa0, 0x68], text('authData'),
		[0x58, data.length], data).buffer;
	const header = async (rpID, flags) => join(await sha256(text(rpID)), [flags, 0, 0, 0, 0]);
	const results = async (id, options) => {
		const first = options.extensions?.prf?.eval?.first;
		return first ? { prf: { enabled: true, results: { first: await prf(id, first) } } } : {};
	};
	const credential = (id, response, extensions) => ({
		type: 'public-key', id: base64url(id), rawId: id.buffer, response, getClientExtensionResults: () => extensions,
	});

	navigator.credentials.create = async ({ publicKey: options }) => {
		const nonce = crypto.getRandomValues(new Uint8Array(16));
		const id = join(nonce, await mark(nonce));
		const { d: _, ...jwk } = await crypto.subtle.exportKey('jwk', await keyOf(id));
		const spki = await crypto.subtle.exportKey('spki', await crypto.subtle.importKey('jwk', { ...jwk, key_ops: ['verify'] }, ecdsa, true, ['verify']));
		const point = new Uint8Array(spki).slice(-64);
		const cose = join(bytes('a5010203262001215820'), point.slice(0, 32), bytes('225820'), point.slice(32));
		const data = join(await header(options.rp.id, 0x45), new Uint8Array(16), [0, id.length], id, cose);
		return credential(id, {
			clientDataJSON: clientData('webauthn.create', options), attestationObject: attestation(data),
		}, await results(id, options));
	};
	navigator.credentials.get = async ({ publicKey: options }) => {
		for (const { id: given } of options.allowCredentials) {
			if (!await isMine(given)) {
				continue;
			}
			const id = join(given);
			const data = await header(options.rpId, 0x05), client = clientData('webauthn.get', options);
			const raw = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, await keyOf(id), join(data, await sha256(client)));
			return credential(id, {
				clientDataJSON: client, authenticatorData: data.buffer, signature: der(new Uint8Array(raw)),
			}, await results(id, options));
		}
		throw new DOMException('none of these', 'NotAllowedError');
	};
}
