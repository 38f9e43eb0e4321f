package engines

// softAuthenticator gives a page WebAuthn where the engine has none: passkeys of
// the page's own, whose person is always there. The bytes are those of WebAuthn
// Level 3, sections 6.1 and 6.5.5; the server that lets in checks the signatures.
// `tapped` tells whether the last call came in a tap, as Safari insists.
const softAuthenticator = `
	const keys = new Map(), text = new TextEncoder();
	const join = (...parts) => new Uint8Array(parts.flatMap((p) => [...new Uint8Array(p)]));
	const sha = (data) => crypto.subtle.digest('SHA-256', data);
	const base64 = (data) => btoa(String.fromCharCode(...new Uint8Array(data))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
	const client = (type, challenge) => text.encode(JSON.stringify({ type, challenge: base64(challenge), origin: location.origin, crossOrigin: false }));
	const integer = (raw) => { // of DER
		let at = 0;
		while (at < raw.length - 1 && raw[at] === 0) at++;
		const value = raw[at] >= 128 ? [0, ...raw.slice(at)] : [...raw.slice(at)];
		return [2, value.length, ...value];
	};
	const noteTap = () => { globalThis.tapped = navigator.userActivation.isActive; };

	async function create({ publicKey: o }) {
		noteTap();
		const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign']);
		const id = crypto.getRandomValues(new Uint8Array(32)), secret = crypto.getRandomValues(new Uint8Array(32));
		keys.set(base64(id), { pair, secret });
		const point = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
		const cose = join([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32], point.slice(1, 33), [0x22, 0x58, 32], point.slice(33));
		const data = join(await sha(text.encode(o.rp.id)), [0x45, 0, 0, 0, 0], new Uint8Array(16), [0, 32], id, cose);
		return {
			rawId: id.buffer, getClientExtensionResults: () => o.extensions.prf ? { prf: { enabled: true } } : {},
			response: {
				clientDataJSON: client('webauthn.create', o.challenge).buffer,
				attestationObject: join([0xa3, 0x63], text.encode('fmt'), [0x64], text.encode('none'), [0x67], text.encode('attStmt'), [0xa0, 0x68],
					text.encode('authData'), [0x58, data.length], data).buffer,
			},
		};
	}

	async function get({ publicKey: o }) {
		noteTap();
		const id = o.allowCredentials[0].id;
		const { pair, secret } = keys.get(base64(id));
		const clientDataJSON = client('webauthn.get', o.challenge);
		const data = join(await sha(text.encode(o.rpId)), [5, 0, 0, 0, 0]);
		const raw = new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, join(data, await sha(clientDataJSON))));
		const both = [...integer(raw.slice(0, 32)), ...integer(raw.slice(32))];
		const salt = o.extensions.prf?.eval.first;
		const first = salt && await sha(join(secret, salt));
		return {
			rawId: id, getClientExtensionResults: () => first ? { prf: { results: { first } } } : {},
			response: { clientDataJSON: clientDataJSON.buffer, authenticatorData: data.buffer, signature: join([0x30, both.length], both).buffer },
		};
	}

	Object.defineProperty(navigator, 'credentials', { value: { create, get } });
	globalThis.PublicKeyCredential = { isUserVerifyingPlatformAuthenticatorAvailable: async () => true };
	document.dispatchEvent(new Event('visibilitychange')); // so that the app looks again
`
