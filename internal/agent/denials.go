package agent

import "time"

const (
	maxDenials = 1024
	// denialLife is far longer than a server waits for a login, so that the
	// session is over when the denial is forgotten.
	denialLife = 30 * time.Minute
)

// denials remembers what a person has denied, by SSH session and key.
type denials map[[2]string]time.Time

func (a *Agent) remember(session []byte, fingerprint string) {
	if len(session) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.denied == nil {
		a.denied = denials{}
	}
	now := time.Now()
	for key, at := range a.denied {
		if now.Sub(at) > denialLife || len(a.denied) >= maxDenials {
			delete(a.denied, key)
		}
	}
	a.denied[[2]string{string(session), fingerprint}] = now
}

func (a *Agent) isDenied(session []byte, fingerprint string) bool {
	if len(session) == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at, denied := a.denied[[2]string{string(session), fingerprint}]
	return denied && time.Since(at) <= denialLife
}
