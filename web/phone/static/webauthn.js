// @ts-check
// WebAuthn calls. What is asked for and what the answer is worth, the wasm
// program decides; here bytes are put into the browser's form and back.

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export function fromBase64(text) {
	const binary = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
	return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
	let binary = '';
	for (const byte of bytes) {
		binary += String.fromCharCode(byte);
	}
	return btoa(binary).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

/** @param {any} extensions */
function decodeExtensions(extensions) {
	const first = extensions?.prf?.eval?.first;
	return first ? { prf: { eval: { first: fromBase64(first) } } } : {};
}

/** How much longer than it was told to a browser may take, in milliseconds. */
const grace = 10000;

/**
 * Makes the call at once: nothing is waited for before it, so that it counts as
 * made by the tap that called.
 * @param {{create?: any, get?: any}} plan
 * @param {AbortSignal} [signal]
 * @returns {Promise<{answer: object, prf?: Uint8Array}>}
 */
export function run(plan, signal) {
	const credentials = /** @type {any} */ (navigator.credentials);
	if (!credentials?.create || !credentials.get || !globalThis.PublicKeyCredential) {
		return Promise.reject({ code: 'webauthnMissing', message: 'This browser has no passkeys (WebAuthn).' });
	}
	const timeout = (plan.create ?? plan.get).timeout + grace;
	// What answers in the browser's place may throw, or know nothing of the signal and the time.
	/** @type {Promise<any>} */
	const called = new Promise((resolve, reject) => {
		const answered = plan.create ? create(credentials, plan.create, signal) : get(credentials, plan.get, signal);
		const timer = setTimeout(() => reject({ name: 'TimeoutError' }), timeout);
		signal?.addEventListener('abort', () => reject(null));
		answered.then(resolve, reject).finally(() => clearTimeout(timer));
	});
	return called.catch((error) => {
		throw explain(error, signal);
	});
}

/** @param {any} credentials @param {any} options @param {AbortSignal} [signal] */
async function create(credentials, options, signal) {
	const made = await credentials.create({
		publicKey: {
			...options,
			challenge: fromBase64(options.challenge),
			user: { ...options.user, id: fromBase64(options.user.id) },
			extensions: decodeExtensions(options.extensions),
		},
		...(signal && { signal }),
	});
	const response = responseOf(made), prf = prfOf(made);
	const secret = optional(() => secretOf(prf)); // it is asked for again
	const id = optional(() => bytesOf(made.rawId, 'rawId'));
	try {
		const attestation = (response.attestationObject ?? null) && bytesOf(response.attestationObject, 'attestationObject');
		return {
			answer: {
				registration: {
					id: id && toBase64(id),
					clientDataJSON: toBase64(clientData(response.clientDataJSON)),
					attestationObject: attestation && toBase64(attestation),
					authenticatorData: attestation ? undefined : toBase64(bytesOf(
						response.authenticatorData ?? optional(() => response.getAuthenticatorData()), 'attestationObject')),
					transports: transportsOf(response),
					prf: secret ? true : typeof prf?.enabled === 'boolean' ? prf.enabled : undefined,
				},
			},
			prf: secret,
		};
	} catch (error) {
		throw id ? { .../** @type {any} */ (error), orphan: { rpID: options.rp.id, credentialID: toBase64(id) } } : error;
	}
}

/** @param {any} credentials @param {any} options @param {AbortSignal} [signal] */
async function get(credentials, options, signal) {
	const got = await credentials.get({
		publicKey: {
			...options,
			challenge: fromBase64(options.challenge),
			allowCredentials: options.allowCredentials.map((/** @type {any} */ c) => ({ ...c, id: fromBase64(c.id) })),
			extensions: decodeExtensions(options.extensions),
		},
		...(signal && { signal }),
	});
	const response = responseOf(got);
	return {
		answer: {
			assertion: {
				clientDataJSON: toBase64(clientData(response.clientDataJSON)),
				authenticatorData: toBase64(bytesOf(response.authenticatorData, 'authenticatorData')),
				signature: toBase64(bytesOf(response.signature, 'signature')),
			},
		},
		prf: secretOf(prfOf(got)),
	};
}

const otherProvider = 'If it stays so, use another passkey provider (password manager).';

/** @param {string} what is wrong with the provider's answer */
const unreadable = (what) => ({
	code: 'badAnswer', message: `The passkey provider’s answer cannot be used: ${what}.`, hint: otherProvider,
});

/**
 * What throws is absent: password managers leave methods out, or leave the
 * browser's own to an object that is none of the browser's.
 * @template T @param {() => T} read @returns {T | undefined}
 */
function optional(read) {
	try {
		return read();
	} catch {
		return undefined;
	}
}

/** @param {any} credential */
function responseOf(credential) {
	if (!credential) {
		throw { code: 'noAnswer', message: 'The passkey provider gave no answer.', hint: `Try again. ${otherProvider}` };
	}
	if (!credential.response) {
		throw unreadable('it has no response');
	}
	return credential.response;
}

/** @param {any} response @returns {string[]} */
function transportsOf(response) {
	const list = optional(() => response.getTransports());
	return Array.isArray(list) ? list.filter((t) => typeof t === 'string') : [];
}

/** @param {any} credential */
const prfOf = (credential) =>
	(optional(() => credential.getClientExtensionResults()) ?? credential.clientExtensionResults)?.prf;

/** @param {any} prf */
function secretOf(prf) {
	const first = prf?.results?.first;
	return first ? bytesOf(first, 'the secret of the PRF extension') : undefined;
}

/**
 * Bytes, as the standard's ArrayBuffer or in the forms that they take on the way
 * through a password manager: another window's buffer, a view of one, an array, an
 * object with an index for each, base64 of either alphabet.
 * @param {any} value @param {string} name @returns {Uint8Array}
 */
function bytesOf(value, name) {
	const bytes = optional(() => plainBytes(value));
	if (!bytes) {
		throw unreadable(`${name} is ${value === null || value === undefined ? 'missing' : 'no bytes'}`);
	}
	if (bytes.length === 0) {
		throw unreadable(`${name} is empty`);
	}
	return bytes;
}

/** @param {any} value @returns {Uint8Array | undefined} */
function plainBytes(value) {
	if (typeof value === 'string') {
		return fromBase64(value.trim());
	}
	if (ArrayBuffer.isView(value)) {
		return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
	}
	if (/ArrayBuffer\]$/.test(Object.prototype.toString.call(value))) {
		return new Uint8Array(value);
	}
	const list = value && Array.isArray(value.data) ? value.data : value; // as Node writes a Buffer
	const numbers = list && typeof list === 'object' ? Object.values(list) : [undefined];
	const indexed = !Array.isArray(list) && numbers.length > 0 && Object.keys(list ?? {}).some((key, i) => key !== String(i));
	return !indexed && numbers.every((n) => Number.isInteger(n) && n >= 0 && n < 256) ? Uint8Array.from(numbers) : undefined;
}

/** Client data, which some give as the text itself. @param {any} value */
const clientData = (value) => typeof value === 'string' && value.trimStart().startsWith('{') ?
	new TextEncoder().encode(value) : bytesOf(value, 'clientDataJSON');

/**
 * What NotAllowedError is for beside a person's cancelling tells its text alone.
 * @type {[RegExp, {code: string, message: string, hint?: string}][]}
 */
const notAllowed = [
	[/pending/i, { code: 'busy', message: 'The browser is asking for a passkey already.', hint: 'Finish that first. If nothing is to be seen, close the app and open it again.' }],
	[/certificate/i, { code: 'rpUnusable', message: 'The browser does not trust the hub’s certificate, and has no passkeys for such pages.', hint: 'Install the hub’s root certificate on this device, or give the hub a public one.' }],
	[/not focused/i, { code: 'cancelled', message: 'The passkey was not used: the page was not in front.', hint: 'Tap it once more.' }],
	[/polic|feature/i, { code: 'rpUnusable', message: 'This page may not use passkeys: its headers forbid it.', hint: 'A proxy before the hub sends Permissions-Policy. Allow publickey-credentials-get and publickey-credentials-create there.' }],
];

/** @param {any} error @param {AbortSignal} [signal] */
function explain(error, signal) {
	if (signal?.aborted) {
		return { code: 'ended', message: 'This request has ended.' };
	}
	if (typeof error?.code === 'string' && !error.name) {
		return error; // of this module
	}
	const name = error?.name ?? (typeof error === 'string' ? error : 'no reason');
	switch (name) {
	case 'NotAllowedError':
	case 'AbortError': // Firefox's word for a person's cancelling
	case 'TimeoutError':
		return notAllowed.find(([pattern]) => pattern.test(error.message ?? ''))?.[1] ?? {
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
		return notAllowed[0][1];
	case 'InvalidStateError':
		return {
			code: 'providerFailed', message: 'The passkey provider was not ready (InvalidStateError).',
			hint: `Close its windows, unlock it, then try again. ${otherProvider}`,
		};
	case 'NotReadableError':
	case 'UnknownError':
		return {
			code: 'providerFailed', message: `This device could not reach its passkeys (${name}).`,
			hint: 'Try again. If it stays so: unlock the password manager, update it (on Android also Google Play services), restart the device. A security key needs a PIN, which Firefox does not set.',
		};
	}
	return {
		code: 'webauthnFailed', message: `The browser could not use the passkey (${name}).`,
		hint: 'Try again. If it stays so, turn off the password manager’s extension for this page, or use another one.',
	};
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
