// @ts-check
// A second way in: the encrypted backup, made and restored, and what to do when this phone
// is gone.

import * as core from '../core.js';
import { h, theirs } from '../dom.js';
import { button, callout, choices, download, fail, failure, field, formFor, note, para, row, rows, section, sheet } from '../parts.js';
import { clean, count, sentence, when } from '../text.js';
import { fromBase64 } from '../webauthn.js';
import { giveUp, kinds, makeKey, noVault } from './create.js';
import { forNewKey, typed } from './passphrase.js';

/** @typedef {import('../../types/core').State} State */
/** @typedef {import('../../types/core').Outcome} Outcome */

/** A backup is smaller than this, in bytes. */
const maxBackup = 4 << 20;

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function backup({ state }) {
	const { at, uncovered, missing } = state.secondWay ?? { at: 0, uncovered: [], missing: [] };
	return {
		title: 'Second way in', back: '#settings',
		main: [
			alone(state, false),
			at > 0 && callout(uncovered.length ? 'warn' : 'good', `The last backup is of ${when(at)}`,
				h('p', null, uncovered.length ? ['Not in it: ', theirs(uncovered.join(', ')), '. Make another one.'] : 'Every key that a backup can hold is in it. Whether you still have the file and its passphrase, only you know.')),
			missing.length > 0 && callout('plain', 'Passkeys are in no backup', h('p', null, theirs(missing.join(', ')),
				': a passkey never leaves its device or password manager. For these, put a key of another phone on your servers as well.')),
			section('Backup', rows(
				row({ icon: 'lock', title: 'Make a backup', text: 'Vault keys, CA, policies and servers, in one encrypted file.', key: 'make-backup', onclick: () => make(state) }),
				row({ icon: 'import', title: 'Restore a backup', text: 'Of any vmux phone. What is here stays.', key: 'restore-backup', onclick: () => restore(state) }))),
			section('If this phone is gone', rows(
				row({ icon: 'list', title: 'Recovery sheet', text: 'What to do then. Print it now.', href: '#recovery', key: 'recovery' }))),
			h('p', { class: 'hint' }, 'A restored phone is not paired: it pairs with each computer anew. Two phones with the same keys are both asked, and one answer is enough.'),
		],
	};
}

/** That nothing is left if this phone is. @param {State} state @param {boolean} link */
export const alone = (state, link) => state.secondWay?.alone && callout('warn', 'There is only one way in',
	h('p', null, 'No key of this phone is known to exist elsewhere. If it is lost or broken, or the browser clears its storage, your servers have to let you in some other way.'),
	link ? h('a', { class: 'button', href: '#backup', 'data-key': 'second-way' }, 'Make a second way in')
		: button('I have another way in', { onclick: () => core.call('haveAnotherWay', {}).catch(fail) }));

/** @param {State} state */
async function make(state) {
	const vault = state.passphrases ? typed('Passphrase of this phone’s vault', 'It opens the keys that go into the backup.') : null;
	const passphrase = field('Passphrase of the backup', { required: true, class: 'mono', maxlength: '200' },
		'Made just now for this backup. Or write your own: at least 12 characters.');
	const noted = h('input', { type: 'checkbox', required: true, 'data-key': 'noted' });
	const go = button('Make the backup', { kind: 'primary', icon: 'lock', type: 'submit' });
	const form = formFor('make-backup', go, async () => {
		const made = await core.call('makeBackup', {}, ...vault ? [vault.take()] : [], passphrase.input.value);
		passphrase.input.value = '';
		s.close();
		give(made);
	}, passphrase.element, h('label', { class: 'acknowledge plain' }, noted, h('span', null, 'I have written the passphrase down, and not where the file will be.')), vault && vault.element);
	const s = sheet({
		title: 'Make a backup',
		body: [para('Whoever has the file and its passphrase has your keys. Without the passphrase nobody can open it, you included.'), form],
		actions: [button('Cancel', { onclick: () => s.close() }), go],
		onclose: () => {
			passphrase.input.value = '';
			vault?.clear();
		},
	});
	const proposed = await core.call('newPassphrase', {}).catch(() => '');
	passphrase.input.value ||= proposed;
}

/** The file is saved by a tap of its own: iOS lets an app that waited share nothing. @param {import('../../types/core').MadeBackup} made */
function give(made) {
	const name = `vmux-backup-${new Date().toISOString().slice(0, 10)}.age`;
	const keys = made.keys ?? [], missing = made.missing ?? [];
	let saved = false;
	const s = sheet({
		title: 'The backup is made',
		body: [
			callout('good', 'In it', h('ul', null, keys.map((k) => h('li', null, theirs(k))), made.ca && h('li', null, 'The CA and its policy'),
				made.certificates > 0 && h('li', null, count(made.certificates, 'certificate'), ' that it has issued'),
				made.servers > 0 && h('li', null, count(made.servers, 'remembered server')),
				keys.length === 0 && !made.ca && h('li', null, 'No key'))),
			missing.length > 0 && callout('warn', 'Not in it', h('ul', null, missing.map((m) => h('li', null, theirs(named(m.label)), ': a passkey never leaves its device')))),
			para('Save it where it outlives this phone, and try it once: “Restore a backup” shows what is in it before it changes anything.'),
		],
		actions: [
			button('Close', { onclick: () => s.close() }),
			button('Save the file', { kind: 'primary', icon: 'import', onclick: () => download(name, fromBase64(made.file), 'application/octet-stream', () => {
				saved = true;
				core.call('backupSaved').catch(fail);
			}) }),
		],
		onclose: () => saved || note('The backup was not saved, and counts as none.'),
	});
}

/** The CA’s key has a name of its own in files. @param {string} name */
const named = (name) => name === 'vmux-ca' ? 'CA' : name;

/** @param {State} state */
function restore(state) {
	const file = field('File', { type: 'file', required: true }); // no kinds: iOS would grey out what it does not know
	const passphrase = field('Its passphrase', { type: 'password', required: true });
	const go = button('Open', { kind: 'primary', type: 'submit' });
	const open = async () => {
		const chosen = /** @type {HTMLInputElement} */ (file.input).files?.[0];
		if (!chosen || chosen.size > maxBackup) {
			throw { message: chosen ? 'This is no backup: the file is too large.' : 'Choose the file first.' };
		}
		const found = await opened({ backup: await base64(chosen) }, passphrase.input.value);
		s.close();
		review(found, state);
	};
	const form = formFor('restore-backup', go, () => open().catch((error) => {
		if (failure(error).code === 'wrongPassphrase') {
			passphrase.input.select();
		}
		throw error;
	}), file.element, passphrase.element);
	const s = sheet({
		title: 'Restore a backup',
		body: [para('Nothing changes before you have seen what is in it.'), form],
		actions: [button('Cancel', { onclick: () => s.close() }), go],
		onclose: () => { passphrase.input.value = ''; },
	});
}

/**
 * A backup of a machine has the passphrase as its keyboard has composed it, or not.
 * @param {{backup: string}} args @param {string} passphrase @returns {Promise<import('../../types/core').FoundBackup>}
 */
const opened = (args, passphrase) => core.call('openBackup', args, passphrase).catch((error) => {
	if (failure(error).code !== 'wrongPassphrase' || passphrase.normalize('NFD') === passphrase.normalize('NFC')) {
		throw error;
	}
	return core.callAsTyped('openBackup', args, passphrase.normalize('NFD'));
});

/** @param {File} file @returns {Promise<string>} */
const base64 = (file) => new Promise((resolve, reject) => {
	const reader = new FileReader();
	reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,?/, ''));
	reader.onerror = () => reject({ message: 'The file cannot be read.', hint: 'If it lies in a cloud, download it to this device first.' });
	reader.readAsDataURL(file);
});

/** @param {import('../../types/core').FoundBackup} found @param {State} state */
function review(found, state) {
	const something = found.outcomes.some((o) => o.state === 'restored');
	const go = button('Restore', { kind: 'primary', icon: 'import', type: 'submit' });
	const place = h('div'), secret = forNewKey(state);
	const show = (/** @type {string} */ kind) => { secret.element.hidden = kind !== 'passphrase'; };
	const first = noVault(state) ? 'passphrase' : 'vault';
	const kind = choices('Where its keys go', 'restore-kind', kinds(state).filter((k) => k.value !== 'passkey'), first, show);
	kind.element.hidden = !state.support.passphrase;
	show(first);
	const form = formFor('review-backup', go, async () => {
		const passphrases = found.needsKeys && kind.value() === 'passphrase' ? [secret.take()] : [];
		if (await makeKey('restoreBackup', { kind: kind.value() }, go, place, () => {}, ...passphrases)) {
			s.close();
			note('Restored. Pair this phone with your computers.', 'good');
		}
	}, kind.element, secret.element, para('Whoever has the file and its passphrase still has the keys, too.'));
	form.hidden = !found.needsKeys;
	const s = sheet({
		title: `A backup of ${when(found.createdAt)}`,
		body: [
			rows(found.outcomes.map(outcome)),
			form, place,
		],
		actions: [button('Close', { onclick: () => s.close() }), something ? go : null],
		onclose: () => {
			secret.clear();
			giveUp();
			core.call('closeBackup', {}).catch(() => {}); // vmux has stopped
		},
	});
}

/** @type {Record<string, {icon: string, tone: import('../parts.js').Tone}>} */
const states = {
	restored: { icon: 'plus', tone: 'good' }, kept: { icon: 'check', tone: 'plain' },
	differs: { icon: 'warning', tone: 'warn' }, missing: { icon: 'off', tone: 'warn' },
};

/** @param {Outcome} o */
const outcome = (o) => row({ ...states[o.state], title: theirs({ servers: 'Servers', certificates: 'Certificates' }[o.what] ?? named(o.name)), text: h('span', null, sentence(clean(o.text))) });
