// A proxy that gives programs another type than application/wasm (webpack 12259, Winden 26,
// http-server 690), and browsers without the function. The body of the response is used up
// by the attempt or not, as the argument says.
(used) => {
	if (used === null) {
		delete WebAssembly.instantiateStreaming;
		return;
	}
	WebAssembly.instantiateStreaming = async (source) => {
		const response = await source;
		if (used) {
			await response.arrayBuffer();
		}
		throw new TypeError("Failed to execute 'compile' on 'WebAssembly': Incorrect response MIME type. Expected 'application/wasm'.");
	};
}
