// @ts-check
// Home: whether computers can reach this phone, which ones, with which keys, and
// what has been issued. Before anything is set up, it says what this is.

import * as core from '../core.js';
import { h, icon, replace, theirs } from '../dom.js';
import { badge, busy, button, callout, card, confirm, download, fact, failure, note, row, rows, section, sheet } from '../parts.js';
import { again, signInAddress, whyOffline } from '../reach.js';
import { ago, clean, duration, inGroups, when } from '../text.js';
import { alone } from './backup.js';
import { certificateRow, unexpired } from './certificates.js';
import { identityRow } from './identities.js';
import { lacksSpace, localNetwork, loss, problems, welcome } from './welcome.js';

/** @typedef {import('../../types/core').State} State */
/** @typedef {import('../../types/core').Computer} Computer */
/** @typedef {import('../../types/core').Pause} Pause */

/** From here on two clocks differ enough to be warned of, in seconds. */
const clockWarning = 30;

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function home({ state, refresh }) {
	if (!state.computers?.length && !state.identities?.length && !state.ca) {
		return welcome(state, refresh, offline(state));
	}
	return {
		title: 'vmux',
		top: transport(state),
		main: [
			loss(state),
			offline(state),
			localNetwork(state),
			problems(state),
			grants(state),
			!lacksSpace(state) && alone(state, true), // else that asks for a backup
			section('Computers', state.computers?.length
				? rows(state.computers.map((c) => computerRow(c, state)))
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

/** What keeps the phone from its hub, once it is known. @param {State} state */
function offline({ hub }) {
	if (hub.connected || !hub.error) { // else it has been tried
		return false;
	}
	const place = h('div', { role: 'status' });
	let told = '';
	const show = async () => {
		const why = await whyOffline(core.connect, hub.error ?? '');
		if (why.title !== told) { // a screen reader says it once
			told = why.title;
			replace(place, callout('warn', why.title, h('p', null, why.text),
				why.signIn && h('a', { class: 'button', href: signInAddress, target: '_blank', rel: 'noopener', 'data-key': 'sign-in' }, 'Sign in')));
		}
		setTimeout(() => place.isConnected && show(), again + 100);
	};
	show();
	return place;
}

/** @param {State} state */
function hubSheet(state) {
	const { hub, deviceName } = state;
	const s = sheet({
		title: 'Connection',
		body: [
			hub.connected
				? callout('good', 'Connected to the hub', h('p', null, 'Paired computers reach this phone while the app is open.'))
				: callout('warn', 'Not connected to the hub', h('p', null, navigator.onLine
					? 'It does not answer, or this phone does not get through to it. The app tries again by itself.'
					: 'This phone has no network. The app tries again by itself.'), hub.error && h('p', { class: 'hint' }, theirs(hub.error))),
			localNetwork(state),
			h('dl', { class: 'facts' }, fact('Hub', theirs(hub.url)), fact('This phone', theirs(deviceName))),
			h('p', { class: 'hint' }, 'The hub passes on what it cannot read: everything is encrypted between this phone and your computers.'),
		],
		actions: [button('Close', { onclick: () => s.close() })],
	});
}

/** @param {Computer} c */
function status(c) {
	if (c.connected) {
		return `Connected${c.since ? ` · since ${when(c.since)}` : ''}`;
	}
	if (c.connecting) {
		return 'Connecting…';
	}
	return c.since ? `Not connected · seen ${ago(c.since)}` : 'Not connected';
}

/** @param {Computer} c */
const clockOff = (c) => Math.abs(c.clockDifferenceSeconds ?? 0) >= clockWarning;

/** What may be used without asking. @param {State} state */
function grants(state) {
	const list = (state.grants?.list ?? []).filter((g) => g.until > Date.now());
	const end = (/** @type {string} */ id, /** @type {string} */ text, /** @type {string} */ label) => {
		const b = button(text, { key: `end-${id}`, label, onclick: () => busy(b, () => core.call('endGrant', { id })) });
		return b;
	};
	return list.length > 0 && section('Approved in advance', rows(list.map((g) => row({
		icon: 'clock', tone: 'warn', title: theirs(g.what),
		text: [h('span', null, theirs(g.label), ' for ', theirs(g.computer)), h('span', null, `${duration((g.until - Date.now()) / 1000)} left`)],
		end: end(g.id, 'End', `End: ${clean(g.what)}`),
	}))), list.length > 1 && h('div', { class: 'card-foot' }, end('', 'End all', 'End all')));
}

/** @param {State} state @param {Computer} c */
const pausesOf = (state, c) => (state.pauses ?? []).filter((p) => p.computerID === c.id && p.until > Date.now());

/** @param {Computer} c @param {State} state */
function computerRow(c, state) {
	const pauses = pausesOf(state, c);
	return row({
		icon: 'laptop', tone: c.connected ? 'good' : 'plain', title: theirs(c.name), key: `computer-${c.id}`,
		text: [h('span', null, status(c)), clockOff(c) && badge('Clocks differ', 'warn', 'clock'),
			troubled(c, state) && badge('Problem', 'warn', 'warning'),
			pauses.length > 0 && badge(pauses.some((p) => !p.program) ? 'Paused' : 'Program muted', 'warn', 'off')],
		onclick: () => computerSheet(c, state),
	});
}

/** Whether it has a problem of its own; that this phone is offline is none. @param {Computer} c @param {State} state */
const troubled = (c, { hub }) => Boolean(c.lastError) && !c.connected && hub.connected;

/** @param {Pause[]} pauses @param {() => void} done */
function pausedCallout(pauses, done) {
	const again = button('Let it ask again', { onclick: () => busy(again, async () => {
		await core.call('endPauses', { id: pauses[0].computerID });
		done();
	}) });
	const paused = pauses.some((p) => !p.program);
	return callout('warn', paused ? 'Paused' : 'A program is muted',
		pauses.map((p) => h('p', null, p.program ? ['Muted: ', theirs(p.program)] : 'Its requests are refused without asking you: several were denied, or you muted it.', ` ${duration((p.until - Date.now()) / 1000)} left.`)),
		paused && asked(pauses[0].computerID), again);
}

/** What a paused computer has asked for, to be read and kept. @param {string} id */
function asked(id) {
	const place = h('div', null, h('p', { role: 'status' }, 'Reading what it asked…'));
	core.call('pauseReport', { id }).then((/** @type {import('../../types/core').PauseReport} */ r) => replace(place,
		h('p', null, `Since the denials it asked for this (${Object.entries(r.decisions).map(([what, n]) => `${n} ${clean(what)}`).join(', ')}):`),
		h('ul', { class: 'asked' }, r.asked.map((a) => h('li', null, theirs(a.what), a.server && !a.what.includes(a.server) && [' · ', theirs(a.server, 'mono')],
			a.program && [' · by ', theirs(a.program)], a.times > 1 && ` · ${a.times} times`))),
		button('Save a report', { icon: 'import', onclick: () => download('vmux-report.jsonl', r.lines, 'application/jsonl') })))
		.catch((e) => replace(place, h('p', null, theirs(failure(e).message))));
	return place;
}

/** Shows a computer, if it is paired. @param {State | null} state @param {string} id */
export function showComputer(state, id) {
	const c = state?.computers?.find((one) => one.id === id);
	if (state && c) {
		computerSheet(c, state);
	}
}

/** @param {Computer} c @param {State} state */
function computerSheet(c, state) {
	const pauses = pausesOf(state, c);
	const s = sheet({
		title: theirs(c.name),
		body: [
			pauses.length > 0 && pausedCallout(pauses, () => s.close()),
			clockOff(c) && callout('warn', `Its clock differs by ${duration(Math.abs(c.clockDifferenceSeconds ?? 0))}`,
				h('p', null, 'Requests of a computer whose clock is wrong look expired. Set the time on both by the network.')),
			!state.hub.connected && callout('warn', 'This phone is offline', h('p', null, 'Without its hub it reaches no computer.')),
			troubled(c, state) && callout('warn', 'The last problem', h('p', null, theirs(c.lastError))),
			h('dl', { class: 'facts' },
				fact('State', status(c)),
				fact('OpenSSH there', theirs(c.opensshVersion || 'not known')),
				fact('Device ID', h('span', { class: 'mono' }, inGroups(c.id)))),
			h('p', { class: 'hint' }, 'The same device ID stands in “vmux status --json” on that computer.'),
		],
		actions: [
			button('Unpair', { kind: 'danger', icon: 'trash', onclick: () => { s.close(); unpair(c); } }),
			button('Close', { onclick: () => s.close() }),
		],
	});
}

/** @param {{id: string, name: string}} c */
export function unpair(c) {
	confirm({
		title: 'Unpair this computer?',
		body: [h('p', { class: 'para' }, theirs(c.name, 'strong'), ' can then no longer ask this phone. Session certificates it already has stay valid until they expire: revoke them first if it is lost. To come back it needs a new invitation.')],
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
	const valid = unexpired(state);
	if (!state.ca) {
		return card(h('p', { class: 'para' }, 'Asked too often? With a certificate authority on this phone, one approval lets a computer log in for hours.'),
			h('a', { class: 'button', href: '#ca', 'data-key': 'next-ca' }, icon('seal'), h('span', null, 'Set up a CA')));
	}
	return valid.length ? rows(valid.map(certificateRow)) : card(h('p', { class: 'para' }, 'None is valid now.'));
}
