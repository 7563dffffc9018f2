package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/report"
)

// What lies in a batch's folder, beside the runs' own.
const (
	batchName       = "batch.yaml"
	compareJSONName = "compare.json"
	compareHTMLName = "compare.html"
)

// Batch is the folder of runs that belong together.
type Batch struct {
	Dir  string
	Runs []configs.Named // as resolved when the batch began

	lock *folderLock // nil if the batch is only read
}

// BatchOptions say which runs to make and where to keep them.
type BatchOptions struct {
	Runs   []configs.Named // nil with Resume: the batch's own
	Dir    string
	Resume bool            // go on with the batch in Dir; start one where there is none yet
	Each   FinetuneOptions // of every run, but for Config, Dir and Resume
	OnRun  func(BatchRun)  // before and after every run; may be nil
}

// BatchRun is one run of a batch at work.
type BatchRun struct {
	Name    string
	Number  int // from 1
	Of      int
	Done    bool   // it is at its end
	Skipped bool   // an earlier process finished it
	Failed  string // why it stopped, where it did
}

// BatchError says that runs of a batch have failed.
type BatchError struct {
	Failed []string // names
	Of     int
	Err    error // of the first
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("%d of %d runs failed (%s): %v", len(e.Failed), e.Of, strings.Join(e.Failed, ", "), e.Err)
}

func (e *BatchError) Unwrap() error { return e.Err }

// IsBatch reports whether path is a folder with a batch in it.
func IsBatch(path string) bool {
	st, err := os.Stat(filepath.Join(path, batchName))
	return err == nil && st.Mode().IsRegular()
}

// ReadBatch reads which runs a batch has.
func ReadBatch(dir string) (*Batch, error) {
	path := filepath.Join(dir, batchName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening the batch %s: %w", dir, err)
	}
	b := &Batch{Dir: dir}
	if b.Runs, err = configs.ParseRuns(path, text); err != nil {
		return nil, fmt.Errorf("opening the batch %s: %w", dir, err)
	}
	return b, nil
}

// FinetuneBatch makes runs one after another, each as Finetune does, and
// compares them in compare.json and compare.html. Runs that an earlier process
// has finished are not made again. A run whose loss is no longer a number
// doesn't stop the others: they are made, and a *BatchError is returned with the
// comparison. When ctx ends, the run at work is saved.
func FinetuneBatch(ctx context.Context, opt BatchOptions) (*Comparison, error) {
	b, fresh, err := openOrCreateBatch(opt)
	if err != nil {
		return nil, err
	}
	defer func() { b.lock.release() }()
	failed, err := b.run(ctx, opt)
	if err != nil {
		if fresh {
			b.abandon()
		}
		return nil, err
	}
	c, err := b.summarise()
	if err != nil {
		return nil, err
	}
	if failed != nil {
		return c, failed
	}
	return c, nil
}

// openOrCreateBatch opens the batch to go on with, or makes one, and locks it.
func openOrCreateBatch(opt BatchOptions) (b *Batch, fresh bool, err error) {
	if !IsBatch(opt.Dir) {
		if opt.Runs == nil {
			return nil, false, fmt.Errorf("%s: %w; give a configuration to start one", opt.Dir, ErrNoRun)
		}
		if err := vacantForBatch(opt.Dir); err != nil {
			return nil, false, err
		}
		if err := os.MkdirAll(opt.Dir, 0o777); err != nil {
			return nil, false, fmt.Errorf("making the batch's folder: %w", err)
		}
	}
	lock, err := lockFolder(opt.Dir)
	if err != nil {
		return nil, false, err
	}
	if IsBatch(opt.Dir) { // another process may have made one since the first look
		b, err = openBatch(opt)
	} else if fresh, err = true, vacantForBatch(opt.Dir); err == nil {
		b, err = createBatch(opt)
	}
	if err != nil {
		return nil, false, errors.Join(err, lock.release())
	}
	b.lock = lock
	return b, fresh, nil
}

// openBatch reads the batch to go on with, which must be the one that is asked
// for.
func openBatch(opt BatchOptions) (*Batch, error) {
	if !opt.Resume {
		return nil, &ExistsError{Path: opt.Dir, Advice: "go on with that batch by --resume, or give another folder by -o"}
	}
	b, err := ReadBatch(opt.Dir)
	if err != nil || opt.Runs == nil {
		return b, err
	}
	same, err := sameBatch(b.Runs, opt.Runs)
	if err == nil && !same {
		err = &configs.Error{Msg: fmt.Sprintf("its runs differ from those of the batch %s (its %s); leave -c and --set out to resume, or take another -o", opt.Dir, batchName)}
	}
	return b, err
}

// vacantForBatch refuses a folder in which something lies.
func vacantForBatch(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != atomic.Temporary(batchName) { // a killed process leaves those
			return &ExistsError{Path: dir, Advice: "it holds " + e.Name() + ", and these configurations make a batch of runs; give another folder by -o"}
		}
	}
	return nil
}

func createBatch(opt BatchOptions) (*Batch, error) {
	text, err := configs.MarshalRuns(opt.Runs)
	if err != nil {
		return nil, err
	}
	err = atomic.Write(filepath.Join(opt.Dir, batchName), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	return &Batch{Dir: opt.Dir, Runs: opt.Runs}, err
}

// sameBatch reports whether two batches have the same runs.
func sameBatch(a, b []configs.Named) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		one, err := Digest(a[i].Config)
		if err != nil {
			return false, err
		}
		other, err := Digest(b[i].Config)
		if err != nil || one != other || a[i].Name != b[i].Name {
			return false, err
		}
	}
	return true, nil
}

// run makes the runs that are not finished.
func (b *Batch) run(ctx context.Context, opt BatchOptions) (*BatchError, error) {
	var failed *BatchError
	for i, r := range b.Runs {
		tell := func(now BatchRun) {
			now.Name, now.Number, now.Of = r.Name, i+1, len(b.Runs)
			if opt.OnRun != nil {
				opt.OnRun(now)
			}
		}
		each := opt.Each
		each.Dir, each.Resume, each.Config = filepath.Join(b.Dir, r.Name), true, r.Config
		if IsRun(each.Dir) {
			run, err := ReadRun(each.Dir)
			if err != nil {
				return nil, err
			}
			results, err := run.Results()
			if err != nil {
				return nil, err
			}
			// The report comes last.
			if _, err := os.Stat(run.Report()); err == nil && results != nil {
				tell(BatchRun{Skipped: true})
				continue
			}
			each.Config = nil // the run's own
		}
		tell(BatchRun{})
		_, err := Finetune(ctx, each)
		bad := (*NotFiniteError)(nil)
		switch {
		case errors.As(err, &bad):
			if failed == nil {
				failed = &BatchError{Of: len(b.Runs), Err: fmt.Errorf("%s: %w", r.Name, err)}
			}
			failed.Failed = append(failed.Failed, r.Name)
			tell(BatchRun{Done: true, Failed: err.Error()})
			continue
		case errors.Is(err, ErrInterrupted):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		tell(BatchRun{Done: true})
	}
	return failed, nil
}

// summarise writes the comparison of the batch's runs, by their names.
func (b *Batch) summarise() (*Comparison, error) {
	var runs []*Run
	var names []string
	for _, r := range b.Runs {
		dir := filepath.Join(b.Dir, r.Name)
		run := &Run{Dir: dir, Config: r.Config}
		if IsRun(dir) {
			var err error
			if run, err = ReadRun(dir); err != nil {
				return nil, err
			}
		}
		runs, names = append(runs, run), append(names, r.Name)
	}
	c := &Comparison{}
	if err := c.add(runs, names); err != nil {
		return nil, err
	}
	page := c.page()
	c.Page = &page
	if err := saveJSON(filepath.Join(b.Dir, compareJSONName), c); err != nil {
		return nil, err
	}
	return c, atomic.Write(filepath.Join(b.Dir, compareHTMLName), func(w io.Writer) error { return report.Write(w, page) })
}

// abandon removes a batch that has no run yet.
func (b *Batch) abandon() {
	b.lock.release()
	b.lock = nil
	entries, err := os.ReadDir(b.Dir)
	if err == nil && len(entries) == 1 && entries[0].Name() == batchName {
		os.Remove(filepath.Join(b.Dir, batchName))
		os.Remove(b.Dir) // which fails where something else has come in
	}
}
