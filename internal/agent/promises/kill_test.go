package promises

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmux/internal/agent"
	"vmux/internal/control"
	"vmux/internal/link"
	"vmux/internal/link/lan"
)

// childHome tells TestAgentProcess to be an agent of that home.
const childHome = "VMUX_TEST_AGENT_HOME"

// TestAgentProcess is the agent that TestKilledWhileWriting kills: it does
// nothing in a usual run.
func TestAgentProcess(t *testing.T) {
	home := os.Getenv(childHome)
	if home == "" {
		return
	}
	a, err := agent.New(agent.Config{
		StateDir: filepath.Join(home, "agent"), Socket: filepath.Join(home, "agent.sock"), Name: "computer",
		Routes: []link.Route{lan.NewDialer(false, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-a.Ready()
		os.Stdout.WriteString("ready\n")
	}()
	if err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Killing the agent at any moment of a cache write loses nothing: whoever starts
// next finds the list from before the refresh, or the one from after it.
func TestKilledWhileWriting(t *testing.T) {
	w := pairedWorld(t, nil)
	w.stop()
	path := filepath.Join(w.home, "agent", cacheFile)
	for round := range 25 {
		killAgentWhileRefreshing(t, w)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		work, home := strings.Count(string(b), `"work"`), strings.Count(string(b), `"home"`)
		if work != 1 || home > 1 || !strings.HasSuffix(strings.TrimSpace(string(b)), "}") {
			t.Fatalf("round %d: neither the old nor the new list:\n%s", round, b)
		}
	}
	again := startAgent(t, w.home, func(c *agent.Config) { c.Routes = nil })
	if s := again.status(t); len(s.Warnings) != 0 || len(s.Identities) == 0 {
		t.Fatalf("warnings %q, %d identities", s.Warnings, len(s.Identities))
	}
}

func killAgentWhileRefreshing(t *testing.T, w *world) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAgentProcess$")
	cmd.Env = append(os.Environ(), childHome+"="+w.home)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the agent said %q, %v", line, err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	c := control.NewClient(filepath.Join(w.home, "agent", agent.ControlSocketName), nil)
	go func() { // writes as fast as it can, each time another list
		defer close(ended)
		for more := true; ; more = !more {
			select {
			case <-stop:
				return
			default:
			}
			w.phone.more.Store(more)
			_, _ = c.RefreshKeys(context.Background()) // fails once it is killed
		}
	}()
	<-time.After(50*time.Millisecond + rand.N(50*time.Millisecond))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	close(stop)
	<-ended
	_ = cmd.Wait() // "signal: killed"
}
