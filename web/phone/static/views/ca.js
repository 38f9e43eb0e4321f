// @ts-check
// The certificate authority: one approval, and a computer logs in by itself until
// the session certificate expires.

import * as core from '../core.js';
import { h, icon, theirs } from '../dom.js';
import { badge, button, callout, checks, choices, codeLine, confirm, field, formFor, note, row, rows, section, sheet, toggle } from '../parts.js';
import { clean, duration, names } from '../text.js';
import { certificateRow, revocationRow, unexpired } from './certificates.js';
import { firstKind, giveUp, kinds, makeKey, ofKind } from './create.js';
import { kindName } from './identities.js';
import { problems } from './welcome.js';

/** @typedef {import('../../types/core').State} State */
/** @typedef {import('../../types/core').CA} CA */
/** @typedef {import('../../types/core').Policy} Policy */

/** What sshd knows; the first five are what ssh-keygen gives a certificate. */
const extensions = ['permit-pty', 'permit-port-forwarding', 'permit-agent-forwarding', 'permit-X11-forwarding', 'permit-user-rc'];

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function ca({ state }) {
	return state.ca ? existing(state.ca, unexpired(state)) : none(state);
}

/** @param {State} state @returns {import('../app.js').Screen} */
function none(state) {
	return {
		title: 'Certificate authority',
		main: [
			problems(state),
			h('div', { class: 'hero' }, h('span', { class: 'bubble big' }, icon('seal')),
				h('p', { class: 'hero-title' }, 'Approve once, work for hours'),
				h('p', { class: 'para' }, 'A CA on this phone signs a short-lived certificate for your computer. Servers that trust the CA let it in without asking this phone, until the certificate expires.')),
			section('How it goes', h('ol', { class: 'card steps' },
				h('li', null, h('strong', null, 'Create the CA'), h('span', null, 'Its key stays on this phone, like any other.')),
				h('li', null, h('strong', null, 'Tell your servers'), h('span', null, 'One line in sshd_config, shown here afterwards.')),
				h('li', null, h('strong', null, 'Approve once'), h('span', null, 'Choose for how long, and under which account names.')))),
		],
		actions: [button('Create a CA', { kind: 'primary', icon: 'plus', onclick: () => create(state) })],
	};
}

/** @param {State} state */
function create(state) {
	const [passkey, vault, passphrase] = kinds(state);
	const texts = {
		passkey: ['This device’s authenticator signs. ', h('strong', null, 'Servers before OpenSSH 10.3 need one more line'), ' in sshd_config.'],
		vault: ['Rests encrypted in this browser, unlocked by a passkey for each certificate. ', h('strong', null, 'Every OpenSSH server accepts it.')],
		passphrase: ['Rests encrypted in this browser, under a passphrase that you type for each certificate. ', h('strong', null, 'The weaker vault, for browsers whose passkeys open none.'), ' Every OpenSSH server accepts it.'],
	};
	const depends = ofKind(state), first = firstKind(state, 'vault');
	const kind = choices('Kind', 'ca-kind', [vault, passkey, passphrase].map((k) => (
		k.disabled ? k : { ...k, text: /** @type {any} */ (texts)[k.value] })), first, depends.show);
	depends.show(first);
	const accounts = field('Account names', { placeholder: 'for example: alice, deploy', required: true },
		'The accounts computers may log in to. Do not put root here unless you mean it.');
	const go = button('Create', { kind: 'primary', icon: 'plus', type: 'submit' });
	const place = h('div');
	const fix = (/** @type {boolean} */ fixed) => { kind.element.disabled = fixed; };
	const form = formFor('create-ca', go, async () => {
		if (await makeKey('createCA', { kind: kind.value(), principals: names(accounts.input.value) }, go, place, fix, ...depends.take(kind.value()))) {
			s.close();
			note('The CA is ready. Tell your servers.', 'good');
		}
	}, kind.element, accounts.element, depends.body, place);
	const s = sheet({
		title: 'Create a CA', body: [form, depends.address],
		actions: [button('Cancel', { onclick: () => s.close() }), go],
		onclose: () => {
			depends.clear();
			giveUp();
		},
	});
}

/** @param {CA} authority @param {import('../../types/core').Certificate[]} certificates @returns {import('../app.js').Screen} */
function existing(authority, certificates) {
	const { policy } = authority;
	const list = (/** @type {string[] | null | undefined} */ items, /** @type {string} */ otherwise) => items?.length ? theirs(items.join(', ')) : otherwise;
	return {
		title: 'Certificate authority',
		main: [
			(policy.principals?.length ?? 0) === 0 && callout('warn', 'No account names',
				h('p', null, 'Nothing can be issued until the policy names an account, or the identity does.')),
			section('Public key', codeLine(authority.line, 'CA public key'),
				h('p', { class: 'badges' }, badge(kindName(authority), 'plain', authority.kind === 'passkey' ? 'finger' : 'lock'),
					h('span', { class: 'mono' }, clean(authority.fingerprint)))),
			section('Policy', rows(
				toggle('Computers may ask by themselves', 'On connecting and before a certificate expires. You approve each one.', policy.automaticIssuance,
					(on) => core.call('setPolicy', { policy: { ...policy, automaticIssuance: on } })),
				row({ title: 'Valid for at most', text: duration(policy.maxValiditySeconds), key: 'policy-validity', onclick: () => edit(policy) }),
				row({ title: 'Accounts', text: list(policy.principals, 'none'), key: 'policy-principals', onclick: () => edit(policy) }),
				row({ title: 'Allowed', text: list((policy.extensions ?? []).map((e) => e.replace('permit-', '')), 'nothing but running commands'), key: 'policy-extensions', onclick: () => edit(policy) }),
				row({ title: 'Only from', text: list(policy.sourceAddress, 'any address'), key: 'policy-source', onclick: () => edit(policy) }),
				policy.forceCommand ? row({ title: 'Only this command', text: theirs(policy.forceCommand), key: 'policy-command', onclick: () => edit(policy) }) : null)),
			section('Issued, and not expired', rows(certificates.map(certificateRow), revocationRow())),
			section('On each computer paired before the CA was made', h('div', { class: 'card' },
				h('span', null, 'It asks you to compare the fingerprint above.'), codeLine('vmux ca accept', 'Command for the computer'))),
			section('On each server', instructions(authority)),
			section(null, rows(row({ icon: 'trash', tone: 'bad', title: 'Delete the CA', key: 'delete-ca', onclick: remove }))),
		],
		actions: [button('Change the policy', { icon: 'pen', key: 'edit-policy', onclick: () => edit(policy) })],
	};
}

/** @param {CA} authority */
function instructions(authority) {
	const passkey = authority.kind === 'passkey';
	return h('ol', { class: 'card steps' },
		h('li', null, h('strong', null, 'Put the public key into a file'),
			codeLine(`echo '${authority.line}' | sudo tee /etc/ssh/vmux_ca.pub`, 'Command for the CA file')),
		h('li', null, h('strong', null, 'Name it in /etc/ssh/sshd_config'),
			codeLine('TrustedUserCAKeys /etc/ssh/vmux_ca.pub', 'sshd_config line')),
		passkey && h('li', null, h('strong', null, 'Servers before OpenSSH 10.3: one more line'),
			h('span', null, 'They do not accept certificates signed by a passkey unless told to (8.4 or newer).'),
			codeLine('CASignatureAlgorithms +webauthn-sk-ecdsa-sha2-nistp256@openssh.com', 'Line for older servers')),
		h('li', null, h('strong', null, 'If you ever revoke: the revocation list'),
			h('span', null, 'Copy the downloaded list there first: with a file that is missing sshd lets no key in.'),
			codeLine('RevokedKeys /etc/ssh/vmux_revoked.krl', 'Line for revocations')),
		h('li', null, h('strong', null, 'Check and reload'),
			codeLine('sudo sshd -t && sudo systemctl reload ssh', 'Command to reload'),
			h('span', null, 'The service is called sshd on Fedora and others. Keep your session open until a new login works.')));
}

/** @param {Policy} policy */
function edit(policy) {
	const times = [...new Set([3600, 14400, 28800, 86400, policy.maxValiditySeconds])].sort((a, b) => a - b);
	const most = choices('Valid for at most', 'most', times.map((s) => ({ value: String(s), title: duration(s) })),
		String(policy.maxValiditySeconds), undefined, 'segment');
	const accounts = field('Account names', { value: (policy.principals ?? []).join(', ') }, 'Separated by commas. At least one, here or at the identity.');
	const known = [...new Set([...extensions, ...(policy.extensions ?? [])])];
	const allowed = checks('Allowed on the server', known.map((e) => ({
		value: e, title: e.replace('permit-', ''), checked: policy.extensions?.includes(e) ?? false,
	})));
	const source = field('Only from these addresses', { value: (policy.sourceAddress ?? []).join(', '), placeholder: '192.0.2.0/24, 2001:db8::/32', inputmode: 'text' }, 'Networks as CIDR. Empty: from anywhere.');
	const command = field('Only this command', { value: policy.forceCommand ?? '' }, 'Empty: any command.');
	const save = button('Save', { kind: 'primary', type: 'submit' });
	const form = formFor('policy', save, async () => {
		await core.call('setPolicy', {
			policy: {
				...policy, maxValiditySeconds: Number(most.value()), principals: names(accounts.input.value),
				extensions: allowed.values(), sourceAddress: names(source.input.value), forceCommand: command.input.value.trim(),
			},
		});
		s.close();
		note('The policy holds from now on. Certificates already issued stay as they are.', 'good');
	}, most.element, accounts.element, allowed.element, source.element, command.element);
	const s = sheet({ title: 'Policy', body: [form], actions: [button('Cancel', { onclick: () => s.close() }), save] });
}

function remove() {
	confirm({
		title: 'Delete the CA?',
		body: [h('p', { class: 'para' }, 'This phone can then issue no more certificates. Servers go on trusting its public key until you remove it there, and certificates already issued stay valid until they expire. Computers refuse the certificates of another CA until you run ', h('code', null, 'vmux ca accept'), ' there.')],
		action: 'Delete',
		run: async () => {
			await core.call('deleteCA', {});
			note('The CA was deleted.', 'good');
		},
	});
}
