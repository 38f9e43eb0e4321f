// iOS: after the background each transaction of a database that is open throws, without
// a close event (WebKit bugs 197050 and 277615, Dexie 613, idb 229, instantdb 2541);
// Chromium does so after it has lost its store. `background['dead-database'](name)` makes
// the databases that are open so, with an error of that name; what is opened later works.
() => {
	const dead = new WeakMap();
	const open = new Set();
	const { transaction } = IDBDatabase.prototype;
	const opening = IDBFactory.prototype.open;
	IDBFactory.prototype.open = function (...args) {
		const request = opening.apply(this, args);
		request.addEventListener('success', () => open.add(request.result));
		return request;
	};
	IDBDatabase.prototype.transaction = function (...args) {
		if (dead.has(this)) {
			throw new DOMException('The database connection is closing.', dead.get(this));
		}
		return transaction.apply(this, args);
	};
	(globalThis.background ??= {})['dead-database'] = (name = 'InvalidStateError') => {
		for (const database of open) {
			dead.set(database, name);
		}
	};
}
