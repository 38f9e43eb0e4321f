// @ts-check
// The recovery sheet: what to do when this phone is gone, to be printed while it is not.

import { h, theirs } from '../dom.js';
import { button, share } from '../parts.js';
import { short } from '../text.js';

/** @typedef {import('../../types/core').State} State */

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function recovery({ state }) {
	const page = sheetOf(state);
	return {
		title: 'Recovery sheet', back: '#backup',
		main: [page],
		actions: [
			'share' in navigator && button('Share', { icon: 'share', onclick: () => share(page.innerText, 'vmux recovery sheet') }),
			button('Print', { kind: 'primary', icon: 'list', onclick: () => print() }),
		],
	};
}

/** @param {State} state */
function sheetOf(state) {
	const keys = state.identities ?? [], vault = keys.filter((k) => k.kind !== 'passkey'), passkeys = keys.filter((k) => k.kind === 'passkey');
	const name = theirs(state.deviceName, 'strong');
	const code = (/** @type {string} */ text) => h('code', null, text);
	return h('article', { class: 'card paper' },
		h('h2', null, 'If ', theirs(state.deviceName), ' is lost, stolen or broken'),
		h('p', null, `Printed ${new Date().toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric' })}. There is no secret on this sheet.`),
		h('ol', null,
			h('li', null, 'On each computer, run ', code('vmux phone retire'), ' with the name ', name, ' or, where another phone has that name, the ID ', code(state.deviceID.slice(0, 12)), '. It lists what to take off which servers, as commands. If the phone was stolen, do this first.'),
			h('li', null, 'End the pairing there: ', code('vmux unpair'), ' with the same name or ID.'),
			h('li', null, 'Take another phone, open ', theirs(state.hub.url, 'strong'), ' and choose “Restore a backup” in Settings, Second way in; or run ', code('vmux phone restore FILE'), ' on a machine. Then pair it.'),
			h('li', null, 'Without a backup: make new keys on another phone. Put them on the servers by a way in that is left (another key, a console, an administrator).'),
			passkeys.length > 0 && h('li', null, 'Passkeys are in no backup. Where they are synced, they work on another device of the same account, at the same address. Otherwise take them off the servers and make new ones.'),
			h('li', null, 'Was the phone stolen with its screen unlocked? Then make new keys, rather than restore these.')),
		h('h3', null, 'Keys on this phone'),
		keys.length === 0 && h('p', null, 'None yet.'),
		h('ul', null,
			[...vault, ...passkeys].map((k) => h('li', null, theirs(k.label, 'strong'), ` (${k.kind}) `, h('span', { class: 'mono' }, short(k.fingerprint)))),
			state.ca && h('li', null, h('strong', null, 'CA'), ` (${state.ca.kind}) `, h('span', { class: 'mono' }, short(state.ca.fingerprint)))),
		h('h3', null, 'Paired computers'),
		h('p', null, (state.computers ?? []).length ? theirs((state.computers ?? []).map((c) => c.name).join(', ')) : 'None yet.'),
		h('h3', null, 'To fill in by hand'),
		h('p', { class: 'blank' }, 'The backup is kept at'),
		h('p', { class: 'blank' }, 'Its passphrase is kept, elsewhere, at'),
		h('p', { class: 'blank' }, 'Another way into my servers'));
}
