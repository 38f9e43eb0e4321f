#!/bin/bash
# Builds bin/vmux.app, vmux-tray for the menu bar of macOS; `make app` calls it. It needs
# macOS and its Command Line Tools, which hold the compiler and sips and iconutil.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
GO=${GO:-go}

[ "$(uname -s)" = Darwin ] || {
	echo "app: a menu bar's program is built on macOS only; on Linux make build makes bin/vmux-tray" >&2
	exit 1
}
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' internal/cli/*.go internal/cli/*/*.go)
[ -n "$version" ] || {
	echo "app: the version is not found in internal/cli" >&2
	exit 1
}
app=bin/vmux.app
rm -rf "$app"
mkdir -p "$app/Contents/MacOS" "$app/Contents/Resources"
CGO_ENABLED=1 "$GO" build -trimpath -ldflags='-s -w' -o "$app/Contents/MacOS/" ./cmd/vmux-tray

icons=$(mktemp -d)
trap 'rm -rf "$icons"' EXIT
mkdir "$icons/vmux.iconset"
for size in 16 32 128 256 512; do
	sips -z "$size" "$size" web/phone/static/icons/icon-512.png --out "$icons/vmux.iconset/icon_${size}x$size.png" >/dev/null
done
iconutil -c icns -o "$app/Contents/Resources/vmux.icns" "$icons/vmux.iconset"

# LSUIElement: in the menu bar, and not in the Dock.
cat >"$app/Contents/Info.plist" <<END
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>CFBundleExecutable</key><string>vmux-tray</string>
	<key>CFBundleIconFile</key><string>vmux</string>
	<key>CFBundleIdentifier</key><string>vmux.tray</string>
	<key>CFBundleName</key><string>vmux</string>
	<key>CFBundlePackageType</key><string>APPL</string>
	<key>CFBundleShortVersionString</key><string>$version</string>
	<key>LSMinimumSystemVersion</key><string>12.0</string>
	<key>LSUIElement</key><true/>
	<key>NSHighResolutionCapable</key><true/>
</dict>
</plist>
END
codesign --force --sign - "$app"
echo "app: $app is built; move it to /Applications"
