// @ts-check
// What kind of browser this is, where the app has to say something else to its user.

/** Whether this is an iPhone or iPad, whatever browser runs there. */
export const isIOS = /iPhone|iPad|iPod/.test(navigator.userAgent) ||
	(navigator.platform === 'MacIntel' && navigator.maxTouchPoints > 1);

/** Whether the app was opened from the home screen, with its own window. */
export const isInstalled = () => matchMedia('(display-mode: standalone)').matches ||
	/** @type {any} */ (navigator).standalone === true;

/**
 * On iOS an installed app has a storage of its own: what is paired or made in
 * Safari is not there.
 */
export const mustInstallFirst = () => isIOS && !isInstalled();

/** Whether this is a browser inside another app (a messenger, a reader of codes), which keeps what is stored in it apart. */
export const isInAnotherApp = () => /; wv\)/.test(navigator.userAgent) || mustInstallFirst() && !/ Safari\//.test(navigator.userAgent);

/**
 * Whether this browser deletes what a site keeps once it was used for seven days and the site
 * was not, as WebKit does unless the app is installed (arkham-build/arkham.build#53).
 */
export const forgetsSites = () => /^Apple/.test(navigator.vendor) && !isInstalled();

/** @type {any} the browser's own offer to install, where it makes one */
let offer = null;
addEventListener('beforeinstallprompt', (event) => {
	event.preventDefault();
	offer = event;
	dispatchEvent(new Event('installable'));
});
addEventListener('appinstalled', () => {
	offer = null;
	dispatchEvent(new Event('installable'));
});

export const canOfferInstall = () => offer !== null;

export async function install() {
	const event = offer;
	offer = null;
	await event?.prompt();
	dispatchEvent(new Event('installable'));
}
