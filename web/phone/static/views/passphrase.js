// @ts-check
// The passphrase of the vault that opens with one, for browsers whose passkeys open none:
// choosing it, typing it, changing it.

import * as core from '../core.js';
import { h } from '../dom.js';
import { busy, button, callout, failure, field, formFor, note, sheet } from '../parts.js';

/** @typedef {import('../../types/core').State} State */

/** The fewest characters of a new one; the core refuses less. */
const fewest = 12;

/** Said wherever such a key is made. */
export const weaker = () => callout('warn', 'The weaker of the vaults',
	h('p', null, 'Whoever copies what this browser stores, with the device or a backup of it, can try passphrases for as long as they like, on computers of their own. A passphrase that people use elsewhere, or a sentence from a book, falls in days; a suggested one does not.'),
	h('p', null, 'Nobody can tell you a passphrase that you have forgotten: its keys are lost with it.'));

/** Whose passphrase it is, for password managers: they ask for a name. */
const owner = () => h('input', {
	type: 'text', hidden: true, autocomplete: 'username', value: 'vmux vault', readonly: true,
});

/** @param {string} label @param {'current-password' | 'new-password'} autocomplete @param {string} [hint] */
const secretField = (label, autocomplete, hint) => field(label, { type: 'password', autocomplete, maxlength: '1000' }, hint);

/**
 * The passphrase that is there, to be typed. It stays in the field no longer than until it
 * was taken.
 * @param {string} label @param {string} [hint]
 */
export function typed(label, hint) {
	const { element, input } = secretField(label, 'current-password', hint);
	const clear = () => { input.value = ''; };
	return {
		element: h('div', { class: 'passphrase' }, owner(), element), input: /** @type {HTMLInputElement} */ (input), clear,
		/** What was typed; the field is empty then. */
		take() {
			const { value } = input;
			clear();
			if (!value) {
				input.focus();
				throw { code: 'cancelled', message: 'Type the passphrase first.' };
			}
			return value;
		},
	};
}

/** A new passphrase, typed twice or suggested. @param {boolean} [named] whether another field has the owner */
export function chosen(named = false) {
	const first = secretField('New passphrase', 'new-password', `${fewest} characters or more, whichever they are: several words. You type it for each signature.`);
	const again = secretField('Once more', 'new-password');
	const inputs = /** @type {HTMLInputElement[]} */ ([first.input, again.input]);
	const show = button('Show', { kind: 'quiet', onclick: () => seen(first.input.getAttribute('type') === 'password') });
	const seen = (/** @type {boolean} */ on) => {
		inputs.forEach((i) => { i.type = on ? 'text' : 'password'; });
		/** @type {HTMLElement} */ (show.querySelector('span')).textContent = on ? 'Hide' : 'Show';
	};
	const suggest = button('Suggest one', {
		kind: 'quiet', onclick: () => busy(suggest, async () => {
			const text = await core.call('suggestPassphrase');
			inputs.forEach((i) => { i.value = text; });
			seen(true);
			note('Write it down, or save it in a password manager.');
		}),
	});
	const clear = () => {
		inputs.forEach((i) => { i.value = ''; });
		seen(false);
	};
	return {
		element: h('div', { class: 'passphrase' }, !named && owner(), first.element, h('div', { class: 'code-actions' }, suggest, show), again.element), clear,
		/** What was chosen. It stays in the fields, since it may be refused. */
		take() {
			const [value, repeated] = inputs.map((i) => i.value);
			if (Array.from(value).length < fewest) {
				inputs[0].focus();
				throw { code: 'weakPassphrase', message: `The passphrase needs ${fewest} characters or more.`, hint: 'Several words, or a suggested one.' };
			}
			if (value !== repeated) {
				inputs[1].value = '';
				inputs[1].focus();
				throw { code: 'invalid', message: 'The two passphrases differ.', hint: 'Type it once more.' };
			}
			return value;
		},
	};
}

/** What is asked for to put a key into the vault: its passphrase, or a new one. @param {State} state */
export const forNewKey = (state) => state.passphrases > 0 ?
	typed('Passphrase of the vault', 'The one that your other passphrase keys have.') : chosen();

/** Asks for another passphrase. @param {State} state */
export function change({ passphrases }) {
	const old = typed('Current passphrase');
	const next = chosen(true);
	const save = button('Change', { kind: 'primary', type: 'submit' });
	const run = async () => {
		const passphrase = next.take();
		await core.call('changePassphrase', {}, old.take(), passphrase).catch((error) => {
			if (failure(error).code === 'vaultPassphrase') {
				old.input.focus();
			}
			throw error;
		});
		s.close();
		note('The vault opens with the new passphrase.', 'good');
	};
	const form = formFor('change-passphrase', save, run, old.element, next.element);
	const s = sheet({
		title: 'Change the passphrase',
		body: [
			h('p', { class: 'para' }, passphrases > 1 ? `The ${passphrases} keys of the vault have one passphrase. ` : '',
				'Whoever has copied the vault before can still open that copy with the current passphrase. If somebody may have, make new keys and take the old ones off your servers.'),
			form,
		],
		actions: [button('Cancel', { onclick: () => s.close() }), save],
		onclose: () => { old.clear(); next.clear(); },
	});
}
