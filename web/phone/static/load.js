// @ts-check
// Sees to it that the app begins. A browser that cannot load one of its modules, or cannot
// read it, tells only the element that asked for the first, and runs none: a connection that
// broke, a service worker that was ended as it answered. So this is a script of its own, in
// words that old browsers know.

(function () {
	var mark = 'vmux-loaded-again'; // when, in milliseconds since 1970
	var rest = 60000; // the least time between two loads that nobody asked for, in milliseconds
	var done = false;

	function mayReload() {
		try {
			var before = Number(sessionStorage.getItem(mark));
			sessionStorage.setItem(mark, String(Date.now()));
			return Math.abs(Date.now() - before) > rest;
		} catch (error) {
			return false; // where it cannot be kept it would go on for ever
		}
	}

	/** @param {string} name @param {string} text @param {string} [className] */
	function element(name, text, className) {
		var made = document.createElement(name);
		made.textContent = text;
		made.className = className || '';
		return made;
	}

	/** @param {string} why @param {string} hint */
	function say(why, hint) {
		var main = document.getElementById('main');
		if (!main) {
			document.addEventListener('DOMContentLoaded', function () { say(why, hint); });
			return;
		}
		var box = element('div', '', 'empty');
		var again = element('button', 'Try again', 'button primary');
		box.setAttribute('role', 'alert');
		again.onclick = function () { location.reload(); };
		[element('p', 'The app could not start', 'empty-title'), element('p', why, 'para'), element('p', hint, 'para'), again].forEach(function (part) {
			box.appendChild(part);
		});
		main.textContent = '';
		main.appendChild(box);
	}

	/** @param {string} why @param {string} hint */
	function failed(why, hint) {
		if (done || document.documentElement.dataset.begun) {
			return;
		}
		done = true;
		if (mayReload()) {
			location.reload();
		} else {
			say(why, hint);
		}
	}

	addEventListener('error', function (event) {
		var from = event.target;
		if (from instanceof HTMLScriptElement) {
			failed('A part of it could not be loaded.', 'See that this device is online and that no content blocker stops it, then try again.');
		} else if (from === window && event.error instanceof SyntaxError) {
			failed('This browser cannot read it (' + event.message + ').', 'Bring the browser up to date, or use another one.');
		}
	}, true); // an element's error goes no further
})();
