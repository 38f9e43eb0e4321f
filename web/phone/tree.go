package phone

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// tree shows static and dist as one folder, with the files that were made laid
// over them. What is embedded stays where it is: the signer is megabytes large.
type tree struct {
	from fs.FS
	made map[string][]byte // in the top folder only
}

// Open implements fs.FS.
func (t *tree) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) || strings.HasPrefix(path.Base(name), ".") && name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if data, ok := t.made[name]; ok {
		return &madeFile{Reader: bytes.NewReader(data), name: path.Base(name), size: int64(len(data))}, nil
	}
	if f, err := t.from.Open(path.Join("static", name)); err == nil {
		return f, nil
	}
	return t.from.Open(path.Join("dist", name))
}

// ReadDir implements fs.ReadDirFS, so that fs.WalkDir finds every file.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	static, err := fs.ReadDir(t.from, path.Join("static", name))
	dist, errDist := fs.ReadDir(t.from, path.Join("dist", name))
	if err != nil && errDist != nil {
		return nil, err
	}
	found := map[string]fs.DirEntry{}
	for _, e := range slices.Concat(dist, static) {
		if !strings.HasPrefix(e.Name(), ".") {
			found[e.Name()] = e
		}
	}
	if name == "." {
		for made, data := range t.made {
			found[made] = fs.FileInfoToDirEntry(&madeFile{name: made, size: int64(len(data))})
		}
	}
	var list []fs.DirEntry
	for _, e := range found {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// madeFile is a file that was made, and what there is to know of it.
type madeFile struct {
	*bytes.Reader
	name string
	size int64
}

var _ io.Seeker = (*madeFile)(nil) // http.ServeContent wants one

func (f *madeFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *madeFile) Close() error               { return nil }
func (f *madeFile) Name() string               { return f.name }
func (f *madeFile) Size() int64                { return f.size }
func (f *madeFile) Mode() fs.FileMode          { return 0o444 }
func (f *madeFile) ModTime() time.Time         { return time.Time{} }
func (f *madeFile) IsDir() bool                { return false }
func (f *madeFile) Sys() any                   { return nil }
