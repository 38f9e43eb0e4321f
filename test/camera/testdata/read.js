// Reads pictures from standard input, each as width, height (32 bits, little-endian) and
// one byte of grey for each pixel, by the app's own reader. Prints a line of JSON for each:
// the text, or null.
import { readFileSync } from 'node:fs';
import { read } from './reader.js';

const input = readFileSync(0);
for (let at = 0; at < input.length;) {
	const [width, height] = [input.readUInt32LE(at), input.readUInt32LE(at + 4)];
	at += 8;
	const data = new Uint8ClampedArray(4 * width * height).fill(255);
	for (let i = 0; i < width * height; i++) {
		data.fill(input[at++], 4 * i, 4 * i + 3);
	}
	let text = null;
	try {
		text = read({ width, height, data }, Infinity); // the same on a busy machine
	} catch (error) {
		if (error.code !== 'noCode') {
			throw error;
		}
	}
	console.log(JSON.stringify(text));
}
