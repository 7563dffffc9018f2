package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/models/atomic"
)

// kept names the nth checkpoint before the present one: last, last.1, last.2.
func kept(which string, n int) string {
	if n == 0 {
		return which
	}
	return fmt.Sprintf("%s.%d", which, n)
}

// install moves a complete temporary folder to where its checkpoint belongs.
func (r *Run) install(tmp, which string) error {
	to, old := r.Path(checkpoints, which), r.replaced(which)
	if err := r.keep(which); err != nil { // where the last time an error came between
		return err
	}
	swapped, err := exchange(tmp, to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.Rename(tmp, to)
	case err == nil && swapped:
		err = os.Rename(tmp, old)
	case err == nil:
		err = displace(tmp, to, old)
	}
	if err == nil {
		err = r.keep(which)
	}
	if err != nil {
		return err
	}
	return atomic.SyncFolder(r.Path(checkpoints))
}

// replaced is where the checkpoint lies whose place another has just taken.
func (r *Run) replaced(which string) string { return r.Path(checkpoints, "."+which+".old") }

// present is the name of the checkpoint that lies in a folder, which may be
// where a reader finds a replaced one.
func present(folder string) string {
	return strings.TrimSuffix(strings.TrimPrefix(folder, "."), ".old")
}

// displace puts tmp where to is, in two renames. A stop between them leaves
// old, which recover puts back.
func displace(tmp, to, old string) error {
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		return errors.Join(err, os.Rename(old, to))
	}
	return nil
}

// keep makes the checkpoint that was replaced last.1, last.1 last.2, and so on,
// and removes what is more than the configuration's checkpoint.keep. Whatever it
// was stopped at, keep goes on with. A checkpoint that is of no earlier moment
// than the one in its place isn't kept: a resumed run makes steps again.
func (r *Run) keep(which string) error {
	old := r.replaced(which)
	if _, err := os.Lstat(old); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	before, err := readState(old)
	if err != nil {
		return os.RemoveAll(old)
	}
	now, err := readState(r.Path(checkpoints, which))
	if most := r.Config.Checkpoint.Keep; most > 1 && (err != nil || before.earlier(now)) {
		return r.shift(which, old, most)
	}
	return os.RemoveAll(old)
}

// shift moves old to last.1 and those that are there on by one, up to the first
// gap or the end, where one goes.
func (r *Run) shift(which, old string, most int) error {
	free := 1
	for free < most {
		if _, err := os.Lstat(r.Path(checkpoints, kept(which, free))); errors.Is(err, fs.ErrNotExist) {
			break
		}
		free++
	}
	if free == most {
		free--
		if err := r.discard(kept(which, free)); err != nil {
			return err
		}
	}
	for n := free; n > 1; n-- {
		if err := os.Rename(r.Path(checkpoints, kept(which, n-1)), r.Path(checkpoints, kept(which, n))); err != nil {
			return err
		}
	}
	return os.Rename(old, r.Path(checkpoints, kept(which, 1)))
}

// discard removes a checkpoint, which is never seen in part.
func (r *Run) discard(name string) error {
	gone := r.Path(checkpoints, "."+name+".gone")
	err := os.Rename(r.Path(checkpoints, name), gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.RemoveAll(gone))
}

// recover puts a checkpoint back that was being replaced when its process
// ended, keeps one that was replaced, and removes what isn't whole: hidden
// files, in the run's own folders.
func (r *Run) recover() error {
	folder := r.Path(checkpoints)
	for _, which := range []string{Last, Best} {
		if err := r.settle(which); err != nil {
			return err
		}
	}
	var unfinished []string
	for _, name := range append([]string{"."}, runFolders...) {
		if err := os.MkdirAll(r.Path(name), 0o777); err != nil {
			return err
		}
		entries, err := os.ReadDir(r.Path(name))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") && (name != "." || strings.HasSuffix(e.Name(), ".tmp")) {
				unfinished = append(unfinished, r.Path(name, e.Name()))
			}
		}
	}
	for _, path := range unfinished {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return atomic.SyncFolder(folder)
}

// settle ends what install began. After an exchange the temporary folder holds
// the checkpoint before, which is told by its earlier state.
func (r *Run) settle(which string) error {
	to, old, tmp := r.Path(checkpoints, which), r.replaced(which), r.Path(checkpoints, "."+which+".tmp")
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(old, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := r.keep(which); err != nil {
		return err
	}
	now, err := readState(to)
	if err != nil { // none yet, or a damaged one, which is dealt with on loading
		return nil
	}
	if before, err := readState(tmp); err != nil || !before.earlier(now) {
		return nil
	}
	if err := os.Rename(tmp, old); err != nil {
		return err
	}
	return r.keep(which)
}

// LoadCheckpoint reads a checkpoint and verifies it: checksums, and that the
// moments fit the parameters. Where it is damaged the one before is taken, and
// Faults say so. ErrNoCheckpoint says that there is none, a *CheckpointError
// that none is whole.
func (r *Run) LoadCheckpoint(which string) (*Checkpoint, error) {
	return r.load([]string{which}, true, nil)
}

// LoadParameters reads a checkpoint without the moments, to use the model
// rather than to train on.
func (r *Run) LoadParameters(which string) (*Checkpoint, error) {
	return r.load([]string{which}, false, nil)
}

// loadTrained reads the parameters that the run is used with: the best, or the
// last where there is no best, or none that is whole.
func (r *Run) loadTrained() (*Checkpoint, error) { return r.load([]string{Best, Last}, false, nil) }

// loadResumable reads the newest checkpoint that is whole and whose steps the
// log has. Newer ones, from which nothing can go on, are removed: their steps are
// made again, to the same bits.
func (r *Run) loadResumable(l *Log) (*Checkpoint, error) {
	c, err := r.load([]string{Last}, true, func(s *State) error { return l.reaches(s.LogOffset) })
	if err != nil || len(c.Faults) == 0 {
		return c, err
	}
	for n := 0; kept(Last, n) != c.Name; n++ {
		if err := r.discard(kept(Last, n)); err != nil {
			return nil, err
		}
	}
	for n, path := range r.stored(Last)[1:] {
		if err := os.Rename(path, r.Path(checkpoints, kept(Last, n))); err != nil {
			return nil, err
		}
	}
	return c, atomic.SyncFolder(r.Path(checkpoints))
}

// load takes the first checkpoint that is whole and usable of the one of that
// name and those before it, and then of the next name.
func (r *Run) load(names []string, moments bool, usable func(*State) error) (*Checkpoint, error) {
	c, err := r.loadOnce(names, moments, usable)
	if r.lock == nil && (err != nil || len(c.Faults) > 0) {
		c, err = r.loadOnce(names, moments, usable) // it may have been replaced while we read
	}
	return c, err
}

func (r *Run) loadOnce(names []string, moments bool, usable func(*State) error) (*Checkpoint, error) {
	var folders []string
	for _, which := range names {
		folders = append(folders, r.stored(which)...)
	}
	var faults []*CheckpointError
	for _, folder := range folders {
		c, err := readCheckpoint(folder, moments)
		if err == nil && usable != nil {
			if why := usable(&c.State); why != nil {
				err = &CheckpointError{Path: folder, Problem: "it can't be gone on from", Err: why}
			}
		}
		if err == nil {
			c.Name, c.Faults = present(filepath.Base(folder)), faults
			return c, nil
		}
		var fault *CheckpointError
		if !errors.As(err, &fault) || errors.Is(err, fs.ErrPermission) { // nothing is said of what is stored
			return nil, err
		}
		faults = append(faults, fault)
	}
	if len(faults) == 0 {
		return nil, fmt.Errorf("loading checkpoint %s: %w", r.Path(checkpoints, names[len(names)-1]), ErrNoCheckpoint)
	}
	return nil, noneWhole(faults)
}

// noneWhole is the error of a run from which nothing can go on.
func noneWhole(faults []*CheckpointError) error {
	e := *faults[0]
	for _, f := range faults[1:] {
		e.Problem += fmt.Sprintf("; %s: %s", filepath.Base(f.Path), f.reason())
	}
	e.Advice = "no other is kept: put the folder back from a backup, or begin another run"
	return &e
}

// stored lists the folders of which, which.1, ... that are there, newest first.
// The newest is listed where any other is. A reader, who doesn't tidy up, may
// find it not yet put back.
func (r *Run) stored(which string) []string {
	there := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	newest := r.Path(checkpoints, which)
	if old := r.replaced(which); !there(newest) && there(old) {
		newest = old
	}
	var numbers []int
	entries, _ := os.ReadDir(r.Path(checkpoints))
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), which+".")); err == nil && n > 0 && kept(which, n) == e.Name() {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 && !there(newest) {
		return nil
	}
	slices.Sort(numbers)
	out := []string{newest}
	for _, n := range numbers {
		out = append(out, r.Path(checkpoints, kept(which, n)))
	}
	return out
}

// warnings tell of newer checkpoints that were passed over.
func (c *Checkpoint) warnings() []string {
	var out []string
	for _, f := range c.Faults {
		out = append(out, fmt.Sprintf("%v; %s, of step %d, is taken instead", f, c.Name, c.State.GlobalStep))
	}
	return out
}
