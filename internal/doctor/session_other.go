//go:build !linux && !darwin

package doctor

import "context"

const serviceHint = "docs/login-service.md says how"

func desktopHint(socket string) string { return "set SSH_AUTH_SOCK to " + socket + " for your session" }

func (l *looker) desktop(context.Context) func(*Facts) { return func(*Facts) {} }

func (l *looker) service(context.Context) func(*Facts) { return func(*Facts) {} }
