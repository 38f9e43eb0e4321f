// @ts-check
/// <reference lib="webworker" />
// The service worker: it keeps one version of the app, and serves that and
// nothing else until the user accepts another.
//
// A browser starts a new service worker as soon as the last page of the old one
// is gone, whether anybody agreed or not. So the version in use is not that of
// the running worker: it is the list of files that was accepted, and only the
// page's message "accept" changes it. Each file is compared with that list when
// it is served: a browser can lose one, or all, and what the hub has meanwhile
// is perhaps another version.

/** @typedef {{version: string, files: Record<string, string>}} List */

// The hub's program replaces this line by the list of files and their SHA-256.
const app = { version: '', files: {} };

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const stateStore = 'vmux-state';
const patience = 60000; // for files that were lost, while a page waits, in milliseconds
const storePatience = 5000; // for one answer of the browser's stores, which WebKit may owe for ever
const readPatience = 20000; // for all of a file that they have begun to give

/** @param {string} name */
const addressOf = (name) => new URL(name, worker.registration.scope).href;

/** @param {string} version */
const storeOf = (version) => `vmux-app-${version}`;

/**
 * Fails if the browser's store does not answer.
 * @template T @param {Promise<T>} promise @param {number} [time] @returns {Promise<T>}
 */
function answered(promise, time = storePatience) {
	return Promise.race([promise, new Promise((_, reject) => {
		setTimeout(() => reject(new Error('the browser does not answer')), time);
	})]);
}

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} work @returns {Promise<T>} */
const once = (mode, work) => answered(new Promise((resolve, reject) => {
	const opening = indexedDB.open('vmux-version', 1);
	opening.onupgradeneeded = () => opening.result.createObjectStore('lists');
	opening.onerror = () => reject(opening.error);
	opening.onsuccess = () => {
		if (!opening.result.objectStoreNames.contains('lists')) { // a browser that was ended as it made the database
			opening.result.close();
			const deleting = indexedDB.deleteDatabase('vmux-version');
			deleting.onsuccess = deleting.onerror = () => reject(new Error('the database is made anew'));
			return;
		}
		try {
			const transaction = opening.result.transaction('lists', mode);
			const request = work(transaction.objectStore('lists'));
			transaction.oncomplete = () => resolve(request.result);
			transaction.onabort = () => reject(transaction.error);
		} catch (error) {
			reject(error);
		}
		opening.result.close(); // once the transaction has ended
	};
}));

// What fails is done once more: iOS ends the process that keeps the database.
/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} work @returns {Promise<T>} */
const inDatabase = (mode, work) => once(mode, work).catch(() => once(mode, work));

const inState = () => answered(caches.open(stateStore));

// The list of a version that was accepted when no more than its name was kept: what
// stands in its store is what was in use.
/** @param {string} version @returns {Promise<List | null>} */
async function listOf(version) {
	const store = await caches.open(storeOf(version));
	/** @type {Record<string, string>} */
	const files = {};
	for (const request of await store.keys()) {
		const kept = await store.match(request);
		files[request.url.slice(worker.registration.scope.length)] = kept ? await hexHash(await kept.arrayBuffer()) : '';
	}
	return version === app.version ? app : Object.hasOwn(files, 'index.html') ? { version, files } : null;
}

/** @param {string} text @returns {List | null} */
function parsed(text) {
	try {
		return JSON.parse(text);
	} catch {
		return null; // damaged
	}
}

// The accepted list is kept twice, since a browser can lose either store alone.
/** @returns {Promise<List | null>} null: it is lost, or there never was one. Fails if that cannot be told now */
async function accepted() {
	const copies = await Promise.allSettled([
		inDatabase('readonly', (lists) => lists.get('accepted')),
		answered(inState().then((state) => state.match(addressOf('accepted'))).then((found) => found?.text())
			.then((text) => text?.startsWith('{') ? parsed(text) : text ? listOf(text) : null), readPatience),
	]);
	const found = copies.map((copy) => copy.status === 'fulfilled' && copy.value?.files ? copy.value : null);
	const list = found.find((copy) => copy !== null) ?? null;
	const unread = copies.find((copy) => copy.status === 'rejected');
	if (!list && unread) {
		throw unread.reason;
	}
	if (list && found.includes(null) && !unread) {
		await accept(list).catch(() => {}); // there may be no space
	}
	return list;
}

/** @param {List} list */
async function accept(list) {
	await inDatabase('readwrite', (lists) => lists.put(list, 'accepted'));
	await answered((await inState()).put(addressOf('accepted'), new Response(JSON.stringify(list))));
}

/** What was accepted when the last page began. @type {Promise<List | null> | undefined} */
let known;

function readKnown() {
	const mine = accepted();
	known = mine;
	mine.catch(() => { known = known === mine ? undefined : known; }); // the next one asks again
	return mine;
}

/** @param {ArrayBuffer} data */
async function hexHash(data) {
	const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
	return Array.from(hash, (b) => b.toString(16).padStart(2, '0')).join('');
}

class OtherFile extends Error {
	/** @param {string} name @param {string} version */
	constructor(name, version) {
		super(`${name} is not the file that belongs to version ${version}`);
		this.file = name;
	}
}

// Fetches one file past all caches, and takes it only if it is what the list says.
/** @param {List} list @param {string} name @param {AbortSignal} [signal] @returns {Promise<Response>} */
async function fetchFile({ version, files }, name, signal) {
	const response = await fetch(addressOf(name), { cache: 'no-store', redirect: 'error', credentials: 'same-origin', signal });
	if (response.type !== 'basic' || response.status >= 500) {
		throw new Error(`${name}: status ${response.status}`);
	}
	if (!response.ok || await hexHash(await response.clone().arrayBuffer()) !== files[name]) {
		throw new OtherFile(name, version);
	}
	return response;
}

/** What was kept as the file, or nothing; a store that cannot be read has lost it. @param {List} list @param {string} name */
const kept = ({ version }, name) =>
	answered(caches.open(storeOf(version)).then((store) => store.match(addressOf(name)))).catch(() => undefined);

/** The file as it was kept, or null. @param {List} list @param {string} name */
async function keptFile(list, name) {
	const found = await kept(list, name);
	const hash = found && await answered(found.clone().arrayBuffer(), readPatience).then(hexHash).catch(() => ''); // '': not readable now
	if (hash && hash !== list.files[name]) { // damaged: the next start shall know
		await answered(caches.open(storeOf(list.version)).then((store) => store.delete(addressOf(name)))).catch(() => {});
	}
	return hash === list.files[name] ? found ?? null : null;
}

/**
 * The file, kept from now on if it was lost.
 * @param {List} list @param {string} name
 * @param {{signal?: AbortSignal, mustKeep?: boolean}} [o] mustKeep: it counts only if it is kept. Else one for
 * which there is no space is good for this time: its hash was compared
 * @returns {Promise<Response>}
 */
async function file(list, name, { signal = AbortSignal.timeout(patience), mustKeep = false } = {}) {
	const found = await keptFile(list, name);
	if (found) {
		return found;
	}
	const fetched = await fetchFile(list, name, signal);
	const copy = fetched.clone();
	const keeping = answered(caches.open(storeOf(list.version)).then((store) => store.put(addressOf(name), copy)));
	await (mustKeep ? keeping : keeping.catch(() => {}));
	return fetched;
}

/** Why some files cannot be had. @param {Iterable<Promise<Response>>} files @returns {Promise<Error[]>} */
async function failures(files) {
	const all = await Promise.allSettled(files);
	return all.flatMap((one) => one.status === 'rejected' ? [one.reason] : []);
}

/** Keeps all files of this worker's version, or says why it cannot. */
const keepAll = () => failures(Object.keys(app.files).map((name) => file(app, name, { mustKeep: true })));

// Only the first worker takes pages in that are open: a page that was loaded past
// the worker must be known by that it has none; see update.js.
let first = false;

async function install() {
	const [error] = await keepAll();
	// Nobody else tells the page why it has no worker, or no newer one.
	for (const page of await pages()) {
		page.postMessage({ type: 'files', other: error instanceof OtherFile ? error.file : '' });
	}
	if (error) {
		throw error;
	}
	first = !worker.registration.active;
	if (first && !await accepted()) {
		await accept(app); // the first one there is: who installs it trusts it
	}
	// It serves the accepted version like the one before it. While one worker takes
	// over from another Chromium loads files past both, so it had better not be when
	// a page is opened, which is when a worker that waits takes over.
	await worker.skipWaiting();
}

// Removes versions that are neither in use nor waiting to be.
async function tidy() {
	const list = await accepted().catch(() => null);
	const wanted = [stateStore, storeOf(app.version), storeOf(list?.version ?? '')];
	for (const name of list ? await caches.keys() : []) {
		if (name.startsWith('vmux-') && !wanted.includes(name)) {
			await caches.delete(name);
		}
	}
}

/** The program, most of all bytes: it is compared while the page begins. */
const program = 'vmux.wasm';

/**
 * The files of a page that begins: each is compared once, and given to the page.
 * @type {{list: List, files: Map<string, Promise<Response>>} | null}
 */
let begun = null;

/** The file, as it was compared when the page began; one that is asked for again is compared again. @param {List} list @param {string} name */
function given(list, name) {
	const found = begun?.list === list ? begun.files.get(name) : undefined;
	begun?.files.delete(name); // it can be read once
	return found ?? file(list, name);
}

/** The app's page, or another that says why there is none. @param {FetchEvent} event */
async function start(event) {
	const list = await readKnown().catch(() => undefined);
	if (list === undefined) {
		return says('This browser does not answer when it is asked which files you accepted. Close the app and open it again; if that does not help, restart this device.');
	}
	if (!list) {
		return says('This browser has lost the list of files that you accepted. What the hub has now was not run.', app.version);
	}
	const signal = AbortSignal.timeout(patience);
	const files = new Map(Object.keys(list.files).map((name) => [name, file(list, name, { signal })]));
	begun = { list, files };
	const awaited = new Map(files);
	if (await kept(list, program)) {
		awaited.delete(program);
		files.get(program)?.catch(() => {}); // the page is told
	}
	const errors = await failures(awaited.values());
	if (errors.length === 0) {
		return given(list, 'index.html');
	}
	const lost = `This browser has lost ${errors.length} of the ${Object.keys(list.files).length} files of the version that you accepted, and `;
	if (errors.some((error) => !(error instanceof OtherFile))) {
		return says(`${lost}they could not be loaded again: the hub cannot be reached.`);
	}
	if (app.version === list.version) {
		event.waitUntil(worker.registration.update().catch(() => {})); // the page is loaded again when it is there
	}
	return says(`${lost}the hub has others now. These were not run.`, app.version === list.version ? '' : app.version);
}

/** A page of the worker's own. @param {string} why @param {string} [offered] the version that may be accepted */
function says(why, offered = '') {
	const offer = offered && `<p>To go on with the version that is here, compare its hash with the one a release names, and accept it:</p>
		<p><code>${offered}</code></p><p><button>Use this version</button></p><p><output></output></p>`;
	return new Response(`<!doctype html><html lang="en"><meta charset="utf-8"><title>vmux</title>
		<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
		<style>body { font: 100%/1.5 system-ui, sans-serif; max-width: 36em; margin: 2em auto; padding: 0 1em }
		code { overflow-wrap: anywhere } button, a { font: inherit; display: inline-block; padding: .6em 1em }</style>
		<main role="alert"><h1>The app could not start</h1><p>${why}</p>
		<p>What this phone keeps, keys and pairings, is not concerned.</p>${offer}
		<p><a href="./">Try again</a></p></main><script src="${ownScript}"></script></html>`, {
		status: 503,
		headers: {
			'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store', 'X-Frame-Options': 'DENY',
			'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		},
	});
}

const ownScript = 'accept-version.js';

/** The script of that page. */
const acceptVersion = () => new Response(`
	const workers = navigator.serviceWorker;
	workers.addEventListener('controllerchange', () => location.reload());
	document.querySelector('button')?.addEventListener('click', () => {
		const channel = new MessageChannel();
		channel.port1.onmessage = ({ data }) => data.failed ? document.querySelector('output').replaceChildren('Not taken into use: ' + data.failed) : location.reload();
		workers.controller.postMessage({ type: 'accept', version: document.querySelector('code').textContent }, [channel.port2]);
	});`, { headers: { 'Content-Type': 'text/javascript; charset=utf-8', 'Cache-Control': 'no-store' } });

/** @param {Request} request @param {string} name */
async function serve(request, name) {
	const list = await (known ?? readKnown());
	if (list && Object.hasOwn(list.files, name)) {
		return given(list, name);
	}
	// The hub has pages of its own, but no program that this version would load.
	return /\.(js|wasm)$/.test(name) ? new Response('This is no file of the version in use.', { status: 404 }) : fetch(request);
}

// The file of the app that a request is for, or null: the hub has other pages.
/** @param {Request} request */
function nameOf(request) {
	const url = new URL(request.url);
	const scope = new URL(worker.registration.scope);
	if (request.method !== 'GET' || url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) {
		return null;
	}
	const name = url.pathname.slice(scope.pathname.length) || 'index.html';
	// An older version may have files that this one has not: its list decides.
	return Object.hasOwn(app.files, name) || /^(views\/|icons\/|qr\/)?[\w-]+\.(js|css|wasm|webmanifest|html|svg|png)$/.test(name) ? name : null;
}

worker.addEventListener('install', (event) => event.waitUntil(install()));

// Until this has ended the browser holds back all that pages ask for.
worker.addEventListener('activate', (event) => event.waitUntil(answered(tidy()).catch(() => {}) // later, then
	.then(() => first ? worker.clients.claim() : undefined)));

worker.addEventListener('fetch', (event) => {
	const name = nameOf(event.request);
	if (name === ownScript) {
		event.respondWith(acceptVersion());
	} else if (name === 'index.html' && event.request.mode === 'navigate') {
		event.respondWith(start(event));
	} else if (name !== null) {
		event.respondWith(serve(event.request, name));
	}
});

/** Takes this worker's version into use. */
async function take() {
	const [error] = await keepAll();
	if (error) {
		throw error;
	}
	await accept(app);
	known = Promise.resolve(app);
	await tidy();
}

// The page asks {type: 'versions'} and gets {version, accepted}, or says
// {type: 'accept', version} after the user has, and gets {accepted, failed}: the version
// in use from now on.
worker.addEventListener('message', (event) => {
	const port = event.ports[0];
	if (!port) {
		return;
	}
	const { type, version } = event.data ?? {};
	if (type === 'versions') {
		event.waitUntil(accepted().then((list) => port.postMessage({ version: app.version, accepted: list?.version ?? '' }),
			() => port.postMessage(null))); // it cannot be told now
	} else if (type === 'accept' && version === app.version) {
		event.waitUntil(take().then(() => '', (error) => error.message).then(async (failed) => {
			const list = await accepted().catch(() => null);
			port.postMessage({ accepted: list?.version ?? '', failed });
		}));
	}
});

const pages = () => worker.clients.matchAll({ type: 'window', includeUncontrolled: true });

/** @param {string} title @param {object} options */
const notify = (title, options) => worker.registration.showNotification(title,
	/** @type {NotificationOptions} */ ({ icon: 'icons/icon-192.png', badge: 'icons/badge.png', ...options }));

// A push carries nothing, so that a notification cannot say more. Each is shown, also
// while the app is open: iOS ends a subscription after three that were not. Without
// renotify one that takes another's place makes no sound.
async function woken() {
	const problem = await notify('A request is waiting', { body: 'Open vmux to see it.', tag: 'vmux-request', renotify: true })
		.then(() => '', (error) => error.name);
	for (const page of await pages()) {
		page.postMessage({ type: 'woken', problem });
	}
}

worker.addEventListener('push', (event) => event.waitUntil(woken()));

// The browser has ended the subscription. Only the app can give the hub another.
async function renew() {
	const open = await pages();
	for (const page of open) {
		page.postMessage({ type: 'subscription' });
	}
	if (!open.some((page) => /** @type {WindowClient} */ (page).visibilityState === 'visible')) {
		await notify('Open vmux once', { body: 'Until then it cannot be rung: the browser has ended its notifications.', tag: 'vmux-renew' })
			.catch(() => {}); // nor may anything be shown
	}
}

worker.addEventListener('pushsubscriptionchange', (event) => /** @type {ExtendableEvent} */ (event).waitUntil(renew()));

async function open() {
	const page = (await pages()).find((c) => new URL(c.url).pathname === new URL(worker.registration.scope).pathname);
	if (page) {
		page.postMessage({ type: 'foreground' });
		return page.focus().catch(() => worker.clients.openWindow('./')); // a page that was put aside
	}
	return worker.clients.openWindow('./');
}

worker.addEventListener('notificationclick', (event) => {
	event.notification.close();
	event.waitUntil(open());
});
