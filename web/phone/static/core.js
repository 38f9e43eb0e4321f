// @ts-check
// The one module that touches the wasm program. It gives it what only a browser
// has, and the pages what it can do: start, on, state, call, approve, deny.

import * as network from './network.js';
import { isIOS } from './platform.js';
import * as storage from './storage.js';
import * as webauthn from './webauthn.js';
import { instantiate, notLoaded, noWebAssembly, run } from './program.js';
import * as prompts from './prompts.js';
import * as push from './push.js';
import { ensureAccepted, version } from './update.js';

/** @typedef {import('../types/core.js').Sheet} Sheet */
/** @typedef {import('../types/core.js').State} State */

/** @type {any} what the wasm program exports, once it runs */
let phone;
/** @type {{code: string, message: string, hint?: string} | undefined} why nothing works any more */
let stopped;
/** Rejected when the program has ended. @type {Promise<never>} */
let ended = new Promise(() => {});
/** @type {Promise<void> | undefined} */
let starting;

const events = new EventTarget();

/** @param {'change' | 'sheet' | 'sheetEnd' | 'paused'} event @param {(detail: any) => void} listener */
export function on(event, listener) {
	events.addEventListener(event, (e) => listener(/** @type {CustomEvent} */ (e).detail));
}

/** @param {string} event @param {any} [detail] */
const dispatch = (event, detail) => events.dispatchEvent(new CustomEvent(event, { detail }));

let changePending = false;

// Many changes come at once; the pages hear of them once.
function change() {
	if (!changePending) {
		changePending = true;
		queueMicrotask(() => {
			changePending = false;
			dispatch('change');
		});
	}
}

/** @type {Map<string, AbortController>} WebAuthn calls that approve a sheet */
const approvals = new Map();
/** @type {Set<string>} sheets that came while nobody looked */
const unseen = new Set();
/** @type {Set<string>} sheets that wait */
const waiting = new Set();

/** @param {string} event @param {string} json */
function emit(event, json) {
	if (event === 'change') {
		change();
		return;
	}
	const detail = JSON.parse(json);
	if (event === 'sheetEnd') {
		unseen.delete(detail.id);
		waiting.delete(detail.id);
		if (waiting.size === 0) {
			push.clear().catch(() => {});
		}
		approvals.get(detail.id)?.abort();
	}
	dispatch(event, detail);
	if (event === 'sheet') {
		unseen.add(detail.id);
		waiting.add(detail.id);
		tellSeen();
	}
}

// A computer waits longer for a request that its person sees.
function tellSeen() {
	if (document.visibilityState === 'visible') {
		for (const id of unseen) {
			unseen.delete(id);
			invoke('shown', { id }).catch(() => {}); // it has ended
		}
	}
}

/** @param {storage.StorageError} error @returns {{code: string, message: string, hint: string}} */
function storageFailure({ name, message }) {
	if (name === 'OtherTabError') {
		return { code: 'otherTab', message: 'vmux was opened in another tab or window.', hint: 'Go on there, or reload this page.' };
	}
	if (name === 'ClearedError') {
		return { code: 'cleared', message: 'What was stored here has been deleted, by the browser or in another tab.', hint: 'Reload the page.' };
	}
	if (name === 'DeviceKeyError') {
		return {
			code: 'deviceKey', message: 'The browser does not give back the key of this device, by which computers and the hub know it.',
			hint: 'Unlock this device, close the app and open it again, then restart the device. If that does not help, go on without that key: all else that is kept here stays, and you pair your computers again.',
		};
	}
	const reason = /^(Storage|QuotaExceeded|Timeout)Error$/.test(name) ? message : name;
	const hint = {
		QuotaExceededError: 'Free some space on this device, then try again. Nothing that was stored is lost.',
		StorageError: 'Leave private browsing, and let this site store data, then reload.',
		SecurityError: 'Leave private browsing, and let this site store data, then reload.',
		DataCloneError: 'It keeps no keys that scripts cannot read, as WebKit in private browsing and in Lockdown Mode: leave that for this site, then reload.',
	}[name] ?? 'Close the app and open it again, not in private browsing. If that does not help, restart this device. Do not delete this site’s data: your keys are in it.';
	return { code: 'storage', message: `The browser does not keep what vmux stores (${reason}).`, hint };
}

/** @param {any} error */
function failure(error) {
	if (typeof error?.code === 'string') {
		return error;
	}
	return error instanceof storage.StorageError ? storageFailure(error) : { code: 'failed', message: String(error?.message ?? error) };
}

/**
 * A function that stores, for the program: it gets its errors as the pages do.
 * @template {any[]} A @param {(...args: A) => Promise<void>} store
 */
const told = (store) => (/** @type {A} */ ...args) => store(...args).catch((error) => {
	if (storage.endings.has(error?.name)) {
		lost(error);
	}
	throw failure(error);
});

/** Loads the wasm program and opens the store. Fails with {code, message, hint}. */
export function start() {
	if (stopped) {
		return Promise.reject(stopped); // to begin again would take the store from the page that has it
	}
	starting ??= load().catch((error) => {
		starting = undefined;
		throw failure(error);
	});
	return starting;
}

async function load() {
	if (!globalThis.isSecureContext) {
		throw { code: 'insecure', message: 'This page was not loaded over https.', hint: 'Open the hub by its https address.' };
	}
	if (!globalThis.WebAssembly) {
		throw noWebAssembly;
	}
	let end = () => {};
	ended = new Promise((_, reject) => {
		end = () => {
			phone = undefined;
			stop(hasEnded);
			reject(hasEnded);
		};
	});
	ended.catch(() => {}); // told by change
	const [store] = await Promise.all([storage.open(lost, change), program(end)]);
	const begin = /** @type {any} */ (globalThis).vmuxStart;
	phone = await Promise.race([ended, begin({
		documents: store.documents, put: told(storage.put), append: told(storage.append), remove: told(storage.remove), wipe: told(storage.wipe),
		key: { publicKey: store.publicKey, sign: store.sign },
		emit, version: version(), name: deviceName(), secure: globalThis.isSecureContext,
		hubURL: new URL('.', location.href).href, origin: location.origin, hostname: location.hostname,
	})]);
	if (stopped) { // while it began
		phone.stop();
		throw stopped;
	}
	document.addEventListener('visibilitychange', foreground);
	addEventListener('pageshow', foreground);
	document.addEventListener('resume', foreground); // a page that was frozen, visible or not
	addEventListener('online', foreground);
	network.watch(() => { foreground(); change(); });
	addEventListener('pagehide', endGrants);
	navigator.serviceWorker?.addEventListener('message', (event) => {
		switch (event.data?.type) {
		case 'foreground':
			foreground();
			break;
		case 'subscription': // has ended
			renewPush(true);
			break;
		case 'woken':
			clearSeen();
		}
	});
	navigator.permissions?.query({ name: 'notifications' }).then((permission) => {
		permission.onchange = () => renewPush(true).then(change);
	}).catch(() => {}); // a browser that does not know it
	performance.mark('vmux-ready'); // what the time to start is measured by
	clearSeen();
}

/** A notification has nothing more to say to who looks at the app. */
function clearSeen() {
	if (document.visibilityState === 'visible' && push.testing === 0) {
		push.clear().catch(() => {});
	}
}

/** Another page has taken the store, or it is gone. @param {storage.StorageError} why */
const lost = (why) => stop(storageFailure(why));

const hasEnded = { code: 'stopped', message: 'vmux has stopped.', hint: 'Reload the page. If it happens again, close other apps and browser tabs: they may have left it too little memory.' };

/** @param {{code: string, message: string, hint?: string}} why */
function stop(why) {
	stopped ??= why;
	try {
		phone?.stop(); // two pages of one phone would push each other out of the hub
	} catch {
		// it has ended
	}
	change();
}

/** Starts the program. @param {() => void} end called when it has ended */
async function program(end) {
	const fetching = fetch('vmux.wasm'); // the largest part comes first
	fetching.catch(() => {}); // told below
	const imported = (/** @type {string} */ name) => import(/* @vite-ignore */ name);
	await imported('./wasm_exec.js').catch(() => imported('./wasm_exec.js?')).catch(notImported); // a name that failed is not tried again
	const go = new /** @type {any} */ (globalThis).Go();
	const instance = await instantiate('vmux.wasm', go.importObject, fetching);
	await ensureAccepted(); // also of the program
	run(go, instance, end);
}

/** Why the module that runs the program could not be imported. */
async function notImported() {
	const { status } = await fetch('wasm_exec.js').catch(() => ({ status: 0 }));
	throw status === 404 ? { code: 'notBuilt', message: 'This hub was built without the signer.', hint: 'Build it with `make build`.' }
		: notLoaded(status === 0 || status === 200 ? 'the hub cannot be reached' : `status ${status}`);
}

function deviceName() {
	const agent = isIOS ? navigator.userAgent.replace('Macintosh', 'iPad') : navigator.userAgent; // as iPads call themselves
	for (const [pattern, name] of /** @type {[RegExp, string][]} */ ([
		[/iPhone/, 'iPhone'], [/iPad/, 'iPad'], [/Android/, 'Android phone'], [/Macintosh/, 'Mac'], [/Windows/, 'Windows PC'],
	])) {
		if (pattern.test(agent)) {
			return name;
		}
	}
	return 'Browser';
}

// Nobody is there any more who could end them.
function endGrants() {
	invoke('endGrant', {}).catch(() => {}); // their secrets are gone all the same
}

function foreground() {
	if (document.visibilityState === 'visible') {
		tellSeen();
		clearSeen();
		renewPush(permissionSeen !== push.permission()); // browsers do not all tell of a change
		invoke('foreground', {}).catch(() => {});
	} else {
		invoke('background', {}).catch(() => {});
	}
}

/** Has the app try its hub at once, if it is looked at. */
export function connect() {
	if (document.visibilityState === 'visible') {
		invoke('foreground', {}).catch(() => {});
	}
}

/** @param {string} name @param {object} args @param {...Uint8Array} secrets which are wiped @returns {Promise<any>} */
async function invoke(name, args, ...secrets) {
	if (stopped) {
		throw stopped;
	}
	if (!phone) {
		throw { code: 'notStarted', message: 'vmux has not started yet.' };
	}
	try {
		const answer = phone.call(name, JSON.stringify(args), ...secrets); // it has copied the secrets when it returns
		secrets.forEach((s) => s.fill(0));
		return JSON.parse(await Promise.race([answer, ended]));
	} catch (error) {
		throw stopped ?? failure(error);
	}
}

/** Passphrases as bytes, however the keyboard composes its letters. @param {string[]} passphrases */
const bytesOf = (passphrases) => passphrases.map((text) => new TextEncoder().encode(text.normalize('NFC')));

/** Until what the tap has changed is on the screen: while a passphrase is tried the page stands still. */
const painted = () => new Promise((resolve) => {
	requestAnimationFrame(() => setTimeout(resolve));
	setTimeout(resolve, 200); // nobody looks
});

// Functions that may need WebAuthn. They are planned and called in the very tap.
const tapped = new Set(['approve', 'createPasskey', 'createVault', 'importVault', 'createCA', 'makeBackup', 'restoreBackup']);

/**
 * @param {string} name @param {object} args @param {AbortSignal} [signal] @param {boolean} [again]
 * @param {Uint8Array[]} [secrets] @returns {Promise<any>}
 */
function perform(name, args, signal, again = false, secrets = []) {
	if (stopped || !phone) {
		return invoke(name, args);
	}
	let plan;
	try {
		plan = JSON.parse(phone.prepare(name, JSON.stringify(args), ...secrets));
	} catch (error) { // the program has ended
		return Promise.reject(stopped ?? failure(error));
	}
	if (plan.error) {
		return Promise.reject(plan.error);
	}
	if (!plan.create && !plan.get) { // a passphrase opens it
		return painted().then(() => invoke(name, args, ...secrets));
	}
	return prompts.during(webauthn.run(plan, signal)).then(
		({ answer, prf }) => invoke(name, { ...args, ...answer }, ...prf ? [prf] : [], ...secrets),
		(error) => {
			// The second call of one tap: some browsers want another tap.
			throw again && !['badAnswer', 'noAnswer'].includes(error.code) ?
				{ code: 'tapAgain', message: 'The passkey is made, and has to be tried.', hint: 'Tap once more.' } : error;
		},
	).then((result) => {
		forgetOrphan(result);
		return result?.again ? perform(name, args, signal, true) : result;
	}, (error) => {
		forgetOrphan(error);
		throw error;
	});
}

/** @param {any} result with a passkey that was made for nothing, perhaps */
function forgetOrphan(result) {
	if (result?.orphan?.credentialID) {
		webauthn.forget(result.orphan.rpID, result.orphan.credentialID);
	}
}

/** @type {Record<string, (args: any) => Promise<any>>} functions that are the browser's own */
const own = {
	// By our own reader, which is loaded for the first picture: what the browser has is asked by the scanner.
	decodeQR: async ({ imageData }) => (await import('./reader.js')).read(imageData),
	allowLocalNetwork: async () => {
		const allowed = await network.ask();
		foreground();
		change();
		return { allowed };
	},
	persist: async () => ({ persisted: await navigator.storage?.persist?.() ?? false }),
	subscribePush: () => push.ask().then(() => subscribePush(false)), // straight from the tap
	unsubscribePush: async () => {
		await push.unsubscribe();
		await invoke('unsubscribePush', {});
	},
	testPush: () => testPush().catch(async (error) => {
		if (error.code !== 'pushLost') {
			throw error;
		}
		await subscribePush(true); // the hub has just found it dead
		return testPush();
	}),
	wipe: async () => {
		await push.unsubscribe();
		await invoke('wipe', {});
		stop({ code: 'wiped', message: 'Everything was deleted from this device.', hint: 'Reload the page to begin anew.' });
	},
};

/**
 * Runs one of the functions. Those that make keys have to be called straight
 * from a tap.
 * @param {string} name @param {any} [args] @param {...string} passphrases of the vault
 * @returns {Promise<any>}
 */
export function call(name, args = {}, ...passphrases) {
	if (own[name]) {
		return own[name](args).catch((error) => {
			throw failure(error);
		});
	}
	if (tapped.has(name)) {
		return perform(name, args, undefined, false, bytesOf(passphrases)).then(noteResult(name, args), noteLack).then(keep);
	}
	const ready = passphrases.length ? painted() : Promise.resolve();
	return ready.then(() => invoke(name, args, ...bytesOf(passphrases))).then(async (result) => {
		if (result?.credentialID) {
			await webauthn.forget(result.rpID, result.credentialID);
		}
		return result;
	});
}

// There is something to lose now: the browser is asked not to clear it.
/** @template T @param {T} result */
function keep(result) {
	navigator.storage?.persist?.().catch(() => {}); // Settings tell, and ask again
	return result;
}

/** @type {'yes' | undefined} what was found by trying: one provider that lacks it says nothing of others */
let prfFound;

/** @param {string} name @param {any} args */
const noteResult = (name, args) => (/** @type {any} */ result) => {
	if ((name === 'createVault' || name === 'importVault') && args.kind !== 'passphrase') {
		prfFound = 'yes';
	}
	return result;
};

/** Whether a passkey could not be made, or locks no vault: then a passphrase is offered. */
let passkeysLack = false;

/** @param {any} error @returns {never} */
function noteLack(error) {
	if (/^(prfUnsupported|unproven|webauthnMissing|webauthnFailed|authenticatorUnsuitable|providerFailed|rpUnusable)$/.test(error?.code)) {
		passkeysLack = true;
		change();
	}
	throw error;
}

/** The same with a passphrase whose letters stay as they are composed. @param {string} name @param {any} args @param {string} passphrase */
export const callAsTyped = (name, args, passphrase) => invoke(name, args, new TextEncoder().encode(passphrase));

/**
 * Approves a sheet. Call it straight from the tap, with no await before it.
 * @param {Sheet} sheet
 * @param {{validitySeconds?: number, principals?: string[], acknowledged?: boolean, grantSeconds?: number, joined?: string[]}} [decision]
 * @param {...string} passphrases one, where that opens the key
 */
export function approve(sheet, decision = {}, ...passphrases) {
	const controller = new AbortController();
	approvals.set(sheet.id, controller);
	const { acknowledged = false, joined = [], ...choice } = decision;
	return perform('approve', { id: sheet.id, decision: choice, acknowledged, joined }, controller.signal, false, bytesOf(passphrases))
		.finally(() => approvals.delete(sheet.id));
}

/** @param {Sheet} sheet @param {{mute?: boolean, joined?: string[]}} [choice] */
export const deny = (sheet, choice = {}) => invoke('deny', { ...choice, id: sheet.id });

/** @returns {Promise<State>} */
export async function state() {
	if (!phone && !stopped) {
		await start();
	}
	const current = await invoke('state', {});
	if (current.hub.connected !== wasConnected) {
		wasConnected = current.hub.connected;
		renewPush(true);
	}
	const all = { ...current, support: await support(current), vanished: storage.vanished() };
	if (stopped) {
		throw stopped; // meanwhile: nothing of it holds any more
	}
	return all;
}

let wasConnected = false;

/** Makes the loss of what was stored here a thing of the past. */
export function beginAnew() {
	storage.beginAnew();
	change();
}

/** Gives up a device key that cannot be read: the next start makes another. @returns {Promise<void>} */
export const forgetDeviceKey = () => storage.forgetDeviceKey().catch((error) => { throw failure(error); });

/** How long a browser may take to tell something of itself, in milliseconds. */
const patience = 3000;

/** What it tells, or the other value: some never answer. @template T @param {() => any} ask @param {T} otherwise @returns {Promise<T>} */
const answered = (ask, otherwise) => Promise.race([
	(async () => await ask() ?? otherwise)().catch(() => otherwise),
	new Promise((resolve) => setTimeout(() => resolve(otherwise), patience)),
]);

/** @param {any} current */
async function support(current) {
	const credential = /** @type {any} */ (globalThis.PublicKeyCredential);
	const [localNetwork, platformAuthenticator, persisted, space, client] = await Promise.all([
		answered(network.allowed, 'unsupported'),
		answered(() => credential?.isUserVerifyingPlatformAuthenticatorAvailable?.(), false),
		answered(() => navigator.storage?.persisted?.(), false),
		answered(storage.space, null),
		answered(webauthn.clientHasPRF, /** @type {boolean | undefined} */ (undefined)),
	]);
	const guess = client === false || !credential ? 'no' : 'unknown';
	return {
		webauthn: Boolean(credential) && !current.rpProblem,
		prf: prfFound ?? (current.vault?.keys > 0 ? 'yes' : guess),
		passphrase: guess === 'no' || Boolean(current.rpProblem) || !platformAuthenticator || passkeysLack || current.passphrases > 0,
		localNetwork, platformAuthenticator, persisted, space, ...push.status(current.push, current.pushProblem),
	};
}

const testPush = () => push.testPush(() => invoke('testPush', {}));

/** @type {Promise<void>} */
let subscribing = Promise.resolve();

// One after the other: one could end what the other has just made.
/** @param {boolean} renewal which does not turn on what was turned off meanwhile */
function subscribePush(renewal) {
	subscribing = subscribing.catch(() => {}).then(async () => {
		const current = await invoke('state', {});
		await push.subscribe(current.hub.vapidKey, (subscription) => invoke('subscribePush', { subscription, renewal }));
	});
	return subscribing;
}

/** The least time between two looks at the subscription that nothing has caused, and after one that failed, in milliseconds. */
const renewalRest = 60000;
/** How often that rest is doubled, at most, when one look after the other fails. */
const doublings = 4;
let renewed = -renewalRest;
/** The permission to notify as it was when it was last looked at. */
let permissionSeen = '';
/** @type {Promise<void> | undefined} */
let renewing;
/** Whether something has happened since the look that is under way began. */
let renewAgain = false;
let failures = 0;
let nextTry = 0;

// Subscriptions end without a word, so whenever the hub or the person comes back the hub
// is given the one that holds now; what stands in the way is told to the computers.
/** @param {boolean} cause whether something has happened @returns {Promise<void>} */
function renewPush(cause) {
	if (renewing) {
		renewAgain ||= cause;
	} else if (cause || performance.now() - renewed >= renewalRest) {
		renewing = renewals().finally(() => {
			renewing = undefined;
		});
	}
	return renewing ?? Promise.resolve();
}

// A slow phone fails by its time limits alone, and nothing more may happen: so what failed is tried again.
async function renewals() {
	clearTimeout(nextTry);
	let done = false;
	do {
		renewAgain = false;
		done = await renew().catch(() => false);
	} while (renewAgain);
	failures = done ? 0 : failures + 1;
	if (!done && !stopped) {
		nextTry = setTimeout(() => renewPush(true), renewalRest * 2 ** Math.min(failures - 1, doublings));
	}
}

/** @returns {Promise<boolean>} whether nothing is left to try until something happens */
async function renew() {
	renewed = performance.now();
	permissionSeen = push.permission();
	const current = await invoke('state', {});
	if (!current.push) {
		return true;
	}
	let allowed = false;
	try {
		push.mustBeAllowed();
		allowed = true;
		if (current.hub.connected) {
			await subscribePush(true);
		}
		return true;
	} catch (error) {
		const { code } = failure(error);
		if (code === 'pushOff') {
			await push.unsubscribe(); // what was made meanwhile
			return true;
		}
		if (push.lasts(code)) {
			await invoke('pushFailed', { kind: code });
		}
		return !allowed;
	}
}
