package setup

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The page that tells what to write by hand has the units that packages and setup have.
func TestDocsHaveTheUnits(t *testing.T) {
	page, err := os.ReadFile("../../docs/login-service.md")
	if err != nil {
		t.Fatal(err)
	}
	phone, err := os.ReadFile("vmux-phone.service") // setup does not write it, packages bring it
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{socketUnit, serviceUnit, string(phone)} {
		unit = strings.Replace(unit, "/usr/bin/", "%h/.local/bin/", 1)
		if indented := regexp.MustCompile("(?m)^(.)").ReplaceAllString(unit, "    $1"); !strings.Contains(string(page), indented) {
			t.Errorf("docs/login-service.md has another unit than\n%s", indented)
		}
	}
}
