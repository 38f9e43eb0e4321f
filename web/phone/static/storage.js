// @ts-check
// What the browser keeps for vmux, in IndexedDB: documents, which the wasm
// program holds in memory and writes through, and the device key, which no
// script can read.
//
// One page at a time owns the store. Each write checks in its own transaction
// that its page still does: a forgotten tab cannot overwrite what a newer one
// has changed.

const databaseName = 'vmux';
const deviceMark = 'vmux-device'; // in localStorage: which device key this browser was to keep
const appendsPerDocument = 256; // then the document is written as one piece again

/** @type {IDBDatabase} */
let database;
let closed = false; // by the browser, as it does after a write for which there was no space
/** @type {Promise<void> | undefined} */
let connecting;
let owner = '';
/** Whether the browser has put the page aside, from where it may come back. */
let aside = false;
/** @type {Set<IDBTransaction>} those that have not ended */
const running = new Set();
/** @type {Map<string, Uint8Array[]>} what is in the store, by document */
const pieces = new Map();

export class StorageError extends Error {
	/** @param {string} message @param {string} [name] */
	constructor(message, name = 'StorageError') {
		super(message);
		this.name = name;
	}
}

const noSpace = () => new StorageError('no space is left on this device', 'QuotaExceededError');

/** Whether the last write failed for want of space. */
let full = false;
/** Called when `full` has changed. */
let tellSpace = () => {};

/** @param {boolean} is */
function setFull(is) {
	if (full !== is) {
		full = is;
		tellSpace();
	}
}

/** What the browser says of a full disk, in its own words or as its quota. @param {any} error */
function explained(error) {
	if (error?.name !== 'QuotaExceededError' && !/NO_SPACE/.test(error?.message ?? '')) {
		return error;
	}
	setFull(true);
	return noSpace();
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function result(request) {
	return new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
	return new Promise((resolve, reject) => {
		if (!globalThis.indexedDB) {
			reject(new StorageError('this browser has no IndexedDB'));
			return;
		}
		const request = indexedDB.open(databaseName, 1);
		request.onupgradeneeded = () => {
			request.result.createObjectStore('documents'); // by [name, number of the piece]
			request.result.createObjectStore('own'); // owner, deviceKey
		};
		request.onsuccess = () => {
			const opened = request.result;
			opened.onversionchange = () => opened.close();
			opened.onclose = () => {
				closed = true;
			};
			resolve(opened);
		};
		request.onerror = () => reject(explained(request.error));
		request.onblocked = () => reject(new StorageError('another tab holds the store open'));
	});
}

/** Opens the database, anew if it was open. */
async function connect() {
	database?.close();
	database = await openDatabase();
	closed = false;
}

/**
 * Runs work in one transaction, and resolves when the browser has kept it.
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {boolean} strict whether to wait until it is on the disk
 * @param {(documents: IDBObjectStore, own: IDBObjectStore) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function transact(mode, strict, work) {
	if (aside) {
		throw new StorageError('the page was put aside');
	}
	if (closed) {
		connecting ??= connect().finally(() => { connecting = undefined; }); // once for all that wait
		await connecting;
	}
	const options = /** @type {any} */ ({ durability: strict ? 'strict' : 'relaxed' });
	const transaction = database.transaction(['documents', 'own'], mode, options);
	const done = new Promise((resolve, reject) => {
		transaction.oncomplete = () => resolve(undefined);
		transaction.onerror = () => reject(transaction.error);
		transaction.onabort = () => reject(transaction.error ?? new StorageError('the browser gave up writing'));
	});
	running.add(transaction);
	done.catch(() => {}).finally(() => running.delete(transaction)); // told below, or by work
	try {
		const value = await work(transaction.objectStore('documents'), transaction.objectStore('own'));
		await done;
		if (mode === 'readwrite') {
			setFull(false);
		}
		return value;
	} catch (error) {
		try {
			transaction.abort();
		} catch {
			// it has ended by itself
		}
		throw explained(transaction.error ?? error);
	}
}

// A page that is put aside runs no more, and in WebKit its transactions stay:
// every other page of the app would wait for them for ever. What they were
// writing, nobody was told to be kept.
/** @param {PageTransitionEvent} event */
function stepAside(event) {
	aside = event.persisted;
	for (const transaction of aside ? running : []) {
		try {
			transaction.abort();
		} catch {
			// it has ended by itself
		}
	}
}

/**
 * Opens the store for this page, and makes the device key at the first time.
 * @param {() => void} onLost called when another page has taken over
 * @param {() => void} onSpace called when a write fails for want of space, and when one succeeds again
 * @returns {Promise<{documents: [string, Uint8Array][], publicKey: Uint8Array, sign: (message: Uint8Array) => Promise<Uint8Array>}>}
 */
export async function open(onLost, onSpace) {
	tellSpace = onSpace;
	await connect();
	addEventListener('pagehide', stepAside);
	addEventListener('pageshow', () => { aside = false; });
	owner = crypto.randomUUID();
	const key = await deviceKey();
	const documents = await transact('readwrite', false, async (store, own) => {
		await result(own.put(owner, 'owner'));
		const [keys, values] = await Promise.all([result(store.getAllKeys()), result(store.getAll())]);
		return keys.map((name, i) => /** @type {[string, Uint8Array]} */ ([/** @type {any} */ (name)[0], values[i]]));
	});
	for (const [name, piece] of documents) {
		pieces.set(name, [...pieces.get(name) ?? [], piece]);
	}
	watchOwner(onLost);
	const privateKey = key.privateKey;
	const publicKey = new Uint8Array(await crypto.subtle.exportKey('spki', key.publicKey));
	device = btoa(String.fromCharCode(...publicKey));
	if (!isVanished()) {
		beginAnew();
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
	if (full) {
		return 0;
	}
	const { usage, quota } = await navigator.storage?.estimate?.().catch(() => null) ?? {};
	return quota === undefined ? null : Math.max(0, quota - (usage ?? 0));
}

let device = ''; // the public key, as it is marked

/** Whether this browser has deleted what it kept: a site's data goes as a whole, but a damaged store alone. */
export function isVanished() {
	try {
		return (localStorage.getItem(deviceMark) ?? device) !== device;
	} catch {
		return false; // nothing was marked
	}
}

/** Takes the store for what it is now. */
export function beginAnew() {
	try {
		localStorage.setItem(deviceMark, device);
	} catch {
		// then a loss goes unsaid
	}
}

/** @param {() => void} onLost */
function watchOwner(onLost) {
	if (!globalThis.BroadcastChannel) {
		return; // the older page notices at its next write
	}
	const channel = new BroadcastChannel('vmux-owner');
	channel.onmessage = (event) => {
		if (event.data !== owner) {
			channel.close();
			onLost();
		}
	};
	channel.postMessage(owner);
}

/** @returns {Promise<CryptoKeyPair>} */
async function deviceKey() {
	const found = await transact('readonly', false, (_, own) => result(own.get('deviceKey')));
	if (found) {
		return found;
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

/** @param {IDBObjectStore} own */
async function checkOwner(own) {
	const found = await result(own.get('owner'));
	if (found === undefined) {
		throw new StorageError('what was stored here has been cleared');
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
	await transact('readwrite', isStrict(name), async (documents, own) => {
		await checkOwner(own);
		await result(documents.delete(range(name)));
		await result(documents.put(bytes, [name, 0]));
	});
	pieces.set(name, [bytes]);
}

/** @param {string} name @param {Uint8Array} bytes */
export async function append(name, bytes) {
	const before = pieces.get(name) ?? [];
	if (before.length >= appendsPerDocument) {
		await put(name, joined([...before, bytes]));
		return;
	}
	await transact('readwrite', isStrict(name), async (documents, own) => {
		await checkOwner(own);
		await result(documents.put(bytes, [name, before.length]));
	});
	pieces.set(name, [...before, bytes]);
}

/** @param {string} name */
export async function remove(name) {
	await transact('readwrite', isStrict(name), async (documents, own) => {
		await checkOwner(own);
		await result(documents.delete(range(name)));
	});
	pieces.delete(name);
}

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
	database.close();
	try {
		localStorage.removeItem(deviceMark);
	} catch {
		// nothing was marked
	}
	await result(indexedDB.deleteDatabase(databaseName));
}
