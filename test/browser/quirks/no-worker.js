// Browsers in private windows, or that block site data, start no service worker, and then
// navigator.serviceWorker.ready never settles: a page that waits for it waits for ever.
// Reported at angular/angular#29067, smeijer's magicbell/magicbell-js#199 and many others.
() => {
	Object.defineProperty(ServiceWorkerContainer.prototype, 'ready', { get: () => new Promise(() => {}) });
}
