// @ts-check
// The app's frame: it starts the core, shows one screen at a time, and keeps it
// up to date.

// First: the invitation leaves the address bar before anything else happens.
import { invited, takeInvitation } from './invitation.js';

import * as core from './core.js';
import { h, icon, replace } from './dom.js';
import { button, fail, failure, note } from './parts.js';
import * as prompts from './prompts.js';
import * as requests from './requests.js';
import { clean } from './text.js';
import * as update from './update.js';
import * as viewport from './viewport.js';
import { activity } from './views/activity.js';
import { backup } from './views/backup.js';
import { ca } from './views/ca.js';
import { home, showComputer, unpair } from './views/home.js';
import { hosts } from './views/hosts.js';
import { identities, identity } from './views/identities.js';
import { pair } from './views/pair.js';
import { recovery } from './views/recovery.js';
import { settings } from './views/settings.js';

/** @typedef {import('../types/core').State} State */
/**
 * What a screen is given, and what it returns.
 * @typedef {{state: State, argument: string, invitation: string | null, refresh: () => void}} Given
 * @typedef {{title: string, back?: string, main: import('./dom.js').Child[], actions?: import('./dom.js').Child[],
 *   top?: import('./dom.js').Child, steady?: boolean, leave?: () => void}} Screen
 */

/** @type {Record<string, (given: Given) => Screen>} */
const screens = { home, identities, identity, ca, pair, activity, settings, hosts, backup, recovery };

const tabs = [
	{ name: 'home', icon: 'home', text: 'Home' },
	{ name: 'identities', icon: 'key', text: 'Identities' },
	{ name: 'ca', icon: 'seal', text: 'CA' },
	{ name: 'activity', icon: 'list', text: 'Activity' },
	{ name: 'settings', icon: 'gear', text: 'Settings' },
];

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.querySelector(`#${id}`));

/** @type {State | null} */
let state = null;
/** @type {Screen | null} */
let screen = null;
let shownAddress = '';
let drawn = '';
/** @type {string | null} */
let invitation = invited;

/** What the address names; whoever made a link to the app may have written anything there. */
function address() {
	try {
		return decodeURIComponent(location.hash.slice(1)) || 'home';
	} catch {
		return 'home';
	}
}

/** The screen and its argument: "identity=SHA256:…". */
function place() {
	const [name, ...rest] = address().split('=');
	return Object.hasOwn(screens, name) ? { name, argument: rest.join('=') } : { name: 'home', argument: '' };
}

// A press makes no click where its element was drawn anew before it ends: the tap would be
// lost. So what has changed meanwhile is drawn once it has ended.
let pressed = false;
/** A drawing that waits for it, and whether it is forced. @type {boolean | null} */
let postponed = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let pressTimer;

/** @param {number} later in milliseconds */
function endPress(later) {
	clearTimeout(pressTimer);
	pressTimer = setTimeout(() => {
		pressed = false;
		if (postponed !== null) {
			draw(postponed);
		}
	}, later);
}

function watchPresses() {
	addEventListener('pointerdown', () => {
		pressed = true;
		endPress(2000); // of a button that was let go outside the window nobody tells
	}, true);
	addEventListener('pointerup', () => endPress(100), true); // after a touch the click comes a little later
	addEventListener('pointercancel', () => endPress(0), true); // it scrolls
	addEventListener('click', () => {
		pressed = false; // for what the click draws itself
		endPress(0);
	}, true);
}

/** Draws the screen that the address names, if it or the state has changed. */
function draw(force = false) {
	if (!state) {
		return;
	}
	const moved = address() !== shownAddress;
	const text = [JSON.stringify(state), update.available(), update.version(), update.changedOnTheWay()].join();
	if (!moved && !force && (text === drawn || screen?.steady)) {
		return;
	}
	if (pressed && !moved) {
		postponed = force || postponed === true;
		return;
	}
	postponed = null;
	drawn = text;
	if (moved) {
		screen?.leave?.();
	}
	shownAddress = address();
	const { name, argument } = place();
	const main = element('main');
	const top = main.scrollTop;
	screen = screens[name]({ state, argument, invitation, refresh: () => draw(true) });
	invitation = null;
	frame(name, screen);
	replace(main, ...screen.main);
	replace(element('actions'), ...(screen.actions ?? []));
	main.scrollTop = moved ? 0 : top;
	if (moved && !document.querySelector('dialog[open]')) {
		element('title').focus({ preventScroll: true });
	}
}

/** @param {string} name @param {Screen} shown */
function frame(name, shown) {
	replace(element('top'),
		shown.back ? h('a', { class: 'icon-button back', href: shown.back, 'aria-label': 'Back', 'data-key': 'back' }, icon('back')) : null,
		h('h1', { id: 'title', tabindex: '-1', 'data-key': 'title' }, shown.title), shown.top);
	const current = { identity: 'identities', pair: 'home', hosts: 'settings', backup: 'settings', recovery: 'settings' }[name] ?? name;
	const nav = element('tabs');
	nav.hidden = false;
	replace(nav, h('ul', null, tabs.map((t) => h('li', null, h('a', {
		href: `#${t.name}`, 'data-key': `tab-${t.name}`, 'aria-current': t.name === current ? 'page' : null,
	}, icon(t.icon), h('span', null, t.text), t.name === 'settings' && update.available() !== '' &&
		h('span', { class: 'dot' }, h('span', { class: 'unseen' }, 'update available')))))));
}

async function load() {
	state = await core.state();
	draw();
	requests.seed(state?.sheets);
}

let loading = false;
let again = false;
/** Several changes in a row are one load. */
async function changed() {
	again = true;
	if (loading) {
		return;
	}
	loading = true;
	try {
		while (again) {
			again = false;
			await load();
		}
	} catch (error) {
		if (ended.has(failure(error).code ?? '')) {
			broken(error);
		} else {
			fail(error);
		}
	} finally {
		loading = false;
	}
}

function navigated() {
	const link = takeInvitation();
	if (link !== null) {
		invitation = link;
		location.replace('#pair');
		draw(true);
		return;
	}
	draw();
}

/** Codes after which the core does nothing more. */
const ended = new Set(['otherTab', 'cleared', 'stopped', 'wiped']);

/** @param {unknown} error */
function broken(error) {
	const { code, message, hint } = failure(error);
	if (code === 'otherTab') { // a notification was tapped, and the browser has chosen this page for it
		navigator.serviceWorker?.addEventListener('message', ({ data }) => data?.type === 'foreground' && location.reload());
	}
	state = null;
	requests.closeAll();
	element('tabs').hidden = true;
	replace(element('actions'));
	replace(element('top'), h('h1', { id: 'title', tabindex: '-1' }, 'vmux'));
	element('main').replaceChildren(h('div', { class: 'empty', role: 'alert' },
		h('span', { class: 'bubble big bad' }, icon('warning')),
		h('p', { class: 'empty-title' }, ended.has(code ?? '') ? 'This page has ended' : 'The app could not start'),
		h('bdi', { class: 'para' }, message), hint && h('bdi', { class: 'para' }, hint),
		button(ended.has(code ?? '') ? 'Reload' : 'Try again', { kind: 'primary', onclick: () => location.reload() }),
		code === 'deviceKey' && button('Go on without it', { onclick: () => core.forgetDeviceKey().then(() => location.reload(), broken) })));
}

async function foreground() {
	if (document.visibilityState === 'visible') {
		await core.call('foreground', {});
		await changed();
	}
}

/**
 * Until somebody has come: Chrome loads a page that is being typed into the address bar before,
 * and perhaps for nothing (WICG/nav-speculation#141). It must not take the store from the one in use.
 */
const opened = () => /** @type {any} */ (document).prerendering &&
	new Promise((resolve) => document.addEventListener('prerenderingchange', resolve, { once: true }));

async function start() {
	element('skip').addEventListener('click', (event) => {
		event.preventDefault(); // "#main" is no screen
		element('main').focus();
	});
	await opened();
	await update.ensureAccepted();
	// After the core, also one that fails: the worker fetches all files once more.
	await core.start().finally(() => { update.start(() => draw()); });
	core.on('change', () => changed());
	core.on('paused', (/** @type {import('../types/core').Pause} */ p) => note(
		`${clean(p.computer)} is paused for some minutes: several requests were denied.`, 'warn', 'Did nobody start them?',
		{ text: 'What it asked', run: () => showComputer(state, p.computerID) },
		{ text: 'Unpair', run: () => unpair({ id: p.computerID, name: p.computer }) }));
	watchPresses();
	viewport.start();
	prompts.start();
	requests.start();
	if (invitation !== null) {
		history.replaceState(null, '', '#pair');
	}
	await load();
	addEventListener('hashchange', navigated);
	addEventListener('installable', () => draw(true));
	document.addEventListener('visibilitychange', () => foreground().catch(fail));
	// An iPhone can bring a kept page back by this alone (acoyfellow/my-ax#25): camera, requests and
	// the look for a new version begin anew then, too.
	addEventListener('pageshow', (event) => /** @type {PageTransitionEvent} */ (event).persisted && document.dispatchEvent(new Event('visibilitychange')));
	setInterval(() => document.visibilityState === 'visible' && !screen?.steady && draw(true), 30000); // "5 min ago"
	document.documentElement.dataset.ready = 'true';
}

document.documentElement.dataset.begun = 'true'; // all modules are there; see load.js
start().catch(broken);
