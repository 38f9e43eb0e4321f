package vmux

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// source is one Go file of the module.
type source struct {
	path string // from the module's root
	text []byte
	tree *ast.File
	set  *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) line(pos token.Pos) int { return s.set.Position(pos).Line }

func TestFormatted(t *testing.T) {
	for _, s := range sources(t) {
		formatted, err := format.Source(s.text)
		if err != nil || !bytes.Equal(formatted, s.text) {
			t.Errorf("%s is not formatted: run gofmt -w", s.path)
		}
	}
}

// One comment says what a package is; in two files they would drift apart.
func TestOnePackageComment(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		files := comments[dir]
		if s.tree.Doc != nil {
			files = append(files, s.path)
		}
		comments[dir] = files
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments, want one: %v", dir, len(files), files)
		}
	}
}

// A file that long is several. How long a function may be is left to judgement.
func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if lines := bytes.Count(s.text, []byte("\n")); lines > 600 {
			t.Errorf("%s has %d lines, more than 600", s.path, lines)
		}
	}
}

// A test that skips itself passes on the very machine where it matters.
func TestNoSkips(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			s.calls(func(call *ast.CallExpr, from, name string) {
				if len(from) <= 2 && (name == "Skip" || name == "Skipf" || name == "SkipNow") { // t, b, f, tb
					t.Errorf("%s:%d: a test that lacks something must fail and say so", s.path, s.line(call.Pos()))
				}
			})
		}
	}
}

// Sleeping makes a test slow or flaky, mostly both: testkit.WaitFor looks again, and
// testing/synctest makes sleeping free.
func TestNoSleeps(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() || s.imports("testing/synctest") {
			continue
		}
		s.calls(func(call *ast.CallExpr, from, name string) {
			if from == "time" && name == "Sleep" {
				t.Errorf("%s:%d: time.Sleep: use testkit.WaitFor", s.path, s.line(call.Pos()))
			}
		})
	}
}

// main alone ends the program and one file owns what it prints, so that
// deferred clean-up runs, and so that stdout carries the answer only.
func TestNobodyElseExitsOrPrints(t *testing.T) {
	forbidden := map[string][]string{
		"os":   {"Exit"},
		"fmt":  {"Print", "Printf", "Println"},
		"slog": {"Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log"},
	}
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "cmd/") || strings.HasPrefix(s.path, "bench/") ||
			strings.HasPrefix(s.path, "web/phone/build/") {
			continue
		}
		s.calls(func(call *ast.CallExpr, from, name string) {
			if slices.Contains(forbidden[from], name) {
				t.Errorf("%s:%d: %s.%s", s.path, s.line(call.Pos()), from, name)
			}
		})
	}
}

// In "return x, f(func() { x = … })" the language does not say which of the two
// comes first: a compiler may return the x from before.
func TestReturnsWhatACallSets(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) > 1 {
				for _, name := range setInside(r.Results) {
					t.Errorf("%s:%d: %s is returned beside a call that sets it", s.path, s.line(r.Pos()), name)
				}
			}
			return true
		})
	}
}

// setInside returns which of the results are variables that a function in
// another result sets, or changes by a method.
func setInside(results []ast.Expr) (names []string) {
	plain := map[string]bool{}
	for _, r := range results {
		if id, ok := r.(*ast.Ident); ok {
			plain[id.Name] = true
		}
	}
	note := func(e ast.Expr) {
		for {
			selector, ok := e.(*ast.SelectorExpr)
			if !ok {
				break
			}
			e = selector.X
		}
		if id, ok := e.(*ast.Ident); ok && plain[id.Name] {
			names = append(names, id.Name)
		}
	}
	for _, r := range results {
		if _, called := r.(*ast.CallExpr); !called {
			continue
		}
		ast.Inspect(r, func(n ast.Node) bool {
			literal, ok := n.(*ast.FuncLit)
			if !ok {
				return true
			}
			ast.Inspect(literal.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					if n.Tok != token.DEFINE {
						for _, e := range n.Lhs {
							note(e)
						}
					}
				case *ast.IncDecStmt:
					note(n.X)
				case *ast.ExprStmt: // a method that is called for what it does
					if call, ok := n.X.(*ast.CallExpr); ok {
						if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
							note(selector.X)
						}
					}
				}
				return true
			})
			return false
		})
	}
	return names
}

func (s source) imports(path string) bool {
	return slices.ContainsFunc(s.tree.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+path+`"` })
}

func (s source) calls(visit func(call *ast.CallExpr, from, name string)) { calls(s.tree, visit) }

// calls visits every call of the form from.name(…).
func calls(in ast.Node, visit func(call *ast.CallExpr, from, name string)) {
	ast.Inspect(in, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
				from, _ := selector.X.(*ast.Ident)
				if from == nil {
					from = &ast.Ident{}
				}
				visit(call, from.Name, selector.Sel.Name)
			}
		}
		return true
	})
}

// sources parses the files of all packages, whatever platform they are for.
func sources(t *testing.T) []source {
	t.Helper()
	paths := map[string]bool{}
	for _, p := range packages(t) {
		for _, files := range [][]string{p.GoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles} {
			for _, file := range files {
				paths[filepath.Join(p.Dir, file)] = true
			}
		}
	}
	all, err := parse(paths)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parse(paths map[string]bool) ([]source, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	var all []source
	for path := range paths {
		s := source{set: token.NewFileSet()}
		if s.path, err = filepath.Rel(root, path); err != nil {
			return nil, err
		}
		if s.text, err = os.ReadFile(path); err != nil {
			return nil, err
		}
		if s.tree, err = parser.ParseFile(s.set, path, s.text, parser.ParseComments); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
