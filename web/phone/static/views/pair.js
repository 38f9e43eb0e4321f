// @ts-check
// Pairing: the invitation is scanned, pasted, or came with the link that opened
// the app. Nothing is paired before the person has seen with which computer.

import * as core from '../core.js';
import { h, icon, replace, theirs } from '../dom.js';
import { busy, button, callout, fact, fail, failure, field, note, section, sheet } from '../parts.js';
import { isInAnotherApp, mustInstallFirst } from '../platform.js';
import { whyOffline } from '../reach.js';
import { inertFor } from '../requests.js';
import { clean, inGroups } from '../text.js';
import { Scanner } from './scanner.js';
import { beginElsewhere } from './welcome.js';

/**
 * An invitation, which has no blanks, as it was before terminals and messages broke its
 * lines and put quotes around it.
 * @param {string} text
 */
const whole = (text) => text.replace(/[\s\p{Cf}]/gu, '').replace(/^['"<]+|['">]+$/g, '');

/** What a scanned text begins with when it may be an invitation. */
const mayInvite = /#.*\bs=/;

/** @param {import('../app.js').Given} given @returns {import('../app.js').Screen} */
export function pair({ invitation }) {
	const finder = h('div', { class: 'finder' });
	const scan = new Scan(finder);
	const text = field('Or paste the invitation', { rows: '2', class: 'mono', placeholder: 'https://…#v=1&d=…' },
		'The text below the code that “vmux pair” prints.');
	const go = button('Continue', { type: 'submit', icon: 'next' });
	const form = h('form', {
		class: 'paste', onsubmit: (/** @type {Event} */ e) => {
			e.preventDefault();
			busy(go, async () => {
				await scan.meanwhile(text.input.value);
				text.input.value = ''; // it works once, and is nobody's business
			});
		},
	}, text.element, go);
	if (invitation) {
		const look = () => scan.start(); // at another one
		preview(invitation, look).catch((error) => { fail(error); look(); });
	} else {
		scan.start();
	}
	return {
		title: 'Pair a computer', back: '#home', steady: true, leave: () => scan.stop(),
		main: [
			beginElsewhere(),
			h('p', { class: 'para' }, 'Run ', h('code', null, 'vmux pair'), ' on the computer and point the camera at the code.'),
			finder,
			section(null, form),
		],
	};
}

class Scan {
	/** @param {HTMLElement} place */
	constructor(place) {
		this.place = place;
		this.paused = false;
		this.other = ''; // a code that was no invitation
		this.video = h('video', { playsinline: true, 'aria-label': 'Camera picture' });
		this.video.muted = true;
		this.wait = h('p', { class: 'finder-wait', role: 'status' });
		this.tools = h('div', { class: 'finder-tools' });
		this.scanner = new Scanner(this.video, {
			found: (text) => this.found(text),
			waiting: () => this.waiting(),
			ready: (has) => this.ready(has),
			failed: (error) => this.failed(error),
		});
	}

	start() {
		if (!navigator.mediaDevices?.getUserMedia) {
			this.without('This browser gives the app no camera.', 'Paste the invitation instead.');
			return;
		}
		this.scanner.start();
	}

	waiting() {
		this.wait.replaceChildren('Waiting for the camera…');
		if (!this.video.isConnected) {
			this.tools.replaceChildren();
			replace(this.place, this.video, h('span', { class: 'finder-frame', 'aria-hidden': 'true' }), this.wait, this.tools);
		}
	}

	/** @param {{cameras: MediaDeviceInfo[], camera: string, light: boolean}} has */
	ready({ cameras, camera, light }) {
		this.wait.replaceChildren('Hold the code inside the frame.');
		const which = h('select', { 'aria-label': 'Camera', 'data-key': 'camera', onchange: () => this.scanner.choose(which.value) },
			cameras.map((c, n) => h('option', { value: c.deviceId }, clean(c.label) || `Camera ${n + 1}`)));
		which.value = camera;
		const lamp = button('Light', { key: 'light', onclick: async () => {
			try {
				await this.scanner.shine(!this.scanner.lit);
			} catch {
				note('This camera’s light cannot be turned on.', 'warn');
			}
			lamp.setAttribute('aria-pressed', String(this.scanner.lit));
		} });
		lamp.setAttribute('aria-pressed', String(this.scanner.lit));
		replace(this.tools, light && lamp, cameras.length > 1 && which);
	}

	/** @param {any} error */
	failed(error) {
		if (error?.name === 'NotAllowedError') {
			this.without('The app may not use the camera.', 'Allow it in the browser’s settings for this site, or paste the invitation.');
		} else if (error?.name === 'NotReadableError' || error?.name === 'NoPicture') {
			this.without('The camera gives no picture.', 'Another app may be using it: close that one, or paste the invitation.');
		} else if (error?.name === 'Unreadable') {
			this.without('This browser does not let the app read the camera’s picture.', 'Its protection against fingerprinting does that: let this site read image data (canvas), where the browser asks, or paste the invitation.');
		} else {
			this.without('There is no camera to use.', 'Paste the invitation instead.');
		}
	}

	/** @param {string} title @param {string} text */
	without(title, text) {
		replace(this.place, h('div', { class: 'finder-off', role: 'status' }, icon('scan'), h('p', { class: 'strong' }, title), h('p', null, text),
			button('Try the camera again', { onclick: () => this.start() })));
	}

	/** @param {string} text */
	found(text) {
		if (this.paused) {
			return;
		}
		if (!mayInvite.test(text)) {
			if (text !== this.other) {
				this.other = text;
				note('This code is no invitation of vmux.', 'warn');
			}
			return;
		}
		this.meanwhile(text).catch(fail);
	}

	/** Previews an invitation, and takes no code while it is looked at. @param {string} text */
	async meanwhile(text) {
		this.paused = true;
		try {
			await preview(text, () => { this.paused = false; });
		} catch (error) {
			setTimeout(() => { this.paused = false; }, 2000); // the same code is still before the camera
			throw error;
		}
	}

	stop() {
		this.scanner.stop();
	}
}

/**
 * What is paired under this ID or name: a name is anybody's to choose.
 * @param {{id: string, name: string}} from @param {import('../../types/core').Computer[]} computers
 */
function already(from, computers) {
	if (computers.some((c) => c.id === from.id)) {
		return callout('plain', 'It is paired already', h('p', null, 'Pairing it again changes nothing.'));
	}
	return computers.some((c) => c.name === from.name) && callout('warn', 'Another computer has this name',
		h('p', null, 'One of this name is paired already. This is not the same: its device ID is another.'));
}

/**
 * Shows who invites, and pairs when the person says so.
 * @param {string} invitation @param {() => void} cancelled
 */
async function preview(invitation, cancelled) {
	invitation = whole(invitation);
	const from = await core.call('previewInvitation', { invitation });
	const { computers } = await core.state();
	let paired = false;
	const status = h('p', { class: 'request-status', role: 'status' });
	const go = button('Pair', { kind: 'primary', icon: 'link', onclick: () => busy(go, run) });
	const run = async () => {
		const { hub } = await core.state();
		status.textContent = hub.connected ? 'Pairing…' : 'Offline: waiting for the hub…';
		if (!hub.connected) {
			whyOffline(core.connect, hub.error ?? '').then((why) => { status.textContent &&= `Offline: waiting for the hub… ${why.title}: ${why.text}`; });
		}
		try {
			const { name } = await core.call('pair', { invitation });
			paired = true;
			s.close();
			location.hash = '#home';
			note(`Paired with ${clean(name)}.`, 'good');
		} catch (error) {
			status.textContent = '';
			const { message, hint } = failure(error);
			note(message, 'bad', hint ?? 'Invitations work once and for 5 minutes: run “vmux pair” again if need be.');
		}
	};
	const s = sheet({
		title: 'Pair with this computer?',
		body: [
			h('div', { class: 'headline' }, h('span', { class: 'bubble big' }, icon('laptop')), h('p', { class: 'headline-title' }, theirs(from.name))),
			h('p', { class: 'para' }, 'It may then list your public keys and ask for signatures. You approve or deny each.'),
			already(from, computers ?? []),
			callout('plain', 'Only if you ran “vmux pair” there yourself', h('p', null, 'Compare: the computer shows the same device ID.')),
			h('dl', { class: 'facts' },
				h('div', null, h('dt', null, 'Device ID'), h('dd', { class: 'mono' }, inGroups(from.id))),
				from.hubURL && fact('By way of', theirs(from.hubURL))),
			isInAnotherApp() ? beginElsewhere() : mustInstallFirst() && callout('warn', 'This is Safari, not the installed app', h('p', null, 'The pairing will not be in the installed app. Open vmux from the Home Screen and scan there.')),
		],
		actions: [status, button('Cancel', { onclick: () => s.close() }), go],
		onclose: () => paired || cancelled(),
	});
	// A link can open this under a finger that was on its way to something else.
	go.disabled = true;
	setTimeout(() => { go.disabled = false; }, inertFor);
}
