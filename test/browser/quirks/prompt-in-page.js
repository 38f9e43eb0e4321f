// Extensions of password managers that ask for a passkey in the page, in an element of their own at
// its end, which a modal dialog keeps from being pressed: 1Password (tractordev/apptron#119,
// dfinity/internet-identity#3573), Proton Pass (ProtonMail/WebClients#337). With inside = true it is
// put into the dialog, which is made inert (ithacaxyz/porto). Here each passkey call waits for a press.
(inside = false) => {
	const own = navigator.credentials;
	const asks = (call) => async (options) => {
		const prompt = document.createElement('passkey-prompt');
		prompt.style.cssText = 'position: fixed; inset: 1rem 1rem auto auto; z-index: 2147483647';
		const answer = new Promise((resolve) => ['Use it', 'Refuse'].forEach((text) => {
			const button = document.createElement('button');
			button.textContent = text;
			button.addEventListener('click', () => resolve(text));
			prompt.append(button);
		}));
		const dialog = document.querySelector('dialog[open]');
		dialog.inert = inside;
		(inside ? dialog : document.documentElement).append(prompt);
		const chosen = await answer;
		prompt.remove();
		if (chosen === 'Refuse') {
			throw new DOMException('The operation was refused.', 'NotAllowedError');
		}
		return call.call(own, options);
	};
	const { create, get } = own;
	own.create = asks(create);
	own.get = asks(get);
}
