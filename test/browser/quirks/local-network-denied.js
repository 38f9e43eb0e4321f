// Chrome 142 and newer (WebSockets since 147) keeps a page that was loaded from a public
// address away from hubs at home and on VPNs until the person allows it; told at
// developer.chrome.com/blog/local-network-access, reported at WICG/local-network-access
// (#16 among others). Requests that are not allowed fail as if nobody were there. Here
// every request to the hub is one: state is what the permissions say at first, answer
// what they say after a request from a tap. localNetwork(state) is the person who
// changes the site's settings.
(state, answer) => {
	const names = ['local-network', 'loopback-network', 'local-network-access'];
	const list = [];
	globalThis.localNetwork = (now) => {
		state = now;
		list.forEach((status) => status.dispatchEvent(new Event('change')));
	};
	const query = navigator.permissions.query.bind(navigator.permissions);
	navigator.permissions.query = async (descriptor) => {
		if (!names.includes(descriptor.name)) {
			return query(descriptor);
		}
		const status = new EventTarget();
		Object.defineProperty(status, 'state', { get: () => state });
		list.push(status);
		return status;
	};
	const Real = WebSocket;
	globalThis.WebSocket = class extends Real {
		constructor(url, protocols) {
			super(state === 'granted' ? url : new URL('/blocked', url), protocols);
		}
	};
	const real = fetch;
	globalThis.fetch = async (...request) => {
		if (!String(request[0]).endsWith('healthz')) { // of the app's own files, which the worker has
			return real(...request);
		}
		if (state === 'prompt' && navigator.userActivation.isActive) {
			globalThis.localNetwork(answer);
		}
		if (state !== 'granted') {
			throw new TypeError('Failed to fetch');
		}
		return real(...request);
	};
}
