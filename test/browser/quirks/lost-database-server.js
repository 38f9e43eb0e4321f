// iOS and macOS: the process that keeps databases has ended, and each request fails with
// "Connection to Indexed Database server lost", the next opening too (WebKit bugs 197050
// and 273827, firebase-js-sdk 4948, localForage 887, Dexie 832).
// `background['lost-database-server'](n)` fails the next n requests, of data or to open.
() => {
	let left = 0;
	const lost = () => new DOMException('Connection to Indexed Database server lost. Refresh the page to try again', 'UnknownError');
	const failing = (transaction) => {
		const request = new EventTarget();
		Object.assign(request, { error: lost(), result: undefined, transaction });
		setTimeout(() => {
			request.onerror?.(new Event('error'));
			try {
				transaction?.abort();
			} catch {
				// it has ended
			}
		});
		return request;
	};
	for (const name of ['get', 'getAll', 'getAllKeys', 'put', 'delete']) {
		const real = IDBObjectStore.prototype[name];
		IDBObjectStore.prototype[name] = function (...args) {
			return left-- > 0 ? failing(this.transaction) : real.apply(this, args);
		};
	}
	const { open } = IDBFactory.prototype;
	IDBFactory.prototype.open = function (...args) {
		return left-- > 0 ? failing() : open.apply(this, args);
	};
	(globalThis.background ??= {})['lost-database-server'] = (n) => { left = n; };
}
