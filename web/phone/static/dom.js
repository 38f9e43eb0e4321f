// @ts-check
// Elements are built here, never parsed from text: what another device sends can
// only ever become the text of a node.

import { clean } from './text.js';

/** @typedef {Node | string | number | null | undefined | false} One */
/** @typedef {One | One[]} Child */

/** Elements of names, keys and commands, as of the class "mono": browsers that translate pages must leave these. */
const verbatim = new Set(['bdi', 'code', 'pre']);

/**
 * Makes an element. Properties that begin with "on" are listeners, `class` and
 * all others are attributes; true is an attribute without value, and false, null
 * and undefined are none.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any> | null} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties, ...children) {
	const element = document.createElement(tag);
	if (verbatim.has(tag) || /(^| )mono( |$)/.test(properties?.class ?? '')) {
		element.translate = false;
	}
	for (const [name, value] of Object.entries(properties ?? {})) {
		if (name.startsWith('on') && typeof value === 'function') {
			element.addEventListener(name.slice(2), value);
		} else if (value === true) {
			element.setAttribute(name, '');
		} else if (value !== false && value !== null && value !== undefined) {
			element.setAttribute(name, String(value));
		}
	}
	return fill(element, ...children);
}

/**
 * @template {Element} E
 * @param {E} element @param {...(Child | Child[])} children
 * @returns {E}
 */
export function fill(element, ...children) {
	for (const child of children.flat(2)) {
		if (child !== null && child !== undefined && child !== false) {
			element.append(typeof child === 'number' ? String(child) : child);
		}
	}
	return element;
}

/**
 * Text that another device or the user chose: cleaned, and isolated, so that
 * right-to-left text reorders nothing around it.
 * @param {unknown} text
 * @param {string} [style] a class
 */
export const theirs = (text, style) => h('bdi', { class: style }, clean(text));

/** @param {string} name @param {Record<string, string>} attributes */
export function svg(name, attributes) {
	const element = document.createElementNS('http://www.w3.org/2000/svg', name);
	for (const [key, value] of Object.entries(attributes)) {
		element.setAttribute(key, value);
	}
	return element;
}

// Drawn on 24 × 24, with a pen of 1.8.
/** @type {Record<string, string>} */
const drawings = {
	home: 'M4 11.2 12 4.5l8 6.7V19a1 1 0 0 1-1 1h-4.5v-5.5h-5V20H5a1 1 0 0 1-1-1z',
	key: 'M8 11.4a4.1 4.1 0 1 0 0 8.2 4.1 4.1 0 0 0 0-8.2zM10.9 12.6 19.4 4.1M16 7.5l2.6 2.6M13.4 10.1l1.7 1.7',
	seal: 'M12 3.2l2.3 1.9 3-.2.7 2.9 2.4 1.8-1.2 2.7 1.2 2.7-2.4 1.8-.7 2.9-3-.2L12 21.4l-2.3-1.9-3 .2-.7-2.9-2.4-1.8 1.2-2.7-1.2-2.7L6 7.8l.7-2.9 3 .2zM8.8 12.4l2.2 2.2 4.2-4.4',
	list: 'M8.5 6.5H20M8.5 12H20M8.5 17.5H20M4.2 6.5h.1M4.2 12h.1M4.2 17.5h.1',
	gear: 'M12 8.8a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4zM12 3v2.6M12 18.4V21M3 12h2.6M18.4 12H21M5.6 5.6l1.9 1.9M16.5 16.5l1.9 1.9M18.4 5.6l-1.9 1.9M7.5 16.5l-1.9 1.9',
	laptop: 'M5.5 5h13a1 1 0 0 1 1 1v9.5h-15V6a1 1 0 0 1 1-1zM2.5 18.8h19',
	phone: 'M8 3h8a1.5 1.5 0 0 1 1.5 1.5v15A1.5 1.5 0 0 1 16 21H8a1.5 1.5 0 0 1-1.5-1.5v-15A1.5 1.5 0 0 1 8 3zM10.8 18h2.4',
	scan: 'M4 8.5V5a1 1 0 0 1 1-1h3.5M15.5 4H19a1 1 0 0 1 1 1v3.5M20 15.5V19a1 1 0 0 1-1 1h-3.5M8.5 20H5a1 1 0 0 1-1-1v-3.5M8.5 8.5h2.6v2.6H8.5zM13.2 13.2h2.4v2.4h-2.4zM15.5 8.5v.1M8.5 15.5v.1',
	plus: 'M12 5v14M5 12h14',
	check: 'M5 12.8l4.6 4.6L19.2 7',
	cross: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
	warning: 'M12 4.2 21 19.5H3zM12 10v4.2M12 16.9v.1',
	info: 'M12 3.8a8.2 8.2 0 1 0 0 16.4 8.2 8.2 0 0 0 0-16.4zM12 11v5M12 8v.1',
	question: 'M12 3.8a8.2 8.2 0 1 0 0 16.4 8.2 8.2 0 0 0 0-16.4zM9.7 9.6a2.4 2.4 0 1 1 3.5 2.2c-.8.4-1.2.9-1.2 1.7M12 16.2v.1',
	next: 'M9.5 5.5 16 12l-6.5 6.5',
	back: 'M14.5 5.5 8 12l6.5 6.5',
	copy: 'M9 8.5h9.5a1 1 0 0 1 1 1V19a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V9.5a1 1 0 0 1 1-1zM5.5 15.5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1H15a1 1 0 0 1 1 1',
	share: 'M12 14.5V3.8M8.3 7.2 12 3.5l3.7 3.7M7 10.5H5.5a1 1 0 0 0-1 1V19a1 1 0 0 0 1 1h13a1 1 0 0 0 1-1v-7.5a1 1 0 0 0-1-1H17',
	trash: 'M4.5 6.8h15M9.5 6.5V4.2h5v2.3M6.5 7l.8 12.2a1 1 0 0 0 1 .9h7.4a1 1 0 0 0 1-.9L17.5 7M10.3 10.8v5.5M13.7 10.8v5.5',
	pen: 'M4.5 19.5l.9-4L15.8 5.1a1.5 1.5 0 0 1 2.1 0l1 1a1.5 1.5 0 0 1 0 2.1L8.5 18.6zM13.5 7.5l3 3',
	lock: 'M6.5 11h11a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1zM8.5 10.8V8a3.5 3.5 0 0 1 7 0v2.8M12 14.5v2',
	finger: 'M5.5 9.5a7 7 0 0 1 13 0M4.8 14.5c.3-1.3.4-2 .4-2.9M19.1 17c.2-1.6.200-3.2 0-5M8.2 19c.8-2 1.1-4.2 1.1-6.5a2.7 2.7 0 0 1 5.4 0c0 2.8-.3 5.2-1.2 7.7M12 12.5c0 3-.4 5.6-1.4 8.2M16.3 20c.5-1.6.8-3.3.9-5',
	cloud: 'M7.5 18.5a4 4 0 0 1-.5-8 5.5 5.5 0 0 1 10.6 1.2 3.5 3.5 0 0 1-.6 6.8z',
	bell: 'M6 16.5c1-1.2 1.3-2.6 1.3-4.8a4.7 4.7 0 0 1 9.4 0c0 2.2.3 3.6 1.3 4.8zM10.3 19.3a1.9 1.9 0 0 0 3.4 0',
	import: 'M12 4v10.5M8.3 11l3.7 3.7 3.7-3.7M4.5 16.5V19a1 1 0 0 0 1 1h13a1 1 0 0 0 1-1v-2.5',
	search: 'M10.8 4.5a6.3 6.3 0 1 0 0 12.6 6.3 6.3 0 0 0 0-12.6zM15.5 15.5l4.3 4.3',
	clock: 'M12 3.8a8.2 8.2 0 1 0 0 16.4 8.2 8.2 0 0 0 0-16.4zM12 7.5V12l3 2',
	shield: 'M12 3.5l7 2.5v5.5c0 4.3-2.8 7.5-7 9-4.2-1.5-7-4.7-7-9V6z',
	link: 'M10 14a3.5 3.5 0 0 0 5 0l3-3a3.5 3.5 0 0 0-5-5l-1 1M14 10a3.5 3.5 0 0 0-5 0l-3 3a3.5 3.5 0 0 0 5 5l1-1',
	off: 'M12 3.8a8.2 8.2 0 1 0 0 16.4 8.2 8.2 0 0 0 0-16.4zM6.3 6.3l11.4 11.4',
};

/**
 * A decoration: what it means is always written beside it.
 * @param {string} name
 * @param {string} [style]
 */
export function icon(name, style = '') {
	return fill(
		svg('svg', { viewBox: '0 0 24 24', class: `icon ${style}`.trim(), 'aria-hidden': 'true', focusable: 'false' }),
		svg('path', { d: drawings[name] ?? drawings.question }),
	);
}

/**
 * Puts new contents into an element, and the keyboard's focus back on what was
 * focused there: the element with the same data-key.
 * @param {Element} element @param {...(Child | Child[])} children
 */
export function replace(element, ...children) {
	const focused = document.activeElement;
	const key = focused && element.contains(focused) ? focused.getAttribute('data-key') : null;
	element.replaceChildren();
	fill(element, ...children);
	if (key) {
		byKey(element, key)?.focus({ preventScroll: true });
	}
}

/** @param {Element} within @param {string} key @returns {HTMLElement | null} */
export const byKey = (within, key) => within.querySelector(`[data-key="${CSS.escape(key)}"]`);
