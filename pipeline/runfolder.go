package pipeline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
)

// What lies in a run folder.
const (
	configName    = "config.yaml"
	logName       = "log.jsonl"
	lockName      = ".lock"
	artifactsName = "artifacts"   // the graphs that ran
	checkpoints   = "checkpoints" // last and best
	samplesName   = "samples"     // sample sheets
	splitsName    = "splits"      // which pictures were trained on
	reportName    = "report.html"
	resultsName   = "results.json"   // of a finished run
	commandsName  = "commands.jsonl" // that started it or went on with it
)

var runFolders = []string{artifactsName, checkpoints, samplesName, splitsName}

// Run is the folder of one training run.
type Run struct {
	Dir    string
	Config *configs.Config // as resolved when the run began

	lock  *folderLock // nil if the run is only read
	fresh bool        // made by this process
	made  []string    // folders that didn't exist before, deepest first
}

// ErrNoRun says that a folder holds no run.
var ErrNoRun = errors.New("no run of relevit lies there (it has no " + configName + ")")

// ExistsError says that an output would overwrite something.
type ExistsError struct {
	Path   string
	Advice string
}

func (e *ExistsError) Error() string { return fmt.Sprintf("%s exists already: %s", e.Path, e.Advice) }

// ExitCode is that of wrong usage.
func (e *ExistsError) ExitCode() int { return 2 }

// CreateRun makes a run folder, holding config.yaml and empty folders, and locks
// it for this process. A folder with anything else in it is an *ExistsError,
// except that a run which ended before its first checkpoint is replaced.
func CreateRun(dir string, cfg *configs.Config) (*Run, error) {
	r := &Run{Dir: dir, Config: cfg}
	if err := r.create(); err != nil {
		err = errors.Join(err, r.abandon())
		r.Close()
		return nil, fmt.Errorf("making the run folder: %w", err)
	}
	return r, nil
}

func (r *Run) create() error {
	text, err := r.Config.Marshal()
	if err != nil {
		return err
	}
	if _, err := leftovers(r.Dir); err != nil {
		return err
	}
	for dir := filepath.Clean(r.Dir); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		r.made = append(r.made, dir)
	}
	if err := os.MkdirAll(r.Dir, 0o777); err != nil {
		return err
	}
	if r.lock, err = lockFolder(r.Dir); err != nil {
		if held := (*LockedError)(nil); !errors.As(err, &held) { // the disk is full
			r.fresh = len(r.made) > 0
		}
		return err
	}
	// Another process may have made a run there since the first look.
	old, err := leftovers(r.Dir)
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.RemoveAll(r.Path(name)); err != nil {
			return err
		}
	}
	r.fresh = true
	for _, name := range runFolders {
		if err := os.MkdirAll(r.Path(name), 0o777); err != nil {
			return err
		}
	}
	return atomic.Write(r.Path(configName), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// leftovers lists what a run left in a folder that ended before its first
// checkpoint, config.yaml first. Anything else there is an *ExistsError.
func leftovers(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, unix.ENOTDIR):
		return nil, &ExistsError{Path: dir, Advice: "it is a file; give a folder by -o"}
	case err != nil:
		return nil, err
	}
	saved, err := os.ReadDir(filepath.Join(dir, checkpoints))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	advice := "give another folder by -o"
	if len(saved) > 0 && IsRun(dir) {
		return nil, &ExistsError{Path: dir, Advice: "go on with that run by --resume, or " + advice}
	}
	old := []string{configName}
	for _, e := range entries {
		name := e.Name()
		switch {
		case name == lockName || name == configName:
		case name == logName, name == commandsName, slices.Contains(runFolders, name) && len(saved) == 0, name == atomic.Temporary(configName):
			old = append(old, name)
		default:
			return nil, &ExistsError{Path: dir, Advice: "it holds " + name + "; " + advice}
		}
	}
	return old, nil
}

// abandon removes a run that this process made and that has no checkpoint.
func (r *Run) abandon() error {
	if !r.fresh {
		return nil
	}
	names, err := leftovers(r.Dir)
	if exists := (*ExistsError)(nil); errors.As(err, &exists) {
		return nil
	}
	for _, name := range append(names, lockName) {
		err = errors.Join(err, os.RemoveAll(r.Path(name)))
	}
	for _, dir := range r.made {
		os.Remove(dir) // which fails where something else has come in
	}
	return err
}

// OpenRun opens a run to go on with it, and locks it for this process. What an
// earlier process left half-done is tidied up. A folder without a run is
// ErrNoRun.
func OpenRun(dir string) (*Run, error) {
	r, err := ReadRun(dir)
	if err != nil {
		return nil, err
	}
	if r.lock, err = lockFolder(dir); err == nil {
		err = r.recover()
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("opening the run %s: %w", dir, err)
	}
	return r, nil
}

// ReadRun opens a run to read it only, even while another process trains in it.
func ReadRun(dir string) (*Run, error) {
	r := &Run{Dir: dir}
	text, err := os.ReadFile(r.Path(configName))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoRun
	}
	if err == nil {
		r.Config, err = configs.Parse(r.Path(configName), text)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the run %s: %w", dir, err)
	}
	return r, nil
}

// IsRun reports whether path is a folder with a run in it.
func IsRun(path string) bool {
	st, err := os.Stat(filepath.Join(path, configName))
	return err == nil && st.Mode().IsRegular()
}

// Path joins names to the run's folder.
func (r *Run) Path(names ...string) string {
	return filepath.Join(append([]string{r.Dir}, names...)...)
}

// Artifact is the path of a graph that the run keeps, such as
// training_model.onnx.
func (r *Run) Artifact(name string) string { return r.Path(artifactsName, name) }

// Sample is the path of a sample sheet.
func (r *Run) Sample(name string) string { return r.Path(samplesName, name) }

// Split is the path of a list of pictures: train.csv or validation.csv.
func (r *Run) Split(name string) string { return r.Path(splitsName, name) }

// Report is the path of the run's page.
func (r *Run) Report() string { return r.Path(reportName) }

// Close lets other processes have the run.
func (r *Run) Close() error {
	l := r.lock
	r.lock = nil
	return l.release()
}
