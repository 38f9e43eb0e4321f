// What browsers and password managers refuse a passkey with: Firefox says AbortError
// when a person cancels (w3c/webauthn#2240), Android NotReadableError when its credential
// manager fails (google/webauthndemo#65), extensions throw at once or reject with
// what is no error. `globalThis.passkeyRefusal` = {name, message, how} refuses the next calls.
() => {
	const own = navigator.credentials;
	const wrap = (call) => (options) => {
		const refusal = globalThis.passkeyRefusal;
		switch (refusal?.how) {
		case 'throws':
			throw new TypeError(refusal.message);
		case 'plain':
			return Promise.reject({ name: refusal.name, message: refusal.message });
		case 'text':
			return Promise.reject(refusal.name);
		case 'nothing':
			return Promise.reject();
		case 'null':
			return Promise.resolve(null);
		case 'no response':
			return Promise.resolve({ id: 'x' });
		case 'never':
			return new Promise(() => {});
		}
		return refusal ? Promise.reject(new DOMException(refusal.message ?? '', refusal.name)) : call.call(own, options);
	};
	const { create, get } = own;
	own.create = wrap(create);
	own.get = wrap(get);
}
