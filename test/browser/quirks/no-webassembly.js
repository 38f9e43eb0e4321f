// iOS in Lockdown Mode, Tor Browser's "Safer" level, Vanadium without its compiler: there is
// no WebAssembly; or it is there and refuses, as where a policy forbids it (Chromium's
// words), which a proxy may have changed. The argument is the refusal.
(words) => {
	if (!words) {
		delete globalThis.WebAssembly;
		return;
	}
	for (const name of ['instantiateStreaming', 'instantiate']) {
		WebAssembly[name] = async () => {
			throw new WebAssembly.CompileError(words);
		};
	}
}
