// @ts-check
// What the browser keeps for vmux, in IndexedDB: documents, which the wasm
// program holds in memory and writes through, and the device key, which no
// script can read.
//
// One page at a time owns the store. Each write checks in its own transaction
// that its page still does: a forgotten tab cannot overwrite what a newer one
// has changed.
//
// Browsers take the database from a page: iOS ends the process that keeps it when
// the app was in the background, and then every transaction fails, or none ever
// ends, without a close event (WebKit bugs 197050, 226547, 277615). So whatever
// fails is done once more with a database that was opened anew. Each piece of work
// may be done twice: the same bytes under the same key.

const databaseName = 'vmux';
const deviceMark = 'vmux-device'; // in localStorage: which device key this browser was to keep
const lossMark = 'vmux-loss'; // in localStorage: what it has deleted, see vanished
const piecesPerDocument = 256; // then the document is written anew
/**
 * The longest piece that is written anew, in bytes. Chromium keeps a value of 64 KiB and more in a
 * file of its own; when that is lost it reads nothing that stands beside it either, and the app
 * would not start again (super-productivity#607, altair#2147: "Failed to read large IndexedDB value").
 */
const longestPiece = 32 << 10;

/**
 * How long the browser may take, at each attempt, to open the database and for one
 * transaction, in milliseconds. A busy phone may be slow without anything being wrong.
 */
const patience = [5000, 10000, 20000];
/** Before the last attempt: a browser that has lost the process needs a moment for another. In milliseconds. */
const pause = 300;

/** @type {Promise<IDBDatabase> | undefined} the database, for all that use it, until it is given up */
let opening;
/** Whether there was a database for this page: one that is not there any more was deleted. */
let existed = false;
let owner = '';
/** How often the browser has put the page aside. */
let times = 0;
/** Settled while the page is not put aside. @type {Promise<unknown>} */
let here = Promise.resolve();
/** @type {((value?: unknown) => void) | undefined} */
let comeBack;
/** @type {Set<IDBTransaction>} those that have not ended */
const running = new Set();
/** @type {Map<string, Uint8Array[]>} what is in the store, by document */
const pieces = new Map();
/** Documents of which it is not known what is in the store: the browser did not say whether it wrote. @type {Set<string>} */
const unsure = new Set();

export class StorageError extends Error {
	/** @param {string} message @param {string} [name] */
	constructor(message, name = 'StorageError') {
		super(message);
		this.name = name;
	}
}

const cleared = () => new StorageError('what was stored here has been deleted', 'ClearedError');
const noSpace = () => new StorageError('no space is left on this device', 'QuotaExceededError');

/**
 * How many bytes there was no space for, and 0 if there is: a line of the log may fit where
 * a key does not, which says nothing of the space for the next key.
 */
let tooMuch = 0;
/** Called when there is no more space, and when there is again. */
let tellSpace = () => {};

/** @param {number} size in bytes */
function setTooMuch(size) {
	const before = tooMuch;
	tooMuch = size;
	if (!before !== !size) {
		tellSpace();
	}
}

/** Whether this site may store nothing: with all cookies blocked Chromium says so of localStorage, and of the database that it fails. */
function isBlocked() {
	try {
		return !localStorage; // or it throws
	} catch (error) {
		return /** @type {any} */ (error)?.name === 'SecurityError';
	}
}

/** What the browser says, also of a full disk, in its own words or as its quota. @param {any} error */
function explained(error) {
	if (error instanceof StorageError) {
		return error;
	}
	if (isBlocked()) {
		return new StorageError('its settings let this site store nothing');
	}
	if (error?.name !== 'QuotaExceededError' && !/NO_SPACE/.test(error?.message ?? '')) {
		return new StorageError(error?.message || 'the browser gave no reason', error?.name || 'UnknownError');
	}
	return noSpace();
}

/** Names of errors after which this page can store nothing more. */
export const endings = new Set(['OtherTabError', 'ClearedError']);

/** What no other attempt changes. @param {StorageError} error */
const isFinal = ({ name }) => endings.has(name) || name === 'StorageError' || name === 'QuotaExceededError';

const unanswered = () => new StorageError('the browser does not answer', 'TimeoutError');

/**
 * Fails if the browser does not answer.
 * @template T @param {Promise<T>} promise @param {number} limit in milliseconds @returns {Promise<T>}
 */
function within(promise, limit) {
	/** @type {any} */
	let timer;
	return Promise.race([promise, new Promise((_, reject) => {
		timer = setTimeout(() => reject(unanswered()), limit);
	})]).finally(() => clearTimeout(timer));
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function result(request) {
	return new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}

const stores = ['documents', 'own']; // by [name, number of the piece]; owner, deviceKey

/** @param {number} [version] without it the one that is there @returns {Promise<IDBDatabase>} */
function openDatabase(version) {
	return new Promise((resolve, reject) => {
		if (!globalThis.indexedDB) {
			reject(new StorageError('this browser has no IndexedDB'));
			return;
		}
		const request = indexedDB.open(databaseName, version);
		request.onupgradeneeded = (event) => {
			if (existed && event.oldVersion === 0) {
				reject(cleared());
				request.transaction?.abort(); // it would begin as an empty one
				return;
			}
			for (const name of stores) {
				if (!request.result.objectStoreNames.contains(name)) {
					request.result.createObjectStore(name);
				}
			}
		};
		request.onsuccess = () => {
			const opened = request.result;
			if (stores.every((name) => opened.objectStoreNames.contains(name))) {
				resolve(opened);
				return;
			}
			opened.close(); // a browser that was ended as it made the database
			openDatabase(opened.version + 1).then(resolve, reject);
		};
		request.onerror = () => reject(request.error);
		request.onblocked = () => reject(new StorageError('another tab holds the store open', 'BlockedError'));
	});
}

/** The database, opened if it is not. */
function connected() {
	if (!opening) {
		const mine = openDatabase();
		opening = mine;
		mine.then((database) => {
			// Another page deletes or changes it; or the browser has closed it, as after a full disk.
			database.onversionchange = database.onclose = () => giveUp(mine);
		}, () => giveUp(mine));
	}
	return opening;
}

/** @param {Promise<IDBDatabase> | undefined} which the next transaction opens it anew */
function giveUp(which) {
	if (opening === which) {
		opening = undefined;
	}
	which?.then((database) => database.close(), () => {}); // also one that is opened late
}

/** Ends a transaction, if it has not ended by itself. @param {IDBTransaction | undefined} transaction */
function abort(transaction) {
	try {
		transaction?.abort();
	} catch {
		// it has
	}
}

/**
 * What is done in one transaction.
 * @template T
 * @typedef {{mode: IDBTransactionMode, strict: boolean, work: (documents: IDBObjectStore, own: IDBObjectStore) => Promise<T>}} Work
 */

/** @template T @param {Work<T>} what @param {number} limit for each of the two waits @returns {Promise<T>} */
async function attempt({ mode, strict, work }, limit) {
	const mine = connected();
	/** @type {IDBTransaction | undefined} */
	let transaction;
	try {
		const database = await within(mine, limit);
		if (comeBack) {
			throw unanswered(); // put aside meanwhile
		}
		const begun = database.transaction(stores, mode, /** @type {any} */ ({ durability: strict ? 'strict' : 'relaxed' }));
		transaction = begun;
		running.add(begun);
		const done = new Promise((resolve, reject) => {
			begun.oncomplete = () => resolve(undefined);
			begun.onerror = () => reject(begun.error);
			begun.onabort = () => reject(begun.error ?? new DOMException('the browser gave up', 'AbortError'));
		});
		const both = Promise.all([work(begun.objectStore('documents'), begun.objectStore('own')), done]);
		return (await within(both, limit))[0];
	} catch (error) {
		abort(transaction);
		const reason = explained(transaction?.error ?? error);
		if (!isFinal(reason)) {
			giveUp(mine);
		}
		throw reason;
	} finally {
		if (transaction) {
			running.delete(transaction);
		}
	}
}

/**
 * Runs work in one transaction, and resolves when the browser has kept it.
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {boolean} strict whether to wait until it is on the disk
 * @param {(documents: IDBObjectStore, own: IDBObjectStore) => Promise<T>} work
 * @param {number} [size] of what is written, in bytes
 * @returns {Promise<T>}
 */
async function transact(mode, strict, work, size = 1) {
	for (let i = 0; ;) {
		while (comeBack) {
			await here;
		}
		const before = times;
		try {
			const value = await attempt({ mode, strict, work }, patience[i]);
			if (mode === 'readwrite' && size >= tooMuch) {
				setTooMuch(0);
			}
			return value;
		} catch (error) {
			if (/** @type {StorageError} */ (error).name === 'QuotaExceededError') {
				setTooMuch(Math.min(tooMuch || size, size));
			}
			if (times !== before && !isFinal(/** @type {StorageError} */ (error))) {
				continue; // the page was put aside meanwhile, which ends what runs
			}
			if (isFinal(/** @type {StorageError} */ (error)) || ++i >= patience.length) {
				throw error;
			}
			if (i === patience.length - 1) {
				await new Promise((resolve) => setTimeout(resolve, pause));
			}
		}
	}
}

// A page that is put aside runs no more, and in WebKit its transactions stay:
// every other page of the app would wait for them for ever. What they were
// writing, nobody was told to be kept; it is written when the page comes back.
function stepAside() {
	if (!comeBack) {
		here = new Promise((resolve) => {
			comeBack = resolve;
		});
	}
	times++;
	running.forEach(abort);
}

/** @param {PageTransitionEvent} event */
const hidden = (event) => event.persisted && stepAside();

function shown() {
	if (comeBack) {
		comeBack();
		comeBack = undefined;
		lookForOwner();
	}
}

/**
 * Opens the store for this page, and makes the device key at the first time.
 * @param {(why: StorageError) => void} onLost called when another page has taken over, or deleted the store
 * @param {() => void} onSpace called when a write fails for want of space, and when one succeeds again
 * @returns {Promise<{documents: [string, Uint8Array][], publicKey: Uint8Array, sign: (message: Uint8Array) => Promise<Uint8Array>}>}
 */
export async function open(onLost, onSpace) {
	tellSpace = onSpace;
	addEventListener('pagehide', hidden);
	document.addEventListener('freeze', stepAside);
	addEventListener('pageshow', shown);
	document.addEventListener('resume', shown);
	document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && shown());
	owner = crypto.randomUUID();
	const key = await deviceKey();
	const documents = await transact('readwrite', false, async (store, own) => {
		await result(own.put(owner, 'owner'));
		const [keys, values] = await Promise.all([result(store.getAllKeys()), result(store.getAll())]);
		return keys.map((name, i) => /** @type {[string, Uint8Array]} */ ([/** @type {any} */ (name)[0], values[i]]));
	});
	pieces.clear();
	for (const [name, piece] of documents) {
		pieces.set(name, [...pieces.get(name) ?? [], piece]);
	}
	existed = true;
	watchOwner(onLost);
	const privateKey = key.privateKey;
	const publicKey = new Uint8Array(await crypto.subtle.exportKey('spki', key.publicKey));
	device = btoa(String.fromCharCode(...publicKey));
	if (vanished() === '') {
		beginAnew();
	} else {
		noteLoss(documents.length === 0);
	}
	return {
		documents,
		publicKey,
		sign: async (message) => new Uint8Array(await crypto.subtle.sign(
			{ name: 'ECDSA', hash: 'SHA-256' }, privateKey, /** @type {BufferSource} */ (message))),
	};
}

/**
 * How many bytes are left to this page, as far as the browser tells: Chromium names
 * ten gigabytes whatever there is, until a write fails.
 * @returns {Promise<number | null>}
 */
export async function space() {
	if (tooMuch) {
		return 0;
	}
	const { usage, quota } = await navigator.storage?.estimate?.().catch(() => null) ?? {};
	return quota === undefined ? null : Math.max(0, quota - (usage ?? 0));
}

let device = ''; // the public key, as it is marked

/**
 * What this browser has deleted of what it kept, until the person has taken note: a site's data
 * goes as a whole, but a damaged store alone, and Safari and Firefox were seen to give back no
 * CryptoKey where the rest was there (offen/offen 198, webcrypto-local 177).
 * @returns {'' | 'all' | 'key'} key: the device key alone
 */
export function vanished() {
	try {
		const kept = (localStorage.getItem(deviceMark) ?? device) === device;
		return kept ? '' : localStorage.getItem(lossMark) === 'key' ? 'key' : 'all';
	} catch {
		return ''; // nothing was marked
	}
}

/** @param {boolean} everything not the device key alone */
function noteLoss(everything) {
	try {
		localStorage.setItem(lossMark, everything ? 'all' : localStorage.getItem(lossMark) ?? 'key');
	} catch {
		// then it is told as the loss of everything
	}
}

/** Takes the store for what it is now. */
export function beginAnew() {
	try {
		localStorage.setItem(deviceMark, device);
		localStorage.removeItem(lossMark);
	} catch {
		// then a loss goes unsaid
	}
}

/** Looks whether this page is still the store's owner. */
let lookForOwner = () => {};

// The store decides, not who has spoken last: of two pages that begin at once each hears the other.
/** @param {(why: StorageError) => void} onLost */
function watchOwner(onLost) {
	lookForOwner = () => {
		transact('readonly', false, (_, own) => checkOwner(own)).catch((error) => endings.has(error.name) && onLost(error));
	};
	if (!globalThis.BroadcastChannel) {
		lookForOwner();
		return; // the older page notices when it comes back, or at its next write
	}
	const channel = new BroadcastChannel('vmux-owner');
	channel.onmessage = lookForOwner;
	channel.postMessage(owner);
	lookForOwner(); // another may have spoken before this page listened
}

/**
 * The device key, made at the first time. One that is there and is not given back stays there:
 * WebKit encrypts it under a key in the keychain, and may be able to read it after a restart.
 * @returns {Promise<CryptoKeyPair>}
 */
async function deviceKey() {
	const [found, kept] = await transact('readonly', false, (_, own) => Promise.all([result(own.get('deviceKey')), result(own.count('deviceKey'))]));
	if (found) {
		return found;
	}
	if (kept) {
		throw new StorageError('the device key cannot be read', 'DeviceKeyError');
	}
	const made = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
	return transact('readwrite', true, async (_, own) => {
		const other = await result(own.get('deviceKey')); // another page was faster
		if (!other) {
			await result(own.put(made, 'deviceKey'));
		}
		return other ?? made;
	});
}

/** Gives up a device key that the browser does not give back: the next start makes another. */
export const forgetDeviceKey = () => transact('readwrite', true, async (_, own) => {
	if (!await result(own.get('deviceKey'))) {
		await result(own.delete('deviceKey'));
	}
});

/** @param {IDBObjectStore} own */
async function checkOwner(own) {
	const found = await result(own.get('owner'));
	if (found === undefined) {
		throw cleared();
	}
	if (found !== owner) {
		throw new StorageError('vmux was opened in another tab or window', 'OtherTabError');
	}
}

// What is written often and lost with little harm does not wait for the disk.
/** @param {string} name */
const isStrict = (name) => !/^(activity|hosts)/.test(name);

/** @param {string} name */
const range = (name) => IDBKeyRange.bound([name], [name, Infinity]);

/** @param {string} name @param {Uint8Array} bytes */
export async function put(name, bytes) {
	const list = cut(bytes);
	unsure.add(name);
	await transact('readwrite', isStrict(name), async (documents, own) => {
		await checkOwner(own);
		await result(documents.delete(range(name)));
		await Promise.all(list.map((piece, i) => result(documents.put(piece, [name, i]))));
	}, bytes.length);
	unsure.delete(name);
	pieces.set(name, list);
}

/** @param {string} name @param {Uint8Array} bytes */
export async function append(name, bytes) {
	const before = pieces.get(name) ?? [];
	if (before.length >= piecesPerDocument || unsure.has(name)) {
		await put(name, joined([...before, bytes]));
		return;
	}
	await transact('readwrite', isStrict(name), async (documents, own) => {
		await checkOwner(own);
		await result(documents.put(bytes, [name, before.length]));
	}, bytes.length);
	pieces.set(name, [...before, bytes]);
}

/** @param {string} name */
export async function remove(name) {
	unsure.add(name);
	await transact('readwrite', isStrict(name), async (documents, own) => {
		await checkOwner(own);
		await result(documents.delete(range(name)));
	});
	unsure.delete(name);
	pieces.delete(name);
}

/** Pieces of their own: a view of another's bytes would be kept with all of these. @param {Uint8Array} bytes */
const cut = (bytes) => Array.from({ length: Math.max(1, Math.ceil(bytes.length / longestPiece)) },
	(_, i) => bytes.slice(i * longestPiece, (i + 1) * longestPiece));

/** @param {Uint8Array[]} list */
function joined(list) {
	const all = new Uint8Array(list.reduce((sum, piece) => sum + piece.length, 0));
	let at = 0;
	for (const piece of list) {
		all.set(piece, at);
		at += piece.length;
	}
	return all;
}

/** Destroys everything, the device key too. */
export async function wipe() {
	try {
		localStorage.removeItem(deviceMark);
	} catch {
		// nothing was marked
	}
	for (const limit of patience) {
		giveUp(opening);
		try {
			await within(result(indexedDB.deleteDatabase(databaseName)), limit);
			return;
		} catch (error) {
			if (limit === patience.at(-1)) {
				throw explained(error);
			}
		}
	}
}
