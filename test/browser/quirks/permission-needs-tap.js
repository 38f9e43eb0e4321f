// Firefox since 72 and Safari let a page ask for notifications only while the tap's own
// event is handled, before anything was waited for: mastodon/mastodon#13539,
// OneSignal/OneSignal-Website-SDK#540, getpusk/pusk#80.
() => {
	let tap = false;
	for (const type of ['click', 'change']) {
		addEventListener(type, () => { tap = true; }, true);
		addEventListener(type, () => { tap = false; });
	}
	const ask = Notification.requestPermission;
	Notification.requestPermission = async () => {
		if (!tap) {
			console.warn('The Notification permission may only be requested from inside a short running user-generated event handler.');
			return 'denied';
		}
		return ask();
	};
}
