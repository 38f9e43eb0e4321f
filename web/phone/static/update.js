// @ts-check
// Which version of the app is in use, which one waits, and the user's word that
// changes it. The service worker keeps both; see sw.js.

/** @type {{scope: string, active: ServiceWorker | null, waiting: ServiceWorker | null, update: () => Promise<any>,
 *   installing: ServiceWorker | null, addEventListener: any} | null} */
let registration = null;
/** @type {{version: string, worker: ServiceWorker} | null} */
let other = null;
let current = '';

/** The version that waits for the user, or ''. */
export const available = () => other?.version ?? '';

/** The version in use, 64 hexadecimal digits, or '' where none is known. */
export const version = () => current;

/**
 * Registers the service worker and watches for another version.
 * @param {() => void} changed called when `available` or `version` has changed
 */
export async function start(changed) {
	try {
		current = (await import('./version.js')).version;
	} catch {
		current = '';
	}
	changed();
	if (!('serviceWorker' in navigator)) {
		return;
	}
	navigator.serviceWorker.addEventListener('message', (event) => {
		if (event.data?.type === 'foreground') {
			document.dispatchEvent(new Event('visibilitychange'));
		}
	});
	try {
		const found = await navigator.serviceWorker.register(workerURL(), { updateViaCache: 'none' });
		registration = found;
		found.addEventListener('updatefound', () => follow(found.installing, changed));
		follow(found.installing, changed);
		await look(changed);
		setInterval(() => check().catch(() => {}), 6 * 3600 * 1000);
	} catch {
		// Without a worker the app works while it is online: private windows have none.
	}
}

/** Asks the hub whether there is another version. */
export async function check() {
	await registration?.update().catch(() => {
		throw { message: 'The hub did not say whether there is another version.', hint: 'Look again when the app is online.' };
	});
}

// The page's policy wants to know each address that code is loaded from.
/** @returns {any} */
function workerURL() {
	const types = /** @type {any} */ (globalThis).trustedTypes;
	if (!types) {
		return 'sw.js';
	}
	return types.createPolicy('vmux', {
		createScriptURL: (/** @type {string} */ url) => {
			if (url !== 'sw.js') {
				throw new TypeError('only the service worker');
			}
			return url;
		},
	}).createScriptURL('sw.js');
}

/** @param {ServiceWorker | null} worker @param {() => void} changed */
function follow(worker, changed) {
	worker?.addEventListener('statechange', () => look(changed));
}

/** @param {() => void} changed */
async function look(changed) {
	const worker = registration?.waiting ?? registration?.active; // the newest: a hub may have gone back to an older one
	const answer = worker && await ask(worker, { type: 'versions' });
	other = worker && answer && answer.version !== answer.accepted ? { version: answer.version, worker } : null;
	changed();
}

/** @param {ServiceWorker} worker @param {any} message @returns {Promise<any>} */
function ask(worker, message) {
	return new Promise((resolve) => {
		const channel = new MessageChannel();
		channel.port1.onmessage = (event) => resolve(event.data);
		setTimeout(() => resolve(null), 3000); // a worker that is just ending
		worker.postMessage(message, [channel.port2]);
	});
}

/** Takes the version that waits into use and starts the app anew. */
export async function accept() {
	const answer = other && await ask(other.worker, { type: 'accept', version: other.version });
	if (!answer) {
		throw { message: 'The new version could not be taken into use.', hint: 'Close the app and try again.' };
	}
	location.reload();
}
