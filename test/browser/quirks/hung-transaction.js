// iOS: a transaction that was running when the app went to the background, and each after
// it, tells neither success nor failure (WebKit bugs 197050 and 226547, Dexie 1052).
// `background['hung-transaction']()` makes the databases that are open so: what they are
// given is written, and nobody told. `background['hung-transaction'](n)` leaves also the
// next n openings without an answer.
() => {
	const hung = new WeakSet();
	const open = new Set();
	let openings = 0;
	const { transaction } = IDBDatabase.prototype;
	const opening = IDBFactory.prototype.open;
	const silence = (event) => event.stopImmediatePropagation();
	IDBFactory.prototype.open = function (...args) {
		const request = opening.apply(this, args);
		if (openings-- > 0) {
			request.addEventListener('success', silence);
		} else {
			request.addEventListener('success', () => open.add(request.result));
		}
		return request;
	};
	IDBDatabase.prototype.transaction = function (...args) {
		const made = transaction.apply(this, args);
		if (hung.has(this)) {
			for (const type of ['complete', 'abort', 'error', 'success']) {
				made.addEventListener(type, silence, { capture: true }); // before it reaches a request, too
			}
		}
		return made;
	};
	(globalThis.background ??= {})['hung-transaction'] = (n = 0) => {
		openings = n;
		open.forEach((database) => hung.add(database));
	};
}
