// Chromium (Chrome, Edge on Android) gives out https://permanently-removed.invalid/… for a
// while after a subscription has ended, as if it were one: Couchers-org/couchers#8212,
// qegj567-cloud/SullyOS#484. Here the next `times` calls of subscribe do so.
(times = 1) => {
	const subscribe = PushManager.prototype.subscribe;
	PushManager.prototype.subscribe = async function (options) {
		const made = await subscribe.call(this, options);
		if (times-- <= 0) {
			return made;
		}
		const endpoint = `https://permanently-removed.invalid/fcm/send/${times}`;
		return { ...made, endpoint, toJSON: () => ({ ...made.toJSON(), endpoint }) };
	};
}
