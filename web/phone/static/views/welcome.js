// @ts-check
// The first screen there is: what this is, what this browser can do, and where to
// begin.

import * as core from '../core.js';
import { h, icon, theirs } from '../dom.js';
import { busy, button, callout, note, row, rows, section } from '../parts.js';
import { canOfferInstall, forgetsSites, install, isInAnotherApp, isInstalled, mustInstallFirst } from '../platform.js';

/** @typedef {import('../../types/core').State} State */
/** @typedef {import('../parts.js').Tone} Tone */

/** @param {State} state @param {() => void} refresh @param {HTMLElement | false} offline what keeps it from its hub @returns {import('../app.js').Screen} */
export function welcome(state, refresh, offline) {
	const elsewhere = isInAnotherApp() || mustInstallFirst(); // is where to begin
	return {
		title: 'vmux',
		main: [
			loss(state),
			offline,
			localNetwork(state),
			h('div', { class: 'hero' },
				h('img', { src: 'icons/icon.svg', alt: '', width: '88', height: '88' }),
				h('p', { class: 'hero-title' }, 'Your SSH keys, on this phone'),
				h('p', { class: 'para' }, 'Your computer holds none of them. When ssh or git needs a signature, this phone shows what it is for, and you approve it with your face, finger, screen lock or a passphrase.')),
			problems(state),
			beginElsewhere(),
			section('How to begin', h('ol', { class: 'card steps' },
				!isInstalled() && !isInAnotherApp() && h('li', null, h('strong', null, 'Install the app'), h('span', null, mustInstallFirst()
					? 'Share, then Add to Home Screen. Go on in the installed app.' : 'It then opens offline and can be notified.'),
				canOfferInstall() && button('Install', { icon: 'import', onclick: () => install().then(refresh) })),
				h('li', null, h('strong', null, 'Pair your computer'), h('span', null, 'Run ', h('code', null, 'vmux pair'), ' there and scan the code it prints.')),
				h('li', null, h('strong', null, 'Create a key'), h('span', null, 'Put its public line on your servers, and log in.'),
					h('a', { class: 'button', href: '#backup', 'data-key': 'restore' }, icon('import'), h('span', null, 'Or restore a backup'))))),
			section('What this browser can do', rows(abilities(state).map((a) => row(a)))),
		],
		actions: [h('a', { class: `button ${elsewhere ? '' : 'primary'}`, href: '#pair', 'data-key': 'pair' }, icon('scan'),
			h('span', null, elsewhere ? 'Pair here all the same' : 'Pair a computer'))],
	};
}

/** Where else to begin, if anywhere: an iPhone's installed app has a storage of its own, as have browsers inside of other apps. */
export const beginElsewhere = () => isInAnotherApp() ? callout('warn', 'This looks like a browser inside another app',
	h('p', null, 'What is made here is not in your own browser, and may be gone when that app is closed. Most have neither passkeys nor notifications.'),
	h('p', null, 'Open ', theirs(location.origin, 'strong'), ' in Safari, Chrome or Firefox itself, and scan the code there.')) : mustInstallFirst() && installFirst();

/** On an iPhone: why installing comes before everything else. */
const installFirst = () => callout('warn', 'First add vmux to the Home Screen',
	h('p', null, 'On iPhone and iPad an installed app keeps its own storage: what you pair or create in Safari would not be in it. Notifications work only there, too.'),
	h('ol', null,
		h('li', null, 'Tap ', icon('share', 'inline'), h('strong', null, ' Share'), ' in Safari’s toolbar.'),
		h('li', null, 'Choose ', h('strong', null, 'Add to Home Screen'), '.'),
		h('li', null, 'Open vmux from there and scan the code inside the app. The Camera app would open Safari instead.')));

/** That this phone was another one. @param {State} state */
export const loss = (state) => state.vanished === 'key' ? callout('bad', 'Your computers do not know this phone any more',
	h('p', null, 'This browser has lost the key of this device, by which computers and the hub know it. What you see here is what it still has.'),
	h('p', null, 'Pair your computers again.'),
	button('Hide this', { onclick: core.beginAnew })) : state.vanished && callout('bad', 'What was kept here is gone',
	h('p', null, 'This browser has deleted what vmux had stored: the vault and its keys, the CA, the list of passkeys, pairings and the log. It does so when its store is damaged, as by a full disk. Nobody else has got them.'),
	h('p', null, 'Pair your computers again, make new keys, and take the old ones off your servers.'),
	button('Begin anew', { onclick: core.beginAnew }));

/** @param {number} bytes */
export const megabytes = (bytes) => bytes < 1 << 30 ? `${Math.floor(bytes / (1 << 20))} MB` : `${(bytes / (1 << 30)).toFixed(1)} GB`;

/** Below this vmux warns: a newer version of the app needs some of it, and every key. In bytes. */
const littleSpace = 32 << 20;

/** @param {State} state */
export const lacksSpace = ({ support: { space } }) => typeof space === 'number' && space < littleSpace;

/** What stands in the way of everything. @param {State} state */
export function problems(state) {
	const space = state.support.space ?? 0;
	return [
		lacksSpace(state) && callout('warn', 'Hardly any space is left',
			h('p', null, space === 0 ? 'The browser could not store what vmux gave it. Until it can, nothing is signed, and it may lose what is kept here: keys, the CA and pairings.'
				: `The browser lets vmux store ${megabytes(space)} more. When that is used up, nothing is signed, and it may lose what is kept here: keys, the CA and pairings.`),
			state.identities?.length ? [
				h('p', null, 'Make a backup, kept elsewhere, while this page is open. Then free some space on this device.'),
				h('a', { class: 'button', href: '#backup', 'data-key': 'backup-now' }, 'Make a backup'),
			] : h('p', null, 'Free some space on this device.')),
		state.rpProblem && callout('warn', 'No passkeys at this address', h('p', null, theirs(state.rpProblem)),
			h('p', null, 'Open the app by the hub’s host name. Here you can make passphrase keys, which are weaker.')),
		!state.rpProblem && !state.support.webauthn && callout('warn', 'This browser has no WebAuthn',
			h('p', null, 'Neither passkeys nor vault keys can be made or used here. You can make passphrase keys, which are weaker.'),
			h('p', null, 'For the others, open this address in Safari (iOS 18 or newer), or in a current Chrome, Edge or Firefox. Or keep keys on a second machine, with ', h('code', null, 'vmux phone'), '.')),
	];
}

/** That the browser may keep a hub at home away. @param {State} state */
export function localNetwork({ hub, support }) {
	if (hub.connected || !hub.error) {
		return null;
	}
	if (support.localNetwork === 'denied') {
		return callout('warn', 'This browser keeps vmux from your network',
			h('p', null, 'A hub at home or on a VPN, such as tailscale, is out of reach. Allow “Local network access” (“Local network”) for this site in the browser’s settings, then come back.'));
	}
	const ask = button('Ask the browser', { key: 'ask-network', onclick: () => busy(ask, async () => {
		const { allowed } = await core.call('allowLocalNetwork', {});
		if (allowed === 'prompt') {
			note('The browser did not ask.', 'warn', 'Then the hub is not in this network, or does not answer.');
		}
	}) });
	return support.localNetwork === 'prompt' && callout('warn', 'Is the hub in your own network?',
		h('p', null, 'It cannot be reached. For a hub at home or on a VPN, such as tailscale, this browser may want your permission.'), ask);
}

/** Said where the browser forgets sites. */
export const sevenDays = 'Safari and its relatives delete what a site keeps once they were used for seven days and the site was not. An installed app (Add to Home Screen, on a Mac Add to Dock) is exempt, and has a storage of its own: install first, then make keys there.';

/** What works here and what does not, each with its consequence. @param {State} state */
export function abilities({ support, rpProblem }) {
	/** @type {(good: boolean | null, title: string, text: string) => {icon: string, tone: Tone, title: string, text: string}} */
	const line = (good, title, text) => ({
		icon: good === null ? 'question' : good ? 'check' : 'cross', tone: good === null ? 'plain' : good ? 'good' : 'warn', title, text,
	});
	const push = {
		on: line(true, 'Notifications: on', 'A notification says that a request waits, and nothing else.'),
		broken: line(false, 'Notifications do not work', `${support.pushProblem?.message ?? ''} Settings say what to do.`),
		off: line(null, 'Notifications: off', 'Turn them on in Settings, or open the app when a computer asks.'),
		denied: line(false, 'Notifications: blocked', 'Allow them in the browser’s settings, or open the app when a computer asks.'),
		unsupported: line(false, 'No notifications', 'This browser has no Web Push: open the app when a computer asks.'),
		install: line(false, 'Notifications: after installing', 'This browser notifies installed apps only.'),
	};
	const prf = {
		yes: line(true, 'Vault keys', 'Ed25519, RSA and P-256 keys, unlocked by a passkey for each signature.'),
		none: line(false, 'No vault keys', 'Only a passkey could unlock them.'),
		no: line(false, 'No vault keys', 'The passkeys of this browser cannot unlock a vault (WebAuthn PRF is missing). Passkeys work.'),
		unknown: line(null, 'Vault keys: perhaps', 'Whether the vault works shows when you create the first vault key.'),
	};
	const confirms = support.platformAuthenticator ? line(true, 'Face, finger or screen lock', 'This device itself can confirm that it is you.')
		: line(false, 'No screen lock', 'Set up a screen lock, or use a security key or another phone as authenticator.');
	return [
		support.webauthn ? line(true, 'Passkeys', 'SSH keys in this device’s secure hardware or password manager.')
			: line(false, 'No passkeys', rpProblem ? 'None can be made at this address.' : 'This browser has no WebAuthn.'),
		prf[support.webauthn ? support.prf : 'none'] ?? prf.unknown,
		...support.passphrase ? [line(true, 'Passphrase keys', 'The weaker vault: Ed25519, RSA and P-256 keys, under a passphrase that you type for each signature.')] : [],
		...support.webauthn ? [confirms] : [], // the person, for a passkey
		forgetsSites() ? line(false, 'No lasting storage', sevenDays)
			: support.persisted ? line(true, 'Lasting storage', 'The browser has promised not to clear what is kept here, unless it is set to forget sites when it closes.')
				: line(null, 'Storage may be cleared', 'The browser may remove what is kept here when space is short. Installing the app helps.'),
		push[support.push] ?? push.unsupported,
	];
}
