// Password managers whose answers went through a message of an extension: bytes are
// base64url or base64 (padded), arrays, objects with an index for each byte, Buffers of
// Node, views of larger buffers, or another window's buffers; or "missing", "empty",
// "undefined", "text" (bitwarden/clients#12060, keepassxc-browser#2613,
// keepass2android#3280: a placeholder that the browser did not replace).
(form, only) => {
	const own = navigator.credentials;
	const base64 = (b) => btoa(String.fromCharCode(...b));
	const frame = () => {
		const f = document.createElement('iframe');
		document.documentElement.append(f);
		return f.contentWindow;
	};
	let other;
	const forms = {
		base64url: (b) => base64(b).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''),
		base64,
		array: (b) => [...b],
		indexed: (b) => ({ ...b }),
		node: (b) => ({ type: 'Buffer', data: [...b] }),
		view: (b) => new DataView(new Uint8Array([1, 2, 3, ...b, 4]).buffer, 3, b.length),
		frame: (b) => new (other ??= frame()).Uint8Array(b).buffer,
		missing: () => null, undefined: () => undefined, empty: () => new ArrayBuffer(0), text: () => '<placeholder>',
	};
	const change = (name, value) => value && (!only || only === name) ? forms[form](new Uint8Array(value)) : value;
	const wrap = (call) => async (options) => {
		const made = await call.call(own, options), results = made.getClientExtensionResults(), response = {};
		for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature']) {
			response[name] = change(name, made.response[name]);
		}
		const first = results.prf?.results?.first;
		return {
			id: made.id, rawId: change('rawId', made.rawId), response,
			getClientExtensionResults: () => ({ ...results, ...(first && { prf: { ...results.prf, results: { first: change('first', first) } } }) }),
		};
	};
	const { create, get } = own;
	own.create = wrap(create);
	own.get = wrap(get);
}
