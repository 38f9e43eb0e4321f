// @ts-check
// Which version of the app is in use, which one waits, and the user's word that
// changes it. The service worker keeps both; see sw.js.

import { invited } from './invitation.js';
import { version as loaded } from './version.js';

/** Where this page counts how often it was loaded again by ensureAccepted. */
const reloads = 'vmux-reloads';
const mostReloads = 3;
/** How often it is looked for another version, in milliseconds. */
const lookEvery = 6 * 3600 * 1000;
/** How long a worker may take to answer or to start, in milliseconds. */
const patience = 20000;

/** @type {{scope: string, active: ServiceWorker | null, waiting: ServiceWorker | null, update: () => Promise<any>,
 *   installing: ServiceWorker | null, addEventListener: any} | null} */
let registration = null;
/** @type {{version: string, worker: ServiceWorker} | null} */
let other = null;

/** The version that waits for the user, or ''. */
export const available = () => other?.version ?? '';

let changedFile = '';

/** The file that something between the hub and this browser has changed, so that no version can be kept, or ''. */
export const changedOnTheWay = () => changedFile;

/** The version in use, 64 hexadecimal digits. */
export const version = () => loaded;

/**
 * Registers the service worker and watches for another version.
 * @param {() => void} changed called when `available` or `version` has changed
 */
export async function start(changed) {
	changed();
	if (!('serviceWorker' in navigator)) {
		return;
	}
	navigator.serviceWorker.addEventListener('message', (event) => {
		if (event.data?.type === 'foreground') {
			document.dispatchEvent(new Event('visibilitychange'));
		} else if (event.data?.type === 'files') {
			changedFile = event.data.other;
			changed();
		}
	});
	begin = async () => {
		const found = await register();
		registration = found;
		found.addEventListener('updatefound', () => follow(found.installing, changed));
		follow(found.installing, changed);
		await look(changed);
	};
	try {
		await begin();
		looked = Date.now();
		// Timers stand still in the background, and an iPhone goes on with the page of last week.
		setInterval(lookAgain, lookEvery);
		document.addEventListener('visibilitychange', lookAgain);
	} catch {
		// Without a worker the app works while it is online: private windows have none.
	}
}

let looked = 0;
/** Registers the worker and follows it. @type {() => Promise<void>} */
let begin = async () => {};

/** Asks the hub once more, if that was long ago. */
function lookAgain() {
	if (document.visibilityState === 'visible' && Math.abs(Date.now() - looked) >= lookEvery) {
		looked = Date.now();
		check().catch(() => {});
	}
}

/** Asks the hub whether there is another version. */
export async function check() {
	const gone = registration && !registration.active && !registration.waiting && !registration.installing;
	if (gone) { // the first worker of all could not be installed, and the browser has dropped it
		registering = undefined;
	}
	await (gone ? begin() : registration?.update())?.catch(() => {
		throw { message: 'The hub did not say whether there is another version.', hint: 'Look again when the app is online.' };
	});
}

/** @returns {Promise<string>} the accepted version as the worker keeps it, or '' */
async function acceptedVersion() {
	const reading = (async () => {
		const found = await (await caches.open('vmux-state')).match(new URL('accepted', location.href));
		return (await found?.json())?.version ?? '';
	})().catch(() => '');
	return Promise.race([reading, new Promise((resolve) => setTimeout(resolve, patience, ''))]); // it may never answer
}

/** The service worker's registration, if this browser tells. */
function registered() {
	const reading = (async () => navigator.serviceWorker?.getRegistration())().catch(() => undefined);
	return Promise.race([reading, new Promise((resolve) => setTimeout(resolve, patience, undefined))]);
}

/** How often this page was loaded again; where that cannot be kept it is not loaded again. */
function countOfReloads() {
	try {
		return Number(sessionStorage.getItem(reloads));
	} catch {
		return mostReloads;
	}
}

/** @param {number} count */
function keepCount(count) {
	try {
		sessionStorage.setItem(reloads, String(count));
	} catch {
		// see countOfReloads
	}
}

// A page that is reloaded with the shift key comes past the worker, and in Chromium
// so do the files that a page asks for just while one worker takes over from
// another. It says of each file whether the worker was asked.
/** @returns {'worker' | 'hub' | 'both'} where the files of this page have come from */
function source() {
	if (!navigator.serviceWorker?.controller) {
		return 'hub';
	}
	if (!('userAgentData' in navigator)) {
		return 'worker';
	}
	const past = (/** @type {string} */ type) => /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType(type))
		.some((entry) => entry.workerStart === 0 && (type === 'navigation' || /\.(js|css|wasm)$/.test(entry.name)));
	// The first worker of all takes in a page that began without one.
	return past('navigation') ? 'hub' : past('resource') ? 'both' : 'worker';
}

/**
 * Fails if what was loaded is not what the user has accepted. First the page is
 * loaded again: what came past the worker comes from it then. An honest hub's newer
 * version does not run before it was accepted; a malicious hub's has no such line.
 */
export async function ensureAccepted() {
	const from = source();
	if (from === 'worker') {
		keepCount(0);
		return;
	}
	const [found, wanted] = await Promise.all([registered(), acceptedVersion()]);
	if (!found?.active && wanted === '') {
		return; // nothing was accepted yet
	}
	if (from === 'hub' && wanted === loaded) {
		keepCount(0);
		return;
	}
	const count = countOfReloads();
	if (count < mostReloads) {
		keepCount(count + 1);
		if (!found?.active) {
			register().catch(() => {});
			await Promise.race([navigator.serviceWorker.ready, new Promise((resolve) => setTimeout(resolve, patience))]);
		}
		if (invited) {
			history.replaceState(null, '', invited); // it was taken out of the address
		}
		location.reload();
		await new Promise((resolve) => setTimeout(resolve, patience)); // until this page has ended, or the browser did not do it
	}
	keepCount(0);
	throw {
		code: 'notAccepted', message: 'The browser has loaded another version of the app than the one that you accepted. It was not run.',
		hint: 'Close all windows of the app and open it again.',
	};
}

/** @type {Promise<ServiceWorkerRegistration> | undefined} */
let registering;
/** @type {any} */
let url;

function register() {
	url ??= workerURL(); // its policy can be made once
	registering ??= navigator.serviceWorker.register(url, { updateViaCache: 'none' });
	return registering;
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

let looks = 0;

/** @param {() => void} changed */
async function look(changed) {
	const mine = ++looks;
	const worker = registration?.waiting ?? registration?.active; // the newest: a hub may have gone back to an older one
	const answer = worker && await ask(worker, { type: 'versions' });
	if (mine !== looks) {
		return; // a worker that was asked later knows more than one that has ended
	}
	other = worker && answer && answer.version !== answer.accepted ? { version: answer.version, worker } : null;
	changed();
}

/** @param {ServiceWorker} worker @param {any} message @returns {Promise<any>} */
function ask(worker, message) {
	return new Promise((resolve) => {
		const channel = new MessageChannel();
		channel.port1.onmessage = (event) => resolve(event.data);
		setTimeout(() => resolve(null), patience); // a worker that is just ending
		worker.postMessage(message, [channel.port2]);
	});
}

/** Takes the version that waits into use and starts the app anew. */
export async function accept() {
	const answer = other && await ask(other.worker, { type: 'accept', version: other.version });
	if (answer?.accepted !== other?.version) {
		throw { message: 'The new version could not be taken into use.', hint: 'Close the app and try again.' };
	}
	location.reload();
}
