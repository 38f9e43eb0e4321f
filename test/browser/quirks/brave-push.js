// Brave ships with "Use Google services for push messaging" off: subscribing fails with
// an AbortError that names no cause, and Brave is known by navigator.brave. Reported at
// brave/brave-browser#12850, stackernews/stacker.news#574, Tucsky/aggr#242. With
// brave = false: the same error in Chromium on Android without Google Play services,
// behind firewalls, and in builds without Google's services
// (web-push-libs/web-push#574, gauntface/simple-push-demo#377).
(brave = true) => {
	if (brave) {
		Object.defineProperty(navigator, 'brave', { value: { isBrave: async () => true } });
	}
	PushManager.prototype.subscribe = async () => {
		throw new DOMException('Registration failed - push service error', 'AbortError');
	};
}
