// @ts-check
// The session certificates that this phone has issued, and revoking them.

import * as core from '../core.js';
import { h, theirs } from '../dom.js';
import { badge, button, confirm, download, fact, fail, note, row, sheet } from '../parts.js';
import { clean, duration, when } from '../text.js';

/** @typedef {import('../../types/core').Certificate} Certificate */

/** @param {import('../../types/core').State} state those that have not expired */
export const unexpired = (state) => (state.certificates ?? []).filter((c) => c.validBefore > Date.now());

/** @param {Certificate} c */
export function certificateRow(c) {
	const before = c.validBefore;
	const whole = before - c.validAfter;
	const left = before - Date.now();
	const meter = h('meter', { min: '0', max: '100', 'aria-label': 'Part of its validity that is left' });
	meter.value = Math.round(100 * left / whole);
	return row({
		icon: 'seal', tone: c.revokedAt ? 'bad' : 'good', title: theirs(c.computer), key: `certificate-${c.serial}`,
		text: [
			h('span', null, 'as ', theirs((c.principals ?? []).join(', '), 'strong'), ' · for ', theirs(c.identity)),
			...(c.revokedAt ? [badge('Revoked', 'bad', 'off')] : [h('span', null, `until ${when(before)}, ${duration(left / 1000)} left`), meter]),
		],
		onclick: () => details(c),
	});
}

/** @param {Certificate} c */
function details(c) {
	const s = sheet({
		title: 'Session certificate',
		body: [h('dl', { class: 'facts' },
			fact('Computer', theirs(c.computer)), fact('Accounts', theirs((c.principals ?? []).join(', '))), fact('On behalf of', theirs(c.identity)),
			fact('Issued', when(c.issuedAt)), fact('Valid until', when(c.validBefore)),
			c.revokedAt ? fact('Revoked', when(c.revokedAt)) : null,
			fact('Serial', h('span', { class: 'mono' }, clean(c.serial))))],
		actions: [
			!c.revokedAt && button('Revoke', { kind: 'danger', icon: 'off', onclick: () => { s.close(); revoke(c); } }),
			button('Close', { onclick: () => s.close() }),
		],
	});
}

/** @param {Certificate} c */
function revoke(c) {
	confirm({
		title: 'Revoke this certificate?',
		body: [h('p', { class: 'para' }, theirs(c.computer, 'strong'), ' drops it at once, or as soon as it connects. A computer that somebody else controls may not: servers refuse it once they have the revocation list, which the CA screen gives.')],
		action: 'Revoke',
		run: async () => {
			await core.call('revoke', { serial: c.serial });
			note('Revoked. Give your servers the new revocation list.', 'good');
		},
	});
}

export const revocationRow = () => row({
	icon: 'import', title: 'Download revocation list', text: 'For sshd’s RevokedKeys. It names all certificates revoked so far.', key: 'revocation-list',
	onclick: () => core.call('revocationList', {}).then((base64) => download('vmux_revoked.krl',
		Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)), 'application/octet-stream')).catch(fail),
});
