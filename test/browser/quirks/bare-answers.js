// Password managers whose answers are plain objects with the standard's bytes and
// nothing else: no getPublicKey, getAuthenticatorData, getTransports, toJSON
// (passwordless-id/webauthn#37, bitwarden/clients#6913, keepassxc-browser#2061), with
// "illegal" methods of the browser's prototype that throw on them (keepassxc-browser#2322),
// or "null": fields that are null (rawId, transports, extension results).
(how) => {
	const own = navigator.credentials;
	const illegal = () => { throw new TypeError('Illegal invocation'); };
	const wrap = (call) => async (options) => {
		const made = await call.call(own, options), r = made.response, results = made.getClientExtensionResults();
		const response = {};
		for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
			if (r[name] !== undefined) {
				response[name] = r[name];
			}
		}
		const bare = { id: made.id, type: made.type, rawId: made.rawId, response, clientExtensionResults: results };
		if (how === 'illegal') {
			response.getTransports = response.getPublicKey = response.getAuthenticatorData = bare.getClientExtensionResults = bare.toJSON = illegal;
		} else if (how === 'null') {
			Object.assign(response, { getTransports: () => null, getPublicKey: () => null, getAuthenticatorData: () => undefined, userHandle: null });
			Object.assign(bare, { rawId: null, getClientExtensionResults: () => null, authenticatorAttachment: null });
		}
		return bare;
	};
	const { create, get } = own;
	own.create = wrap(create);
	own.get = wrap(get);
}
