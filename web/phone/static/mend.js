// @ts-check
// What a full disk leaves behind. Chromium's LevelDB appends to a log; when the
// disk is full in the middle of a record, it goes on behind that torn one once
// there is space again, and at the next start takes the whole store for damaged
// and deletes it. So after such a failure, and before anything else is written,
// so much is written and deleted that the log is begun anew: LevelDB copies what
// it held into a table of its own then.

const mark = 'vmux-torn';
const pieces = 10; // of 512 KiB: more than the 4 MiB after which a log ends
const values = 16; // of 32 KiB each: from 64 KiB on, values are files of their own
const valueSize = 32 << 10;

// The mark is not kept in the store that it is about. It survives a reload, and
// a restart if the browser comes to write it down.

/** Remembers that a write may have been torn. */
export function markTorn() {
	try {
		localStorage.setItem(mark, 'yes');
	} catch {
		// this page remembers by itself
	}
}

/** @returns {boolean} whether a page before this one was left so */
export function isMarked() {
	try {
		return localStorage.getItem(mark) !== null;
	} catch {
		return false;
	}
}

/** Whether an error of the store's may have torn a record: LevelDB is Chromium's alone. @param {any} error */
export const mayHaveTorn = (error) => 'userAgentData' in navigator &&
	(error?.name === 'UnknownError' || /IO error|NO_SPACE/.test(error?.message ?? ''));

const all = () => IDBKeyRange.bound(['ballast'], ['ballast', Infinity]);

/**
 * Whether there is room for what beginLogAnew writes: where there is none it would
 * tear another record, behind the first. This is tried elsewhere, in a file of its
 * own; where no such file can be had, nothing is known against it.
 * @returns {Promise<boolean>}
 */
export async function hasRoom() {
	const name = `room-${crypto.randomUUID()}`;
	let directory;
	try {
		directory = await /** @type {any} */ (navigator.storage).getDirectory();
	} catch {
		return true;
	}
	try {
		const file = await directory.getFileHandle(name, { create: true });
		const writable = await file.createWritable();
		await writable.write(new Uint8Array(2 * pieces * values * valueSize));
		await writable.close();
		return true;
	} catch {
		return false;
	} finally {
		await directory.removeEntry(name).catch(() => {});
	}
}

/**
 * Has the browser begin its log anew. Fails as any write does while the disk is full.
 * @param {(work: (own: IDBObjectStore) => Promise<void>) => Promise<void>} write runs work in a transaction of its own
 */
export async function beginLogAnew(write) {
	for (let i = 0; i < pieces; i++) {
		await write(async (own) => {
			for (let j = 0; j < values; j++) {
				own.put(crypto.getRandomValues(new Uint8Array(valueSize)), ['ballast', i * values + j]); // random, for it is compressed
			}
		});
	}
	await write(async (own) => {
		own.delete(all());
	});
	try {
		localStorage.removeItem(mark);
	} catch {
		// then it was never set
	}
}
