// @ts-check
// The servers that this phone remembers from approved logins.

import * as core from '../core.js';
import { h, replace, theirs } from '../dom.js';
import { button, confirm, empty, fact, failure, note, row, rows, section, sheet } from '../parts.js';
import { clean, when } from '../text.js';

/** @typedef {import('../../types/core').Host} Host */

/** @returns {import('../app.js').Screen} */
export function hosts() {
	const list = h('div', null, h('p', { class: 'para', role: 'status' }, 'Reading…'));
	load(list);
	return {
		title: 'Servers', back: '#settings', main: [
			h('p', { class: 'para' }, 'After a login that you have approved, this phone knows the server’s host key again, and warns you when another one takes the name.'),
			list,
		],
	};
}

/** @param {HTMLElement} place */
async function load(place) {
	try {
		/** @type {Host[]} */
		const known = await core.call('hosts', {}) ?? [];
		replace(place, known.length
			? section(null, rows(known.map((host) => row({
				icon: 'laptop', tone: 'plain', title: theirs(name(host)), key: `host-${host.fingerprint}`,
				text: [h('span', null, 'as ', theirs(host.users.join(', '))), h('span', null, `last ${when(host.lastSeen)}`)],
				onclick: () => details(host, place),
			}))))
			: empty('laptop', 'None yet', h('p', { class: 'para' }, 'The first approved login puts its server here.')));
	} catch (error) {
		replace(place, empty('warning', 'The servers cannot be read', h('bdi', { class: 'para' }, failure(error).message)));
	}
}

/** @param {Host} host */
const name = (host) => host.names[0] ?? 'Without a name';

/** @param {Host} host @param {HTMLElement} place */
function details(host, place) {
	const s = sheet({
		title: theirs(name(host)),
		body: [h('dl', { class: 'facts' },
			fact('Host key', h('span', { class: 'mono' }, clean(host.fingerprint))),
			fact('Names, as computers call it', theirs(host.names.join(', ') || 'none')),
			fact('Accounts', theirs(host.users.join(', '))),
			fact('First login', when(host.firstSeen)), fact('Last login', when(host.lastSeen)))],
		actions: [
			button('Forget', { kind: 'danger', icon: 'trash', onclick: () => { s.close(); forget(host, place); } }),
			button('Close', { onclick: () => s.close() }),
		],
	});
}

/** @param {Host} host @param {HTMLElement} place */
function forget(host, place) {
	confirm({
		title: 'Forget this server?',
		body: [h('p', { class: 'para' }, 'The next login to ', theirs(name(host), 'strong'), ' is then the first one, without a warning whatever its host key is.')],
		action: 'Forget',
		run: async () => {
			await core.call('forgetHost', { fingerprint: host.fingerprint });
			note(`${clean(name(host))} is forgotten.`, 'good');
			await load(place);
		},
	});
}
