// @ts-check
// How things are written: text that came from another device made harmless,
// times, durations, names of algorithms.

/** The longest text that is shown of a name another device chose. */
const longest = 300;

// What moves, hides or reorders text: control and format characters (also the
// bidirectional overrides), line and paragraph separators, private use, surrogates,
// code points that stand for no character; what is drawn as nothing, and what fonts
// leave blank. The same as the Go side's wire.Show.
const unshowable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\p{Cn}\p{Default_Ignorable_Code_Point}\p{Variation_Selector}\u2800\u{1D159}\u{16FE4}\u{13441}\u{13442}]/gu;
/** More marks on one character than it may carry: they would be drawn over other lines. */
const marks = /(?<=[\p{Mn}\p{Me}]{4})[\p{Mn}\p{Me}]/gu;

/**
 * Makes text fit to be shown as one line, with blanks of any kind and number as one.
 * @param {unknown} text
 * @returns {string}
 */
export function clean(text) {
	const shown = String(text ?? '')
		.replace(unshowable, (c, at, all) => /[\uFE0E\uFE0F]/.test(c) && /\p{So}$/u.test(all.slice(0, at)) ? c : '\uFFFD') // as in ❤️
		.replace(marks, '\uFFFD').replace(/\s+/gu, ' ');
	return shown.length > longest ? `${shown.slice(0, longest)}…` : shown;
}

const pad = (/** @type {number} */ n) => String(n).padStart(2, '0');

/**
 * A time of day, with the day where it is not today's: "14:05", "tomorrow 14:05", "3 March 14:05".
 * Times are Unix milliseconds, as the core gives them; its 0 is none.
 * @param {number} time
 */
export function when(time) {
	const d = new Date(time);
	if (!d.getTime()) {
		return 'unknown';
	}
	const clock = `${pad(d.getHours())}:${pad(d.getMinutes())}`;
	const name = day(time);
	return name === 'Today' ? clock : `${name.replace(/^[TY]/, (c) => c.toLowerCase())} ${clock}`;
}

/**
 * The day of a time as one says it: "Today", "Yesterday", "Tomorrow", "3 March".
 * @param {number} time
 */
export function day(time) {
	const midnight = (/** @type {Date} */ d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
	const now = new Date();
	const d = new Date(time);
	const days = Math.round((midnight(d) - midnight(now)) / 86400000);
	if (days >= -1 && days <= 1) {
		return ['Yesterday', 'Today', 'Tomorrow'][days + 1];
	}
	return d.toLocaleDateString('en-GB', {
		day: 'numeric', month: 'long', year: d.getFullYear() === now.getFullYear() ? undefined : 'numeric',
	});
}

/**
 * How long ago: "just now", "5 min ago", "3 h ago".
 * @param {number} time
 */
export function ago(time) {
	const seconds = (Date.now() - time) / 1000;
	if (!time || Number.isNaN(seconds)) {
		return 'unknown';
	}
	return seconds < 60 ? 'just now' : `${duration(seconds)} ago`;
}

/**
 * A duration in its two largest units at most: "45 s", "20 min", "7 h 30 min", "3 days".
 * @param {number} seconds
 */
export function duration(seconds) {
	const s = Math.max(0, Math.round(seconds));
	if (s < 60) {
		return `${s} s`;
	}
	if (s < 3600) {
		return `${Math.floor(s / 60)} min`;
	}
	if (s < 48 * 3600) {
		const minutes = Math.floor(s % 3600 / 60);
		return minutes ? `${Math.floor(s / 3600)} h ${minutes} min` : `${Math.floor(s / 3600)} h`;
	}
	return `${Math.floor(s / 86400)} days`;
}

/** @type {Record<string, string>} */
const algorithms = {
	'ecdsa-sha2-nistp256': 'P-256',
	'ecdsa-sha2-nistp384': 'P-384',
	'ecdsa-sha2-nistp521': 'P-521',
	'ssh-ed25519': 'Ed25519',
	'ssh-rsa': 'RSA',
	'sk-ecdsa-sha2-nistp256@openssh.com': 'P-256',
};

/** @param {string} name */
export const algorithmName = (name) => algorithms[name] ?? clean(name);

/**
 * Text in groups of four, for comparing by eye.
 * @param {string} text
 */
export const inGroups = (text) => clean(text).replace(/(.{4})(?=.)/g, '$1 ');

/**
 * The beginning of a fingerprint, enough to tell keys of one phone apart.
 * @param {string} fingerprint
 */
export const short = (fingerprint) => `${clean(fingerprint).slice(0, 17)}…`;

/**
 * @param {number} n @param {string} one @param {string} [many]
 */
export const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/**
 * The names that somebody typed, separated by commas or spaces, each once.
 * @param {string} text
 */
export const names = (text) => [...new Set(text.split(/[\s,]+/).filter(Boolean))];

/** How the signer's names of lines read here. @type {Record<string, string>} */
const lineNames = { server: 'Host key', seen: 'Seen', name: 'Host name', through: 'By way of', user: 'User' };

/** @param {string} name */
export const lineName = (name) => lineNames[name] ?? clean(name).replace(/^./, (c) => c.toUpperCase());

/**
 * Whether what is signed is a login: then the signer says for whom. A title does
 * not tell: purposes of signatures have an @ as well.
 * @param {import('../types/core').Line[] | null | undefined} lines
 */
export const isLogin = (lines) => lines?.some((l) => l.name === 'user') ?? false;

/** Whether what is signed is sudo's challenge: then the host that asks says what for. @param {import('../types/core').Line[] | null | undefined} lines */
export const isSudo = (lines) => lines?.some((l) => l.quality === 'asker') ?? false;

/** Who says so, behind a line, if not this phone. @param {import('../types/core').Line} line */
export const source = (line) => ({ verified: '', asker: ' (said by the host that asks)' })[String(line.quality)] ?? ' (said by the computer)';

/** The beginning of a line, but for an account's name, which is what it is. @param {string} text */
export const sentence = (text) => text.includes('@') ? text : text.replace(/^./, (c) => c.toUpperCase());
