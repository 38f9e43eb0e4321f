// Chromium on macOS 13 and Androids without Play services have a BarcodeDetector whose
// detect rejects (nimiq/qr-scanner #98, gruhn/vue-qrcode-reader #353). Here it does so always.
() => {
	globalThis.BarcodeDetector = class {
		static async getSupportedFormats() { return ['qr_code']; }

		async detect() { throw new DOMException('Barcode Detection service unavailable.', 'NotSupportedError'); }
	};
}
