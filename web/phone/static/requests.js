// @ts-check
// The requests that wait, one sheet at a time: what is asked, by whom, how long
// there is, Deny and Approve.

import * as core from './core.js';
import { fill, h, icon, replace, theirs } from './dom.js';
import { badge, button, callout, checks, choices, fact, failure, handOn, iconButton, newID, note, say, sheet, spoken } from './parts.js';
import { like, otherAnswers, together } from './answers.js';
import { press } from './press.js';
import { noteWithdrawal, withdrawsOften } from './withdrawals.js';
import { Ring } from './ring.js';
import { typed } from './views/passphrase.js';
import { clean, count, duration, inGroups, isLogin, isSudo, lineName, sentence } from './text.js';
import { fit } from './viewport.js';

/** @typedef {import('../types/core').Sheet} Request */
/** @typedef {import('../types/core').SheetEnd} SheetEnd */
/** @typedef {import('../types/core').Decision} Decision */
/** @typedef {import('../types/core').Quality} Quality */

/** Approve does nothing for so long after a sheet appears or changes, in milliseconds. */
export const inertFor = 500;
/** For how long the like passes where the sheet itself offers it, in minutes. */
const grantMinutes = 15;
/** How long the outcome stays when nothing else waits, in milliseconds. */
const outcomeFor = 1100;
/** The same of one that has to be read, and that a tap closes before. */
const causeFor = 12000;

/** @type {Map<string, Request>} in the order in which they came */
const waiting = new Map();
/** @type {RequestSheet | null} */
let open = null;
/** Requests that have ended: a state that was being read meanwhile has them still. @type {Set<string>} */
const gone = new Set();
/** Requests that were answered on another one's sheet, and have not ended yet. @type {Set<string>} */
const answered = new Set();
/** The person put the sheet aside; the bar says that requests wait. */
let aside = false;

/** Begins to listen; the requests of a state that was loaded come by `seed`. */
export function start() {
	core.on('sheet', (/** @type {Request} */ request) => take(request));
	core.on('sheetEnd', (/** @type {SheetEnd} */ end) => finish(end));
	setInterval(tick, 250);
	document.addEventListener('visibilitychange', () => {
		if (document.visibilityState === 'visible') {
			open?.arm(); // what was shown while nobody looked has just appeared
		}
	});
}

/** @param {Request[] | null | undefined} requests all that wait, as the core knows them */
export function seed(requests) {
	for (const request of requests ?? []) {
		if (!waiting.has(request.id) && !gone.has(request.id)) {
			take(request);
		}
	}
}

/** @param {Request} request */
function take(request) {
	const isNew = !waiting.has(request.id);
	waiting.set(request.id, request);
	if (open?.request.id === request.id) {
		open.update(request);
	} else if (isNew && !withdrawsOften(request.computerID)) {
		aside = false;
		say(`${clean(request.computer)} ${wish(request)} ${heading(request)}`);
	}
	next();
}

/** @param {SheetEnd} end */
function finish(end) {
	const request = waiting.get(end.id);
	gone.add(end.id);
	waiting.delete(end.id);
	if (!request) {
		return;
	}
	const { text, tone } = outcome(end, request);
	const joined = answered.delete(end.id);
	if (end.outcome === 'withdrawn') {
		noteWithdrawal(request.computerID);
	}
	if (open?.request.id === end.id) {
		open.end(text, tone);
	} else if (tone === 'bad' || !joined && !withdrawsOften(request.computerID)) { // else the sheet that listed it says so
		note(text, tone);
	}
	next();
}

/** Shows the request that has waited longest, if none is shown. @param {boolean} [all] those of the bar, too */
function next(all = false) {
	const first = Array.from(waiting.values()).find((r) => !answered.has(r.id) && (all || !withdrawsOften(r.computerID)));
	if (!open && !aside && first) {
		open = new RequestSheet(first);
	}
	open?.gather();
	open?.counted();
	bar();
}

/** Closes what is open: the core has ended, and nothing can be answered here. */
export function closeAll() {
	waiting.clear();
	open?.close();
	bar();
}

/** Puts the sheets back that were put aside. */
export function show() {
	aside = false;
	next(true);
}

function tick() {
	const now = Date.now();
	for (const request of waiting.values()) {
		if (now > request.expires + 3000) { // the core says so first, unless it hangs
			finish({ id: request.id, outcome: 'expired' });
		}
	}
	open?.tick();
	bar();
}

/** The bar on every screen that says how many requests wait unseen. */
function bar() {
	const place = document.querySelector('#waiting');
	document.title = waiting.size ? `(${waiting.size}) vmux` : 'vmux';
	if (!place) {
		return;
	}
	const text = !open && waiting.size ? `${count(waiting.size, 'request')} waiting` : '';
	if (place.getAttribute('data-text') === text) {
		return;
	}
	place.setAttribute('data-text', text);
	replace(place, text && h('div', { class: 'waiting-bar' }, icon('bell'), h('span', null, text),
		button('Show', { kind: 'primary', key: 'show-waiting', onclick: show })));
}

/** @param {Request} r */
function heading(r) {
	if (r.kind === 'certificate') {
		return 'Session certificate';
	}
	const title = clean(r.title);
	return !title || title === 'unknown' ? 'Something unknown' : sentence(title);
}

/** @param {Request} r */
function wish(r) {
	if (r.kind === 'certificate') {
		return r.automatic ? 'asks by itself for a' : 'asks for a';
	}
	return isLogin(r.lines) ? 'wants to log in as' : isSudo(r.lines) ? 'asks for' : 'wants you to sign';
}

/** @param {SheetEnd} end @param {Request} request @returns {{text: string, tone: 'plain' | 'good' | 'warn' | 'bad'}} */
function outcome(end, request) {
	const name = clean(request.computer);
	switch (end.outcome) {
	case 'approved':
		return { text: request.kind === 'certificate' ? `Issued for ${name}.` : `Signed for ${name}.`, tone: 'good' };
	case 'denied':
		return { text: 'Denied. Nothing was signed.', tone: 'plain' };
	case 'expired':
		return { text: 'Too late: the request has expired. Nothing was signed.', tone: 'warn' };
	case 'withdrawn':
		return { text: end.message ? clean(end.message) : `${name} no longer asks, or another phone has answered.`, tone: 'plain' };
	}
	return { text: clean(end.message || 'The request has ended. Nothing was signed.'), tone: 'bad' };
}

/** How long an outcome stays, in milliseconds. @param {string} tone */
function restOf(tone) {
	if (tone === 'bad') {
		return waiting.size > 0 ? causeFor / 3 : causeFor;
	}
	return waiting.size > 0 ? outcomeFor / 2 : tone === 'good' ? outcomeFor : 2 * outcomeFor;
}

class RequestSheet {
	/** @param {Request} request */
	constructor(request) {
		this.request = request;
		this.armedAt = Infinity;
		this.whole = 1; // seconds that there were when it appeared
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
		this.ended = false;
		this.asking = false;
		this.failed = false;
		this.acknowledged = false; // what the sheet warns of
		this.deciding = 0; // choices on their way to the core
		this.choice = initialChoice(request);
		/** @type {Request[]} what is listed here and answered with it */
		this.joined = [];
		const id = newID('request');
		this.heading = h('h2', { id, tabindex: '-1', autofocus: true });
		this.from = h('p', { class: 'from' });
		this.queue = h('span', { class: 'queue' });
		this.ring = new Ring();
		this.body = h('div', { class: 'sheet-body', tabindex: '0', role: 'group', 'aria-label': 'What is asked' });
		this.status = h('p', { class: 'request-status', role: 'status' });
		this.deny = button('Deny', { kind: 'danger', icon: 'cross', key: 'deny', onclick: () => this.denied() });
		this.icon = request.keyKind === 'passphrase' ? 'lock' : 'finger';
		this.secret = request.keyKind === 'passphrase' ? typed('Passphrase of the vault') : null;
		this.approve = button('Approve', { kind: 'primary approve', icon: this.icon, key: 'approve', onclick: () => this.approved() });
		this.grant = request.again ? button(`Approve, and the like for ${grantMinutes} minutes`, { icon: 'clock', key: 'grant-offered', onclick: () => this.approved({ grantSeconds: 60 * grantMinutes }) }) : null;
		this.foot = h('div', { class: 'sheet-foot' }, this.status,
			this.secret && h('form', { onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); this.entered(); } },
				this.secret.element, h('button', { type: 'submit', hidden: true })), // for Enter
			this.grant && h('p', { class: 'hint' }, `You have approved ${request.again} like it within a minute.`), this.grant,
			h('div', { class: 'decide' }, this.deny, this.approve),
			request.kind === 'sign' && button('Other answers', { kind: 'quiet', key: 'other-answers', onclick: () => this.others() }));
		/** @type {import('./parts.js').Sheet | null} */
		this.menu = null;
		this.dialog = h('dialog', {
			class: 'sheet request', 'aria-labelledby': id,
			oncancel: (/** @type {Event} */ e) => { e.preventDefault(); this.putAside(); },
			onclose: () => { aside ||= open === this && !this.ended; this.close(); }, // by the browser, which does not always ask before
		}, h('div', { class: 'sheet-head' }, h('div', { class: 'request-head' }, this.from, this.heading),
			this.ring.element, iconButton('cross', 'Decide later', () => this.putAside())),
		this.body, this.foot, h('div', { class: 'notes', role: 'status' }), spoken());
		document.body.append(this.dialog);
		this.draw();
		this.dialog.showModal();
		fit(this.dialog);
		this.heading.focus();
		this.arm();
		this.tick();
	}

	/** The contents; all of it may be another after an update. */
	draw() {
		const r = this.request;
		replace(this.from, icon('laptop'), theirs(r.computer, 'strong'), wish(r), this.queue);
		replace(this.heading, theirs(heading(r)));
		this.approve.replaceChildren(icon(this.icon), h('span', null, this.joined.length ? `Approve ${this.joined.length + 1}` : 'Approve'));
		this.deny.replaceChildren(icon('cross'), h('span', null, this.joined.length ? `Deny ${this.joined.length + 1}` : 'Deny'));
		replace(this.body, together(this.joined), r.kind === 'certificate' ? this.certificate() : signing(r, r.mustAcknowledge ? this.acknowledge() : null));
		this.counted();
		this.buttons();
	}

	/** @param {Request} request */
	update(request) {
		request = this.settle(request);
		const warnings = (/** @type {Request} */ r) => JSON.stringify(r.lines?.filter((l) => l.warning) ?? []);
		this.acknowledged &&= warnings(request) === warnings(this.request);
		const same = JSON.stringify({ ...request, waiting: 0 }) === JSON.stringify({ ...this.request, waiting: 0 });
		this.request = request;
		if (!same && !this.ended) {
			this.menu?.close();
			this.draw();
			this.arm();
		}
	}

	/**
	 * What is shown must be what would be signed. A certificate that was prepared
	 * for a choice changed since is not ready; one that answers no choice of this
	 * sheet's brings its own.
	 * @param {Request} request
	 */
	settle(request) {
		if (request.kind !== 'certificate') {
			return request;
		}
		const theirs = initialChoice(request);
		if (JSON.stringify(theirs) === JSON.stringify(this.choice)) {
			return request;
		}
		if (this.deciding > 0) {
			return { ...request, ready: false };
		}
		this.choice = theirs;
		return request;
	}

	/**
	 * Lists the requests that can be answered with this one: what is listed when
	 * the person taps counts, and nothing else. One that joins makes Approve inert.
	 */
	gather() {
		if (this.asking || this.ended) {
			return;
		}
		const now = Array.from(waiting.values()).filter((r) => !answered.has(r.id) && like(this.request, r));
		const joins = now.some((r) => !this.joined.includes(r));
		if (joins || now.length !== this.joined.length) {
			this.joined = now;
			this.menu?.close();
			this.draw();
			if (joins) {
				this.arm();
			}
		}
	}

	counted() {
		const others = waiting.size - (waiting.has(this.request.id) ? 1 : 0) - this.joined.filter((r) => waiting.has(r.id)).length;
		this.queue.textContent = others > 0 ? `${others} more waiting` : '';
	}

	/** From now on Approve is inert for a while; it shows that it is. */
	arm() {
		this.armedAt = performance.now() + inertFor;
		this.buttons();
		this.approve.classList.remove('arming');
		void this.approve.offsetWidth; // starts the animation anew
		this.approve.classList.add('arming');
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.buttons(), inertFor + 10);
	}

	get inert() {
		return performance.now() < this.armedAt;
	}

	/** Whether the click that is being handled is of a press from before. */
	get stale() {
		return press.isLast() && press.start < this.armedAt;
	}

	buttons() {
		const choosing = this.request.kind === 'certificate' && !this.choice.principals?.length;
		const late = Date.now() >= this.request.expires;
		const warned = Boolean(this.request.mustAcknowledge) && !this.acknowledged;
		const off = warned || this.inert || this.asking || this.ended || !this.request.ready || choosing || late;
		if (!this.inert) {
			this.approve.classList.remove('arming');
		}
		this.approve.disabled = off;
		if (this.grant) {
			this.grant.disabled = off;
		}
		this.deny.disabled = this.ended;
		for (const b of this.menu?.body.querySelectorAll('button') ?? []) {
			b.disabled = b.dataset.key === 'mute' ? this.ended || this.inert : off;
		}
		if (!this.ended && !this.asking && !this.failed) {
			this.status.textContent = choosing ? 'Choose at least one account.' : warned ? 'Read the warning and tick the box first.' : !this.request.ready && !late ? 'Preparing what is to be signed…' : '';
		}
	}

	/** Enter approves. A form that a password manager sends once it has filled in the field does not. */
	entered() {
		if (press.key === 'Enter' && press.isLast()) {
			this.approved();
		}
	}

	/** @param {Decision} [more] */
	approved(more = {}) {
		if (this.inert || this.stale || this.approve.disabled) {
			return;
		}
		let passphrases;
		try {
			passphrases = this.secret ? [this.secret.take()] : [];
		} catch (error) {
			this.menu?.close();
			this.status.textContent = failure(error).message;
			this.secret?.input.focus();
			return;
		}
		// The browser lets WebAuthn ask only from within the tap: nothing is awaited before.
		const answer = core.approve(this.request, { ...this.choice, ...this.request.mustAcknowledge && { acknowledged: this.acknowledged }, ...more, ...this.listed(more) }, ...passphrases);
		this.menu?.close();
		this.wait(this.secret ? 'Unlocking the key…' : 'Waiting for you to confirm it is you…', answer);
	}

	/** @param {{mute?: boolean}} [choice] */
	denied(choice) {
		this.menu?.close();
		this.wait('Denying…', core.deny(this.request, { ...choice, ...this.listed() }));
	}

	/** The requests that are answered with this one; a grant is for this one alone. @param {Decision} [decision] */
	listed(decision) {
		const joined = decision?.grantSeconds ? [] : this.joined.map((r) => r.id);
		joined.forEach((id) => answered.add(id));
		return joined.length > 0 && { joined };
	}

	/** Answers that are not for every day. They are as inert at first as Approve is. */
	others() {
		this.menu = sheet({
			title: 'Other answers', onclose: () => { this.menu = null; },
			body: otherAnswers(this.request, (grantSeconds) => this.approved({ grantSeconds }), () => this.denied({ mute: true })),
		});
		this.arm();
	}

	/** @param {string} text @param {Promise<unknown>} answer */
	async wait(text, answer) {
		this.asking = true;
		this.failed = false;
		this.status.className = 'request-status';
		this.status.textContent = text;
		this.buttons();
		try {
			await answer;
		} catch (error) {
			this.joined.forEach((r) => answered.delete(r.id));
			if (!this.ended) {
				const { message, hint } = failure(error);
				this.failed = true;
				this.status.className = 'request-status bad';
				replace(this.status, icon('warning'), theirs(hint ? `${message} ${hint}` : message));
				this.arm();
				this.secret?.input.focus();
			}
		} finally {
			this.asking = false;
			this.gather();
			this.buttons();
		}
	}

	/** @param {string} text @param {string} tone */
	end(text, tone) {
		this.ended = true;
		this.menu?.close();
		this.secret?.clear();
		this.buttons();
		const names = { good: 'check', plain: 'info', warn: 'clock', bad: 'warning' };
		this.dialog.classList.add('ended');
		this.ring.stop();
		const result = h('p', { class: `outcome ${tone}`, role: 'status' });
		this.foot.replaceChildren(result);
		fill(result, icon(/** @type {any} */ (names)[tone]), h('bdi', null, text));
		if (tone === 'bad') {
			this.foot.append(button('Close', { onclick: () => this.close() }));
		}
		setTimeout(() => this.close(), restOf(tone));
	}

	putAside() {
		if (this.ended) {
			return;
		}
		aside = true;
		this.close();
	}

	close() {
		if (open !== this) {
			return;
		}
		open = null;
		this.menu?.close();
		this.secret?.clear();
		clearTimeout(this.timer);
		handOn(this.dialog);
		this.dialog.close();
		this.dialog.remove();
		next();
	}

	tick() {
		if (this.ended) {
			return;
		}
		const left = (this.request.expires - Date.now()) / 1000;
		this.whole = Math.max(this.whole, left);
		this.ring.show(left, this.whole);
		if (left <= 0) {
			this.buttons();
		}
	}

	/** A warning is agreed to in an act of its own, which is no habit. */
	acknowledge() {
		const input = h('input', {
			type: 'checkbox', 'data-key': 'acknowledge', onchange: () => {
				this.acknowledged = input.checked;
				this.arm();
			},
		});
		input.checked = this.acknowledged;
		return h('label', { class: 'acknowledge' }, input, h('span', null, clean(this.request.acknowledgement || 'I have read the warning.')));
	}

	certificate() {
		const r = this.request;
		const most = r.maxValiditySeconds ?? r.validitySeconds ?? 0;
		const times = [...new Set([900, 3600, 14400, r.validitySeconds ?? most, most])].filter((s) => s <= most).sort((a, b) => a - b);
		const asked = r.choices?.length ? r.choices : r.principals ?? [];
		const automatic = r.automatic && callout('plain', 'The computer asks by itself',
			h('p', null, 'Nobody pressed a button there. Your policy allows that; approving is still up to you.'));
		return [
			h('p', { class: 'lead' }, 'Until it expires, ', theirs(r.computer, 'strong'), ' can log in without asking this phone again.'),
			automatic,
			choices('For how long', 'validity', times.map((s) => ({ value: String(s), title: duration(s) })),
				String(this.choice.validitySeconds), (value) => this.decide({ validitySeconds: Number(value) }), 'segment').element,
			checks('Log in as', asked.map((p) => ({ value: p, checked: this.choice.principals?.includes(p) ?? false })),
				(principals) => this.decide({ principals })).element,
			facts(r, 'On behalf of'),
		];
	}

	/** @param {Decision} change */
	async decide(change) {
		this.choice = { ...this.choice, ...change };
		this.failed = false;
		this.arm();
		if (!this.choice.principals?.length) {
			return;
		}
		this.request = { ...this.request, ready: false }; // until the new certificate is there to be signed
		this.buttons();
		this.deciding++;
		try {
			await core.call('decide', { id: this.request.id, ...this.choice });
		} catch (error) {
			note(failure(error).message, 'bad');
		} finally {
			this.deciding--;
		}
	}
}

/** @param {Request} r @returns {Decision} */
function initialChoice(r) {
	return r.kind === 'certificate'
		? { validitySeconds: r.validitySeconds, principals: [...(r.principals ?? [])] } : {};
}

/** @type {Partial<Record<Quality, [import('./parts.js').Tone, string, string]>>} */
const verdicts = {
	claimed: ['warn', 'The server is not checked', 'Only the computer says which one it is, and it could be wrong.'],
	unknown: ['warn', 'This phone cannot tell to which server', 'Approve only if you have just started it yourself.'],
};

/** @type {[import('./parts.js').Tone, string, string]} */
const sudo = ['warn', 'Only the host that asks says so', 'No server is logged in to. Approve it only if you have just typed this command there.'];

/** @param {Request} r @param {HTMLElement | null} acknowledge */
function signing(r, acknowledge) {
	const lines = r.lines ?? [];
	const verdict = isSudo(lines) ? sudo : verdicts[r.quality ?? 'unknown'];
	const known = lines.filter((l) => !l.warning);
	return [
		lines.filter((l) => l.warning).map((l) => callout('bad', 'Stop and think', h('p', null, theirs(l.value)),
			h('p', null, meaning(r)))),
		acknowledge,
		verdict && callout(verdict[0], verdict[1], h('p', null, verdict[2])),
		group('shield', 'good', 'Checked by this phone', known.filter((l) => l.quality === 'verified')),
		group('laptop', 'warn', 'Said by the host that asks, not checked', known.filter((l) => l.quality === 'asker')),
		group('laptop', 'warn', 'Said by the computer, not checked', known.filter((l) => l.quality !== 'verified' && l.quality !== 'asker')),
		facts(r, 'Signed by'),
	];
}

/** What a warning means. @param {Request} r */
function meaning(r) {
	if (r.hostChanged) {
		return 'Either the server was set up anew, or somebody else answers in its place.';
	}
	return r.downgraded ? 'Either you or the server’s administrator know why, or the computer logs in elsewhere.'
		: 'Compare the host key below with the one that the server itself shows.';
}

/** Lines that are known in the same way. @param {string} iconName @param {string} tone @param {string} title @param {import('../types/core').Line[]} lines */
const group = (iconName, tone, title, lines) => lines.length > 0 && h('div', { class: 'group' },
	h('h3', { class: `quality ${tone}` }, icon(iconName), title),
	h('dl', { class: 'facts pairs' }, lines.map((l) =>
		fact(theirs(lineName(l.name)), theirs(l.value, /^SHA256:/.test(l.value) ? 'mono' : '')))));

/** Which key and which device: what this phone knows itself. @param {Request} r @param {string} name */
function facts(r, name) {
	const kind = badge({ passkey: 'Passkey', vault: 'Vault', passphrase: 'Passphrase' }[r.keyKind], 'plain', r.keyKind === 'passkey' ? 'finger' : 'lock');
	const issued = r.kind === 'certificate'; // then the key that signs is the CA's
	return h('dl', { class: 'facts' },
		fact(name, theirs(r.label, 'value strong'), ' ', !issued && kind, h('span', { class: 'mono' }, clean(r.fingerprint))),
		issued && fact('Signed by', h('span', { class: 'value' }, 'The CA of this phone'), ' ', kind),
		fact('Computer', theirs(r.computer, 'value'), h('span', { class: 'mono' }, inGroups(r.computerID).slice(0, 19), '…')));
}
