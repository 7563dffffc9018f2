package ort

import (
	"path/filepath"
	"runtime"
	"strings"
)

// build is one published library that Install may fetch.
type build struct {
	client  string // what fetches the package: a key of fetchers
	version string
	pack    string // the client's name for the package's variant; its meaning is the fetcher's
	member  string // path of the library in the package
	sha256  string // of the library itself; "" where only its publisher vouches for it
}

// builds lists the libraries for each platform, preferred first. Packages of
// one version differ between clients, so each has its own hash. The Linux x64
// libraries were loaded and passed this package's tests; the others were only
// read out of their packages.
var builds = map[string][]build{
	"linux/amd64": {
		{"pip", "1.32.0", "manylinux_2_28_x86_64", "onnxruntime/capi/libonnxruntime.so.1.32.0",
			"6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f"},
		{"npm", "1.30.0", "", "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
			"ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23"},
		{"maven", "1.29.0", "", "ai/onnxruntime/native/linux-x64/libonnxruntime.so",
			"5715f06d8992ca8eeeddcce43df3a7d38f97d537052126f558e912cb312460ca"},
		{"github", "1.32.0", "onnxruntime-linux-x64-1.32.0.tgz", "onnxruntime-linux-x64-1.32.0/lib/libonnxruntime.so.1.32.0", ""},
	},
	"linux/arm64": {
		{"pip", "1.32.0", "manylinux_2_28_aarch64", "onnxruntime/capi/libonnxruntime.so.1.32.0",
			"49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a"},
		{"npm", "1.30.0", "", "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
			"1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76"},
		{"maven", "1.29.0", "", "ai/onnxruntime/native/linux-aarch64/libonnxruntime.so",
			"a27d21126db312aa8f02f3d5eaebe466e991f51f469882e6d0407d5a8b64afda"},
		{"github", "1.32.0", "onnxruntime-linux-aarch64-1.32.0.tgz", "onnxruntime-linux-aarch64-1.32.0/lib/libonnxruntime.so.1.32.0", ""},
	},
	"darwin/arm64": {
		{"pip", "1.32.0", "macosx_14_0_arm64", "onnxruntime/capi/libonnxruntime.1.32.0.dylib",
			"fa585fabbea65b823b9a8f7e27d46aee3989d1be7e36b528203d3a1fd613aae7"},
		{"npm", "1.30.0", "", "package/bin/napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib",
			"685d2be5dba1309c89d3a5324b7fd06a5c42f1a61bfea32d14c4cc28d072121d"},
		{"maven", "1.29.0", "", "ai/onnxruntime/native/osx-aarch64/libonnxruntime.dylib",
			"07c5a23fecedb27d9325b1b2ba0c87830173f87b64edf2b294e32931af5c09cb"},
		{"github", "1.32.0", "onnxruntime-osx-arm64-1.32.0.tgz", "onnxruntime-osx-arm64-1.32.0/lib/libonnxruntime.1.32.0.dylib", ""},
	},
}

// platformBuilds returns the builds for this machine.
func platformBuilds() []build { return builds[runtime.GOOS+"/"+runtime.GOARCH] }

// path is where the library lies once installed. Clients keep apart, so that a
// hash found there is the one to compare.
func (b build) path(cache string) string {
	return filepath.Join(cache, "onnxruntime", b.version+"-"+b.client, versioned(b.version))
}

// versioned is the library's file name with a version in it.
func versioned(version string) string {
	name := libraryName()
	if base, dylib := strings.CutSuffix(name, ".dylib"); dylib {
		return base + "." + version + ".dylib"
	}
	return name + "." + version
}
