package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// scope is what sshdtest and web ask of a test: it fails by Fatalf, and gives back in
// the end what was started.
type scope struct {
	mu       sync.Mutex
	cleanups []func()
}

// failure is the panic by which Fatalf leaves.
type failure struct{ error }

func (s *scope) Helper() {}

func (s *scope) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// Errorf leaves as well: what is measured after an error says nothing.
func (s *scope) Errorf(format string, args ...any) { s.Fatalf(format, args...) }

// must leaves when there is an error.
func (s *scope) must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func (s *scope) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// TempDir is short, since sockets lie in it.
func (s *scope) TempDir() string {
	dir, err := os.MkdirTemp("", "vmux")
	s.must(err)
	s.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// catch turns Fatalf into an error.
func (s *scope) catch(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			failed, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = failed.error
		}
	}()
	f()
	return nil
}

// end gives everything back, the last first. It may be called twice.
func (s *scope) end() error {
	var errs []error
	for {
		s.mu.Lock()
		n := len(s.cleanups)
		if n == 0 {
			s.mu.Unlock()
			return errors.Join(errs...)
		}
		f := s.cleanups[n-1]
		s.cleanups = s.cleanups[:n-1]
		s.mu.Unlock()
		errs = append(errs, s.catch(f))
	}
}
