// iOS's installed apps: the camera starts and gives no picture (mebjas/html5-qrcode #713,
// #890, zxing-js/browser #122), or another app has it (NotReadableError). Here it is so
// until cameraWorks is true.
(error) => {
	const { mediaDevices } = navigator;
	const original = mediaDevices.getUserMedia.bind(mediaDevices);
	mediaDevices.getUserMedia = async (constraints) => {
		if (globalThis.cameraWorks) {
			return original(constraints);
		}
		if (error) {
			throw new DOMException('Could not start video source', error);
		}
		return document.createElement('canvas').captureStream(0);
	};
}
