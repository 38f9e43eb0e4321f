package webui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"vmux/internal/browserphone"
	"vmux/internal/browserphone/pagestate"
	"vmux/internal/device"
	"vmux/internal/link/relay"
	"vmux/internal/link/relay/hubtest"
	"vmux/internal/testkit"
)

// hubURL is the hub of the core and its computers, in memory, wherever the page comes
// from: it stands in the invitation that the browser's camera sees.
const hubURL = "https://hub.example.org"

// core is the phone's real core, in this process: web/phone/testdata/native.js stands in
// the page where the WebAssembly would, and calls it here. As in a browser it begins anew
// with each page that is loaded, from what it has stored.
type core struct {
	t     *testing.T
	relay *hubtest.Hub
	key   *device.Key
	store store
	ended chan struct{}

	starting sync.Mutex // guards end, and is held while one phone follows another
	end      func()

	mu     sync.Mutex
	phone  *browserphone.Phone // of the page that was loaded last
	called []called
	pages  map[chan []byte]bool // that hear of events
	events int                  // so far
}

// called is one call of the page.
type called struct {
	name string
	args map[string]any
}

// store is what the phone keeps, until it is full.
type store struct {
	testkit.Documents
	full atomic.Bool
}

func (s *store) Put(name string, b []byte) error    { return s.unlessFull(s.Documents.Put, name, b) }
func (s *store) Append(name string, b []byte) error { return s.unlessFull(s.Documents.Append, name, b) }

func (s *store) unlessFull(write func(string, []byte) error, name string, b []byte) error {
	if s.full.Load() {
		return fmt.Errorf("%w (QuotaExceededError)", browserphone.ErrStorage)
	}
	return write(name, b)
}

// wipe implements browserphone.Config.Wipe.
func (s *store) wipe() error {
	names, err := s.List("")
	for _, name := range names {
		_ = s.Delete(name)
	}
	return err
}

func newCore(t *testing.T) *core {
	t.Helper()
	key, err := device.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return &core{t: t, relay: hubtest.New(hubURL), key: key, end: func() {}, ended: make(chan struct{}), pages: map[chan []byte]bool{}}
}

// open is how devices come to the hub.
func (c *core) open(ctx context.Context, url string) (relay.Socket, error) {
	p, err := c.relay.Open(ctx, url)
	if err != nil {
		return nil, err // and no Pipe that is nil
	}
	return p, nil
}

// offline takes the hub away from the phone.
func (c *core) offline() {
	c.relay.Refuse(true)
	c.relay.Cut(c.key.ID())
}

// silence has pages hear nothing any more, as from a core that hangs.
func (c *core) silence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pages)
}

func (c *core) close() {
	close(c.ended)
	c.starting.Lock()
	defer c.starting.Unlock()
	c.end()
	c.relay.Wait()
}

// ServeHTTP is what native.js calls.
func (c *core) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/core/events" {
		c.tell(w, r)
		return
	}
	var said struct {
		Name    string
		Args    json.RawMessage
		Secrets [][]byte
		Active  bool
		Page    browserphone.Config // what a page knows of it
	}
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
		c.t.Errorf("%s: %v", r.URL.Path, err)
	}
	var answer struct {
		browserphone.Plan
		Value  any                 `json:"value,omitempty"`
		Error  *browserphone.Error `json:"error,omitempty"`
		Events int                 `json:"events"`
	}
	var err error
	switch r.URL.Path {
	case "/core/start":
		err = c.start(said.Page)
	case "/core/call":
		answer.Value, err = c.note(said.Name, said.Args, false).Call(r.Context(), said.Name, said.Args, said.Secrets...)
	case "/core/prepare":
		answer.Plan, err = c.note("tap "+said.Name, said.Args, said.Active).Prepare(said.Name, said.Args, said.Secrets...)
	}
	if err != nil {
		answer.Error = browserphone.AsError(err)
	}
	c.mu.Lock()
	answer.Events = c.events
	c.mu.Unlock()
	_ = json.NewEncoder(w).Encode(answer) // a page that is gone has no use for it
}

// start ends the phone of the page before, and begins that of another.
func (c *core) start(config browserphone.Config) error {
	c.starting.Lock()
	defer c.starting.Unlock()
	c.end()
	config.HubURL, config.Store, config.Key, config.Emit, config.Wipe = hubURL, &c.store, c.key, c.emit, c.store.wipe
	config.Relay.Open = c.open
	phone, err := browserphone.New(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = phone.Run(ctx) })
	c.end = func() { cancel(); run.Wait() }
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phone = phone
	return nil
}

// note notes a call, and returns whom it is for.
func (c *core) note(name string, args json.RawMessage, active bool) *browserphone.Phone {
	one := called{name, map[string]any{}}
	_ = json.Unmarshal(args, &one.args) // the phone says what is wrong with it
	one.args["active"] = active
	c.mu.Lock()
	defer c.mu.Unlock()
	c.called = append(c.called, one)
	return c.phone
}

// emit implements browserphone.Config.Emit.
func (c *core) emit(event string, payload any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events++
	b, err := json.Marshal([]any{c.events, event, payload})
	if err != nil {
		c.t.Errorf("%s: %v", event, err)
	}
	for page := range c.pages {
		page <- b
	}
}

// tell tells one page of events.
func (c *core) tell(w http.ResponseWriter, r *http.Request) {
	page := make(chan []byte, 4096) // no page is so far behind
	c.mu.Lock()
	c.pages[page] = true
	page <- fmt.Appendf(nil, "[%d]", c.events) // from now on
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.pages, page)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case b := <-page:
			_, _ = fmt.Fprintf(w, "data: %s\n\n", b)
		case <-r.Context().Done():
			return
		case <-c.ended:
			return
		}
	}
}

// calls are the arguments of the calls of a function, or of the taps that planned one
// ("tap approve"), with whether a person had just tapped ("active").
func (p *tab) calls(name string) (list []map[string]any) {
	p.core.mu.Lock()
	defer p.core.mu.Unlock()
	for _, one := range p.core.called {
		if one.name == name {
			list = append(list, one.args)
		}
	}
	return list
}

// call calls a function of core.js as a person's tap does.
func (p *tab) call(name string, args map[string]any) {
	p.t.Helper()
	b, err := json.Marshal(args)
	if err == nil {
		err = p.EvaluateAsTap(fmt.Sprintf("import('/core.js').then((core) => core.call(%q, %s ?? {})).then(() => true)", name, b), new(bool))
	}
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", name, err, p.Console())
	}
}

// The phone's keys, as its person makes them.
func (p *tab) passkey(label string) { p.call("createPasskey", map[string]any{"label": label}) }
func (p *tab) vaultKey(label string) {
	p.call("createVault", map[string]any{"label": label, "algorithm": "ssh-ed25519"})
}

// state is the phone's own.
func (c *core) state() pagestate.State {
	c.mu.Lock()
	phone := c.phone
	c.mu.Unlock()
	s, err := phone.State()
	if err != nil {
		c.t.Errorf("the phone's state: %v", err)
	}
	return s
}

// identity is the phone's key of a name.
func (c *core) identity(label string) (found pagestate.Identity) {
	for _, id := range c.state().Identities {
		if id.Label == label {
			found = id
		}
	}
	return found
}
