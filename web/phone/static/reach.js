// @ts-check
// Why the hub is not reached, as far as a page can tell. A WebSocket that fails says
// nothing of the cause, so the hub's health is asked for, at an address that the
// service worker does not answer.

/** The hub's answer to it, from its root. */
const health = '/healthz';
const patience = 8000; // in milliseconds
/** How soon it is looked for anew, in milliseconds. */
export const again = 4000;

/** @typedef {{title: string, text: string, signIn?: boolean}} Reason */

const login = {
	title: 'A login page answers in place of the hub', signIn: true,
	text: 'It is this network’s, or that of a proxy before the hub. Sign in there, then come back: the app tries again by itself.',
};

// Private Relay lets pages through and WebSockets not, as of Safari 26 (WebKit bugs 298616 and 302561).
const who = !/^Apple/.test(navigator.vendor) ? 'Whoever' :
	'iCloud Private Relay may be the cause: turn it off, or in the settings of this network “Limit IP Address Tracking”. Otherwise whoever';

const heldBack = {
	title: 'Something holds back the app’s connection',
	text: `The hub answers, but its WebSocket does not get through. ${who} runs the proxy before the hub has to let /v1/connect through, without a login.`,
};

/**
 * What the hub itself has refused this phone with, if it did: then nothing is in the way of it.
 * One that it has replaced was connected anew by a copy, and two that did so in turn would be of no use.
 * @param {string} error the core's @returns {Reason | null}
 */
function refusal(error) {
	const [, message, code] = /(?:^|: )hub: (.*) \((\w+)\)$/.exec(error) ?? [];
	if (code === 'replaced') {
		return {
			title: 'This phone is connected elsewhere',
			text: 'Another browser has a copy of what is stored here, as in a copied profile or a cloned machine, and has connected as this phone. Only one is connected at a time: use one, and close the other.',
		};
	}
	return code && code !== 'closing' ? { title: 'The hub refuses this phone', text: `It says: ${message}. The app tries again by itself.` } : null; // closing: it comes back
}

/**
 * The page was opened at an address that is not the hub's own, where it takes no devices.
 * @param {string} origin the hub's @returns {Reason}
 */
const elsewhere = (origin) => ({
	title: 'The hub has another address',
	text: `Open the app at ${origin}. At this one it cannot be reached by computers, and what is made here is not there.`,
});

// A hub that has just come back answers before the app's next attempt, which may be 15
// seconds away.
const back = { title: 'The hub answers', text: 'The app connects to it.' };

/** @param {boolean} answered whether the hub did when it was last looked for @returns {Promise<Reason>} */
async function look(answered) {
	/** @type {Response} */
	let answer;
	let said = '';
	try {
		answer = await fetch(health, { cache: 'no-store', redirect: 'manual', credentials: 'same-origin', signal: AbortSignal.timeout(patience) });
		said = answer.type === 'opaqueredirect' ? '' : (await answer.text()).trim();
	} catch {
		// Only now: browsers say so of networks that have a hub and no Internet, and of VPNs.
		return !navigator.onLine ? { title: 'This phone has no network', text: 'The app tries again by itself.' } : {
			title: 'The hub is not reached',
			text: 'It is off, or this network does not let the app through. If the network has a login page (hotel, train, guest Wi-Fi), open any page in the browser and sign in.',
		};
	}
	if (answer.type === 'opaqueredirect' || [401, 403, 407, 511].includes(answer.status)) {
		return login;
	}
	if (answer.headers.get('Content-Type')?.startsWith('text/html') && answer.ok) {
		return login;
	}
	const origin = answer.headers.get('Vmux-Hub');
	if (answer.ok && said === 'ok') {
		return origin && origin !== location.origin ? elsewhere(origin) : answered ? heldBack : back;
	}
	return { title: 'The hub is out of order', text: `A server answers in its place (HTTP status ${answer.status}). Whoever runs it finds the reason in its log.` };
}

let at = 0;
/** @type {Promise<Reason> | undefined} */
let last;

/**
 * Why the hub is not reached.
 * @param {() => void} connect called when it is found to be back @param {string} error what the core says of it @returns {Promise<Reason>}
 */
export async function whyOffline(connect, error) {
	const refused = refusal(error);
	if (refused) {
		return refused;
	}
	const age = performance.now() - at;
	if (!last || age > again) {
		const before = age < 3 * again ? last : undefined; // what was long ago says nothing
		at = performance.now();
		last = (async () => {
			const was = await before;
			const why = await look(was === back || was === heldBack);
			if (why === back) {
				connect();
			}
			return why;
		})();
	}
	return last;
}

/** Where the login page can be seen: not the app's own page, which the phone keeps. */
export const signInAddress = health;
