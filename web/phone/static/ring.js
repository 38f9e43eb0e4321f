// @ts-check
// How long there is to answer.

import { fill, h, svg } from './dom.js';

/** The seconds that are left, as a ring and as a number. */
export class Ring {
	constructor() {
		this.arc = svg('circle', { cx: '22', cy: '22', r: '19', class: 'ring-left', pathLength: '100', 'stroke-dasharray': '100' });
		this.number = h('span', { class: 'ring-number' });
		this.spoken = h('span', { class: 'unseen' }, ' seconds left');
		this.element = h('div', { class: 'ring', role: 'timer' }, fill(
			svg('svg', { viewBox: '0 0 44 44', 'aria-hidden': 'true' }),
			svg('circle', { cx: '22', cy: '22', r: '19', class: 'ring-whole' }), this.arc), this.number, this.spoken);
	}

	/** @param {number} left @param {number} whole */
	show(left, whole) {
		const seconds = Math.max(0, Math.ceil(left));
		this.number.textContent = String(seconds);
		this.arc.setAttribute('stroke-dashoffset', String(100 - 100 * Math.max(0, left) / whole));
		this.element.classList.toggle('hurry', left < 15);
	}

	stop() {
		this.element.classList.add('stopped');
	}
}
