package asking

import (
	"context"
	"time"

	"vmux/internal/desktop"
	"vmux/internal/signer"
)

// noticeAfter is how long a request waits until the desktop is told: most are answered by
// whoever looks at the terminal already.
const noticeAfter = 300 * time.Millisecond

// Notifying has the desktop show what waits, and take that back when it is answered or
// waits no more.
func Notifying(a signer.Approver, n *desktop.Notifier, how func() string) signer.Approver {
	sign, certificate := a.Sign, a.Certificate
	a.Sign = func(ctx context.Context, s signer.SignSheet) (signer.SignDecision, error) {
		defer notice(n, s.Sheet, s.Title().String(), how)()
		return sign(ctx, s)
	}
	a.Certificate = func(ctx context.Context, s signer.CertificateSheet) (signer.CertificateDecision, error) {
		defer notice(n, s.Sheet, "a session certificate", how)()
		return certificate(ctx, s)
	}
	return a
}

// notice shows what a computer asks for, in a moment, until over is called.
func notice(n *desktop.Notifier, s signer.Sheet, what string, how func() string) (over func()) {
	name := s.From.ID.String() + " " + s.RequestID
	text := s.From.Name.String() + " asks: " + what + how()
	timer := time.AfterFunc(noticeAfter, func() { n.Notify(name, text) })
	return func() {
		if !timer.Stop() {
			n.Withdraw(name)
		}
	}
}
