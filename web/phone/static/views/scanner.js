// @ts-check
// Reads QR codes with the camera: by the browser's own detector, or by the core.

import * as core from '../core.js';

/** How often a frame is looked at, in milliseconds. */
const pause = 180;
/** The largest side of the picture that is decoded. */
const most = 800;

export class Scanner {
	/** @param {HTMLVideoElement} video @param {(text: string) => void} found */
	constructor(video, found) {
		this.video = video;
		this.found = found;
		this.running = false;
		this.canvas = document.createElement('canvas');
		/** @type {MediaStream | null} */
		this.stream = null;
	}

	/** Starts the camera; fails when there is none or it may not be used. */
	async start() {
		this.running = true;
		const stream = await navigator.mediaDevices.getUserMedia({
			audio: false, video: { facingMode: 'environment', width: { ideal: 1280 }, height: { ideal: 1280 } },
		});
		if (!this.running) { // left meanwhile
			stream.getTracks().forEach((t) => t.stop());
			return;
		}
		this.stream = stream;
		this.video.srcObject = stream;
		await this.video.play().catch(() => {}); // interrupted by leaving the screen
		this.detector = await detector();
		this.loop();
	}

	stop() {
		this.running = false;
		this.stream?.getTracks().forEach((t) => t.stop());
		this.stream = null;
		this.video.srcObject = null;
	}

	async loop() {
		while (this.running) {
			const text = await this.look().catch(() => '');
			if (text && this.running) {
				this.found(text);
			}
			await new Promise((resolve) => setTimeout(resolve, pause));
		}
	}

	async look() {
		const { videoWidth: width, videoHeight: height } = this.video;
		if (!width || document.visibilityState !== 'visible') {
			return '';
		}
		if (this.detector) {
			const [code] = await this.detector.detect(this.video);
			return code?.rawValue ?? '';
		}
		const scale = Math.min(1, most / Math.max(width, height));
		this.canvas.width = Math.round(width * scale);
		this.canvas.height = Math.round(height * scale);
		const context = this.canvas.getContext('2d', { willReadFrequently: true });
		if (!context) {
			return '';
		}
		context.drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
		const imageData = context.getImageData(0, 0, this.canvas.width, this.canvas.height);
		return await core.call('decodeQR', { imageData }) ?? '';
	}
}

async function detector() {
	const Detector = /** @type {any} */ (globalThis).BarcodeDetector;
	try {
		const formats = await Detector?.getSupportedFormats() ?? [];
		return formats.includes('qr_code') ? new Detector({ formats: ['qr_code'] }) : null;
	} catch {
		return null;
	}
}
