//go:build !unix

package doctor

import "io/fs"

func owned(fs.FileInfo, bool) bool { return true }

func othersMode(info fs.FileInfo) fs.FileMode { return info.Mode().Perm() }
