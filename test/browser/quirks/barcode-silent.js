// Androids that lack or are still loading the barcode module of Play services: an answer of
// the BarcodeDetector never comes. Here that is so of the method that is named.
(method) => {
	const never = () => new Promise(() => {});
	globalThis.BarcodeDetector = class {
		static async getSupportedFormats() { return method === 'getSupportedFormats' ? never() : ['qr_code']; }

		async detect() { return never(); }
	};
}
