// @ts-check
// Whether the browser lets the app into the network that this device is in. Chrome asks
// the person before a page of a public address may reach one at home or on a VPN (Local
// Network Access: since 142, WebSockets since 147): without that, a hub whose name leads
// home by then is as good as gone. Other browsers know of no such permission.

/** @typedef {'granted' | 'prompt' | 'denied' | 'unsupported'} Allowed */

const patience = 20000; // for the hub, or for a person, in milliseconds

/** @type {Promise<Record<string, PermissionStatus>> | undefined} by name, as long as the page lives: they tell of changes */
let known;

/** @type {() => void} */
let changed = () => {};

// Chrome 142 had one permission, which 145 made two of.
function permissions() {
	known ??= Promise.all(['local-network', 'loopback-network', 'local-network-access'].map(async (name) => {
		const status = await navigator.permissions.query(/** @type {any} */ ({ name }));
		status.addEventListener('change', () => changed());
		return [name, status];
	}).map((query) => query.catch(() => null))).then((found) => Object.fromEntries(found.filter((entry) => entry !== null)));
	return known;
}

/** @returns {Promise<Allowed>} */
export async function allowed() {
	const { 'local-network': local, 'loopback-network': loopback, 'local-network-access': both } = await permissions();
	const state = (local ?? both)?.state ?? 'unsupported';
	return loopback?.state === 'denied' ? 'denied' : state; // nobody has a hub in the phone itself
}

/** @param {() => void} listener called when the person has decided, here or in the browser's settings */
export function watch(listener) {
	changed = listener;
	permissions();
}

/** Has the browser ask. Call it straight from the tap. @returns {Promise<Allowed>} */
export async function ask() {
	// Of the hub itself: the service worker, which may not ask, has no such file.
	await fetch('healthz', { cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(patience) }).catch(() => {});
	return allowed();
}
