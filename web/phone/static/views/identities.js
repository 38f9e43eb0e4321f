// @ts-check
// The SSH keys on this phone: the list, one key with all that can be done to it.

import * as core from '../core.js';
import { h, icon, theirs } from '../dom.js';
import { badge, button, callout, codeLine, confirm, empty, fact, field, formFor, note, row, rows, section, sheet, toggle } from '../parts.js';
import { algorithmName, clean, names, short, when } from '../text.js';
import { createKey, importKey } from './create.js';
import { change } from './passphrase.js';
import { allowedUses } from './rules.js';
import { problems } from './welcome.js';

/** @typedef {import('../../types/core').Identity} Identity */
/** @typedef {import('../app.js').Given} Given */
/** @typedef {import('../app.js').Screen} Screen */

/** @param {Given} given @returns {Screen} */
export function identities({ state }) {
	const list = state.identities ?? [];
	return {
		title: 'Identities',
		main: [
			problems(state),
			list.length
				? section(null, rows(list.map(identityRow)))
				: empty('key', 'No keys yet', h('p', { class: 'para' }, 'A key made here never leaves this phone in the clear. Its public line goes to your servers.')),
		],
		actions: [
			button('Import', { icon: 'import', onclick: () => importKey(state) }),
			button('Create a key', { kind: 'primary', icon: 'plus', onclick: () => createKey(state) }),
		],
	};
}

/** @param {Identity} id */
export const identityRow = (id) => row({
	icon: id.kind === 'passkey' ? 'finger' : 'lock', tone: id.enabled ? 'good' : 'plain',
	title: theirs(id.label), href: `#identity=${encodeURIComponent(id.fingerprint)}`, key: `identity-${id.fingerprint}`,
	text: [
		h('span', null, `${kindName(id)} · `, theirs(algorithmName(id.algorithm))),
		h('span', { class: 'mono' }, short(id.fingerprint)),
		id.default && badge('Default', 'plain', 'check'),
		!id.enabled && badge('Off', 'warn', 'off'),
		id.warning && badge('Note', 'warn', 'warning'),
	],
});

/** @param {{kind: import('../../types/core').KeyKind}} id */
export const kindName = (id) => ({ passkey: 'Passkey', vault: 'Vault key', passphrase: 'Passphrase key' })[id.kind];

/** @param {Given} given @returns {Screen} */
export function identity({ state, argument }) {
	const id = state.identities?.find((i) => i.fingerprint === argument);
	if (!id) {
		return {
			title: 'Identity', back: '#identities',
			main: [empty('key', 'This key is no longer here', h('p', { class: 'para' }, 'It was deleted, or its passkey is gone.'))],
		};
	}
	return {
		title: 'Identity', back: '#identities',
		main: [
			h('div', { class: 'headline' }, h('span', { class: `bubble big ${id.enabled ? 'good' : ''}` }, icon(id.kind === 'passkey' ? 'finger' : 'lock')),
				h('p', { class: 'headline-title' }, theirs(id.label)),
				h('p', { class: 'badges' }, badge(kindName(id)), badge(algorithmName(id.algorithm)), syncBadge(id),
					id.default && badge('Default', 'plain', 'check'), !id.enabled && badge('Off', 'warn', 'off'))),
			id.warning && callout('warn', 'Not every computer can use it', h('p', null, theirs(id.warning))),
			publicLines(id),
			switches(id),
			allowedUses(id),
			section('About this key', about(id)),
			section(null, rows(
				row({ icon: 'pen', title: 'Rename', key: 'rename', onclick: () => rename(id) }),
				row({ icon: 'seal', title: 'Accounts for session certificates', key: 'principals', onclick: () => principals(id),
					text: id.principals?.length ? theirs(id.principals.join(', ')) : 'As the CA says' }),
				id.kind === 'passphrase' && row({ icon: 'lock', title: 'Change the passphrase', key: 'change-passphrase', onclick: () => change(state),
					text: state.passphrases > 1 ? `Of the ${state.passphrases} keys in the vault` : null }),
				row({ icon: 'trash', tone: 'bad', title: 'Delete', key: 'delete', onclick: () => remove(id) }),
			)),
		],
	};
}

/** @param {Identity} id */
function syncBadge(id) {
	if (id.backedUp) {
		return badge('Synced', 'plain', 'cloud');
	}
	if (id.backupEligible) {
		return badge('Can be synced', 'plain', 'cloud');
	}
	return id.backedUp === false ? badge('This device only', 'plain', 'phone') : null;
}

/** @param {Identity} id */
function publicLines(id) {
	if (id.kind !== 'passkey') {
		return section('For your servers', codeLine(id.authorizedKey, 'authorized_keys line'));
	}
	return section('For your servers', codeLine(id.authorizedKey, 'authorized_keys line'),
		h('p', { class: 'hint' }, 'With verify-required the server itself insists that you confirmed it was you.'),
		h('details', null, h('summary', { 'data-key': 'plain-line' }, 'Public key without options'), codeLine(id.publicKey, 'Public key')));
}

/** @param {Identity} id */
function switches(id) {
	const { fingerprint } = id;
	return section(null, rows(
		toggle('Enabled', 'Computers may ask for its signatures.', id.enabled, (enabled) => core.call('enableIdentity', { fingerprint, enabled })),
		id.default
			? row({ title: 'Default key', text: 'Session certificates stand for it unless a computer names another.', end: icon('check', 'good') })
			: row({ title: 'Make it the default', text: 'Session certificates then stand for it.', key: 'default',
				onclick: () => core.call('setDefault', { fingerprint }).then(() => note('Now the default key.', 'good')).catch((e) => note(clean(e.message), 'bad')) }),
	));
}

/** @param {Identity} id */
function about(id) {
	const where = {
		passkey: 'In this device’s authenticator. Each signature is a WebAuthn assertion.',
		vault: 'In this browser, encrypted. Only a passkey of yours can unlock it: for each signature, or for what you approve in advance.',
		passphrase: 'In this browser, encrypted under your passphrase: for each signature you type it, or for what you approve in advance. Whoever copies this browser’s storage can guess the passphrase; no authenticator confirms that it is you.',
	}[id.kind];
	return h('dl', { class: 'card facts' },
		h('div', null, h('dt', null, 'Fingerprint'), h('dd', { class: 'mono' }, clean(id.fingerprint))),
		fact('Where it is', where),
		id.backedUp !== null && id.backedUp !== undefined && fact(id.kind === 'passkey' ? 'Copies' : 'Its passkey', copies(id)),
		fact('Created', when(id.createdAt)));
}

/** @param {Identity} id */
function copies(id) {
	if (id.backedUp) {
		return 'Synced: whoever can sign in to your passkey account has it too.';
	}
	return id.backupEligible ? 'Not synced yet; the password manager may copy it to your other devices.' : 'On this device only. If the device is lost, so is the key.';
}

/** @param {Identity} id */
function rename(id) {
	const label = field('Name', { value: id.label, maxlength: '100', required: true }, 'Computers list the key under this name.');
	const save = button('Save', { kind: 'primary', type: 'submit' });
	const form = formFor('rename', save, async () => {
		await core.call('renameIdentity', { fingerprint: id.fingerprint, label: label.input.value.trim() });
		s.close();
	}, label.element);
	const s = sheet({ title: 'Rename', body: [form], actions: [button('Cancel', { onclick: () => s.close() }), save] });
}

/** @param {Identity} id */
function principals(id) {
	const list = field('Account names', { value: (id.principals ?? []).join(', ') }, 'Separated by commas. Empty: those of the CA.');
	const save = button('Save', { kind: 'primary', type: 'submit' });
	const form = formFor('principals', save, async () => {
		await core.call('setPrincipals', { fingerprint: id.fingerprint, principals: names(list.input.value) });
		s.close();
	}, h('p', { class: 'para' }, 'A session certificate on behalf of this key lets a computer log in under these names.'), list.element);
	const s = sheet({ title: 'Accounts', body: [form], actions: [button('Cancel', { onclick: () => s.close() }), save] });
}

/** @param {Identity} id */
function remove(id) {
	confirm({
		title: 'Delete this key?',
		body: [
			h('p', { class: 'para' }, theirs(id.label, 'strong'), ' is removed for good. Servers that know no other key of yours lock you out.'),
			h('p', { class: 'mono' }, clean(id.fingerprint)),
			id.kind === 'passkey' && h('p', { class: 'hint' }, 'The passkey itself stays in your password manager until you remove it there; without this app it signs nothing.'),
		],
		action: 'Delete',
		run: async () => {
			await core.call('deleteIdentity', { fingerprint: id.fingerprint });
			location.hash = '#identities';
			note(`${clean(id.label)} was deleted.`, 'good');
		},
	});
}
