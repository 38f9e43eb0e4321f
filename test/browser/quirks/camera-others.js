// Phones have several cameras on the back, of which the first cannot always see what is
// near (mebjas/html5-qrcode #608, gruhn/vue-qrcode-reader #164), and a light. Here there is a second
// camera, "near", and each has a light; cameraAsked lists what was asked of them. There is a
// third that cannot be used (grocy/grocy #1642); the light is known late (w3c/mediacapture-image
// #169), and ends with the camera alone (w3c/mediacapture-main #779).
() => {
	let torch = false;
	globalThis.cameraAsked = [];
	const { mediaDevices } = navigator;
	const original = mediaDevices.getUserMedia.bind(mediaDevices);
	mediaDevices.enumerateDevices = async () => ['far', 'near', 'broken'].map((deviceId) => ({ deviceId, kind: 'videoinput', label: `${deviceId}, facing back` }));
	mediaDevices.getUserMedia = async ({ video }) => {
		globalThis.cameraAsked.push(video.deviceId?.exact ?? video.facingMode);
		if (video.deviceId?.exact === 'broken') {
			throw new DOMException('Could not start video source', 'NotReadableError');
		}
		const stream = await original({ video: true });
		torch = false;
		const known = performance.now() + 1000;
		const [track] = stream.getVideoTracks();
		track.getSettings = () => ({ deviceId: video.deviceId?.exact ?? 'far', torch });
		track.getCapabilities = () => performance.now() < known ? {} : { torch: true };
		track.applyConstraints = async ({ advanced: [wanted] }) => {
			torch ||= wanted.torch;
			globalThis.cameraAsked.push(wanted.torch ? 'light' : 'dark');
		};
		return stream;
	};
}
