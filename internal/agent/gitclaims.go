package agent

import (
	"strings"
	"sync"
	"time"

	"vmux/internal/control"
	"vmux/internal/wire"
)

const (
	// gitClaimLife is how long after `vmux git-sign` has told of it a signature
	// may be asked for: ssh-keygen follows at once.
	gitClaimLife = 2 * time.Minute
	maxGitClaims = 64
	maxGitHash   = 160
)

// gitClaims are what git signatures that are soon asked for are said to be
// for, by the hash that will be signed. A claim is used once.
type gitClaims struct {
	mu     sync.Mutex
	byHash map[string]gitClaim
}

type gitClaim struct {
	object wire.GitObject
	until  time.Time
}

// ClaimGit implements control.Service.
func (a *Agent) ClaimGit(c control.GitClaim) error {
	for _, text := range []string{c.Object.Kind, c.Object.Subject, c.Object.Author, c.Object.Repository} {
		if wire.Show(text) != text {
			return control.Errorf(control.CodeInvalid, "", "The description holds what cannot be shown.")
		}
	}
	if c.Hash == "" || len(c.Hash) > maxGitHash || !strings.Contains(c.Hash, ":") {
		return control.Errorf(control.CodeInvalid, "", "That is no hash.")
	}
	a.git.put(c, time.Now())
	return nil
}

func (g *gitClaims) put(c control.GitClaim, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byHash == nil {
		g.byHash = map[string]gitClaim{}
	}
	for hash, claim := range g.byHash {
		if now.After(claim.until) || len(g.byHash) >= maxGitClaims {
			delete(g.byHash, hash)
		}
	}
	g.byHash[c.Hash] = gitClaim{c.Object, now.Add(gitClaimLife)}
}

// take returns the claim about a hash, nil if there is none.
func (g *gitClaims) take(hash string) *wire.GitObject {
	g.mu.Lock()
	defer g.mu.Unlock()
	claim, ok := g.byHash[hash]
	delete(g.byHash, hash)
	if !ok || time.Now().After(claim.until) {
		return nil
	}
	return &claim.object
}
