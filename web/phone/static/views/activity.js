// @ts-check
// What was asked of this phone, and what became of it.

import * as core from '../core.js';
import { fill, h, icon, replace, theirs } from '../dom.js';
import { badge, busy, button, callout, download, empty, failure, sheet } from '../parts.js';
import { clean, count, day, lineName, sentence, when } from '../text.js';

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

const filters = [['', 'All'], ...Object.entries(outcomes).map(([key, o]) => [key, o.text])];

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
	const s = sheet({
		title: 'The log',
		body: [
			whole ? callout('good', report.records ? 'The log is whole' : 'The log is empty', report.records > 0 && h('p', null,
				`Each of its ${count(report.records, 'record')} follows from the one before. Nothing was changed, taken out or put in.`))
				: callout('bad', 'The log was changed, or is damaged', h('ul', null, report.problems.map((p) => h('li', null, theirs(p))))),
			report.unfinished ? callout('warn', `${count(report.unfinished, 'line')} left unfinished`, h('p', null, 'This phone was switched off while it wrote. That is no record.')) : null,
			report.records > 0 && h('dl', { class: 'facts' },
				h('div', null, h('dt', null, 'Records'), h('dd', null, `${report.first} to ${report.last}`)),
				h('div', null, h('dt', null, 'Hash of the last one'), h('dd', { class: 'mono' }, clean(report.hash)))),
			report.records > 0 && h('p', { class: 'hint' }, 'Whoever can write this browser’s storage could have written all of it anew. Note the hash elsewhere to compare it later.'),
		],
		actions: [button('Close', { onclick: () => s.close() })],
	});
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
			const text = [r.deviceName, r.label, r.what, r.message, r.key, r.kind, r.serial, r.grant && 'in advance', ...(r.principals ?? []), ...(r.lines ?? []).map((l) => l.value)].join(' ').toLowerCase();
			return (!looking.outcome || r.decision === looking.outcome) && words.every((w) => text.includes(w));
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
	const o = outcomes[r.decision] ?? { text: clean(r.decision), tone: 'plain', icon: 'question' };
	const what = r.kind === 'certificate' || r.kind === 'revocation' ? 'Session certificate' : r.what === 'unknown' ? 'Something this phone could not read' : r.what || 'Signature';
	return h('li', null, h('details', { 'data-id': nameOf(r), open },
		h('summary', { class: 'row', 'data-key': `log-${nameOf(r)}` },
			h('span', { class: `bubble ${o.tone}` }, icon(o.icon)),
			h('span', { class: 'row-text' }, h('span', { class: 'row-title wrap' }, theirs(sentence(what))),
				h('span', { class: 'row-sub' }, h('span', null, theirs(r.deviceName), r.label && ' · ', r.label && theirs(r.label)))),
			h('span', { class: 'row-end column' }, badge(o.text, o.tone), r.grant && badge('In advance', 'plain', 'clock'), h('time', { datetime: r.time }, when(Date.parse(r.time)).split(' ').at(-1) ?? ''))),
		details(r)));
}

/** A revocation answers no request. @param {ActivityRecord} r */
const nameOf = (r) => r.requestID || `serial-${r.serial}-${r.time}`;

/** @param {ActivityRecord} r */
function details(r) {
	/** @type {[string, import('../dom.js').Child][]} */
	const list = [
		['When', new Date(r.time).toLocaleString('en-GB')],
		['Why', r.message ? theirs(r.message) : ''],
		['Known', r.contextQuality ? { verified: 'checked by this phone', claimed: 'said by the computer', unknown: 'nothing' }[r.contextQuality] : ''],
		...(r.lines ?? []).map((l) => /** @type {[string, import('../dom.js').Child]} */ ([lineName(l.name),
			theirs(l.value + (l.quality === 'verified' ? '' : ' (said by the computer)'), /^SHA256:/.test(l.value) ? 'mono' : '')])),
		['Asked', r.grant ? 'Nobody: approved in advance' : ''],
		['Accounts', r.principals?.length ? theirs(r.principals.join(', ')) : ''],
		['Valid until', r.validBefore ? theirs(Number.isNaN(Date.parse(r.validBefore)) ? r.validBefore : when(Date.parse(r.validBefore))) : ''],
		['Serial', r.serial ? h('span', { class: 'mono' }, clean(r.serial)) : ''],
		['Key', r.key ? h('span', { class: 'mono' }, clean(r.key)) : ''],
		['Computer', h('span', { class: 'mono' }, clean(r.deviceID))],
	];
	return fill(h('dl', { class: 'facts inset' }), list.filter(([, value]) => value).map(([name, value]) => h('div', null, h('dt', null, theirs(name)), h('dd', null, value))));
}
