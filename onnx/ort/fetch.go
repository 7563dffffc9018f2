package ort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// fetcher downloads a build's package into dir and returns the archive's path.
type fetcher func(ctx context.Context, b build, dir string, progress io.Writer) (string, error)

var fetchers = map[string]fetcher{"pip": fetchPip, "npm": fetchNpm, "maven": fetchMaven, "github": fetchGitHub}

// fetchPip takes the wheel for b.pack, a platform tag.
func fetchPip(ctx context.Context, b build, dir string, progress io.Writer) (string, error) {
	return fetchWheel(ctx, "onnxruntime=="+b.version, b.pack, dir, progress)
}

// fetchWheel downloads a wheel, given as name==version, for a platform tag. Its
// libraries are the same for every Python, so the local one's version doesn't
// matter.
func fetchWheel(ctx context.Context, requirement, tag, dir string, progress io.Writer) (string, error) {
	args := []string{"download", "--no-deps", "--no-input", "--disable-pip-version-check", "--only-binary=:all:",
		"--implementation", "cp", "--python-version", "3.12", "--abi", "cp312", "--platform", tag,
		"--dest", dir, requirement}
	var failures []error
	for _, pip := range [][]string{{"python3", "-m", "pip"}, {"pip3"}, {"pip"}, {"python", "-m", "pip"}} {
		err := run(ctx, dir, progress, append(pip, args...)...)
		if err == nil {
			return only(dir, "*.whl")
		}
		if !errors.Is(err, exec.ErrNotFound) {
			failures = append(failures, err)
		}
	}
	return "", joined("pip", failures)
}

func fetchNpm(ctx context.Context, b build, dir string, _ io.Writer) (string, error) {
	return fetchNpmPackage(ctx, "onnxruntime-node@"+b.version, dir)
}

// fetchNpmPackage downloads a package, given as name@version, into dir.
func fetchNpmPackage(ctx context.Context, pack, dir string) (string, error) {
	if err := run(ctx, dir, nil, "npm", "pack", "--silent", pack); err != nil {
		return "", joined("npm", []error{err})
	}
	return only(dir, "*.tgz")
}

func fetchMaven(ctx context.Context, b build, dir string, _ io.Writer) (string, error) {
	err := run(ctx, dir, nil, "mvn", "--batch-mode", "--quiet", "dependency:copy",
		"-Dartifact=com.microsoft.onnxruntime:onnxruntime:"+b.version, "-DoutputDirectory="+dir)
	if err != nil {
		return "", joined("mvn", []error{err})
	}
	return only(dir, "*.jar")
}

// run executes a command in dir. Its standard output goes to out, where that is
// given; the end of what else it prints is part of the error.
func run(ctx context.Context, dir string, out io.Writer, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if out != nil {
		cmd.Stdout = out
	}
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrNotFound) {
		return err
	}
	return fmt.Errorf("%s: %w: %s", command[0], err, firstError(said.String()))
}

// firstError picks the line in which a client says what went wrong.
func firstError(said string) string {
	last := "it said nothing"
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if strings.Contains(strings.ToLower(line), "error") {
			return line
		}
		if line != "" {
			last = line
		}
	}
	return last
}

// joined makes one error of a client's failures; none means it isn't installed.
func joined(client string, failures []error) error {
	if err := errors.Join(failures...); err != nil && !errors.Is(err, exec.ErrNotFound) {
		return err
	}
	return fmt.Errorf("there is no %s on this machine", client)
}

func only(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("found %d files %s where the client should have put one", len(found), pattern)
	}
	return found[0], nil
}
