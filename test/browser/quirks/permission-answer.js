// What browsers answer to a page that asks for notifications: 'denied' though the site is
// not blocked, where the device does not let the browser notify (Chrome on Android 13 and
// macOS); 'default' when the question was closed or never drawn (Chrome's quiet
// questions); nothing at all while a question stands unseen. Reported at
// binwiederhier/ntfy#1203 and treiher/valens#25.
(answer, state = 'prompt') => {
	Object.defineProperty(Notification, 'permission', { configurable: true, get: () => answer === 'denied' ? 'denied' : 'default' });
	Notification.requestPermission = () => answer ? Promise.resolve(answer) : new Promise(() => {});
	navigator.permissions.query = async () => ({ state, onchange: null });
}
