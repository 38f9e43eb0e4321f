// iOS: the memory of the page before is not free yet when a page is loaded again
// (emscripten 19374 and 8121, WebKit bugs 256023, 255103), and phones with little of it
// (godot 70621). The argument is how often a program is refused, with those words.
(times, words = 'Out of memory') => {
	for (const name of ['instantiateStreaming', 'instantiate']) {
		const real = WebAssembly[name];
		WebAssembly[name] = async (...args) => {
			if (times-- > 0) {
				await (await args[0])?.arrayBuffer?.();
				throw words.includes('executable') ? new WebAssembly.CompileError(words) : new RangeError(words);
			}
			return real.apply(WebAssembly, args);
		};
	}
}
