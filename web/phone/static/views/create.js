// @ts-check
// Making a key, and bringing one along.

import * as core from '../core.js';
import { h, theirs } from '../dom.js';
import { button, callout, choices, field, formFor, note, sheet, failure } from '../parts.js';
import { clean } from '../text.js';
import { forNewKey, weaker } from './passphrase.js';

/** @typedef {import('../../types/core').State} State */

/** A private key file is a few kilobytes; more is something else. */
const maxKeyFile = 64 * 1024;

/** The rule about host names, said before the first passkey. @param {State} state */
const aboutHostName = (state) => callout('plain', 'Passkeys belong to this address',
	h('p', null, 'They are bound to ', theirs(state.rpID, 'strong'), '. The app opened under another host name cannot use them: choose the name you will stay with.'));

/** Why no passkey can be made, if so. @param {State} state */
const noPasskey = ({ rpProblem, support }) => rpProblem ? 'Not at this address.' : !support.webauthn && 'Not in this browser: it has no WebAuthn.';

/** Why no vault key can be made, if so. @param {State} state */
export const noVault = (state) => noPasskey(state) || state.support.prf === 'no' &&
	'Not in this browser: its passkeys cannot unlock a vault (WebAuthn PRF is missing).';

/** What a passphrase key is. */
const aboutPassphrase = 'Rests encrypted in this browser, under a passphrase that you type for each signature. ';

/** @param {State} state */
export const kinds = (state) => [
	{
		value: 'passkey', title: 'Passkey', disabled: Boolean(noPasskey(state)),
		text: noPasskey(state) || ['The secure hardware or password manager of this device signs; the private key is never seen by this app. Servers can insist on your face or finger. ',
			h('strong', null, 'Computers need OpenSSH 10.3 or newer.')],
	},
	{
		value: 'vault', title: 'Vault key', disabled: Boolean(noVault(state)),
		text: noVault(state) || ['Rests encrypted in this browser. A passkey unlocks it for each signature, and it is in memory for that moment. ', h('strong', null, 'Works with every SSH client and server.')],
	},
	{
		value: 'passphrase', title: 'Passphrase key', hidden: !state.support.passphrase,
		text: [aboutPassphrase, h('strong', null, 'The weaker vault, for browsers whose passkeys open none.'), ' Works with every SSH client and server.'],
	},
];

/**
 * What depends on the kind that is chosen: hints, and the passphrase.
 * @param {State} state @param {HTMLElement} [more] what else a vault key wants to know
 */
export function ofKind(state, more) {
	const secret = forNewKey(state);
	const locked = h('div', { class: 'passphrase' }, state.passphrases ? '' : weaker(), secret.element);
	const trial = h('div', null, aboutTrial());
	const address = aboutHostName(state);
	return {
		body: [locked, trial], address, clear: secret.clear,
		/** @param {string} kind */
		show(kind) {
			locked.hidden = kind !== 'passphrase';
			trial.hidden = kind === 'passphrase';
			address.hidden = kind === 'passphrase';
			if (more) {
				more.hidden = kind === 'passkey';
			}
		},
		/** The passphrases for a key of this kind. @param {string} kind */
		take: (kind) => kind === 'passphrase' ? [secret.take()] : [],
	};
}

/** The kind that is chosen at first, of those that there are. @param {State} state @param {string} best */
export const firstKind = (state, best) => noPasskey(state) ? 'passphrase' : best === 'vault' && noVault(state) ? 'passkey' : best;

/** Said before a passkey is made. */
const aboutTrial = () => h('p', { class: 'hint' }, 'Your device asks twice for a new passkey: to make it, and to try it before its line is shown.');

/**
 * Makes a key by one of core's functions. Where the browser wants a tap of its own
 * for the trial, the sheet's button becomes that. A passkey that is of no use is
 * said in the sheet, which can begin anew.
 * @param {string} name @param {object} args @param {HTMLButtonElement} go the sheet's button
 * @param {HTMLElement} place of what is said
 * @param {(fixed: boolean) => void} fix whether what the passkey is made for can be changed
 * @param {...string} passphrases
 * @returns {Promise<boolean>} whether the key is there
 */
export async function makeKey(name, args, go, place, fix, ...passphrases) {
	const { label } = go.dataset, text = /** @type {HTMLElement} */ (go.querySelector('span'));
	go.dataset.label ??= text.textContent;
	try {
		await core.call(name, args, ...passphrases);
		return true;
	} catch (error) {
		const { code, message, hint } = failure(error);
		const again = code === 'tapAgain';
		if (!again && !(/** @type {any} */ (error).orphan)) {
			throw error;
		}
		place.replaceChildren(again ?
			callout('plain', 'One more tap', h('p', null, 'The passkey is made. Tap “Try it”: the key is shown once it has signed a test.')) :
			callout('bad', 'No key was made', h('p', null, message), h('p', null, hint)));
		place.scrollIntoView({ block: 'nearest' });
		if (!again) { // then there is another way
			const other = go.form?.querySelector('[value=passphrase]');
			other?.closest('label')?.removeAttribute('hidden');
			other?.closest('fieldset')?.removeAttribute('hidden');
		}
		text.replaceChildren(again ? 'Try it' : label ?? text.textContent);
		fix(again);
		return false;
	}
}

/** What is not tried yet when its sheet closes is of no use. */
export const giveUp = () => {
	core.call('discardKey', {}).catch(() => {}); // vmux has stopped
};

const vaultAlgorithms = [
	{ value: 'ssh-ed25519', title: 'Ed25519' },
	{ value: 'ecdsa-sha2-nistp256', title: 'P-256' },
	{ value: 'ssh-rsa', title: 'RSA' },
];

/** @param {State} state */
export function createKey(state) {
	const label = field('Name', { placeholder: 'for example: work', maxlength: '100', required: true });
	const algorithm = choices('Algorithm', 'algorithm', vaultAlgorithms, 'ssh-ed25519', undefined, 'segment');
	const depends = ofKind(state, algorithm.element), first = firstKind(state, 'passkey');
	const kind = choices('Kind', 'kind', kinds(state), first, depends.show);
	depends.show(first);
	const create = button('Create', { kind: 'primary', icon: 'plus', type: 'submit' });
	const place = h('div');
	const fix = (/** @type {boolean} */ fixed) => {
		label.input.disabled = fixed;
		kind.element.disabled = fixed;
	};
	const make = async () => {
		const name = label.input.value.trim();
		const made = kind.value() === 'passkey' ? makeKey('createPasskey', { label: name }, create, place, fix)
			: makeKey('createVault', { label: name, kind: kind.value(), algorithm: algorithm.value() }, create, place, fix, ...depends.take(kind.value()));
		if (await made) {
			s.close();
			note(`${clean(name)} is ready. Put its line on your servers.`, 'good');
		}
	};
	const form = formFor('create-key', create, make, label.element, kind.element, algorithm.element, depends.body, place);
	const s = sheet({
		title: 'Create a key',
		body: [form, depends.address],
		actions: [button('Cancel', { onclick: () => s.close() }), create],
		onclose: () => {
			depends.clear();
			giveUp();
		},
	});
}

/** The text of a file. Windows PowerShell's > writes UTF-16. @param {File} file */
async function textOf(file) {
	const bytes = new Uint8Array(await file.arrayBuffer());
	const mark = bytes.slice(0, 2).join();
	return new TextDecoder(mark === '255,254' ? 'utf-16le' : mark === '254,255' ? 'utf-16be' : 'utf-8').decode(bytes);
}

/** @param {State} state */
export function importKey(state) {
	const label = field('Name', { placeholder: 'for example: old laptop', maxlength: '100', required: true });
	const file = field('Key file', { type: 'file' });
	const text = field('Or paste the private key', { rows: '4', class: 'mono', placeholder: '-----BEGIN OPENSSH PRIVATE KEY-----' });
	const passphrase = field('Passphrase of the file', { type: 'password', autocomplete: 'off' }, 'Empty if the file has none. It is used once and not kept.');
	const depends = ofKind(state), first = noVault(state) ? 'passphrase' : 'vault';
	const kind = choices('Kind', 'kind', kinds(state).filter((k) => k.value !== 'passkey'), first, depends.show);
	kind.element.hidden = !state.support.passphrase;
	depends.show(first);
	const go = button('Import', { kind: 'primary', icon: 'import', type: 'submit' });

	// Read when it is chosen, not when the button is tapped: WebAuthn must follow the tap at once.
	const chosen = /** @type {HTMLInputElement} */ (file.input);
	chosen.addEventListener('change', async () => {
		const f = chosen.files?.[0];
		if (f && f.size > maxKeyFile) {
			note('This is no SSH key: the file is too large.', 'bad');
		} else if (f) {
			try {
				text.input.value = await textOf(f);
				label.input.value ||= clean(f.name).replace(/^id_/, '');
			} catch {
				note('The file cannot be read.', 'bad', 'If it lies in a cloud, download it to this device first.');
			}
		}
		chosen.value = '';
	});
	const place = h('div');
	const run = async () => {
		const done = makeKey('importVault', { label: label.input.value.trim(), kind: kind.value(), file: text.input.value, passphrase: passphrase.input.value }, go, place, () => {},
			...depends.take(kind.value()));
		try {
			if (!await done) {
				return;
			}
		} catch (error) {
			if (failure(error).code === 'wrongPassphrase') {
				passphrase.input.value = '';
				passphrase.input.focus();
			}
			throw error;
		}
		s.close();
		note('Imported. Remove the file from where it was.', 'good');
	};
	const form = formFor('import-key', go, run, label.element, file.element, text.element, passphrase.element, kind.element, depends.body, place);
	const s = sheet({
		title: 'Import a key',
		body: [h('p', { class: 'para' }, 'The key goes into the vault of this browser. Whoever has another copy of the file can still use it.'), form, depends.address],
		actions: [button('Cancel', { onclick: () => s.close() }), go],
		onclose: () => {
			text.input.value = '';
			passphrase.input.value = '';
			depends.clear();
			giveUp();
		},
	});
}
