// @ts-check
// Answers to a request that are more than this one signature or denial.

import { h, icon, theirs } from './dom.js';
import { fact, row, rows } from './parts.js';
import { clean, count, isLogin, lineName, source } from './text.js';

/** @typedef {import('../types/core').Sheet} Request */

/** For how long an approval may let the like pass, in minutes; the last is the most there is. */
const times = [5, 15, 60];

/**
 * @param {Request} r @param {(seconds: number) => void} grant @param {() => void} mute
 * @returns {import('./dom.js').Child[]}
 */
export function otherAnswers(r, grant, mute) {
	const program = r.lines?.find((l) => l.name === 'program')?.value;
	const denial = rows(row({
		icon: 'off', tone: 'bad', key: 'mute', onclick: mute,
		title: program ? 'Deny, and mute this program for an hour' : 'Deny, and mute this computer for an hour',
		text: program ? theirs(program) : 'It does not say which program asks.',
	}));
	if (!r.grantable) {
		return [denial];
	}
	return [
		h('p', { class: 'para' }, 'The like of it: ', kindOf(r), ' with the key ', theirs(r.label, 'strong'),
			', asked by ', theirs(r.computer, 'strong'), '. It needs no tap until the time is over, you end it on Home, or this app was out of sight for five minutes.'),
		rows(times.map((minutes) => row({
			icon: 'clock', tone: 'warn', key: `grant-${minutes}`, title: `Approve, and the like for ${count(minutes, 'minute')}`,
			onclick: () => grant(60 * minutes),
		}))),
		denial,
	];
}

/** @param {Request} r */
function kindOf(r) {
	const user = r.lines?.find((l) => l.name === 'user')?.value;
	return isLogin(r.lines) ? `logins as ${clean(user?.replace(/, for the first time on this server$/, ''))} to this server` : 'git signatures';
}

/**
 * Whether two requests can be answered together: of one computer, for one key of
 * a vault. A passkey is asked for each signature; a warning stands alone.
 * @param {Request} a @param {Request} b
 */
export const like = (a, b) => a.id !== b.id && [a, b].every((r) => r.kind === 'sign' && r.keyKind !== 'passkey' && !r.mustAcknowledge && r.ready) &&
	a.computerID === b.computerID && a.fingerprint === b.fingerprint;

/** What is asked besides, on the same sheet. @param {Request[]} joined */
export const together = (joined) => joined.length > 0 && h('div', { class: 'group' },
	h('h3', { class: 'quality warn' }, icon('list'), `And ${count(joined.length, 'more request')}, with the same tap`),
	h('dl', { class: 'facts pairs' }, joined.flatMap((r) => [fact('Also', theirs(r.title, 'strong')),
		...(r.listed ?? []).map((l) => fact(theirs(lineName(l.name)), theirs(l.value, /^SHA256:/.test(l.value) ? 'mono' : ''), source(l)))])));
