// @ts-check
// Web Push: the browser's half. The subscription goes to the hub through the
// wasm program.

import { isInstalled, isIOS } from './platform.js';
import { fromBase64 } from './webauthn.js';

/** @param {boolean} on whether the hub was given a subscription */
export async function status(on) {
	if (!('PushManager' in globalThis) || !navigator.serviceWorker || !('Notification' in globalThis)) {
		// An iPhone offers it to apps on the home screen only.
		return isIOS && !isInstalled() ? 'install' : 'unsupported';
	}
	if (Notification.permission === 'denied') {
		return 'denied';
	}
	return on && Notification.permission === 'granted' ? 'on' : 'off';
}

/** Asks for permission and subscribes; call it from a tap. @param {string} vapidKey */
export async function subscribe(vapidKey) {
	if (!vapidKey) {
		throw { code: 'pushUnavailable', message: 'This hub sends no notifications, or is not connected.' };
	}
	if (await Notification.requestPermission() !== 'granted') {
		throw { code: 'pushDenied', message: 'Notifications are not allowed.', hint: 'Allow them in the settings of this device.' };
	}
	return renew(vapidKey);
}

/** The subscription that holds now, made anew if need be. @param {string} vapidKey */
export async function renew(vapidKey) {
	if (!vapidKey || Notification.permission !== 'granted') {
		return null;
	}
	const { pushManager } = await navigator.serviceWorker.ready;
	const key = fromBase64(vapidKey);
	const current = await pushManager.getSubscription();
	const fits = current && sameBytes(current.options.applicationServerKey, key);
	if (current && !fits) {
		await current.unsubscribe(); // of a hub with other keys
	}
	const subscription = fits ? current :
		await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
	return subscription.toJSON();
}

/** @param {ArrayBuffer | null} a @param {Uint8Array} b */
function sameBytes(a, b) {
	const bytes = new Uint8Array(a ?? new ArrayBuffer(0));
	return bytes.length === b.length && bytes.every((byte, i) => byte === b[i]);
}

export async function unsubscribe() {
	if (!navigator.serviceWorker || !('PushManager' in globalThis)) {
		return;
	}
	const registration = await navigator.serviceWorker.getRegistration();
	await (await registration?.pushManager.getSubscription())?.unsubscribe();
}
