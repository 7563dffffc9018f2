package ort

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func touch(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLocatePrefersFlagThenVariableThenCache(t *testing.T) {
	dir := t.TempDir()
	flag := touch(t, dir, "flag", "custom.so")
	env := touch(t, dir, "env", versioned("1.9.0"))
	newest := touch(t, dir, "env", versioned("1.32.0"))
	system := touch(t, dir, "system", libraryName())
	t.Setenv("LD_LIBRARY_PATH", "::"+filepath.Dir(system))
	t.Setenv("DYLD_LIBRARY_PATH", "::"+filepath.Dir(system))
	t.Setenv(envCache, filepath.Join(dir, "cache"))
	t.Setenv(envRuntime, "")

	check := func(by, flag, want string) {
		t.Helper()
		if got, err := Locate(flag); err != nil || got != want {
			t.Errorf("%s: found %s, %v; expected %s", by, got, err, want)
		}
	}
	check("library path", "", system)
	if list := platformBuilds(); len(list) > 0 {
		last := list[len(list)-1].path(filepath.Join(dir, "cache"))
		check("cache", "", touch(t, last))
	}
	t.Setenv(envRuntime, env)
	check("variable", "", env)
	t.Setenv(envRuntime, filepath.Dir(env))
	check("variable naming a folder", "", newest)
	check("flag", flag, flag)

	for _, bad := range []string{filepath.Join(dir, "absent.so"), filepath.Join(dir, "flag")} {
		_, err := Locate(bad)
		if !IsMissing(err) || !strings.Contains(err.Error(), "--runtime names "+bad) || !strings.Contains(err.Error(), "relevit runtime install") {
			t.Errorf("--runtime %s: %v", bad, err)
		}
	}
}

func TestProbeRefusesWhatIsNoRuntime(t *testing.T) {
	text := touch(t, t.TempDir(), "notes.so")
	_, _, err := probe(text)
	if !IsMissing(err) || !strings.Contains(err.Error(), text+" can't be loaded") {
		t.Errorf("a text file: %v", err)
	}
}

func TestProbeTellsTheVersionOfAnOldRuntime(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"old": {`#include <stdint.h>
			static const char *version(void) { return "1.17.1"; }
			static const void *api(uint32_t v) { return 0; }
			static const struct { const void *(*a)(uint32_t); const char *(*v)(void); } base = { api, version };
			const void *OrtGetApiBase(void) { return &base; }`,
			"is version 1.17.1, too old: relevit needs 1.24 or newer"},
		"other": {`int answer(void) { return 42; }`, "exports no OrtGetApiBase"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := probe(compile(t, c.source))
			if !IsMissing(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, expected %q", err, c.want)
			}
		})
	}
}

func compile(t *testing.T, source string) string {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("needs a C compiler: %v", err)
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "lib.c"), filepath.Join(dir, "lib.so")
	if err := os.WriteFile(in, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(cc, "-shared", "-fPIC", "-o", out, in).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return out
}

func TestVersionsCompareAsNumbers(t *testing.T) {
	for version, old := range map[string]bool{"1.22.0": true, "1.23.9": true, "1.24.0": false, "1.100.0": false, "2.0.1": false, "0.9": true, "dev": false} {
		if tooOld(version) != old {
			t.Errorf("version %s: too old is %v", version, !old)
		}
	}
}

func TestDevicesAreParsedStrictly(t *testing.T) {
	for s, want := range map[string]int{"": -1, "cpu": -1, "cuda": 0, "cuda:3": 3} {
		n, cuda, err := parseDevice(s)
		if err != nil || cuda != (want >= 0) || cuda && n != want {
			t.Errorf("%q: %d, %v, %v", s, n, cuda, err)
		}
	}
	for _, s := range []string{"gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "CPU"} {
		if CheckDevice(s) == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
