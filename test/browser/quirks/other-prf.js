// A passkey whose PRF answers with another secret each time ("each time"), only when
// it is made ("when made"), with 16 bytes ("short"), or which does not say when it is
// made that it has one ("unsaid": Windows Hello, security keys behind older browsers).
// Reported of early PRF in password managers; see w3c/webauthn#1830.
(how) => {
	const own = navigator.credentials;
	const secret = (first) => how === 'short' ? new Uint8Array(first).slice(0, 16) : crypto.getRandomValues(new Uint8Array(32));
	const wrap = (call, creates) => async (options) => {
		const made = await call.call(own, options);
		const { prf, ...others } = made.getClientExtensionResults();
		let results = prf && { ...prf, ...(prf.results?.first && (creates || how !== 'when made') && { results: { first: secret(prf.results.first) } }) };
		if (how === 'unsaid') {
			results = creates ? undefined : prf;
		}
		made.getClientExtensionResults = () => ({ ...others, prf: results });
		return made;
	};
	const { create, get } = own;
	own.create = wrap(create, true);
	own.get = wrap(get, false);
}
