// @ts-check
// Web Push: the browser's half. The subscription goes to the hub through the
// wasm program.

import { isInstalled, isIOS } from './platform.js';
import { fromBase64 } from './webauthn.js';

/** @typedef {{code: string, message: string, hint?: string}} Cause */

/** How long is waited for the browser, in milliseconds: no promise of its own has to end. */
const patience = { worker: 5000, service: 20000, person: 60000, arrival: 30000 };
/** Between the end of a subscription and the next: until then Chromium makes one up. */
const waits = [1000, 3000, 8000];

const isBrave = 'brave' in navigator;
const isAndroid = /Android/.test(navigator.userAgent);

/** Why this phone cannot be woken, and what to do. The code alone is kept. @type {Record<string, [string, string]>} */
const causes = {
	pushUnavailable: ['This hub sends no notifications, or is not connected.', 'Try again when the app is connected to the hub.'],
	pushUnsupported: ['This browser offers the app no Web Push.', 'Install the app, or open it in another browser.'],
	pushDenied: ['Notifications are not allowed.', isIOS ? 'Allow them in the Settings of this device, under Notifications, vmux.'
		: 'Allow them for this site in the browser’s settings, and for the browser in the settings of this device.'],
	pushDeniedBySystem: ['This device does not let the browser notify.', 'Allow notifications of the browser in the settings of this device.'],
	pushDeniedAnew: ['The browser has taken back the permission to notify.', 'Give it once more.'],
	pushUnanswered: ['The browser’s question has no answer yet.', 'Tap once more and allow it. Some browsers show no more than a bell beside the address.'],
	pushNoWorker: ['The app’s service worker does not run; it is what receives notifications.',
		'Close all windows of vmux and open it again. Private windows have none, nor do browsers that store nothing for sites, nor pages whose files something on the way changes: see Version.'],
	pushBrave: ['Brave is set to use no push service.', 'Turn on “Use Google services for push messaging” in Brave’s settings, under Privacy and security, and start Brave anew.'],
	pushNoService: ['This browser has no push service, or does not reach it.', isAndroid
		? 'On Android most browsers need Google Play services for it. A firewall or VPN may block it as well.'
		: 'A firewall, a VPN or a policy may block it, and Chromium without Google’s services has none.'],
	pushSlow: ['The browser’s push service does not answer.', 'Try again. A firewall or VPN may block it.'],
	pushKey: ['The browser keeps a subscription for other keys of this hub, and does not end it.',
		'Take back this site’s permission to notify in the browser’s settings, then turn this on again.'],
	pushDead: ['The browser gives only subscriptions that have ended.',
		'Close the browser and open it again. If that does not help, take back this site’s permission to notify, and turn this on again.'],
	pushRefused: ['The hub cannot use the push service of this browser.', 'Try another browser.'],
	pushFailed: ['The browser could not subscribe.', 'Open the browser anew and try again.'],
};

/** @param {string} code @param {any} [error] the browser's @returns {Cause} */
export function cause(code, error) {
	const [message, hint] = Object.hasOwn(causes, code) ? causes[code] : causes.pushFailed;
	const said = error && `${error.name ?? 'Error'}: ${error.message ?? error}`;
	return { code, message: said ? `${message} (${said})` : message, hint };
}

/** Whether it is a reason why this phone cannot be woken, and not just now. @param {string} code */
export const lasts = (code) => Object.hasOwn(causes, code);

/** Refuses to wait longer. @template T @param {number} time @param {Promise<T>} promise @param {string} code @returns {Promise<T>} */
function within(time, promise, code) {
	let timer = 0;
	const end = new Promise((_, reject) => {
		timer = setTimeout(() => reject(cause(code)), time);
	});
	return Promise.race([promise, /** @type {Promise<never>} */ (end)]).finally(() => clearTimeout(timer));
}

const supported = () => 'PushManager' in globalThis && Boolean(navigator.serviceWorker) && 'Notification' in globalThis;

/** The site's permission to notify, or ''. */
export const permission = () => supported() ? Notification.permission : '';

/**
 * Whether this phone can be woken.
 * @param {boolean} wanted whether the person has turned it on @param {string} [problem] the code of what was found last
 * @returns {{push: import('../types/core').Support['push'], pushProblem: Cause | null}}
 */
export function status(wanted, problem) {
	if (!supported()) {
		// An iPhone offers it to apps on the home screen only.
		return { push: isIOS && !isInstalled() ? 'install' : 'unsupported', pushProblem: null };
	}
	if (Notification.permission === 'denied') {
		return { push: 'denied', pushProblem: cause(problem?.startsWith('pushDenied') ? problem : 'pushDenied') };
	}
	const broken = problem || (Notification.permission === 'granted' ? '' : 'pushDeniedAnew');
	return { push: !wanted ? 'off' : broken ? 'broken' : 'on', pushProblem: wanted && broken ? cause(broken) : null };
}

/**
 * Asks for the permission. Call it straight from the tap: Firefox and Safari refuse a
 * page that has waited for something before.
 */
export async function ask() {
	const answer = await within(patience.person, new Promise((resolve, reject) => {
		Notification.requestPermission(resolve)?.then(resolve, reject); // older ones call back only
	}), 'pushUnanswered');
	if (answer === 'denied') {
		throw cause(await blockedBySystem() ? 'pushDeniedBySystem' : 'pushDenied');
	}
	if (answer !== 'granted') {
		throw cause('pushUnanswered'); // closed without an answer
	}
}

/** Whether the site has the permission, and the browser itself has not. */
async function blockedBySystem() {
	const found = await navigator.permissions?.query({ name: 'notifications' }).catch(() => null);
	return Boolean(found) && found?.state !== 'denied';
}

/** Fails with the cause if nothing may be shown any more. */
export function mustBeAllowed() {
	if (!supported()) {
		throw cause('pushUnsupported');
	}
	if (Notification.permission !== 'granted') {
		throw cause(Notification.permission === 'denied' ? 'pushDenied' : 'pushDeniedAnew');
	}
}

/**
 * Gives the hub the subscription that holds now, made anew if need be.
 * @param {string} vapidKey @param {(subscription: PushSubscriptionJSON) => Promise<unknown>} give
 */
export async function subscribe(vapidKey, give) {
	if (!vapidKey) {
		throw cause('pushUnavailable');
	}
	const { pushManager } = await within(patience.worker, navigator.serviceWorker.ready, 'pushNoWorker');
	if (!pushManager) {
		throw cause('pushUnsupported');
	}
	const key = fromBase64(vapidKey);
	for (let tries = 0; ; tries++) {
		const subscription = await current(pushManager, key).catch((error) => {
			throw explain(error);
		});
		try {
			if (isMadeUp(subscription)) {
				throw cause('pushDead');
			}
			return await give(subscription.toJSON());
		} catch (error) {
			if (/** @type {Cause} */ (error).code !== 'pushDead') {
				throw error;
			}
			await end(subscription);
			if (tries === waits.length) {
				throw cause('pushDead');
			}
			await new Promise((resolve) => setTimeout(resolve, waits[tries]));
		}
	}
}

/** @param {PushManager} pushManager @param {Uint8Array<ArrayBuffer>} key @returns {Promise<PushSubscription>} */
async function current(pushManager, key) {
	const found = await within(patience.service, pushManager.getSubscription(), 'pushSlow');
	if (found && sameBytes(found.options?.applicationServerKey, key) && !(found.expirationTime && found.expirationTime < Date.now())) {
		return found;
	}
	await end(found); // of a hub with other keys, or over
	const options = { userVisibleOnly: true, applicationServerKey: key };
	// Firefox for Android was seen to give none and no error (fenix#20365).
	const make = async () => await within(patience.service, pushManager.subscribe(options), 'pushSlow') ?? Promise.reject(cause('pushFailed'));
	return make().catch(async (error) => {
		if (error.name !== 'InvalidStateError') {
			throw error;
		}
		await end(await within(patience.service, pushManager.getSubscription(), 'pushSlow')); // that was not given out before
		return make();
	});
}

/** What the browser's error means. @param {any} error @returns {Cause} */
function explain(error) {
	if (typeof error?.code === 'string') {
		return error;
	}
	const text = String(error?.message);
	if (error?.name === 'NotAllowedError' || /permission denied/i.test(text)) {
		return cause('pushDenied', error);
	}
	if (error?.name === 'InvalidStateError') {
		return cause('pushKey', error);
	}
	if (/no active service ?worker/i.test(text)) {
		return cause('pushNoWorker', error);
	}
	if (error?.name === 'AbortError' || error?.name === 'NetworkError' || /push service/i.test(text)) {
		return isBrave ? cause('pushBrave') : cause('pushNoService', error);
	}
	return cause('pushFailed', error);
}

/** @param {PushSubscription} subscription */
function isMadeUp({ endpoint }) {
	try {
		return /(^|\.)invalid\.?$/.test(new URL(endpoint).hostname);
	} catch {
		return true;
	}
}

/** @param {ArrayBuffer | null | undefined} a @param {Uint8Array} b */
function sameBytes(a, b) {
	const bytes = new Uint8Array(a ?? new ArrayBuffer(0));
	return bytes.length === b.length && bytes.every((byte, i) => byte === b[i]);
}

/** Ends a subscription as far as the browser does it. @param {PushSubscription | null | undefined} subscription */
async function end(subscription) {
	if (subscription) {
		await within(patience.worker, subscription.unsubscribe(), 'pushSlow').catch(() => {});
	}
}

export async function unsubscribe() {
	if (supported()) {
		const found = navigator.serviceWorker.getRegistration().then((r) => r?.pushManager?.getSubscription());
		await end(await within(patience.worker, found, 'pushSlow').catch(() => null));
	}
}

/** Takes away the notifications of what is on the screen now, or waits no more. */
export async function clear() {
	const registration = await navigator.serviceWorker?.getRegistration();
	for (const notification of await registration?.getNotifications?.() ?? []) {
		notification.close();
	}
}

/** Tests that are under way: what they show stays. */
export let testing = 0;

/**
 * Has this phone woken by a push, and waits until its worker says so.
 * @param {() => Promise<unknown>} wake @returns {Promise<{arrived: boolean, problem?: string}>}
 */
export async function testPush(wake) {
	testing++;
	/** @type {(event: MessageEvent) => void} */
	let heard = () => {};
	try {
		const arrived = new Promise((resolve) => {
			heard = ({ data }) => data?.type === 'woken' && resolve({ arrived: !data.problem, problem: data.problem });
			navigator.serviceWorker.addEventListener('message', heard);
		});
		await wake();
		return await Promise.race([arrived, new Promise((resolve) => setTimeout(() => resolve({ arrived: false }), patience.arrival))]);
	} finally {
		testing--;
		navigator.serviceWorker.removeEventListener('message', heard);
	}
}
