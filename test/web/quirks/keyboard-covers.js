// Safari on iOS lays its on-screen keyboard over the page and tells by the visual viewport
// alone; it knows no interactive-widget (WebKit 259770, w3c/csswg-drafts #7194). Here
// keyboard(height) shows one.
() => {
	const view = new EventTarget();
	Object.assign(view, { scale: 1, offsetTop: 0, height: innerHeight });
	Object.defineProperty(globalThis, 'visualViewport', { value: view });
	globalThis.keyboard = (height) => {
		view.height = innerHeight - height;
		view.dispatchEvent(new Event('resize'));
	};
}
