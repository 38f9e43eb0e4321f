// iOS takes the camera from an app in the background, from an installed one also without
// an event, or leaves the picture black (gruhn/vue-qrcode-reader #298, zxing-js/library #431,
// WebKit 179363). Here the tests say when: cameraEnds('ended' | 'mute' | 'unsaid' | 'still').
// With 'blink' it is muted for a moment, as it may be when it starts (WebKit 274211).
// cameraStarts counts.
() => {
	globalThis.cameraStarts = 0;
	const { mediaDevices } = navigator;
	const original = mediaDevices.getUserMedia.bind(mediaDevices);
	let track;
	mediaDevices.getUserMedia = async (constraints) => {
		if (track?.readyState === 'live') {
			throw new DOMException('the one before would go silent', 'InvalidStateError');
		}
		const stream = await original(constraints);
		[track] = stream.getVideoTracks();
		globalThis.cameraStarts++;
		return stream;
	};
	globalThis.cameraEnds = (how) => {
		if (how === 'still') {
			document.querySelector('video').pause();
			return;
		}
		if (how === 'blink') {
			const blinks = track;
			Object.defineProperty(blinks, 'muted', { value: true, configurable: true });
			blinks.dispatchEvent(new Event('mute'));
			Object.defineProperty(blinks, 'muted', { value: false, configurable: true });
			blinks.dispatchEvent(new Event('unmute'));
			return;
		}
		if (how === 'mute') {
			Object.defineProperty(track, 'muted', { value: true });
		} else {
			track.stop();
		}
		if (how === 'unsaid') { // it is in the background meanwhile
			document.dispatchEvent(new Event('visibilitychange'));
		} else {
			track.dispatchEvent(new Event(how));
		}
	};
}
