// Safari, which takes one WebAuthn call for each tap (webkit.org/blog/11312): another
// one is refused with NotAllowedError until the person taps again.
() => {
	const own = navigator.credentials;
	let taps = 0;
	addEventListener('click', (e) => { taps = e.isTrusted ? 1 : taps; }, true);
	const wrap = (call) => (options) => {
		if (taps-- < 1) {
			taps = 0;
			return Promise.reject(new DOMException('User gesture is not detected. To use the WebAuthn API, call navigator.credentials within user activated events.', 'NotAllowedError'));
		}
		return call.call(own, options);
	};
	const { create, get } = own;
	own.create = wrap(create);
	own.get = wrap(get);
}
