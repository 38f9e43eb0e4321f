// Password managers that sign with WebCrypto and forget to convert the signature
// ("raw"), or write its integers with leading zeros ("zeros") or without the one that
// they need ("unsigned"); see w3c/webauthn section 6.5.5.
(form) => {
	const own = navigator.credentials, { get } = own;
	const integers = (der) => {
		const b = new Uint8Array(der), r = b.slice(4, 4 + b[3]), s = b.slice(6 + b[3]);
		return [r, s].map((n) => [...new Uint8Array(32), ...n].slice(-32));
	};
	const strip = (n) => n.slice(n.findIndex((byte) => byte !== 0));
	const der = (...list) => {
		const body = list.flatMap((n) => [2, n.length, ...n]);
		return [0x30, body.length, ...body];
	};
	own.get = async (options) => {
		const got = await get.call(own, options), { clientDataJSON, authenticatorData, signature } = got.response;
		const [r, s] = integers(signature);
		const bytes = { raw: [...r, ...s], zeros: der([0, 0, ...r], [0, 0, ...s]), unsigned: der(strip(r), strip(s)) }[form];
		return {
			rawId: got.rawId, response: { clientDataJSON, authenticatorData, signature: Uint8Array.from(bytes).buffer },
			getClientExtensionResults: () => got.getClientExtensionResults(),
		};
	};
}
