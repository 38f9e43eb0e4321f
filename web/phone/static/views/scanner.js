// @ts-check
// Reads QR codes with the camera: by the browser's own detector while it is seen to
// work, and by our own reader. A camera that gives no pictures any more starts anew.

import * as core from '../core.js';

/** How often a picture is looked at, in milliseconds. */
const pause = 180;
/** After so long without a code our own reader looks as well: on macOS and some Androids the detector finds nothing and does not say so. */
const blind = 3000;
/** A detector that has not answered by then is not asked again. */
const answerWithin = 2000;
/** A camera that has given no new picture for so long starts anew, at most so often before it is said. */
const still = 4000;
const mostStarts = 2;
/** A camera that is muted for so long starts anew. iOS mutes some for a moment as they start (WebKit 274211). */
const silent = 1500;
/** What our own reader is shown in turn: how much of the picture around its middle, and how many pixels at most. */
const looks = [{ part: 1, most: 800 }, { part: .5, most: 640 }, { part: 1, most: 480 }];

/** The camera that the person has chosen, while the app runs. */
let chosen = '';

/**
 * What a scanner tells. Cameras are those to choose from; light is whether the camera has one.
 * @typedef {{found: (text: string) => void, waiting: () => void, failed: (error: any) => void,
 *   ready: (has: {cameras: MediaDeviceInfo[], camera: string, light: boolean}) => void}} On
 */

export class Scanner {
	/** @param {HTMLVideoElement} video @param {On} on */
	constructor(video, on) {
		this.video = video;
		this.on = on;
		this.canvas = document.createElement('canvas');
		/** @type {MediaStream | null} */
		this.stream = null;
		this.lit = false;
		/** @type {MediaDeviceInfo[]} */
		this.cameras = [];
		/** @type {boolean | null} whether the screen knows of a light, once it knows of the camera */
		this.told = null;
		this.turn = 0; // of the camera: what an earlier one does is nobody's business
		this.starts = 0; // without a picture since
		this.looked = 0; // how often our own reader has
		this.blindFrom = Infinity; // when the detector is no longer believed
		this.openedAt = 0;
		this.movedAt = 0; // when there was a new picture, and where in the stream
		this.movedTo = 0;
		/** @type {object | null} */
		this.running = null;
		/** @type {any} */
		this.detector = null;
		this.failed = ''; // the name of the error that ended it
		this.back = () => this.returned();
	}

	start() {
		this.stop();
		this.running = {};
		this.failed = '';
		this.starts = 0;
		this.looked = 0;
		this.blindFrom = Infinity;
		document.addEventListener('visibilitychange', this.back);
		this.open();
		this.loop(this.running);
	}

	stop() {
		this.running = null;
		document.removeEventListener('visibilitychange', this.back);
		this.close();
	}

	close() {
		this.turn++;
		this.told = null;
		this.stream?.getTracks().forEach((t) => t.stop());
		this.stream = null;
		this.video.srcObject = null;
	}

	/** Opens the camera, after the one before is closed: WebKit silences the first of two. */
	async open() {
		this.close();
		const turn = this.turn;
		this.openedAt = this.movedAt = performance.now();
		this.on.waiting();
		try {
			const stream = await camera();
			if (turn !== this.turn) { // left meanwhile
				stream.getTracks().forEach((t) => t.stop());
				return;
			}
			this.stream = stream;
			this.track?.addEventListener('ended', () => turn === this.turn && this.again());
			this.track?.addEventListener('mute', () => setTimeout(() => turn === this.turn && this.track?.muted && this.again(), silent));
			this.openedAt = this.movedAt = performance.now(); // the person may have been asked first
			this.video.srcObject = stream;
			await this.video.play().catch(() => {}); // interrupted by leaving the screen
			this.cameras = await devices();
			if (turn === this.turn) {
				this.tell();
				if (this.lit) {
					this.shine(true).catch(() => {});
				}
			}
		} catch (error) {
			if (turn === this.turn) {
				this.fail(error);
			}
		}
	}

	get track() {
		return this.stream?.getVideoTracks()[0];
	}

	tell() {
		this.told = this.light;
		this.on.ready({ cameras: this.cameras, camera: this.track?.getSettings().deviceId ?? '', light: this.light });
	}

	get light() {
		return Boolean(/** @type {any} */ (this.track?.getCapabilities?.())?.torch);
	}

	/** @param {boolean} on */
	async shine(on) {
		await this.track?.applyConstraints(/** @type {any} */ ({ advanced: [{ torch: on }] }));
		this.lit = on;
		if (!on && /** @type {any} */ (this.track?.getSettings())?.torch) {
			this.open(); // some can only be turned off with the camera
		}
	}

	/** @param {string} deviceId */
	choose(deviceId) {
		chosen = deviceId;
		this.lit = false;
		this.starts = 0;
		this.open();
	}

	/** The camera has ended, is silent, or shows nothing new. */
	again() {
		if (document.visibilityState !== 'visible') {
			return; // nobody has a camera in the background; it is looked at on return
		}
		if (++this.starts > mostStarts) {
			this.fail({ name: 'NoPicture' });
		} else {
			this.open();
		}
	}

	returned() {
		if (document.visibilityState !== 'visible') {
			return;
		}
		this.movedAt = performance.now();
		this.starts = 0;
		if (this.failed) {
			this.start();
		} else if (this.stream && (this.track?.readyState !== 'live' || this.track.muted)) {
			this.again();
		} else {
			this.video.play().catch(() => {}); // iOS pauses it
		}
	}

	/** @param {any} error */
	fail(error) {
		this.stop();
		if (error?.name !== 'NotAllowedError') { // which would ask the person anew at each return
			this.failed = error?.name ?? 'Error';
			document.addEventListener('visibilitychange', this.back);
		}
		this.on.failed(error);
	}

	/** @param {object} run */
	async loop(run) {
		this.detector = await detector();
		while (this.running === run) {
			if (this.moves()) {
				const text = await this.look();
				if (text && this.running === run) {
					this.on.found(text);
				}
			}
			await new Promise((resolve) => setTimeout(resolve, pause));
		}
	}

	/** Whether the camera shows something new; one that does not for long starts anew. */
	moves() {
		const now = performance.now();
		const { videoWidth, currentTime } = this.video;
		if (document.visibilityState !== 'visible' || !this.stream) {
			this.movedAt = now;
		} else if (videoWidth > 0 && currentTime !== this.movedTo) {
			this.movedAt = now;
			this.movedTo = currentTime;
			this.blindFrom = Math.min(this.blindFrom, now + blind);
			if (now - this.openedAt > still) {
				this.starts = 0;
			}
			if (this.told === false && this.light) { // Chromium knows of it a while after the camera has started
				this.tell();
			}
			return true;
		} else if (now - this.movedAt > still) {
			this.again();
		}
		return false;
	}

	/** The text of a code in the picture, or nothing. */
	async look() {
		if (this.detector) {
			try {
				const codes = await within(answerWithin, this.detector.detect(this.video));
				const text = codes.find((/** @type {any} */ c) => c.rawValue)?.rawValue;
				if (text) {
					return text;
				}
			} catch (error) {
				this.blindFrom = 0;
				if (error === late) {
					this.detector = null;
				}
			}
		}
		if (this.detector && performance.now() < this.blindFrom) {
			return '';
		}
		if (!readable()) {
			this.fail({ name: 'Unreadable' });
			return '';
		}
		try {
			return await core.call('decodeQR', { imageData: this.picture() }) ?? '';
		} catch {
			return ''; // none in this picture
		}
	}

	picture() {
		const { part, most } = looks[this.looked++ % looks.length];
		const [width, height] = [this.video.videoWidth * part, this.video.videoHeight * part];
		const scale = Math.min(1, most / Math.max(width, height));
		this.canvas.width = Math.round(width * scale);
		this.canvas.height = Math.round(height * scale);
		const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d', { willReadFrequently: true }));
		context.drawImage(this.video, (this.video.videoWidth - width) / 2, (this.video.videoHeight - height) / 2, width, height,
			0, 0, this.canvas.width, this.canvas.height);
		return context.getImageData(0, 0, this.canvas.width, this.canvas.height);
	}
}

/** How far a colour may be off, of 255: Brave changes pictures a little, which does no harm. */
const noise = 16;

/** Whether the browser lets pictures be read: protection against fingerprinting gives noise or white. */
function readable() {
	const canvas = document.createElement('canvas');
	canvas.width = canvas.height = 8;
	const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
	context.fillStyle = '#206040';
	context.fillRect(0, 0, 8, 8);
	const { data } = context.getImageData(0, 0, 8, 8);
	const off = Array.from(data, (value, i) => Math.abs(value - [0x20, 0x60, 0x40, 0xff][i % 4]));
	return off.reduce((a, b) => a + b, 0) < noise * off.length;
}

/** The chosen camera, else the one on the back, else any. @returns {Promise<MediaStream>} */
async function camera() {
	const size = { width: { ideal: 1280 }, height: { ideal: 1280 } };
	const ask = (/** @type {any} */ video) => navigator.mediaDevices.getUserMedia({ audio: false, video });
	try {
		return await ask(chosen ? { deviceId: { exact: chosen }, ...size } : { facingMode: 'environment', ...size });
	} catch (error) {
		const name = /** @type {any} */ (error)?.name;
		if (name === 'NotAllowedError' || !chosen && name !== 'OverconstrainedError') {
			throw error;
		}
		const instead = chosen ? { facingMode: 'environment', ...size } : true;
		chosen = ''; // it was unplugged, or is listed and cannot be used
		return await ask(instead);
	}
}

/** The cameras that can be told apart. */
async function devices() {
	const all = await navigator.mediaDevices.enumerateDevices?.().catch(() => []) ?? [];
	return all.filter((d) => d.kind === 'videoinput' && d.deviceId);
}

const late = new Error('late');

/** @template T @param {number} ms @param {Promise<T>} answer @returns {Promise<T>} */
const within = (ms, answer) => Promise.race([answer, /** @type {Promise<never>} */ (new Promise((_, no) => setTimeout(() => no(late), ms)))]);

async function detector() {
	const Detector = /** @type {any} */ (globalThis).BarcodeDetector;
	try {
		const formats = Detector ? await within(answerWithin, Detector.getSupportedFormats()) : [];
		return formats.includes('qr_code') ? new Detector({ formats: ['qr_code'] }) : null;
	} catch {
		return null;
	}
}
