package atomic

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// writers are the ways to write a file.
var writers = map[string]func(string, func(io.Writer) error) error{"Write": Write, "WriteUnsynced": WriteUnsynced}

func text(s string, err error) func(io.Writer) error {
	return func(w io.Writer) error {
		io.WriteString(w, s)
		return err
	}
}

// alone fails unless a file is the only one of its folder and holds a text.
func alone(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("the file holds %q, %v, want %q", got, err, want)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("in its folder are %v, %v", entries, err)
	}
}

func TestAFailedWriteLeavesTheFormerFile(t *testing.T) {
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			if err := write(path, text("first", nil)); err != nil {
				t.Fatal(err)
			}
			full := errors.New("no space")
			if err := write(path, text("second", full)); !errors.Is(err, full) {
				t.Errorf("a failed write gives %v", err)
			}
			alone(t, path, "first")
		})
	}
}

func TestWhatAKilledProcessLeftIsTaken(t *testing.T) {
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(Temporary(path), []byte("longer than what follows"), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := write(path, text("whole", nil)); err != nil {
				t.Fatal(err)
			}
			alone(t, path, "whole")
		})
	}
}

func TestOfTwoWritersAtOnceOneIsRefused(t *testing.T) {
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			err := write(path, func(w io.Writer) error {
				if err := write(path, text("other", nil)); err == nil || !strings.Contains(err.Error(), "another process is writing it") {
					t.Errorf("the second is told %v", err)
				}
				_, err := io.WriteString(w, "first")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			alone(t, path, "first")
		})
	}
}

// TestALinkInTheTemporaryFilesPlaceIsNotFollowed: in a folder that others may
// write to, it would lead to a file of theirs to choose.
func TestALinkInTheTemporaryFilesPlaceIsNotFollowed(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("kept"), 0o666); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := os.Symlink(victim, Temporary(path)); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, text("new", nil)); !errors.Is(err, unix.ELOOP) {
		t.Errorf("error %v, want ELOOP", err)
	}
	alone(t, victim, "kept")
}

func TestErrorsSpeakOfTheFileNotOfItsTemporaryOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no such folder", "x")
	err := Write(path, text("", nil))
	if want := "writing " + path + ": no such file or directory"; !errors.Is(err, fs.ErrNotExist) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	err = Write(folder, text("", nil))
	if want := "writing " + folder + ": file exists"; !errors.Is(err, fs.ErrExist) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
