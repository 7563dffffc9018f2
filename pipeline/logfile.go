package pipeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Log is a run's log.jsonl, open for appending. Every record is there, in the
// file, when Append returns.
type Log struct {
	f      *os.File
	offset int64
}

// StepRecord is what the log says of one step. Losses are those before the
// update, over the batch.
type StepRecord struct {
	Kind           string  `json:"kind"` // "step"
	Epoch          int     `json:"epoch"`
	Step           int     `json:"step"` // in the epoch, from 0
	GlobalStep     int     `json:"global_step"`
	LR             float64 `json:"lr"`
	Loss           Number  `json:"loss"` // the total
	Background     Number  `json:"background"`
	Foreground     Number  `json:"foreground"`
	Mask           Number  `json:"mask,omitempty"` // of the baselines, which have no background and foreground
	Classification Number  `json:"classification"`
	Accuracy       Number  `json:"accuracy"`                   // share of the batch whose top-1 is the label
	Share          Number  `json:"foreground_share,omitempty"` // of the relevance, in [0,1]; NaN without any
	ConstantMaps   int     `json:"constant_maps,omitempty"`    // pictures without any relevance to train on
	Seconds        float64 `json:"seconds"`
}

// StartRecord says how the model did before training.
type StartRecord struct {
	Kind       string   `json:"kind"` // "start"
	Validation *Metrics `json:"validation,omitempty"`
}

// EpochRecord is what the log says of one epoch: means over its steps, and the
// validation after it.
type EpochRecord struct {
	Kind           string   `json:"kind"` // "epoch"
	Epoch          int      `json:"epoch"`
	LR             float64  `json:"lr"`
	Loss           Number   `json:"loss"`
	Background     Number   `json:"background"`
	Foreground     Number   `json:"foreground"`
	Mask           Number   `json:"mask,omitempty"`
	Classification Number   `json:"classification"`
	Accuracy       Number   `json:"accuracy"`
	Share          Number   `json:"foreground_share,omitempty"`
	Validation     *Metrics `json:"validation,omitempty"` // nil where nothing is held out
	Best           bool     `json:"best"`                 // the lowest validation loss yet
	Seconds        float64  `json:"seconds"`

	// Where the loss on held-out pictures is no number.
	Pictures []string `json:"pictures,omitempty"` // that give none
	Action   string   `json:"action,omitempty"`   // skip or rollback
	BackTo   *int     `json:"back_to,omitempty"`  // the global step whose parameters came back
}

// Metrics are means over held-out pictures.
type Metrics struct {
	Pictures        int    `json:"pictures"`
	Loss            Number `json:"loss"`
	Background      Number `json:"background"`
	Foreground      Number `json:"foreground"`
	Classification  Number `json:"classification"`
	Accuracy        Number `json:"accuracy"`
	ForegroundShare Number `json:"foreground_share"` // of the relevance, in [0,1]
	IoU             Number `json:"iou"`              // of the mask with where the map exceeds its mean
	ConstantMaps    int    `json:"constant_maps,omitempty"`
}

// OpenLog opens the run's log, which it makes if there is none.
func (r *Run) OpenLog() (*Log, error) {
	f, err := os.OpenFile(r.Path(logName), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the log %s: %w", f.Name(), err)
	}
	return &Log{f: f, offset: end}, nil
}

// Append adds one record as one line. A line that can't be written whole is
// taken back.
func (l *Log) Append(record any) error {
	line, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("writing the log %s: %w", l.f.Name(), err)
	}
	line = append(line, '\n')
	if _, err := l.f.WriteAt(line, l.offset); err != nil {
		return errors.Join(fmt.Errorf("writing the log %s: %w", l.f.Name(), err), l.f.Truncate(l.offset))
	}
	l.offset += int64(len(line))
	return nil
}

// Mark waits until the log is on the disk and returns its length in bytes, for
// a checkpoint's state.
func (l *Log) Mark() (int64, error) {
	if err := l.f.Sync(); err != nil {
		return 0, fmt.Errorf("writing the log %s: %w", l.f.Name(), err)
	}
	return l.offset, nil
}

// reaches checks that the log has whole lines up to where a checkpoint was
// taken.
func (l *Log) reaches(offset int64) error {
	if offset < 0 || offset > l.offset {
		return fmt.Errorf("the log %s has %d bytes, and the checkpoint was taken at %d: lines are missing", l.f.Name(), l.offset, offset)
	}
	if offset == 0 {
		return nil
	}
	var last [1]byte
	if _, err := l.f.ReadAt(last[:], offset-1); err != nil {
		return fmt.Errorf("reading the log %s: %w", l.f.Name(), err)
	}
	if last[0] != '\n' {
		return fmt.Errorf("the log %s: no line ends at byte %d, where the checkpoint was taken: the file was changed", l.f.Name(), offset)
	}
	return nil
}

// TruncateTo removes what came after a checkpoint, so that a resumed run writes
// these lines again.
func (l *Log) TruncateTo(offset int64) error {
	if err := l.reaches(offset); err != nil {
		return fmt.Errorf("resuming: %w", err)
	}
	if err := l.f.Truncate(offset); err != nil {
		return fmt.Errorf("resuming the log %s: %w", l.f.Name(), err)
	}
	l.offset = offset
	return nil
}

// Close closes the file.
func (l *Log) Close() error { return l.f.Close() }

// LogError says that a run's log was changed by something else than relevit.
type LogError struct {
	Path string
	Line int // from 1; 0 for none
	Err  error
}

func (e *LogError) Error() string {
	where := e.Path
	if e.Line > 0 {
		where = fmt.Sprintf("%s: line %d", where, e.Line)
	}
	return fmt.Sprintf("the log %s: %v; put the file back as it was", where, e.Err)
}

func (e *LogError) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *LogError) ExitCode() int { return 3 }

// History is what a run's log holds.
type History struct {
	Start     *StartRecord // nil in a run that has not begun
	Steps     []StepRecord
	NotFinite []NotFiniteRecord
	Epochs    []EpochRecord
}

// ReadLog returns the records of the run's log. A last line without an end,
// which a process left that was killed while writing, is ignored.
func (r *Run) ReadLog() (h History, err error) {
	f, err := os.Open(r.Path(logName))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("reading the log: %w", err)
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return h, nil
		}
		if err != nil {
			return h, fmt.Errorf("reading the log %s: %w", f.Name(), err)
		}
		if err := h.read(bytes.TrimSpace(line)); err != nil {
			return h, &LogError{Path: f.Name(), Line: n, Err: err}
		}
	}
}

func (h *History) read(line []byte) error {
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "start":
		h.Start = &StartRecord{}
		return json.Unmarshal(line, h.Start)
	case "step":
		h.Steps = append(h.Steps, StepRecord{})
		return json.Unmarshal(line, &h.Steps[len(h.Steps)-1])
	case "not_finite":
		h.NotFinite = append(h.NotFinite, NotFiniteRecord{})
		return json.Unmarshal(line, &h.NotFinite[len(h.NotFinite)-1])
	case "epoch":
		h.Epochs = append(h.Epochs, EpochRecord{})
		return json.Unmarshal(line, &h.Epochs[len(h.Epochs)-1])
	}
	return nil
}

// ordered checks that every step and epoch is there once, also a step that gave
// no number.
func (h *History) ordered() error {
	bad := h.NotFinite
	at := 0
	for _, s := range h.Steps {
		for ; len(bad) > 0 && bad[0].GlobalStep == at; bad = bad[1:] {
			at++
		}
		if s.GlobalStep != at {
			return fmt.Errorf("step %d is where step %d belongs", s.GlobalStep, at)
		}
		at++
	}
	for _, b := range bad {
		if b.GlobalStep != at {
			return fmt.Errorf("step %d is where step %d belongs", b.GlobalStep, at)
		}
		at++
	}
	for i, e := range h.Epochs {
		if e.Epoch != i {
			return fmt.Errorf("epoch %d is where epoch %d belongs", e.Epoch, i)
		}
	}
	return nil
}

// fits checks that the log, up to where a checkpoint was taken, has the
// checkpoint's steps and epochs.
func (h *History) fits(s *State) error {
	if steps := len(h.Steps) + len(h.NotFinite); steps != s.GlobalStep || len(h.Epochs) != s.Epoch {
		return fmt.Errorf("there are %d steps and %d epochs up to the checkpoint of %d steps and %d epochs", steps, len(h.Epochs), s.GlobalStep, s.Epoch)
	}
	return h.ordered()
}
