// Phones have several cameras on the back, of which the first cannot always see what is
// near, and a light (mebjas/html5-qrcode #623, nimiq/qr-scanner #83). Here there is a second
// camera, "near", and each has a light; cameraAsked lists what was asked of them.
() => {
	globalThis.cameraAsked = [];
	const { mediaDevices } = navigator;
	const original = mediaDevices.getUserMedia.bind(mediaDevices);
	mediaDevices.enumerateDevices = async () => ['far', 'near'].map((deviceId) => ({ deviceId, kind: 'videoinput', label: `${deviceId}, facing back` }));
	mediaDevices.getUserMedia = async ({ video }) => {
		globalThis.cameraAsked.push(video.deviceId?.exact ?? video.facingMode);
		const stream = await original({ video: true });
		const [track] = stream.getVideoTracks();
		track.getSettings = () => ({ deviceId: video.deviceId?.exact ?? 'far' });
		track.getCapabilities = () => ({ torch: true });
		track.applyConstraints = async ({ advanced: [{ torch }] }) => { globalThis.cameraAsked.push(torch ? 'light' : 'dark'); };
		return stream;
	};
}
