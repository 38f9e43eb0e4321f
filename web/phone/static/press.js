// @ts-check
// The last press of a finger, a mouse or a key. One that began before a sheet was there was
// meant for something else. Only a person's count: password managers play keys when they fill
// in a field.

/** When it began and ended, and which key it was; '' for a finger or a mouse. */
export const press = {
	start: -Infinity, end: -Infinity, key: '',
	/** Whether the event that is being handled comes from it. */
	isLast: () => press.end < press.start || performance.now() - press.end < 100,
};

for (const type of ['pointerdown', 'keydown']) {
	addEventListener(type, (e) => {
		const { repeat = false, key = '' } = /** @type {Partial<KeyboardEvent>} */ (e);
		if (e.isTrusted && !repeat) {
			press.start = performance.now();
			press.key = key;
		}
	}, true);
}

for (const type of ['pointerup', 'pointercancel', 'keyup']) {
	addEventListener(type, (e) => {
		if (e.isTrusted) {
			press.end = performance.now();
		}
	}, true);
}
