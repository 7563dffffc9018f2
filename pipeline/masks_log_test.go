package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/pipeline/dataset"
)

// outside is a file beside a folder with a link to where it lies.
func outside(t *testing.T) (dir, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "mine.png")
	dir = filepath.Join(t.TempDir(), "masks")
	err := errors.Join(os.WriteFile(file, []byte("mine"), 0o666), os.Mkdir(dir, 0o777), os.Symlink(filepath.Dir(file), filepath.Join(dir, "link")))
	if err != nil {
		t.Fatal(err)
	}
	return dir, file
}

func TestAMaskLogNamesNothingOutsideOfItsFolder(t *testing.T) {
	for _, line := range []string{`{"file":"a.jpg","mask":"../mine.png"}`, `{"file":"/etc/passwd","mask":"a.png"}`} {
		dir, _ := outside(t)
		if err := os.WriteFile(filepath.Join(dir, maskLogName), []byte("{}\n"+line+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := readMaskLog(dir, maskSettings{}, true)
		if e := (*dataset.Error)(nil); !errors.As(err, &e) || e.Line != 2 || !strings.Contains(err.Error(), "leads out of its folder") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestMakingMasksAnewRemovesNothingBehindALink(t *testing.T) {
	dir, file := outside(t)
	if err := os.WriteFile(filepath.Join(dir, maskLogName), []byte("{\"method\":\"boxes\"}\n{\"file\":\"a.jpg\",\"mask\":\"link/mine.png\"}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := readMaskLog(dir, maskSettings{}, true); err == nil || !strings.Contains(err.Error(), "removing the old mask") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file behind the link is gone: %v", err)
	}
}
