// Safari on iOS lays its on-screen keyboard over the page and tells by the visual viewport
// alone (WebKit/standards-positions #65, w3c/csswg-drafts #7767); before July 2026 it knew
// no interactive-widget (WebKit/WebKit #70058). The event comes before the change (WebKit bug
// 254861, agegr/pi-web #387). Here keyboard(height) shows one.
() => {
	const view = new EventTarget();
	Object.assign(view, { scale: 1, offsetTop: 0, height: innerHeight });
	Object.defineProperty(globalThis, 'visualViewport', { value: view });
	globalThis.keyboard = (height) => {
		view.dispatchEvent(new Event('resize'));
		view.height = innerHeight - height;
	};
	// magnify(2) is what two fingers do: WebKit's innerHeight shrinks with what is seen
	// (web-platform-tests/interop-2022-viewport #9).
	globalThis.magnify = (scale) => {
		const height = innerHeight * view.scale / scale;
		Object.defineProperty(globalThis, 'innerHeight', { value: height, configurable: true });
		Object.assign(view, { scale, height });
		view.dispatchEvent(new Event('resize'));
		dispatchEvent(new Event('resize'));
	};
}
