package statusview

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"vmux/internal/control"
)

const (
	// againAfter is how long after its end an agent is looked for again, and pingEvery
	// how often the phones' round trips are measured while somebody watches.
	againAfter = time.Second
	pingEvery  = 5 * time.Second
)

// errEnded is why there is no status where the agent has ended the conversation.
var errEnded = errors.New("the agent has ended; it is waited for")

// Source tells how it stands: a *control.Client.
type Source interface {
	// Watch calls each with the status now and after every change.
	Watch(ctx context.Context, each func(control.Status) error) error
	// Ping measures the round trips to the phones; a change of status tells them.
	Ping(ctx context.Context) ([]control.Device, error)
}

// Watch draws the status on the terminal out until ctx ends, or a person at in types
// q or ^C; in is nil where nobody can. An agent that ends is waited for.
func Watch(ctx context.Context, in io.Reader, out io.Writer, agent Source) error {
	ctx, cancel := context.WithCancel(ctx)
	program := tea.NewProgram(screen{err: errors.New("the agent is asked")}, tea.WithContext(ctx),
		tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	var following sync.WaitGroup
	following.Go(func() { follow(ctx, agent, program.Send) })
	following.Go(func() { ping(ctx, agent) })
	_, err := program.Run()
	stopped := ctx.Err() != nil // which is how watching ends
	cancel()
	following.Wait()
	if stopped {
		return nil
	}
	return err
}

// follow sends each status, and what is in the way of the next one.
func follow(ctx context.Context, agent Source, send func(tea.Msg)) {
	for ctx.Err() == nil {
		err := agent.Watch(ctx, func(s control.Status) error { send(s); return nil })
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errEnded
		}
		send(failure{err})
		pause(ctx, againAfter)
	}
}

func ping(ctx context.Context, agent Source) {
	for ctx.Err() == nil {
		_, _ = agent.Ping(ctx) // no agent: follow tells
		pause(ctx, pingEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// failure is why there is no status.
type failure struct{ error }

// tick is the next second, since seconds are shown.
type tick struct{}

func nextTick() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return tick{} }) }

// screen implements tea.Model.
type screen struct {
	status         control.Status
	err            error // why there is none
	columns, lines int
}

func (screen) Init() tea.Cmd { return nextTick() }

func (s screen) Update(m tea.Msg) (tea.Model, tea.Cmd) {
	switch m := m.(type) {
	case control.Status:
		s.status, s.err = m, nil
	case failure:
		s.err = m.error
	case tea.WindowSizeMsg:
		s.columns, s.lines = m.Width, m.Height
	case tick:
		return s, nextTick()
	case tea.KeyPressMsg:
		switch m.String() {
		case "q", "ctrl+c", "esc":
			return s, tea.Quit
		case "ctrl+z":
			return s, tea.Suspend
		}
	}
	return s, nil
}

func (s screen) View() tea.View {
	v := tea.NewView(Live(s.status, s.err, s.columns, s.lines, time.Now()))
	v.AltScreen = true
	return v
}
