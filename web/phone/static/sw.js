// @ts-check
/// <reference lib="webworker" />
// The service worker: it keeps one version of the app, and serves that and
// nothing else until the user accepts another.
//
// A browser starts a new service worker as soon as the last page of the old one
// is gone, whether anybody agreed or not. So the version in use is not that of
// the running worker: it is the one whose name stands in the store "vmux-state",
// and only the page's message "accept" changes it.

// The hub's program replaces this line by the list of files and their SHA-256.
const app = { version: '', files: {} };

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const stateStore = 'vmux-state';
const acceptedKey = new URL('accepted', worker.registration.scope).href;

/** @param {string} version */
const storeOf = (version) => `vmux-app-${version}`;

/** @returns {Promise<string>} the accepted version, or '' */
async function accepted() {
	const found = await (await caches.open(stateStore)).match(acceptedKey);
	return found ? found.text() : '';
}

/** @param {string} version */
async function accept(version) {
	await (await caches.open(stateStore)).put(acceptedKey, new Response(version));
}

/** @param {ArrayBuffer} data */
async function hexHash(data) {
	const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
	return Array.from(hash, (b) => b.toString(16).padStart(2, '0')).join('');
}

// Fetches one file past all caches, and takes it only if it is what the list says.
/** @param {Cache} store @param {string} name @param {string} hash */
async function keep(store, name, hash) {
	const response = await fetch(name, { cache: 'no-store', redirect: 'error', credentials: 'same-origin' });
	if (!response.ok || response.type !== 'basic') {
		throw new Error(`${name}: status ${response.status}`);
	}
	const stored = response.clone();
	if (await hexHash(await response.arrayBuffer()) !== hash) {
		throw new Error(`${name} is not the file that belongs to version ${app.version}`);
	}
	await store.put(name, stored);
}

async function install() {
	const store = await caches.open(storeOf(app.version));
	await Promise.all(Object.entries(app.files).map(([name, hash]) => keep(store, name, hash)));
	if (!await accepted()) {
		await accept(app.version); // the first one there is: who installs it trusts it
	}
}

// Removes versions that are neither in use nor waiting to be.
async function tidy() {
	const wanted = [stateStore, storeOf(app.version), storeOf(await accepted())];
	for (const name of await caches.keys()) {
		if (name.startsWith('vmux-') && !wanted.includes(name)) {
			await caches.delete(name);
		}
	}
}

/** @param {Request} request @param {string} name */
async function serve(request, name) {
	const store = await caches.open(storeOf(await accepted()));
	return await store.match(new URL(name, worker.registration.scope).href) ?? fetch(request);
}

// The file of the app that a request is for, or null: the hub has other pages.
/** @param {Request} request */
function fileOf(request) {
	const url = new URL(request.url);
	const scope = new URL(worker.registration.scope);
	if (request.method !== 'GET' || url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) {
		return null;
	}
	const name = url.pathname.slice(scope.pathname.length) || 'index.html';
	// An older version may have files that this one has not: its store decides.
	return name in app.files || /^(views\/|icons\/)?[\w-]+\.(js|css|wasm|webmanifest|html|svg|png)$/.test(name) ? name : null;
}

worker.addEventListener('install', (event) => event.waitUntil(install()));

worker.addEventListener('activate', (event) => event.waitUntil(tidy().then(() => worker.clients.claim())));

worker.addEventListener('fetch', (event) => {
	const name = fileOf(event.request);
	if (name !== null) {
		event.respondWith(serve(event.request, name));
	}
});

// The page asks {type: 'versions'} and gets {version, accepted}, or says
// {type: 'accept', version} after the user has, and gets {accepted}.
worker.addEventListener('message', (event) => {
	const port = event.ports[0];
	if (!port) {
		return;
	}
	const { type, version } = event.data ?? {};
	if (type === 'versions') {
		event.waitUntil(accepted().then((now) => port.postMessage({ version: app.version, accepted: now })));
	} else if (type === 'accept' && version === app.version) {
		event.waitUntil(accept(version).then(tidy).then(() => worker.skipWaiting()).then(() => {
			port.postMessage({ accepted: version });
		}));
	}
});

// A push is a doorbell: it says nothing, and nothing of it is shown.
worker.addEventListener('push', (event) => {
	event.waitUntil(worker.registration.showNotification('A request is waiting', {
		body: 'Open vmux to see it.', tag: 'vmux-request', icon: 'icons/icon-192.png', badge: 'icons/badge.png',
	}));
});

async function open() {
	const pages = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
	const page = pages.find((c) => new URL(c.url).pathname === new URL(worker.registration.scope).pathname);
	if (page) {
		page.postMessage({ type: 'foreground' });
		return page.focus();
	}
	return worker.clients.openWindow('./');
}

worker.addEventListener('notificationclick', (event) => {
	event.notification.close();
	event.waitUntil(open());
});
