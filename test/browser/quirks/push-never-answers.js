// Browsers without a push service, or that do not reach it, leave subscribe without an
// answer (ungoogled-software/ungoogled-chromium#3770), and so does iOS after an update
// (firebase/firebase-js-sdk#8010). So that a test need not wait, the page's clocks run
// `faster` times as fast from one second on.
(faster) => {
	PushManager.prototype.subscribe = () => new Promise(() => {});
	const { setTimeout } = globalThis;
	globalThis.setTimeout = (f, time, ...args) => setTimeout(f, time >= 1000 ? time / faster : time, ...args);
}
