package testkit

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Document is a device.Store in memory.
type Document struct {
	mu sync.Mutex
	b  []byte
}

// Load implements device.Store.
func (d *Document) Load() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.b), nil
}

// Save implements device.Store.
func (d *Document) Save(b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.b = bytes.Clone(b)
	return nil
}

// Documents are a documents.Store in memory.
type Documents struct {
	mu   sync.Mutex
	docs map[string][]byte
}

// Get implements documents.Store.
func (d *Documents) Get(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.docs[name]), nil
}

// Put implements documents.Store.
func (d *Documents) Put(name string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(name, append([]byte{}, b...))
	return nil
}

// Append adds to the end of a document.
func (d *Documents) Append(name string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(name, append(d.docs[name], b...))
	return nil
}

func (d *Documents) put(name string, b []byte) {
	if d.docs == nil {
		d.docs = map[string][]byte{}
	}
	d.docs[name] = b
}

// Delete implements documents.Store.
func (d *Documents) Delete(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.docs, name)
	return nil
}

// List implements documents.Store.
func (d *Documents) List(prefix string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.docs {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Failing are Documents that fail from a writing on, as for a process that is killed
// there, or where the disk is full. Left counts those before it.
type Failing struct {
	*Documents
	Left *int
}

// Put implements documents.Store.
func (f Failing) Put(name string, b []byte) error {
	if *f.Left--; *f.Left < 0 {
		return errors.New("killed")
	}
	return f.Documents.Put(name, b)
}

// Append adds to the end of a document.
func (f Failing) Append(name string, b []byte) error {
	if *f.Left--; *f.Left < 0 {
		return errors.New("killed")
	}
	return f.Documents.Append(name, b)
}
