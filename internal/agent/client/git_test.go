package client

import (
	"testing"
	"testing/synctest"
	"time"

	"vmux/internal/gitsign"
	"vmux/internal/wire"
)

// A claim about a git signature is for one hash, once, and not for long.
func TestGitClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g GitClaims
		commit := wire.GitObject{Kind: "commit", Subject: "subject"}
		hash := gitsign.HashOf("sha512", []byte("tree"))
		g.Put(hash, commit)
		if g.Take(gitsign.HashOf("sha256", []byte("tree"))) != nil {
			t.Error("told of another hash")
		}
		if got := g.Take(hash); got == nil || *got != commit {
			t.Errorf("got %v", got)
		}
		if g.Take(hash) != nil {
			t.Error("told twice")
		}
		g.Put(hash, commit)
		time.Sleep(gitClaimLife + time.Second)
		if g.Take(hash) != nil {
			t.Error("told late")
		}
		for i := range 3 * maxGitClaims {
			g.Put(gitsign.HashOf("sha512", []byte{byte(i)}), wire.GitObject{})
		}
		if len(g.byHash) > maxGitClaims {
			t.Errorf("%d claims are kept", len(g.byHash))
		}
	})
}
