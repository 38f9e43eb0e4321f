// @ts-check
// Answers to a request that are more than this one signature or denial.

import { h, theirs } from './dom.js';
import { row, rows } from './parts.js';
import { clean, count } from './text.js';

/** For how long an approval may let the like pass, in minutes; the last is the most there is. */
const times = [5, 15, 60];

/**
 * @param {import('../types/core').Sheet} r @param {(seconds: number) => void} grant @param {() => void} mute
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
		h('p', { class: 'para' }, 'The like of it: ', like(r), ' with the key ', theirs(r.label, 'strong'),
			', asked by ', theirs(r.computer, 'strong'), '. It needs no tap until the time is over, you end it on Home, or this app was out of sight for five minutes.'),
		rows(times.map((minutes) => row({
			icon: 'clock', tone: 'warn', key: `grant-${minutes}`, title: `Approve, and the like for ${count(minutes, 'minute')}`,
			onclick: () => grant(60 * minutes),
		}))),
		denial,
	];
}

/** @param {import('../types/core').Sheet} r */
function like(r) {
	const user = r.lines?.find((l) => l.name === 'user')?.value;
	return r.title?.includes('@') ? `logins as ${clean(user?.split(',')[0])} to this server` : 'git signatures';
}
