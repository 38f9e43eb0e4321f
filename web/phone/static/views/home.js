// @ts-check
// Home: whether computers can reach this phone, which ones, with which keys, and
// what has been issued. Before anything is set up, it says what this is.

import * as core from '../core.js';
import { h, icon, theirs } from '../dom.js';
import { badge, button, callout, card, confirm, note, row, rows, section, sheet } from '../parts.js';
import { ago, clean, duration, inGroups, toTime, when } from '../text.js';
import { identityRow } from './identities.js';
import { problems, welcome } from './welcome.js';

/** @typedef {import('../../types/core').State} State */
/** @typedef {import('../../types/core').Computer} Computer */
/** @typedef {import('../../types/core').Certificate} Certificate */

/** From here on two clocks differ enough to be warned of, in seconds. */
const clockWarning = 30;

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function home({ state, refresh }) {
	if (!state.computers?.length && !state.identities?.length && !state.ca) {
		return welcome(state, refresh);
	}
	return {
		title: 'vmux',
		top: transport(state),
		main: [
			problems(state),
			section('Computers', state.computers?.length
				? rows(state.computers.map((c) => computerRow(c)))
				: card(h('p', { class: 'para' }, 'No computer is paired yet: none can ask this phone for anything.'))),
			section('Identities', state.identities?.length
				? rows(state.identities.slice(0, 4).map(identityRow), state.identities.length > 4 &&
					row({ title: `All ${state.identities.length}`, href: '#identities', key: 'all-identities' }))
				: nextKey()),
			section('Session certificates', certificates(state)),
		],
		actions: [h('a', { class: 'button primary', href: '#pair', 'data-key': 'pair' }, icon('scan'), h('span', null, 'Pair a computer'))],
	};
}

/** @param {State} state */
function transport(state) {
	const { hub } = state;
	const text = hub.connected ? 'Online' : 'Offline';
	return h('button', {
		type: 'button', class: `pill ${hub.connected ? 'good' : 'warn'}`, 'data-key': 'transport',
		'aria-label': `Hub: ${text}. Details`, onclick: () => hubSheet(state),
	}, icon(hub.connected ? 'cloud' : 'off'), text);
}

/** @param {State} state */
function hubSheet({ hub, deviceName }) {
	const s = sheet({
		title: 'Connection',
		body: [
			hub.connected
				? callout('good', 'Connected to the hub', h('p', null, 'Paired computers reach this phone while the app is open.'))
				: callout('warn', 'Not connected to the hub', h('p', null, theirs(hub.error || 'Connecting again by itself.'))),
			facts([['Hub', theirs(hub.url)], ['This phone', theirs(deviceName)]]),
			h('p', { class: 'hint' }, 'The hub passes on what it cannot read: everything is encrypted between this phone and your computers.'),
		],
		actions: [button('Close', { onclick: () => s.close() })],
	});
}

/** @param {[string, import('../dom.js').Child][]} list */
const facts = (list) => h('dl', { class: 'facts' }, list.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));

/** @param {Computer} c */
function status(c) {
	const since = toTime(c.since);
	if (c.connected) {
		return `Connected${Number.isNaN(since) ? '' : ` · since ${when(since)}`}`;
	}
	if (c.connecting) {
		return 'Connecting…';
	}
	return Number.isNaN(since) ? 'Not connected' : `Not connected · seen ${ago(since)}`;
}

/** @param {Computer} c */
const clockOff = (c) => Math.abs(c.clockDifferenceSeconds ?? 0) >= clockWarning;

/** @param {Computer} c */
function computerRow(c) {
	return row({
		icon: 'laptop', tone: c.connected ? 'good' : 'plain', title: theirs(c.name), key: `computer-${c.id}`,
		text: [h('span', null, status(c)), clockOff(c) && badge('Clocks differ', 'warn', 'clock'),
			c.lastError && !c.connected && badge('Problem', 'warn', 'warning')],
		onclick: () => computerSheet(c),
	});
}

/** @param {Computer} c */
function computerSheet(c) {
	const s = sheet({
		title: theirs(c.name),
		body: [
			clockOff(c) && callout('warn', `Its clock differs by ${duration(Math.abs(c.clockDifferenceSeconds ?? 0))}`,
				h('p', null, 'Requests of a computer whose clock is wrong look expired. Set the time on both by the network.')),
			c.lastError && callout('warn', 'The last problem', h('p', null, theirs(c.lastError))),
			facts([
				['State', status(c)],
				['OpenSSH there', theirs(c.opensshVersion || 'not known')],
				['Device ID', h('span', { class: 'mono' }, inGroups(c.id))],
			]),
			h('p', { class: 'hint' }, 'The same device ID stands in “vmux status” on that computer.'),
		],
		actions: [
			button('Unpair', { kind: 'danger', icon: 'trash', onclick: () => { s.close(); unpair(c); } }),
			button('Close', { onclick: () => s.close() }),
		],
	});
}

/** @param {Computer} c */
function unpair(c) {
	confirm({
		title: 'Unpair this computer?',
		body: [h('p', { class: 'para' }, theirs(c.name, 'strong'), ' can then no longer ask this phone. Session certificates it already has stay valid until they expire. To come back it needs a new invitation.')],
		action: 'Unpair',
		run: async () => {
			await core.call('unpair', { id: c.id });
			note(`${clean(c.name)} is no longer paired.`, 'good');
		},
	});
}

function nextKey() {
	return card(h('p', { class: 'para' }, 'There is no key on this phone yet. Make one, put its public line on your servers, and log in.'),
		h('a', { class: 'button', href: '#identities', 'data-key': 'next-key' }, icon('key'), h('span', null, 'Create a key')));
}

/** @param {State} state */
function certificates(state) {
	const valid = (state.certificates ?? []).filter((c) => toTime(c.validBefore) > Date.now());
	if (!state.ca) {
		return card(h('p', { class: 'para' }, 'Asked too often? With a certificate authority on this phone, one approval lets a computer log in for hours.'),
			h('a', { class: 'button', href: '#ca', 'data-key': 'next-ca' }, icon('seal'), h('span', null, 'Set up a CA')));
	}
	return valid.length ? rows(valid.map(certificateRow)) : card(h('p', { class: 'para' }, 'None is valid now.'));
}

/** @param {Certificate} c */
function certificateRow(c) {
	const before = toTime(c.validBefore);
	const whole = before - toTime(c.validAfter);
	const left = before - Date.now();
	const meter = h('meter', { min: '0', max: '100', 'aria-label': 'Part of its validity that is left' });
	meter.value = Math.round(100 * left / whole);
	return row({
		icon: 'seal', tone: 'good', title: theirs(c.computer),
		text: [
			h('span', null, 'as ', theirs((c.principals ?? []).join(', '), 'strong'), ' · for ', theirs(c.identity)),
			h('span', null, `until ${when(before)}, ${duration(left / 1000)} left`), meter,
		],
	});
}

