// @ts-check
// What a key may be used for. What is not allowed is refused without asking.

import * as core from '../core.js';
import { h, replace, theirs } from '../dom.js';
import { busy, button, checks, field, formFor, note, row, rows, section, sheet } from '../parts.js';
import { ago, clean, count, names } from '../text.js';

/** @typedef {import('../../types/core').Identity} Identity */
/** @typedef {import('../../types/core').Rules} Rules */

/** @type {Record<string, string>} how the signer's uses are called here */
const uses = {
	logins: 'logins', signatures: 'signatures of files and git', unknown: 'what this phone cannot read',
	forwarded: 'use through another server', certificates: 'session certificates', sudo: 'sudo',
};

/** @param {Identity} id */
export function allowedUses(id) {
	const { rules } = id;
	const counted = h('p', { class: 'hint' });
	if (rules) {
		core.call('refusals', { fingerprint: id.fingerprint }).then((r) => replace(counted, r.count
			? `${count(r.count, 'request')} refused so far, the last ${ago(r.last)}: Activity says which.` : 'No request has been refused yet.')).catch(() => {});
	}
	return section('Allowed uses', rows(row({
		icon: 'shield', tone: rules ? 'good' : 'plain', key: 'rules', title: rules ? 'Limited' : 'Everything',
		text: rules ? words(rules).map((w) => h('span', null, w[0], theirs(w[1], 'strong'))) : 'You are asked each time. Tap to limit it.',
		onclick: () => edit(id),
	})), rules && counted);
}

/** @param {Rules} rules @returns {[string, string][]} */
function words(rules) {
	/** @type {[string, string][]} */
	const list = [
		['Only to ', (rules.hosts ?? []).join(', ')],
		['Also where a login does not name the server: ', rules.oldServers ? 'old servers' : ''],
		['Only as ', (rules.users ?? []).join(', ')],
		['Signs only for ', (rules.namespaces ?? []).join(', ')],
		['Sudo only on ', (rules.sudo ?? []).join(', ')],
		['Never for ', (rules.forbid ?? []).map((use) => uses[use] ?? clean(use)).join(', ')],
		['Only at ', rules.hours ?? ''],
	];
	return list.filter(([, value]) => value);
}

/** @param {Identity} id */
function edit(id) {
	const rules = id.rules ?? {};
	const hosts = field('Servers', { value: (rules.hosts ?? []).join(', ') }, 'Names, or host keys as SHA256:…, separated by commas. Empty: any. Limited to some, the key gets no session certificates: these hold for all servers of the CA.');
	const old = checks('Old servers', [{ value: 'old', title: 'allow logins that do not name the host key (OpenSSH before 8.9)', checked: rules.oldServers ?? false }]);
	const users = field('Accounts', { value: (rules.users ?? []).join(', ') }, 'Whom to log in as. Empty: anybody.');
	const namespaces = field('Signatures for', { value: (rules.namespaces ?? []).join(', '), placeholder: 'git, file' }, 'Purposes of signatures. Empty: any.');
	const sudo = field('Sudo', { value: (rules.sudo ?? []).join(', ') }, 'Servers whose sudo may ask, with the agent forwarded there. Empty: any, and none once something above is limited.');
	const forbid = checks('Never for', Object.entries(uses).map(([value, title]) => ({ value, title, checked: rules.forbid?.includes(value) ?? false })));
	const hours = field('Hours', { value: rules.hours ?? '', placeholder: 'mon-fri 08:00-18:00' }, 'By this phone’s clock. Empty: always.');
	const save = button('Save', { kind: 'primary', type: 'submit' });
	const set = async (/** @type {Rules} */ wanted, /** @type {string} */ said) => {
		await core.call('setRules', { fingerprint: id.fingerprint, rules: wanted });
		s.close();
		note(said, 'good');
	};
	const form = formFor('rules', save, () => set({
		hosts: names(hosts.input.value), oldServers: old.values().length > 0 && names(hosts.input.value).length > 0, users: names(users.input.value), namespaces: names(namespaces.input.value),
		sudo: names(sudo.input.value), forbid: forbid.values(), hours: hours.input.value.trim().toLowerCase(),
	}, 'This holds from now on.'), hosts.element, old.element, users.element, namespaces.element, sudo.element, forbid.element, hours.element);
	const all = button('Allow everything', { onclick: () => busy(all, () => set({}, 'Every use is allowed again; you are asked each time.')) });
	const s = sheet({
		title: 'Allowed uses',
		body: [h('p', { class: 'para' }, 'What is outside is refused without asking you, and counted.'), form],
		actions: [id.rules ? all : button('Cancel', { onclick: () => s.close() }), save],
	});
}
