package client

import (
	"sync"
	"time"

	"vmux/internal/wire"
)

const (
	// gitClaimLife is how long after `vmux git-sign` has told of it a signature
	// may be asked for: ssh-keygen follows at once.
	gitClaimLife = 2 * time.Minute
	maxGitClaims = 64
)

// GitClaims are what git signatures that are soon asked for are said to be
// for, by the hash that will be signed. A claim is used once.
type GitClaims struct {
	mu     sync.Mutex
	byHash map[string]gitClaim
}

type gitClaim struct {
	object wire.GitObject
	until  time.Time
}

// Put notes what the signature over a hash will be for.
func (g *GitClaims) Put(hash string, object wire.GitObject) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byHash == nil {
		g.byHash = map[string]gitClaim{}
	}
	for other, claim := range g.byHash {
		if now.After(claim.until) || len(g.byHash) >= maxGitClaims {
			delete(g.byHash, other)
		}
	}
	g.byHash[hash] = gitClaim{object, now.Add(gitClaimLife)}
}

// Take returns the claim about a hash, nil if there is none.
func (g *GitClaims) Take(hash string) *wire.GitObject {
	g.mu.Lock()
	defer g.mu.Unlock()
	claim, ok := g.byHash[hash]
	delete(g.byHash, hash)
	if !ok || time.Now().After(claim.until) {
		return nil
	}
	return &claim.object
}
