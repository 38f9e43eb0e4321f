// @ts-check
// What was asked of this phone, what became of it, and what was changed here.

import * as core from '../core.js';
import { fill, h, icon, replace, theirs } from '../dom.js';
import { badge, busy, button, callout, download, empty, fact, failure, sheet } from '../parts.js';
import { clean, count, day, lineName, sentence, source, when } from '../text.js';

/** @typedef {import('../../types/core').ActivityRecord} ActivityRecord */
/** @typedef {import('../parts.js').Tone} Tone */

/** How many records are fetched at a time. */
const page = 50;

/** @type {Record<string, {text: string, tone: Tone, icon: string}>} */
const outcomes = {
	approved: { text: 'Approved', tone: 'good', icon: 'check' },
	denied: { text: 'Denied', tone: 'bad', icon: 'cross' },
	expired: { text: 'Expired', tone: 'warn', icon: 'clock' },
	withdrawn: { text: 'Withdrawn', tone: 'plain', icon: 'back' },
	refused: { text: 'Refused', tone: 'bad', icon: 'off' },
	revoked: { text: 'Revoked', tone: 'bad', icon: 'seal' },
};

/**
 * What was done to keys, policies and pairings, by kind: its drawing, its words by what
 * was done, and who has it in mind as something to look out for.
 * @type {Record<string, {icon: string, words: Record<string, string>, heed?: string[]}>}
 */
const changes = {
	key: {
		icon: 'key', heed: ['exported', 'deleted'],
		words: {
			created: 'Key created', imported: 'Key imported', added: 'Key of another agent added', exported: 'Private key exported', deleted: 'Key deleted',
			renamed: 'Key renamed', enabled: 'Key switched on', disabled: 'Key switched off', default: 'Key made the default', changed: 'What a key may do was changed',
		},
	},
	ca: { icon: 'seal', heed: ['exported', 'deleted'], words: { created: 'CA created', imported: 'CA restored', exported: 'The CA’s key exported', deleted: 'CA deleted', changed: 'The CA’s policy was changed' } },
	pairing: { icon: 'laptop', words: { paired: 'Computer paired', unpaired: 'Pairing ended' } },
	grants: { icon: 'clock', words: { enabled: 'Approving in advance switched on', disabled: 'Approving in advance switched off' } },
};

const filters = [['', 'All'], ...Object.entries(outcomes).map(([key, o]) => [key, o.text]), ['change', 'Changes']];

// What the person looks for stays while the screen is drawn anew.
const looking = { text: '', outcome: '' };

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function activity(given) {
	const list = h('div', { class: 'log' }, h('p', { class: 'para', role: 'status' }, 'Reading…'));
	const log = new Log(list);
	if (!given.argument) {
		log.more();
	}
	const search = h('input', {
		type: 'search', class: 'search-input', 'aria-label': 'Search', placeholder: 'Search', 'data-key': 'search', autocomplete: 'off',
		oninput: () => { looking.text = search.value; log.draw(); },
	});
	search.value = looking.text;
	return {
		title: 'Activity',
		main: [
			h('div', { class: 'search' }, icon('search'), search),
			h('fieldset', { class: 'choices chips scroll' }, h('legend', { class: 'unseen' }, 'Outcome'), filters.map(([value, text]) => {
				const input = h('input', {
					type: 'radio', name: 'outcome', value, 'data-key': `outcome-${value}`,
					onchange: () => { looking.outcome = value; log.draw(); },
				});
				input.checked = looking.outcome === value;
				return h('label', { class: 'chip' }, input, h('span', { class: 'choice-text' }, h('span', { class: 'choice-title' }, text)));
			})),
			list,
		],
		actions: [
			button('Export', { icon: 'import', onclick: (e) => busy(/** @type {HTMLButtonElement} */ (e.currentTarget), exportLog) }),
			button('Check the log', { icon: 'shield', key: 'check-log', onclick: (e) => busy(/** @type {HTMLButtonElement} */ (e.currentTarget), check) }),
		],
	};
}

async function exportLog() {
	download('vmux-activity.jsonl', await core.call('exportActivity', {}), 'application/jsonl');
}

async function check() {
	/** @type {import('../../types/core').ActivityReport} */
	const report = await core.call('verifyActivity', {});
	const whole = report.problems.length === 0;
	const open = (report.logs ?? []).reduce((sum, l) => sum + (l.open ?? 0), 0); // no part of a chain yet
	const s = sheet({
		title: 'The log',
		body: [
			whole ? callout('good', report.records ? 'The log is whole' : 'The log is empty', report.records > 0 && h('p', null,
				`Each of its ${count(report.records - open, 'record')} follows from the one before. Nothing was changed, taken out or put in.`,
				open > 0 && ` ${count(open, 'record')} of the last refusals will be a part of it when others come in a later minute.`))
				: callout('bad', 'The log was changed, or is damaged', h('ul', null, report.problems.map((p) => h('li', null, theirs(p))))),
			report.unfinished ? callout('warn', `${count(report.unfinished, 'line')} left unfinished`, h('p', null, 'This phone was switched off while it wrote. That is no record.')) : null,
			(report.logs ?? []).map((l) => l.dropped && callout('plain', 'Older records gave way to newer ones', h('p', null, gone(l, l.dropped)))),
			report.records > 0 && h('dl', { class: 'facts' },
				report.last > 0 && chain('Decisions and changes', report),
				(report.logs ?? []).filter((l) => l.log && l.last > 0).map((l) => chain(logNames[l.log] ?? clean(l.log), l))),
			report.records > 0 && h('p', { class: 'hint' }, 'The hash is that of the last record. Whoever can write this browser’s storage could have written all of it anew: note it elsewhere to compare it later.'),
		],
		actions: [button('Close', { onclick: () => s.close() })],
	});
}

/** @type {Record<string, string>} */
const logNames = { granted: 'Approved in advance', refused: 'Ended without your decision' };

/** @param {string} name @param {{first: number, last: number, hash: string}} l */
const chain = (name, l) => fact(name, `Records ${l.first} to ${l.last}`, h('div', { class: 'mono' }, clean(l.hash)));

/** @type {Record<string, [string, string?]>} */
const nouns = { sign: ['signature'], certificate: ['certificate'], revocation: ['certificate'], key: ['key'], ca: ['CA'], pairing: ['computer'], grants: ['setting'] };

/** What a log no longer has. @param {import('../../types/core').LogReport} l @param {import('../../types/core').Dropped} d */
function gone(l, d) {
	const kinds = Object.entries(d.kinds ?? {}).map(([kind, n]) => {
		const [noun, ...decision] = kind.split(' ');
		return `${count(n, (nouns[noun] ?? [clean(noun)])[0])} ${clean(decision.join(' '))}`;
	});
	return `${logNames[l.log] ?? 'Decisions and changes'}: the first ${count(d.records, 'record')}${d.until ? `, until ${when(Date.parse(d.until))}` : ''}${kinds.length ? `: ${kinds.join(', ')}` : ''}.`;
}

class Log {
	/** @param {HTMLElement} place */
	constructor(place) {
		this.place = place;
		/** @type {ActivityRecord[]} */
		this.records = [];
		this.ended = false;
	}

	async more() {
		try {
			const before = this.records.at(-1)?.id;
			const records = await core.call('activity', { limit: page, before }) ?? [];
			this.ended = records.length < page;
			this.records.push(...records);
			this.draw();
		} catch (error) {
			replace(this.place, empty('warning', 'The log cannot be read', h('bdi', { class: 'para' }, failure(error).message)));
		}
	}

	draw() {
		const words = looking.text.toLowerCase().split(/\s+/).filter(Boolean);
		const shown = this.records.filter((r) => {
			const text = [r.deviceName, r.label, r.what, r.message, r.key, r.kind, r.serial, r.grant && 'in advance', ...(r.principals ?? []),
				...(r.lines ?? []).map((l) => l.value), ...(r.asked ?? []).map((a) => a.what), changes[r.kind]?.words[r.decision]].join(' ').toLowerCase();
			return (!looking.outcome || looking.outcome === (changes[r.kind] ? 'change' : r.decision)) && words.every((w) => text.includes(w));
		});
		/** @type {Map<string, ActivityRecord[]>} */
		const days = new Map();
		for (const r of shown) {
			const name = day(Date.parse(r.time));
			days.set(name, [...(days.get(name) ?? []), r]);
		}
		const open = new Set(Array.from(this.place.querySelectorAll('details[open]'), (d) => d.getAttribute('data-id')));
		replace(this.place,
			[...days].map(([name, records]) => h('section', { class: 'section' }, h('h2', null, name),
				h('ul', { class: 'card rows' }, records.map((r) => entry(r, open.has(nameOf(r))))))),
			shown.length === 0 && this.nothing(),
			!this.ended && this.records.length > 0 && button('Show older', { key: 'older', onclick: () => this.more() }));
	}

	nothing() {
		return this.records.length
			? empty('search', 'Nothing found', h('p', { class: 'para' }, this.ended ? 'Try other words or another outcome.' : 'Not among the newest entries.'))
			: empty('list', 'Nothing has been asked yet', h('p', { class: 'para' }, 'Each request is kept here, with what became of it.'));
	}
}

/** @param {ActivityRecord} r @param {boolean} open */
function entry(r, open) {
	const change = changes[r.kind];
	if (change) {
		const tone = change.heed?.includes(r.decision) ? 'warn' : 'plain';
		return line(r, open, { icon: change.icon, tone, title: change.words[r.decision] ?? clean(r.decision), about: r.label || r.deviceName });
	}
	const o = outcomes[r.decision] ?? { text: clean(r.decision), tone: 'plain', icon: 'question' };
	const what = r.kind === 'certificate' || r.kind === 'revocation' ? 'Session certificate' : r.what === 'unknown' ? 'Something this phone could not read' : r.what || 'Signature';
	const others = (r.asked?.length ?? 0) > 1 ? ' and others' : '';
	return line(r, open, { ...o, title: [theirs(sentence(what)), others], about: r.deviceName, key: r.label }, badge(o.text, o.tone),
		(r.count ?? 1) > 1 && badge(`${r.count} times`), r.grant && badge('In advance', 'plain', 'clock'));
}

/**
 * @param {ActivityRecord} r @param {boolean} open
 * @param {{icon: string, tone: string, title: import('../dom.js').Child, about: string, key?: string}} o
 * @param {...import('../dom.js').Child} badges
 */
function line(r, open, o, ...badges) {
	return h('li', null, h('details', { 'data-id': nameOf(r), open },
		h('summary', { class: 'row', 'data-key': `log-${nameOf(r)}` },
			h('span', { class: `bubble ${o.tone}` }, icon(o.icon)),
			h('span', { class: 'row-text' }, h('span', { class: 'row-title wrap' }, o.title),
				h('span', { class: 'row-sub' }, h('span', null, o.about && theirs(o.about), o.key && ' · ', o.key && theirs(o.key)))),
			h('span', { class: 'row-end column' }, badges, h('time', { datetime: r.time }, when(Date.parse(r.time)).split(' ').at(-1) ?? ''))),
		details(r)));
}

/** A change, like a revocation, answers no request. @param {ActivityRecord} r */
const nameOf = (r) => r.requestID ? `${r.requestID}${r.count ? '-merged' : ''}` : `${r.kind}-${r.serial ?? r.decision}-${r.time}`;

/** What merged requests asked for, and how often. @param {ActivityRecord} r */
function askedFor(r) {
	const named = (r.asked ?? []).reduce((sum, a) => sum + a.times, 0);
	const rest = (r.count ?? 0) - named;
	return [
		...(r.asked ?? []).map((a) => h('div', null, theirs(a.what || 'something that cannot be read'), a.program && ' by ', a.program && theirs(a.program), ` (${count(a.times, 'time')})`)),
		rest > 0 && h('div', null, `other things (${count(rest, 'time')})`),
	];
}

/** @param {ActivityRecord} r */
function details(r) {
	/** @type {[string, import('../dom.js').Child][]} */
	const list = [
		['When', new Date(r.time).toLocaleString('en-GB')],
		['How often', (r.count ?? 1) > 1 ? `${r.count} times${r.until ? `, until ${new Date(r.until).toLocaleTimeString('en-GB')}` : ''}` : ''],
		['Asked for', (r.count ?? 1) > 1 ? h('div', null, askedFor(r)) : ''],
		['What', changes[r.kind] && r.what ? theirs(r.what) : ''],
		['Why', r.message ? theirs(r.message) : ''],
		['Known', r.contextQuality ? { verified: 'checked by this phone', claimed: 'said by the computer', unknown: 'nothing' }[r.contextQuality] : ''],
		...(r.lines ?? []).map((l) => /** @type {[string, import('../dom.js').Child]} */ ([lineName(l.name),
			theirs(l.value + source(l), /^SHA256:/.test(l.value) ? 'mono' : '')])),
		['Asked', r.grant ? 'Nobody: approved in advance' : ''],
		['Accounts', r.principals?.length ? theirs(r.principals.join(', ')) : ''],
		['Valid until', r.validBefore ? theirs(Number.isNaN(Date.parse(r.validBefore)) ? r.validBefore : when(Date.parse(r.validBefore))) : ''],
		['Serial', r.serial ? h('span', { class: 'mono' }, clean(r.serial)) : ''],
		['Key', r.key ? h('span', { class: 'mono' }, clean(r.key)) : ''],
		['Computer', r.deviceID ? h('span', { class: 'mono' }, clean(r.deviceID)) : ''],
	];
	return fill(h('dl', { class: 'facts inset' }), list.filter(([, value]) => value).map(([name, value]) => fact(theirs(name), value)));
}
