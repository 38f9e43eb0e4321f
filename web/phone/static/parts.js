// @ts-check
// The parts that screens are made of: cards, rows, buttons, sheets, notes.

import { h, icon, fill, byKey } from './dom.js';
import { isIOS, isInstalled } from './platform.js';
import { clean } from './text.js';
import { fit } from './viewport.js';

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('../types/core').Failure} Failure */
/** @typedef {'plain' | 'good' | 'warn' | 'bad'} Tone */

let lastID = 0;
/** @param {string} prefix */
export const newID = (prefix) => `${prefix}-${++lastID}`;

/**
 * @param {string} text
 * @param {{icon?: string, kind?: string, onclick?: (e: MouseEvent) => void, key?: string, type?: string,
 *   label?: string, disabled?: boolean}} options kind: 'primary', 'danger', 'quiet' or none
 */
export function button(text, options = {}) {
	return h('button', {
		type: options.type ?? 'button', class: `button ${options.kind ?? ''}`.trim(), onclick: options.onclick,
		'data-key': options.key ?? text, 'aria-label': options.label, disabled: options.disabled,
	}, options.icon && icon(options.icon), h('span', null, text));
}

/** @param {string} name @param {string} label @param {(e: MouseEvent) => void} onclick @param {string} [key] */
export const iconButton = (name, label, onclick, key = label) =>
	h('button', { type: 'button', class: 'icon-button', 'aria-label': label, 'data-key': key, onclick }, icon(name));

/**
 * A titled group.
 * @param {string | null} title @param {...(Child | Child[])} children
 */
export function section(title, ...children) {
	const id = newID('section');
	return h('section', { class: 'section', 'aria-labelledby': title && id },
		title && h('h2', { id }, title), ...children);
}

/** @param {...(Child | Child[])} children */
export const card = (...children) => h('div', { class: 'card' }, ...children);

/**
 * One line of a list: an icon, a title with what is below it, and what stands at
 * the end. With onclick or href it is a button or a link.
 * @param {{icon?: string, tone?: Tone, title: Child, text?: Child | Child[], end?: Child | Child[], href?: string,
 *   onclick?: (e: MouseEvent) => void, key?: string}} o
 */
export function row(o) {
	const inside = [
		o.icon && h('span', { class: `bubble ${o.tone ?? ''}`.trim() }, icon(o.icon)),
		h('span', { class: 'row-text' },
			h('span', { class: 'row-title' }, o.title),
			o.text && h('span', { class: 'row-sub' }, /** @type {any} */ (o.text))),
		o.end && h('span', { class: 'row-end' }, /** @type {any} */ (o.end)),
	];
	if (o.href) {
		return h('li', null, h('a', { class: 'row', href: o.href, 'data-key': o.key }, ...inside, icon('next', 'chevron')));
	}
	if (o.onclick) {
		return h('li', null, h('button', { type: 'button', class: 'row', onclick: o.onclick, 'data-key': o.key },
			...inside, icon('next', 'chevron')));
	}
	return h('li', null, h('div', { class: 'row' }, ...inside));
}

/** @param {...(Child | Child[])} items */
export const rows = (...items) => h('ul', { class: 'card rows' }, ...items);

/** @param {string} text @param {Tone} [tone] @param {string} [iconName] */
export const badge = (text, tone = 'plain', iconName) =>
	h('span', { class: `badge ${tone}` }, iconName && icon(iconName), h('bdi', null, text));

/** @param {Tone} tone @param {string} title @param {...(Child | Child[])} children */
export function callout(tone, title, ...children) {
	const names = { plain: 'info', good: 'check', warn: 'warning', bad: 'warning' };
	return h('div', { class: `callout ${tone}` }, icon(names[tone]),
		h('div', null, h('p', { class: 'callout-title' }, title), ...children));
}

/** @param {string} iconName @param {string} title @param {...(Child | Child[])} children */
export const empty = (iconName, title, ...children) =>
	h('div', { class: 'empty' }, h('span', { class: 'bubble big' }, icon(iconName)), h('p', { class: 'empty-title' }, title), ...children);

/** One of a list of facts. @param {Child} name @param {...(Child | Child[])} value */
export const fact = (name, ...value) => h('div', null, h('dt', null, name), h('dd', null, ...value));

/** @param {...(Child | Child[])} children */
export const para = (...children) => h('p', { class: 'para' }, ...children);

/**
 * A text field with its label, and what is said about it.
 * @param {string} label
 * @param {Record<string, any>} attributes of the input; rows makes it a textarea
 * @param {string} [hint]
 */
export function field(label, attributes, hint) {
	const id = newID('field');
	const properties = {
		id, autocomplete: 'off', autocapitalize: 'off', autocorrect: 'off', spellcheck: 'false',
		'aria-describedby': hint && `${id}-hint`, ...attributes,
	};
	const input = attributes.rows ? h('textarea', properties) : h('input', { type: 'text', ...properties });
	if (attributes.value !== undefined) {
		input.value = clean(attributes.value);
	}
	const element = h('div', { class: 'field' }, h('label', { for: id }, label), input,
		hint && h('p', { class: 'hint', id: `${id}-hint` }, hint));
	return { element, input };
}

/**
 * A form whose button stands elsewhere, in the foot of a sheet.
 * @param {string} id @param {HTMLButtonElement} send the button @param {() => Promise<unknown>} work what it does
 * @param {...(Child | Child[])} children
 */
export function formFor(id, send, work, ...children) {
	send.setAttribute('form', id);
	return h('form', { id, onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); busy(send, work); } }, ...children);
}

/**
 * A choice of one, as large targets.
 * @param {string} legend @param {string} group
 * @param {{value: string, title: string, text?: Child | Child[], disabled?: boolean, hidden?: boolean}[]} options
 * @param {string} chosen @param {(value: string) => void} [onchange] @param {string} [style] a class
 */
export function choices(legend, group, options, chosen, onchange, style = 'choice') {
	const element = h('fieldset', { class: `choices ${style}s` }, h('legend', null, legend), options.map((o) => {
		const input = h('input', {
			type: 'radio', name: group, value: o.value, disabled: o.disabled, 'data-key': `${group}-${o.value}`,
			onchange: () => onchange?.(o.value),
		});
		input.checked = o.value === chosen;
		return h('label', { class: style, hidden: o.hidden }, input, h('span', { class: 'choice-text' },
			h('span', { class: 'choice-title' }, o.title), o.text && h('span', { class: 'choice-sub' }, /** @type {any} */ (o.text))));
	}));
	const value = () => /** @type {HTMLInputElement | null} */ (element.querySelector('input:checked'))?.value ?? '';
	return { element, value };
}

/**
 * A choice of several.
 * @param {string} legend
 * @param {{value: string, checked: boolean, title?: string}[]} options
 * @param {(values: string[]) => void} [onchange]
 */
export function checks(legend, options, onchange) {
	const values = () => Array.from(element.querySelectorAll('input')).filter((i) => i.checked).map((i) => i.value);
	const element = h('fieldset', { class: 'choices chips' }, h('legend', null, legend), options.map((o) => {
		const input = h('input', { type: 'checkbox', onchange: () => onchange?.(values()), 'data-key': `check-${o.value}` });
		input.value = o.value;
		input.checked = o.checked;
		return h('label', { class: 'chip' }, input, h('span', { class: 'choice-text' },
			h('bdi', { class: 'choice-title' }, clean(o.title ?? o.value))));
	}));
	return { element, values };
}

/**
 * A switch that does its work at once; it goes back when that fails.
 * @param {string} label @param {string | null} hint @param {boolean} on
 * @param {(on: boolean) => Promise<unknown>} onchange
 */
export function toggle(label, hint, on, onchange) {
	const id = newID('switch');
	const input = h('input', {
		type: 'checkbox', role: 'switch', class: 'switch', id, 'data-key': `switch-${label}`,
		'aria-describedby': hint && `${id}-hint`,
		onchange: () => onchange(input.checked).catch((error) => {
			input.checked = !input.checked;
			fail(error);
		}),
	});
	input.checked = on;
	return h('li', null, h('label', { class: 'row', for: id }, h('span', { class: 'row-text' },
		h('span', { class: 'row-title' }, label), hint && h('span', { class: 'row-sub', id: `${id}-hint` }, hint)), input));
}

/** @param {string} text @param {string} what */
export async function copy(text, what) {
	try {
		await navigator.clipboard.writeText(text);
		note(`${what} copied.`, 'good');
	} catch {
		note('This browser does not let the app copy. Press and hold the text to select it.', 'warn');
	}
}

/** @param {string} text @param {string} title */
export async function share(text, title) {
	try {
		await navigator.share({ title, text });
	} catch (error) {
		if (/** @type {Error} */ (error).name !== 'AbortError') {
			await copy(text, title);
		}
	}
}

/**
 * A line to be carried elsewhere, with its buttons.
 * @param {string} text @param {string} what how it is called: "Public key"
 */
export const codeLine = (text, what) => h('div', { class: 'code' },
	h('pre', { tabindex: '0', 'aria-label': what }, h('code', null, text)),
	h('div', { class: 'code-actions' },
		button('Copy', { icon: 'copy', kind: 'quiet', label: `Copy: ${what}`, key: `copy-${what}`, onclick: () => copy(text, what) }),
		'share' in navigator && button('Share', {
			icon: 'share', kind: 'quiet', label: `Share: ${what}`, key: `share-${what}`, onclick: () => share(text, what),
		})));

/** @typedef {{dialog: HTMLDialogElement, close: () => void, body: HTMLElement, foot: HTMLElement}} Sheet */

/**
 * Opens a sheet from below. The browser keeps the focus inside it and gives it
 * back at the end; it starts on the title, so that no key press meant for
 * something else presses a button.
 * @param {{title: Child, body: Child[], actions?: Child[], onclose?: () => void, oncancel?: (e: Event) => void,
 *   style?: string, closable?: boolean}} o
 * @returns {Sheet}
 */
export function sheet(o) {
	const id = newID('sheet');
	const opener = document.activeElement?.getAttribute('data-key');
	const body = h('div', { class: 'sheet-body' }, o.body);
	const foot = h('div', { class: 'sheet-foot' }, o.actions ?? []);
	const heading = h('h2', { id, tabindex: '-1', autofocus: true }, o.title);
	const close = () => dialog.close();
	const dialog = h('dialog', { class: `sheet ${o.style ?? ''}`.trim(), 'aria-labelledby': id, oncancel: o.oncancel },
		h('div', { class: 'sheet-head' }, heading, o.closable !== false && iconButton('cross', 'Close', close)),
		body, foot, h('div', { class: 'notes', role: 'status' }), spoken());
	dialog.addEventListener('close', () => {
		handOn(dialog);
		dialog.remove();
		o.onclose?.();
		if (opener && (!document.activeElement || document.activeElement === document.body)) {
			byKey(document.body, opener)?.focus();
		}
	});
	if (!body.querySelector('button, a, input, textarea, summary, [tabindex]')) {
		body.tabIndex = 0; // so that keys can scroll it
	}
	document.body.append(dialog);
	dialog.showModal();
	fit(dialog);
	heading.focus();
	return { dialog, close, body, foot };
}

/** What is said in a sheet, unseen. */
export const spoken = () => h('div', { class: 'unseen spoken', 'aria-live': 'assertive' });

/** Has a screen reader say it: in the sheet that is open, since what lies below is out of its reach. @param {string} text */
export function say(text) {
	const open = document.querySelectorAll('dialog[open] > .spoken');
	const place = /** @type {HTMLElement | null} */ (open[open.length - 1] ?? document.querySelector('#live'));
	if (place) {
		place.translate = false; // it has names
		place.replaceChildren(text);
	}
}

/**
 * Asks before something that cannot be undone.
 * @param {{title: string, body: Child[], action: string, run: () => Promise<unknown>}} o
 */
export function confirm(o) {
	const go = button(o.action, { kind: 'danger', onclick: () => busy(go, async () => {
		await o.run();
		s.close();
	}) });
	const s = sheet({
		title: o.title, body: o.body,
		actions: [button('Cancel', { onclick: () => s.close() }), go],
	});
	return s;
}

/**
 * Runs what a button asks for, with the button off meanwhile. The work starts
 * before anything is waited for: browsers tie WebAuthn to the tap.
 * @param {HTMLButtonElement} pressed @param {() => Promise<unknown>} work
 */
export async function busy(pressed, work) {
	const result = work();
	pressed.setAttribute('aria-busy', 'true');
	pressed.disabled = true;
	try {
		await result;
	} catch (error) {
		fail(error);
	} finally {
		pressed.disabled = false;
		pressed.removeAttribute('aria-busy');
	}
}

/**
 * A short note, read aloud, which goes by itself. It stands in the sheet that is
 * open: what lies below is out of reach.
 * @param {string} text @param {Tone} [tone] @param {string} [hint]
 * @param {...{text: string, run: () => void}} actions what can be done about it
 */
export function note(text, tone = 'plain', hint, ...actions) {
	const names = { plain: 'info', good: 'check', warn: 'warning', bad: 'warning' };
	const open = document.querySelectorAll('dialog[open] > .notes');
	const place = open[open.length - 1] ?? document.querySelector('#notes');
	const element = h('div', { class: `note ${tone}`, 'data-at': ++lastID }, icon(names[tone]),
		h('span', { class: 'note-text' }, theirText(text), hint && h('span', { class: 'hint' }, theirText(hint))),
		iconButton('cross', 'Dismiss', () => element.remove()),
		actions.length > 0 && h('div', { class: 'note-actions' },
			actions.map((a) => button(a.text, { kind: 'quiet', onclick: () => { element.remove(); a.run(); } }))));
	if (place) {
		place.replaceChildren();
		fill(place, element);
	}
	setTimeout(() => element.remove(), tone === 'bad' || tone === 'warn' ? 12000 : 5000);
}

const theirText = (/** @type {string} */ text) => h('bdi', null, clean(text));

/** Hands what a sheet that closes has just said to what was below it. @param {HTMLDialogElement} closing */
export function handOn(closing) {
	const said = /** @type {HTMLElement | null} */ (closing.querySelector('.notes > .note'));
	const open = Array.from(document.querySelectorAll('dialog[open] > .notes')).filter((n) => !closing.contains(n));
	const place = open.at(-1) ?? document.querySelector('#notes');
	const there = /** @type {HTMLElement | null | undefined} */ (place?.firstElementChild);
	if (said && place && Number(said.dataset.at) > Number(there?.dataset.at ?? 0)) { // else something newer is said there
		place.replaceChildren(said);
	}
}

/**
 * Gives the person a file. An app on the Home Screen of iOS has no downloads: it would
 * show the file over itself with no way back. There the share sheet saves it.
 * @param {string} name @param {BlobPart} data @param {string} type @param {() => void} [given] called once it has it
 */
export function download(name, data, type, given = () => {}) {
	const file = new File([data], name, { type });
	if (isIOS && isInstalled() && navigator.canShare?.({ files: [file] })) {
		navigator.share({ files: [file] }).then(given, (error) => {
			if (error.name === 'NotAllowedError') { // the tap was too long ago
				note('The file is ready.', 'plain', undefined, { text: 'Save it', run: () => download(name, data, type, given) });
			} else if (error.name !== 'AbortError') {
				fail(error);
			}
		});
		return;
	}
	const url = URL.createObjectURL(new Blob([data], { type }));
	h('a', { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 60000);
	given();
}

/** @param {unknown} error */
export function fail(error) {
	const { code, message, hint } = failure(error);
	// Somebody closed the browser's own question, or is asked for another tap: nothing is wrong.
	note(message, code === 'cancelled' || code === 'tapAgain' ? 'plain' : 'bad', hint);
}

/** @param {unknown} error @returns {Failure} */
export function failure(error) {
	const e = /** @type {Partial<Failure> | null} */ (error);
	return { code: e?.code, message: clean(e?.message || 'Something went wrong.'), hint: e?.hint && clean(e.hint) };
}
