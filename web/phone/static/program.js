// @ts-check
// Loads programs in WebAssembly, and says why one cannot run here.

/** How long too little memory is waited out, in milliseconds: a page that was just closed still holds its own. */
const pause = 1000;

/** @param {string} why @param {string} [hint] */
export const notLoaded = (why, hint = 'See that this device is online, then try again.') =>
	({ code: 'notLoaded', message: `The signer could not be loaded (${why}).`, hint });

/** What fails is fetched once more: a service worker may have been ended as it answered. @param {string} name @param {Promise<Response>} [fetching] */
async function loaded(name, fetching = fetch(name)) {
	const response = await fetching.catch(() => fetch(name)).catch(() => {
		throw notLoaded('the hub cannot be reached');
	});
	if (!response.ok) {
		throw notLoaded(`status ${response.status}`);
	}
	return response;
}

/** Whether it is want of memory, as browsers say it. @param {any} error */
const isMemory = (error) => error instanceof RangeError || /(out of|allocat\w*) (executable )?memory|memory allocation/i.test(error?.message ?? '');

/** @param {any} error what WebAssembly was refused with */
function refused(error) {
	const text = String(error?.message ?? error);
	if (isMemory(error)) {
		return { code: 'littleMemory', message: 'This device has too little memory free for the signer.', hint: 'Close other apps and browser tabs, then try again.' };
	}
	if (/security.policy|unsafe-eval|\bCSP\b|embedder/i.test(text)) {
		return {
			code: 'wasmRefused', message: 'This page may not run WebAssembly, which the signer is made of: its Content-Security-Policy, or a setting of this browser, forbids it.',
			hint: 'A proxy before the hub must pass on the hub’s own Content-Security-Policy and add none. Or allow WebAssembly for this site in the browser’s settings.',
		};
	}
	return { code: 'wasmRefused', message: `This browser cannot run the signer (${text}).`, hint: 'Bring the browser up to date, or use another one.' };
}

export const noWebAssembly = {
	code: 'noWebAssembly', message: 'This browser runs no WebAssembly, which the signer is made of.',
	hint: 'In Lockdown Mode an iPhone turns it off: exempt this page, under “Page Menu” in Safari. Elsewhere a security setting does: allow it for this site. Or use another browser.',
};

/**
 * Loads a program. A browser may refuse to compile it while it comes: a proxy has
 * given it another type, or the browser cannot. Then it is read as a whole.
 * @param {string} name of the file @param {any} imports
 * @param {Promise<Response>} [fetching] of that file, if it was begun
 * @returns {Promise<WebAssembly.Instance>} fails with {code, message, hint}
 */
export async function instantiate(name, imports, fetching) {
	let response = await loaded(name, fetching);
	if (typeof globalThis.WebAssembly?.instantiate !== 'function') {
		throw noWebAssembly;
	}
	try {
		return (await WebAssembly.instantiateStreaming(response, imports)).instance;
	} catch (error) {
		if (isMemory(error)) {
			await new Promise((resolve) => setTimeout(resolve, pause));
		}
	}
	if (response.bodyUsed) {
		response = await loaded(name);
	}
	const bytes = await response.arrayBuffer().catch(() => {
		throw notLoaded('the connection to the hub has ended');
	});
	if (new TextDecoder().decode(bytes.slice(0, 4)) !== '\0asm') {
		throw notLoaded('something else came in its place', 'A sign-in page of this network, or a proxy before the hub, may have answered. Open another page in this browser, then try again.');
	}
	try {
		return (await WebAssembly.instantiate(bytes, imports)).instance;
	} catch (error) {
		throw refused(error);
	}
}

/**
 * Runs a program of Go.
 * @param {any} go @param {WebAssembly.Instance} instance
 * @param {() => void} [ended] called when it has ended in whatever way, perhaps twice: one that
 * breaks while it answers an event says so to nobody but that event
 */
export function run(go, instance, ended = () => {}) {
	const resume = go._resume;
	go._resume = () => {
		try {
			resume.call(go);
		} catch (error) {
			ended();
			throw error;
		}
	};
	go.run(instance).then(ended, ended);
}
