// Brave ships with "Use Google services for push messaging" off: subscribing fails with
// an AbortError that names no cause, and Brave is known by navigator.brave. Reported at
// brave/brave-browser#12850, stackernews/stacker.news#574, Tucsky/aggr#242. With
// brave = false: the same error in Chromium on Android without Google Play services,
// behind firewalls, and in builds without Google's services
// (web-push-libs/web-push#574, gauntface/simple-push-demo#377). With nothing = true: neither
// an error nor a subscription, as in Firefox for Android (mozilla-mobile/fenix#20365).
(brave = true, nothing = false) => {
	if (brave) {
		Object.defineProperty(navigator, 'brave', { value: { isBrave: async () => true } });
	}
	PushManager.prototype.subscribe = async () => {
		if (nothing) {
			return null;
		}
		throw new DOMException('Registration failed - push service error', 'AbortError');
	};
}
