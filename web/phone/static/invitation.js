// @ts-check
// An invitation that the app was opened with: https://hub.example/#v=1&d=…&s=….

/**
 * Takes the invitation out of the address, so that neither the address bar nor
 * the history keeps its secret, and returns it, or null if there is none.
 * @returns {string | null}
 */
export function takeInvitation() {
	if (!new URLSearchParams(location.hash.slice(1)).has('s')) {
		return null;
	}
	const invitation = location.href;
	history.replaceState(null, '', location.pathname);
	return invitation;
}

/** The invitation that the app was opened with; taken when this module loads. */
export const invited = takeInvitation();
