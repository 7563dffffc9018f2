package ort

import (
	"path/filepath"
	"runtime"
)

// build is one published library: the file, its hash, and where packages keep it.
type build struct {
	version string
	file    string // name in the cache
	sha256  string // of the library itself
}

// builds lists what Install may fetch for each platform, preferred first.
var builds = map[string][]build{
	"linux/amd64": {
		{"1.32.0", "libonnxruntime.so.1.32.0", "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f"},
	},
}

// installed lists where the libraries for this platform lie once fetched.
func installed() []string {
	dir, err := CacheDir()
	if err != nil {
		return nil
	}
	var out []string
	for _, b := range builds[runtime.GOOS+"/"+runtime.GOARCH] {
		out = append(out, filepath.Join(dir, "onnxruntime", b.version, b.file))
	}
	return out
}
