package front

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
	texttemplate "text/template"

	"vmux/internal/hub/webapp"
)

const installPath = "/install-ca"

// installPolicy is that of the page about the root: words and their looks.
const installPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed install.html
var installHTML string

//go:embed install.css
var installCSS []byte

//go:embed profile.xml
var profileXML string

var (
	installTemplate = template.Must(template.New("install").Parse(installHTML))
	profileTemplate = texttemplate.Must(texttemplate.New("profile").Parse(profileXML))
)

// before serves the root and how to install it, and hands on everything else.
func (ca *localCA) before(next http.Handler, publicURL string) http.Handler {
	files := map[string]struct {
		contentType, download string
		body                  []byte
	}{
		"/ca.pem": {"application/x-pem-file", "vmux-hub-ca.pem", ca.rootPEM()},
		"/ca.cer": {"application/x-x509-ca-cert", "vmux-hub-ca.cer", ca.root.Raw},
		"/ca.mobileconfig": {"application/x-apple-aspen-config", "", // opened, not stored
			ca.profile()},
		installPath:          {"text/html; charset=utf-8", "", ca.page(publicURL)},
		installPath + ".css": {"text/css; charset=utf-8", "", installCSS},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := files[r.URL.Path]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		header := w.Header()
		webapp.SecurityHeaders(header, installPolicy)
		header.Set("Cache-Control", "no-cache")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			header.Set("Allow", "GET, HEAD")
			http.Error(w, "This can only be read.", http.StatusMethodNotAllowed)
			return
		}
		header.Set("Content-Type", file.contentType)
		header.Set("Content-Length", fmt.Sprint(len(file.body)))
		if file.download != "" {
			header.Set("Content-Disposition", `attachment; filename="`+file.download+`"`)
		}
		_, _ = w.Write(file.body) // the reader went away
	})
}

// page is the page that explains the taps.
func (ca *localCA) page(publicURL string) []byte {
	return filled(installTemplate, map[string]any{
		"Name": ca.root.Subject.CommonName, "Host": strings.Join(ca.dns, ", "), "URL": publicURL,
		"Fingerprint": strings.Fields(ca.fingerprint()), "Until": ca.root.NotAfter.Format("2 January 2006"),
	})
}

func filled(t interface{ Execute(io.Writer, any) error }, values map[string]any) []byte {
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		panic("front: " + err.Error()) // the templates and their values are those of this file
	}
	return b.Bytes()
}

// profile is a configuration profile of Apple's with one payload, the root. Its
// identifiers follow from the root: installed again, it replaces itself.
func (ca *localCA) profile() []byte {
	hash := sha256.Sum256(ca.root.Raw)
	return filled(profileTemplate, map[string]any{
		"Name": ca.root.Subject.CommonName, "Host": ca.dns[0], "Base64": base64.StdEncoding.EncodeToString(ca.root.Raw),
		"ID": fmt.Sprintf("vmux.hub.%x", hash[:8]), "ProfileUUID": uuid(hash, "profile"), "RootUUID": uuid(hash, "root"),
	})
}

// uuid derives a UUID of version 8 (RFC 9562 section 5.8) from the hash.
func uuid(hash [sha256.Size]byte, name string) string {
	u := sha256.Sum256(append(hash[:], name...))
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:16]))
}
