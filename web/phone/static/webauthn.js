// @ts-check
// WebAuthn calls. What is asked for and what the answer is worth, the wasm
// program decides; here bytes are put into the browser's form and back.

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export function fromBase64(text) {
	const binary = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
	return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

/** @param {ArrayBuffer | null | undefined} buffer */
export function toBase64(buffer) {
	let binary = '';
	for (const byte of new Uint8Array(buffer ?? new ArrayBuffer(0))) {
		binary += String.fromCharCode(byte);
	}
	return btoa(binary).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

/** @param {any} extensions */
function decodeExtensions(extensions) {
	const first = extensions?.prf?.eval?.first;
	return first ? { prf: { eval: { first: fromBase64(first) } } } : {};
}

/**
 * Makes the call at once: nothing is waited for before it, so that it counts as
 * made by the tap that called.
 * @param {{create?: any, get?: any}} plan
 * @param {AbortSignal} [signal]
 * @returns {Promise<{answer: object, prf?: Uint8Array}>}
 */
export function run(plan, signal) {
	if (!navigator.credentials || !globalThis.PublicKeyCredential) {
		return Promise.reject({ code: 'webauthnMissing', message: 'This browser has no passkeys (WebAuthn).' });
	}
	const call = plan.create ? create(plan.create, signal) : get(plan.get, signal);
	return call.catch((error) => {
		throw explain(error);
	});
}

/** @param {any} options @param {AbortSignal} [signal] */
function create(options, signal) {
	return navigator.credentials.create({
		publicKey: {
			...options,
			challenge: fromBase64(options.challenge),
			user: { ...options.user, id: fromBase64(options.user.id) },
			extensions: decodeExtensions(options.extensions),
		},
		signal,
	}).then((made) => {
		const credential = /** @type {any} */ (made);
		const response = credential.response;
		const prf = credential.getClientExtensionResults().prf;
		return {
			answer: {
				registration: {
					id: toBase64(credential.rawId),
					clientDataJSON: toBase64(response.clientDataJSON),
					authenticatorData: toBase64(response.getAuthenticatorData()),
					publicKey: toBase64(response.getPublicKey()),
					transports: response.getTransports?.() ?? [],
					prf: options.extensions.prf ? prf?.enabled === true || prf?.results?.first !== undefined : undefined,
				},
			},
			prf: secretOf(prf),
		};
	});
}

/** @param {any} options @param {AbortSignal} [signal] */
function get(options, signal) {
	return navigator.credentials.get({
		publicKey: {
			...options,
			challenge: fromBase64(options.challenge),
			allowCredentials: options.allowCredentials.map((/** @type {any} */ c) => ({ ...c, id: fromBase64(c.id) })),
			extensions: decodeExtensions(options.extensions),
		},
		signal,
	}).then((got) => {
		const credential = /** @type {any} */ (got);
		const response = credential.response;
		return {
			answer: {
				assertion: {
					id: toBase64(credential.rawId),
					clientDataJSON: toBase64(response.clientDataJSON),
					authenticatorData: toBase64(response.authenticatorData),
					signature: toBase64(response.signature),
				},
			},
			prf: secretOf(credential.getClientExtensionResults().prf),
		};
	});
}

/** @param {any} prf */
function secretOf(prf) {
	const first = prf?.results?.first;
	return first ? new Uint8Array(first) : undefined;
}

/** @param {any} error */
function explain(error) {
	switch (error?.name) {
	case 'AbortError':
		return { code: 'ended', message: 'This request has ended.' };
	case 'NotAllowedError':
		return {
			code: 'cancelled', message: 'The passkey was not used.',
			hint: 'It was cancelled, took too long, could not tell who you are, or is no longer on this device.',
		};
	case 'SecurityError':
		return { code: 'rpUnusable', message: 'This page cannot have passkeys: they need https and a host name.' };
	case 'NotSupportedError':
	case 'ConstraintError':
		return {
			code: 'authenticatorUnsuitable', message: 'This device cannot make such a passkey.',
			hint: 'It needs a screen lock (Face ID, fingerprint or PIN), and room for the passkey.',
		};
	case 'OperationError':
	case 'InvalidStateError':
		return { code: 'busy', message: 'The browser is asking for a passkey already.', hint: 'Finish that first.' };
	}
	return { code: 'webauthnFailed', message: `The browser could not use the passkey (${error?.name ?? 'no reason'}).` };
}

/**
 * Tells the browser that a passkey is of no more use, where it listens to that.
 * @param {string} rpId @param {string} credentialId
 */
export async function forget(rpId, credentialId) {
	try {
		await /** @type {any} */ (PublicKeyCredential).signalUnknownCredential?.({ rpId, credentialId });
	} catch {
		// the person can delete it
	}
}

/** @returns {Promise<boolean | undefined>} whether the browser knows the PRF extension; undefined: it does not say */
export async function clientHasPRF() {
	try {
		const capabilities = await /** @type {any} */ (globalThis.PublicKeyCredential)?.getClientCapabilities?.();
		return capabilities?.['extension:prf'];
	} catch {
		return undefined;
	}
}
