// @ts-check
// What the screenshots show: a core that plays states and requests, which are to be
// looked at and do nothing. It is served in place of core.js for the pictures, for the
// tests that measure what is on them, and with text that the real core would not let
// pass. What the app does is tested with the real core: see native.js.

/** @typedef {import('../types/core').State} State */

const now = Date.now();
const hour = 3600 * 1000;
const blob = 'AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBEyPDJ0Rk0XkR0pS1oQm7u9fZ4sX2bqWcVY8nK3tJ5aLhE6yUo1dGv9xTzIwCfMsNrBjPgQ0AOe7iHuXlDk2RmYAAAAPaHViLmV4YW1wbGUub3Jn';
const edBlob = 'AAAAC3NzaC1lZDI1NTE5AAAAIKj8p0v3bUeYh2sQmRzXc1TnWd5fLg7iAo4xNtBuEyVk';

/** @returns {State} */
function full() {
	return {
		version: '0.1.0', hub: { url: 'https://hub.example.org', connected: true, error: '' },
		deviceName: 'Ada’s phone', deviceID: '6rri5lnou2v2k4mzq7xw3ytbh5cfdgja2ses4lkpvo6iunrq7mba',
		rpID: 'hub.example.org',
		support: { webauthn: true, prf: 'yes', passphrase: false, platformAuthenticator: true, persisted: true, push: 'off' }, passphrases: 0,
		computers: [
			{ id: 'mq7xw3ytbh5cfdgja2ses4lkpvo6iunrq7mba6rri5lnou2v2k4z', name: 'studio', connected: true, since: now - 42 * 60000, clockDifferenceSeconds: 0, opensshVersion: 'OpenSSH_10.3p1' },
			{ id: 'yo6iunrq7mba6rri5lnou2v2k4zmq7xw3ytbh5cfdgja2ses4lkp', name: 'old-laptop', connected: false, since: now - 3 * hour, clockDifferenceSeconds: 41, opensshVersion: 'OpenSSH_9.2p1', lastError: 'No answer within 15 s.' },
		],
		identities: [
			{
				fingerprint: 'SHA256:9yKiFGIp6KO7tPl4ViQup7Jq/M1FNTRWcW2JcWQExSo', label: 'work', algorithm: 'sk-ecdsa-sha2-nistp256@openssh.com', kind: 'passkey',
				enabled: true, default: true, createdAt: now - 30 * 24 * hour, backedUp: true, backupEligible: true, principals: [],
				publicKey: `sk-ecdsa-sha2-nistp256@openssh.com ${blob} work`, authorizedKey: `verify-required sk-ecdsa-sha2-nistp256@openssh.com ${blob} work`,
				warning: 'The SSH client is too old for passkeys on old-laptop (OpenSSH_9.2p1): OpenSSH 10.3 or newer is needed there. A vault key works with every client.',
			},
			{
				fingerprint: 'SHA256:Zt0vQ4mJ7aXcRb1sWnEk3pYhLuG9dOiFf6K2xTqVe8M', label: 'deploy', algorithm: 'ssh-ed25519', kind: 'vault',
				enabled: true, default: false, createdAt: now - 3 * 24 * hour, backedUp: false, backupEligible: false, principals: ['deploy'],
				publicKey: `ssh-ed25519 ${edBlob} deploy`, authorizedKey: `ssh-ed25519 ${edBlob} deploy`,
			},
			{
				fingerprint: 'SHA256:pL5sD1kQw8Zr3NcTy7UvBx0aGh2JmEi4OoKf9RtSd6Y', label: 'archive', algorithm: 'ssh-rsa', kind: 'vault',
				enabled: false, default: false, createdAt: now - 200 * 24 * hour, backedUp: null, principals: [],
				publicKey: `ssh-rsa ${edBlob} archive`, authorizedKey: `ssh-rsa ${edBlob} archive`,
			},
		],
		ca: {
			fingerprint: 'SHA256:Q0xTqVe8MZt0vQ4mJ7aXcRb1sWnEk3pYhLuG9dOiFf6', kind: 'passkey',
			line: `sk-ecdsa-sha2-nistp256@openssh.com ${blob} vmux-ca`,
			policy: { maxValiditySeconds: 28800, automaticIssuance: true, principals: ['ada', 'deploy'], extensions: ['permit-pty', 'permit-port-forwarding', 'permit-agent-forwarding'], sourceAddress: [], forceCommand: '' },
			serverHint: '',
		},
		certificates: [{
			serial: '12073184629913371842', computer: 'studio', identity: 'work', principals: ['ada', 'deploy'],
			validAfter: now - 2 * hour, validBefore: now + 6 * hour, issuedAt: now - 2 * hour,
		}],
		grants: { enabled: true, list: [] }, pauses: [],
		secondWay: { at: now - 50 * hour, uncovered: ['archive'], missing: ['work', 'vmux CA'], alone: false },
		sheets: [],
	};
}

/** @returns {State} */
const fresh = () => ({ ...full(), computers: [], identities: [], ca: null, certificates: [], secondWay: { at: 0, uncovered: [], missing: [], alone: false }, support: { ...full().support, persisted: false, prf: 'unknown' } });

const isFresh = /** @type {any} */ (globalThis).fresh;
/** @type {State} */
let current = isFresh ? fresh() : full();

/** @type {Record<string, ((value: any) => void)[]>} */
const listeners = {};
/** @param {string} event @param {any} [value] */
const emit = (event, value) => listeners[event]?.forEach((f) => f(value));

/** @type {Record<string, any>} what functions return in place of their own answer */
const answers = {};

/**
 * A time of the day that was so many days ago, as the person's calendar counts, the
 * more hours ago the earlier. What was today is so right after midnight, too.
 * @param {number} n @param {number} hoursAgo
 */
function days(n, hoursAgo) {
	const d = new Date(now);
	const midnight = new Date(d.getFullYear(), d.getMonth(), d.getDate() - n).getTime();
	const end = n ? new Date(d.getFullYear(), d.getMonth(), d.getDate() - n + 1).getTime() : now;
	return new Date(Math.max(end - hoursAgo * hour, midnight + (end - midnight) / (2 + hoursAgo))).toISOString();
}
const device = { deviceName: 'studio', deviceID: full().computers?.[0].id ?? '' };
const records = [
	{ time: days(0, .2), kind: 'sign', requestID: 'r1', ...device, label: 'work', key: 'SHA256:9yKiFGIp6KO7tPl4ViQup7Jq/M1FNTRWcW2JcWQExSo', contextQuality: 'verified', what: 'deploy@web-1.example.org', decision: 'approved',
		lines: [{ name: 'user', value: 'deploy', quality: 'verified' }, { name: 'server', value: 'SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE', quality: 'verified' }, { name: 'program', value: 'ssh ← zsh ← tmux', quality: 'claimed' }] },
	{ time: days(0, 1), kind: 'sign', requestID: 'r2', ...device, deviceName: 'old-laptop', label: 'deploy', key: 'SHA256:Zt0vQ4mJ7aXcRb1sWnEk3pYhLuG9dOiFf6K2xTqVe8M', contextQuality: 'claimed', what: 'root@db-2.example.org (claimed)', decision: 'denied', code: 'userDenied', message: 'Denied on the phone.',
		lines: [{ name: 'user', value: 'root', quality: 'verified' }, { name: 'server', value: 'not known: nothing in what is signed names it', quality: 'verified' }, { name: 'name', value: 'db-2.example.org', quality: 'claimed' }] },
	{ time: days(0, 2), kind: 'certificate', requestID: 'r3', ...device, label: 'work', decision: 'approved', serial: '12073184629913371842', principals: ['ada', 'deploy'], validBefore: new Date(now + 6 * hour).toISOString() },
	{ time: days(0, 2.4), kind: 'sign', requestID: 'r4', ...device, label: 'work', contextQuality: 'verified', what: 'git commit signature (claimed)', decision: 'approved', grant: true },
	{ time: days(0, 2.5), kind: 'revocation', requestID: '', ...device, label: 'work', decision: 'revoked', serial: '771093184629913371', principals: ['ada'] },
	{ time: days(1, 3), kind: 'sign', requestID: 'r5', ...device, label: 'work', contextQuality: 'verified', what: 'root@build.example.org', decision: 'expired', code: 'requestExpired', message: 'No answer within 60 s.' },
	{ time: days(1, 4), kind: 'sign', requestID: 'r6', ...device, deviceName: 'old-laptop', key: 'SHA256:pL5sD1kQw8Zr3NcTy7UvBx0aGh2JmEi4OoKf9RtSd6Y', decision: 'refused', code: 'keyDisabled', message: 'The key is switched off on the phone.' },
	{ time: days(1, 5), kind: 'sign', requestID: 'r8', ...device, deviceName: 'old-laptop', label: 'deploy', contextQuality: 'claimed', what: 'root@db-2.example.org (claimed)', decision: 'refused', code: 'policyDenied', reason: 'paused',
		message: 'paused: several requests were denied; it ends in 4m12s', log: 'refused', count: 3500, until: new Date(Date.parse(days(1, 5)) + 41e3).toISOString(),
		asked: [{ what: 'root@db-2.example.org (claimed)', program: 'ssh ← cron', times: 3000 }, { what: 'root@db-3.example.org (claimed)', program: 'ssh ← cron', times: 480 }] },
	{ time: days(1, 6), kind: 'key', requestID: '', deviceID: '', deviceName: '', label: 'deploy', key: 'SHA256:Zt0vQ4mJ7aXcRb1sWnEk3pYhLuG9dOiFf6K2xTqVe8M', what: 'policy: hosts web-1.example.org; forbidden forwarded', decision: 'changed' },
	{ time: days(4, 3), kind: 'ca', requestID: '', deviceID: '', deviceName: '', label: 'vmux-ca', what: 'ecdsa-sha2-nistp256, vault', decision: 'created' },
	{ time: days(4, 4), kind: 'key', requestID: '', deviceID: '', deviceName: '', label: 'old', key: 'SHA256:pL5sD1kQw8Zr3NcTy7UvBx0aGh2JmEi4OoKf9RtSd6Y', decision: 'deleted' },
	{ time: days(4, 5), kind: 'sign', requestID: 'r7', ...device, label: 'work', contextQuality: 'verified', what: 'ada@build.example.org', decision: 'withdrawn' },
	{ time: days(4, 6), kind: 'pairing', requestID: '', ...device, decision: 'paired' },
	{ time: days(4, 7), kind: 'key', requestID: '', deviceID: '', deviceName: '', label: 'work', key: 'SHA256:9yKiFGIp6KO7tPl4ViQup7Jq/M1FNTRWcW2JcWQExSo', what: 'ecdsa-sha2-nistp256, vault', decision: 'created' },
];

const decisions = { first: 1, last: records.length - 6, hash: '5f1d0c3a9b7e24d86c5a1f0e3b9d7c8246e0a1f5d3b7c9e8206f4a5d1c3b7e90' };

export const start = () => fetch('vmux.wasm'); // which the page has preloaded

/** @param {string} event @param {(value: any) => void} listener */
export function on(event, listener) {
	(listeners[event] ??= []).push(listener);
}

export const state = async () => structuredClone(current);

export function connect() {}
export function beginAnew() {}
export async function approve() {}

/** A computer whose browser has no passkeys that open a vault. @returns {any} */
const desktop = () => ({
	support: { ...full().support, prf: 'no', passphrase: true, platformAuthenticator: false }, passphrases: 2,
	identities: full().identities?.map((id) => id.kind === 'vault' ? { ...id, kind: 'passphrase', backedUp: null } : id),
});

/** @param {any} sheet */
export const deny = async ({ id }) => end(id, 'denied');

/** @type {Record<string, any>} */
const played = {
	activity: isFresh ? [] : records,
	decodeQR: '',
	newPassphrase: 'K7QXM-2VDTA-ZB4HP-N6RWC',
	makeBackup: {
		file: btoa('-----BEGIN AGE ENCRYPTED FILE-----'), keys: ['deploy', 'archive'], ca: false, servers: 12, certificates: 0,
		missing: [{ label: 'work', publicKey: '', provider: 'passkey' }, { label: 'vmux-ca', publicKey: '', provider: 'passkey' }],
	},
	openBackup: { createdAt: now - 50 * hour, needsKeys: true, outcomes: [
		{ what: 'key', name: 'deploy', state: 'kept', text: 'is on this phone already, and stays as it is' },
		{ what: 'key', name: 'archive', state: 'restored', text: 'is restored as archive 2, since another key here has its name' },
		{ what: 'ca', name: 'vmux-ca', state: 'differs', text: 'is not restored, since this phone has another CA, which stays; delete that one first if it is the wrong one' },
		{ what: 'servers', name: 'servers', state: 'restored', text: '11 of 12 are restored; this phone knows the others, or has no room' },
		{ what: 'key', name: 'work', state: 'missing', text: 'is not in the backup, since a passkey never leaves its device: make a key here in its place', publicKey: 'sk-ecdsa…' },
	] },
	previewInvitation: { name: 'studio', id: device.deviceID, hubURL: 'https://hub.example.org' },
	hosts: isFresh ? [] : [
		{ fingerprint: 'SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE', names: ['web-1.example.org', 'web-1'], users: ['deploy', 'ada'], firstSeen: now - 90 * 24 * hour, lastSeen: now - hour },
		{ fingerprint: 'SHA256:AAuvPu3OtSkWl+SX8NxEKDBOPd4Wx5VAeCLPgFvsp6Q', names: [], users: ['git'], firstSeen: now - 9 * 24 * hour, lastSeen: now - 26 * hour },
	],
	verifyActivity: { records: records.length, ...decisions, problems: [], logs: [
		{ log: '', records: records.length - 6, ...decisions },
		{ log: 'granted', records: 1, first: 1, last: 1, hash: '84d1b7c9e06f2a5d1c3b7e905f1d0c3a9b7e24d86c5a1f0e3b9d7c8246e0a1f5' },
		{ log: 'refused', records: 5, first: 813, last: 817, hash: 'c9e8206f4a5d1c3b7e905f1d0c3a9b7e24d86c5a1f0e3b9d7c8246e0a1f5d3b7',
			dropped: { records: 812, until: days(9, 3), kinds: { 'certificate expired': 1, 'sign refused': 41200, 'sign withdrawn': 96 } } },
	] },
};

/** @param {string} name @param {any} [args] */
export const call = async (name, args) => answers[name] ?? (args?.before ? [] : played[name] ?? null);

/** @param {Partial<State>} change */
function set(change) {
	current = { ...current, ...change };
	emit('change');
}

/** @param {any} sheet */
function request(sheet) {
	const others = current.sheets?.filter((s) => s.id !== sheet.id) ?? [];
	current = { ...current, sheets: [...others, sheet] };
	emit('sheet', sheet);
}

/** @param {string} id @param {string} outcome @param {string} [message] */
function end(id, outcome, message) {
	current = { ...current, sheets: current.sheets?.filter((s) => s.id !== id) ?? [] };
	emit('sheetEnd', { id, outcome, message });
}

/** @param {any} [change] */
const sign = (change) => request({
	id: 's1', kind: 'sign', computer: 'studio', computerID: device.deviceID, label: 'work', fingerprint: full().identities?.[0].fingerprint,
	keyKind: 'passkey', expires: Date.now() + 52000, waiting: 0, ready: true, quality: 'verified', title: 'deploy@web-1.example.org',
	lines: [
		{ name: 'user', value: 'deploy', quality: 'verified' },
		{ name: 'server', value: 'SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE', quality: 'verified' },
		{ name: 'seen', value: 'before', quality: 'verified' },
		{ name: 'name', value: 'web-1.example.org', quality: 'claimed' },
		{ name: 'program', value: 'ssh ← zsh ← tmux', quality: 'claimed' },
	], ...change,
});

/** @param {any} [change] */
const certificate = (change) => request({
	id: 'c1', kind: 'certificate', computer: 'studio', computerID: device.deviceID, label: 'work', fingerprint: full().identities?.[0].fingerprint,
	keyKind: 'passkey', expires: Date.now() + 58000, waiting: 0, ready: true, automatic: false, validitySeconds: 28800, maxValiditySeconds: 28800,
	principals: ['ada', 'deploy'], choices: ['ada', 'deploy'], ...change,
});

/** What the tests show. */
Object.assign(globalThis, { fake: { answers, set, end, sign, certificate, full, desktop } });
