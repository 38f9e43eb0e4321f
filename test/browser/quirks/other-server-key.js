// Browsers refuse to subscribe while they hold a subscription for another VAPID key, which
// getSubscription did not give out (w3c/push-api#296: Firefox for Android). With
// lets = true the second look finds it, and it can be ended.
(lets) => {
	const { subscribe } = PushManager.prototype;
	let held = true, looked = 0;
	PushManager.prototype.getSubscription = async () => held && lets && ++looked > 1 ?
		{ endpoint: 'https://push.example.com/old', unsubscribe: async () => { held = false; return true; } } : null;
	PushManager.prototype.subscribe = async function (options) {
		if (held) {
			throw new DOMException('Registration failed - A subscription with a different applicationServerKey (or gcm_sender_id) already exists; to change the applicationServerKey, unsubscribe then resubscribe.', 'InvalidStateError');
		}
		return subscribe.call(this, options);
	};
}
