// @ts-check
// Settings: this phone's name, notifications, storage, the version in use, and
// the way out.

import * as core from '../core.js';
import { h, theirs } from '../dom.js';
import { busy, button, callout, codeLine, confirm, fail, field, formFor, note, para, row, rows, section, sheet, toggle } from '../parts.js';
import { forgetsSites } from '../platform.js';
import { clean, inGroups } from '../text.js';
import * as update from '../update.js';
import { abilities, megabytes, sevenDays } from './welcome.js';

/** @typedef {import('../../types/core').State} State */

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function settings({ state }) {
	return {
		title: 'Settings',
		main: [
			newVersion(),
			section('This phone', rows(
				row({ icon: 'phone', title: theirs(state.deviceName), text: 'Computers know this phone by this name.', key: 'rename-phone', onclick: () => rename(state) }),
				row({ title: 'Device ID', text: h('span', { class: 'mono' }, inGroups(state.deviceID)) }))),
			section('Notifications', rows(notifications(state))),
			section('Approving', rows(
				toggle('Approve in advance', 'Offers to let the like of a request pass for up to an hour: vault keys, one computer, one server or git. Passkeys ask each time.',
					state.grants?.enabled ?? false, (enabled) => core.call('enableGrants', { enabled })),
				row({ icon: 'laptop', title: 'Servers this phone remembers', href: '#hosts', key: 'hosts' }))),
			section('Storage', rows(storage(state))),
			section('Version', rows(
				changedFile(),
				row({ title: 'In use', text: [h('span', null, clean(state.version)), hash(update.version())], key: 'version' }),
				row({ icon: 'import', title: 'Look for a new version', key: 'check-version',
					onclick: () => update.check().then(() => note(update.available() ? 'A new version is there.' : 'No other version is known yet.')).catch(fail) })),
			h('p', { class: 'hint' }, 'The hash covers every file of the app. Compare it with the one a release names: the guide says how, and what that can and cannot prove.')),
			section('Keys', rows(
				row({ icon: 'lock', tone: state.secondWay?.alone ? 'warn' : 'plain', title: 'Second way in', text: 'Backup, and what to do when this phone is gone.', href: '#backup', key: 'second-way' }),
				row({ icon: 'key', title: 'Export public keys', text: 'All of them as authorized_keys lines.', key: 'export', onclick: () => exportKeys() }))),
			section('About', rows(
				row({ icon: 'shield', title: 'What this app can and cannot do', key: 'about', onclick: () => about(state) }),
				row({ icon: 'question', title: 'What this browser can do', key: 'abilities', onclick: () => browser(state) }))),
			section(null, rows(row({ icon: 'trash', tone: 'bad', title: 'Forget everything', text: 'Keys, pairings, CA and log.', key: 'wipe', onclick: forget }))),
		],
	};
}

/** @param {string} version */
const hash = (version) => h('span', { class: 'mono hash' }, version ? inGroups(version) : 'not known');

function newVersion() {
	const version = update.available();
	if (!version) {
		return null;
	}
	const go = button('Use this version', { kind: 'primary', onclick: () => busy(go, () => update.accept()) });
	return callout('plain', 'A new version is there', h('p', null, 'This one stays in use until you accept the other. Its hash:'),
		h('p', null, hash(version)), go);
}

function changedFile() {
	const file = update.changedOnTheWay();
	return file === '' ? null : row({
		icon: 'warning', tone: 'warn', title: 'The app’s files do not arrive as they are', key: 'changed-file',
		text: [h('span', null, 'Something between the hub and this browser changes ', theirs(file, 'strong'),
			': a proxy, an ad blocker or a virus scanner that looks into https. Exempt the hub from it, then look for a new version. '),
		'Until then the browser keeps no version of the app: no notifications, no start without the hub, no newer version.'],
	});
}

/** @param {State} state */
function notifications({ support }) {
	const problem = [support.pushProblem?.message, support.pushProblem?.hint].join(' ');
	switch (support.push) {
	case 'on':
		return [notifying(true), row({ icon: 'bell', title: 'Ring me', key: 'ring-me',
			text: 'Tries it: the hub rings this phone as a computer does.', onclick: testPush })];
	case 'off':
		return notifying(false);
	case 'broken':
		return [notifying(true), row({ icon: 'warning', tone: 'warn', title: 'This phone cannot be rung', key: 'push-again',
			text: `${problem} Tap to try again.`, onclick: (e) => busy(pressed(e), () => core.call('subscribePush', {})) })];
	case 'denied':
		return row({ icon: 'bell', tone: 'warn', title: 'Blocked', text: `${problem} Then come back.` });
	case 'install':
		return row({ icon: 'bell', title: 'After installing', text: 'This browser notifies installed apps only: add vmux to the Home Screen.' });
	}
	return row({ icon: 'bell', title: 'Not in this browser', text: 'Open the app when a computer asks.' });
}

/** @param {boolean} on */
const notifying = (on) => toggle('Notify me when a request waits', 'A notification says that a request waits, and no more.', on,
	(now) => core.call(now ? 'subscribePush' : 'unsubscribePush', {}));

/** @param {MouseEvent} e */
const pressed = (e) => /** @type {HTMLButtonElement} */ (e.currentTarget);

/** @param {MouseEvent} e */
function testPush(e) {
	return busy(pressed(e), async () => {
		const { arrived, problem } = await core.call('testPush', {});
		if (arrived) {
			note('The notification has arrived: this phone can be rung.', 'good');
		} else if (problem) {
			note(`It has arrived, but the browser does not show it (${problem}).`, 'warn', 'Allow notifications in the settings of this device.');
		} else {
			note('The push service has taken it, but nothing has arrived within 30 seconds.', 'warn',
				'Phones that save power let it wait: look at the battery settings of the browser, and at the connection.');
		}
	});
}

/** @param {State} state */
function storage({ support }) {
	const left = typeof support.space === 'number' ? ` ${megabytes(support.space)} are left.` : '';
	if (forgetsSites()) {
		return row({ icon: 'warning', tone: 'warn', title: 'Will be cleared', text: `${sevenDays}${left}` });
	}
	if (support.persisted) {
		return row({ icon: 'check', tone: 'good', title: 'Lasting', text: `The browser has promised not to clear it by itself, unless it is set to forget sites when it closes.${left}` });
	}
	return row({
		icon: 'warning', tone: 'warn', title: 'May be cleared', key: 'persist',
		text: `When space is short the browser may remove keys and pairings. Tap to ask it not to.${left}`,
		onclick: () => core.call('persist', {}).then((granted) => note(granted?.persisted === false ? 'The browser did not agree. Installing the app helps.' : 'The browser has been asked.')).catch(fail),
	});
}

/** @param {State} state */
function rename(state) {
	const name = field('Name', { value: state.deviceName, maxlength: '60', required: true });
	const save = button('Save', { kind: 'primary', type: 'submit' });
	const form = formFor('rename-phone', save, async () => {
		await core.call('rename', { name: name.input.value.trim() });
		s.close();
	}, name.element);
	const s = sheet({ title: 'This phone’s name', body: [form], actions: [button('Cancel', { onclick: () => s.close() }), save] });
}

async function exportKeys() {
	try {
		const text = await core.call('exportPublicKeys', {});
		const s = sheet({
			title: 'Public keys',
			body: [text ? codeLine(text, 'Public keys') : para('There is no key on this phone yet.')],
			actions: [button('Close', { onclick: () => s.close() })],
		});
	} catch (error) {
		fail(error);
	}
}

/** @param {State} state */
function about(state) {
	const s = sheet({
		title: 'What this app can and cannot do',
		body: [
			callout('good', 'It signs only what it can name', h('p', null, 'SSH logins, SSH signatures (git, files), and certificates of its own CA. Anything else is refused.')),
			callout('good', 'Nothing without you', h('p', null, 'Each signature needs your tap and your face, finger or screen lock, checked by this device. The exception is what you approved in advance.')),
			callout('warn', 'You trust who serves this page', h('p', null, 'The hub at ', theirs(state.hub.url, 'strong'), ' cannot read or change what your computers ask. But it serves this app: a hub that serves a changed one could show you one thing and have you sign another. The version’s hash lets you notice a change that everybody gets.')),
			callout('warn', 'A certificate is hard to call back', h('p', null, 'Revoking takes it from a computer that is yours. Servers refuse it only with the revocation list, or once it has expired.')),
			callout('plain', 'Passkeys belong to an address', h('p', null, 'Those made here work under ', theirs(state.rpID, 'strong'), ' only.')),
		],
		actions: [button('Close', { onclick: () => s.close() })],
	});
}

/** @param {State} state */
function browser(state) {
	const s = sheet({
		title: 'What this browser can do', body: [rows(abilities(state).map((a) => row(a)))],
		actions: [button('Close', { onclick: () => s.close() })],
	});
}

function forget() {
	const word = field('Type “forget” to go on', { required: true });
	const s = confirm({
		title: 'Forget everything?',
		body: [
			para('All keys, pairings, the CA and the log are removed from this browser. Vault keys are gone for good. Passkeys stay in your password manager, but this app no longer knows them.'),
			word.element,
		],
		action: 'Forget everything',
		run: async () => {
			if (word.input.value.trim().toLowerCase() !== 'forget') {
				throw { message: 'Type the word “forget” first.' };
			}
			await core.call('wipe', {});
			location.hash = '#home';
			location.reload();
		},
	});
	s.dialog.classList.add('danger');
}
