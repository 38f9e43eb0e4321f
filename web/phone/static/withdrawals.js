// @ts-check
// Computers that ask and withdraw again and again. Their requests wait in the bar:
// as sheets they would cover everything, and end before anybody can deny or unpair.

/** For how long a withdrawal counts, in milliseconds. */
const memory = 60000;
/** Those of so long are one: somebody has stopped a program that asked often. */
const burst = 1000;
/** How many are too many. */
const most = 5;

/** When requests of a computer were withdrawn. @type {Map<string, number[]>} */
const withdrawals = new Map();

/** @param {string} computer */
const recent = (computer) => (withdrawals.get(computer) ?? []).filter((t) => Date.now() - t < memory);

/** @param {string} computer */
export function noteWithdrawal(computer) {
	const list = recent(computer);
	if (Date.now() - (list.at(-1) ?? 0) > burst) {
		list.push(Date.now());
	}
	withdrawals.set(computer, list);
}

/** @param {string} computer */
export const withdrawsOften = (computer) => recent(computer).length >= most;
