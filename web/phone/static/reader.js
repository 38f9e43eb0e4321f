// @ts-check
// Reads QR codes where the browser cannot, by the library in qr/. Pictures come several
// times a second, so that one is given up rather than looked at for long.

import { decodeQR } from './qr/decode.js';

/** How many guesses of where a code is are followed in one picture: text beside it, and its own data, may look like its corners. */
const effort = 32;
/** For how long the guesses after the first are, in milliseconds. */
const patience = 120;

/**
 * @param {{width: number, height: number, data: Uint8ClampedArray}} picture red, green, blue and alpha of each pixel
 * @param {number} [timeLimit] in milliseconds
 * @returns {string} the text of a code; fails with {code: 'noCode', message} where there is none
 */
export function read(picture, timeLimit = patience) {
	try {
		return decodeQR(picture, { effort, timeLimit });
	} catch (error) {
		throw { code: 'noCode', message: `no QR code was found (${/** @type {Error} */ (error).message})` };
	}
}
