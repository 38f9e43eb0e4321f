// @ts-check
// The phone's core where the tests have it: in their own process, called by HTTP. It is
// served as wasm_exec.js beside a program that does nothing, so that the app itself is
// the real one, core.js too. See test/webui/core_test.go.

/** @param {string} name @param {any} body */
const posted = (name, body) => fetch(`core/${name}`, { method: 'POST', body: JSON.stringify(body) }).then((r) => r.json());

/** What the app runs a program with. */
Object.assign(globalThis, { Go: class {
	importObject = {};
	_resume() {}
	run() { return new Promise(() => {}); }
} });

/** What the program exports. @param {any} host as core.js gives it */
async function vmuxStart(host) {
	const events = new EventSource('core/events');
	let seen = -1; // events
	events.onmessage = ({ data }) => {
		const [n, event, payload] = JSON.parse(data);
		seen = n;
		if (event) {
			host.emit(event, JSON.stringify(payload));
		}
	};
	/** The program's events come before what it answers after them. @param {number} n */
	const heard = async (n) => {
		while (seen < n) {
			await new Promise((resolve) => events.addEventListener('message', resolve, { once: true }));
		}
	};
	await heard(0);
	const { origin, hostname, secure, version, name } = host;
	await posted('start', { page: { origin, host: hostname, secure, version, name } });
	/** @param {Uint8Array[]} secrets */
	const text = (secrets) => secrets.map((s) => btoa(String.fromCharCode(...s)));
	return {
		stop: () => events.close(),
		/** @param {string} name @param {string} args @param {...Uint8Array} secrets */
		call: async (name, args, ...secrets) => {
			const { error, value, events: n } = await posted('call', { name, args: JSON.parse(args), secrets: text(secrets) });
			await heard(n);
			if (error) {
				throw error;
			}
			return JSON.stringify(value ?? null);
		},
		/** At once: a tap that waits is none. @param {string} name @param {string} args @param {...Uint8Array} secrets */
		prepare: (name, args, ...secrets) => {
			const request = new XMLHttpRequest();
			request.open('POST', 'core/prepare', false);
			request.send(JSON.stringify({ name, args: JSON.parse(args), secrets: text(secrets), active: navigator.userActivation?.isActive }));
			return request.responseText;
		},
	};
}
Object.assign(globalThis, { vmuxStart });
