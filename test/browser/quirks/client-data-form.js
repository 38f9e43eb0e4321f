// A passkey provider that writes clientDataJSON in a form of its own: in another order
// (linux-credentials/libwebauthn#241), of Android with androidPackageName
// (android/identity-samples#49), with escaped slashes as Apple's JSON writers have them,
// with a challenge that is padded, with spaces. Only for the soft authenticator, which
// signs it.
(form) => {
	globalThis.clientDataText = ({ type, challenge, origin, crossOrigin }) => ({
		'another order': JSON.stringify({ challenge, origin, type, crossOrigin }),
		'crossOrigin first': JSON.stringify({ crossOrigin, type, challenge, origin }),
		'escaped slashes': JSON.stringify({ type, challenge, origin }).replaceAll('/', '\\/'),
		spaces: JSON.stringify({ type, challenge, origin }, null, ' '),
		padded: JSON.stringify({ type, challenge: challenge + '='.repeat((4 - challenge.length % 4) % 4), origin }),
		'no crossOrigin': JSON.stringify({ type, challenge, origin }),
		android: JSON.stringify({ type, challenge, origin, androidPackageName: 'com.android.chrome' }),
		topOrigin: JSON.stringify({ type, challenge, origin, crossOrigin, topOrigin: origin, other_keys_can_be_added_here: 'do not compare' }),
	})[form];
}
