package pipeline

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/relevit/relevit/pipeline/dataset"
)

// progressSuffix is of the file beside EvaluateOptions.Output in which each batch
// is kept until all are done, for the same evaluation to go on from.
const progressSuffix = ".progress"

// settingsBegin is how the file begins.
const settingsBegin = `{"models":[`

// evaluationSettings are what other options would measure otherwise. They are the
// first line of the file.
type evaluationSettings struct {
	Models      []evaluatedSum `json:"models"`
	Pictures    string         `json:"pictures_sha256"` // which, with their masks and labels
	Protocol    string         `json:"protocol"`
	Batch       int            `json:"batch"`
	Measures    []string       `json:"measures"`
	Method      string         `json:"method"`
	Steps       int            `json:"steps"`
	Seed        uint64         `json:"seed"`
	Synthesize  bool           `json:"synthesize"`
	Samples     int            `json:"samples"`
	Backgrounds string         `json:"backgrounds"`
	Keep        string         `json:"keep"`
	Strict      bool           `json:"strict"`
	Device      string         `json:"device"`
	Threads     int            `json:"threads"` // which are part of how sums are rounded
}

// evaluatedSum tells a model from others.
type evaluatedSum struct {
	Path    string `json:"path"`
	SHA256  string `json:"sha256"` // of the file, or of a folder's names and sizes
	Weights string `json:"weights_sha256"`
	Start   int    `json:"start_layer"`
	Open    string `json:"read_as"` // what was stated of how to read it
}

// evaluationRecord is what was measured of a batch, or of an object's pictures: a
// line of the file, in the order of the data set and then of the objects.
type evaluationRecord struct {
	Files   string            `json:"files_sha256"` // lengths and times of the pictures and masks
	Seconds Number            `json:"seconds"`
	Images  int               `json:"images"` // that could be read
	Skipped []SkippedPicture  `json:"skipped,omitempty"`
	Models  []modelEvaluation `json:"models"`
}

// modelEvaluation is what a record says of one model.
type modelEvaluation struct {
	Verdicts   []verdict   `json:"verdicts,omitempty"`
	Appraisals []appraisal `json:"appraisals,omitempty"`
	Varied     []varied    `json:"varied,omitempty"`
}

// evaluationLog is the file of an evaluation at work; nil keeps nothing.
type evaluationLog struct {
	path    string
	f       *os.File
	records []evaluationRecord // that are there
	ends    []int64            // where each ends; the first entry is the settings' end
	used    int                // records that the evaluation has taken or added
	last    time.Time
}

// openLog opens the file of an evaluation, and reads what an earlier one of the
// same settings has measured.
func (r *evaluating) openLog() error {
	if r.opt.Output == "" {
		return nil
	}
	s, err := r.settings()
	if err != nil {
		return err
	}
	l := &evaluationLog{path: r.opt.Output + progressSuffix}
	if l.f, err = os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666); err != nil {
		return fmt.Errorf("writing %s: %w", l.path, err)
	}
	if err := l.begin(s, r.opt.Force); err != nil {
		l.f.Close()
		return err
	}
	r.log = l
	return nil
}

func (l *evaluationLog) begin(s string, force bool) error {
	if err := flock(l.f); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("writing %s: another process is writing it; wait for it, or name another file", l.path)
	}
	data, err := io.ReadAll(l.f)
	if err != nil {
		return fmt.Errorf("reading %s: %w", l.path, err)
	}
	if n := min(len(data), len(settingsBegin)); string(data[:n]) != settingsBegin[:n] && !force {
		return &ExistsError{Path: l.path, Advice: "it isn't what evaluate keeps there; name another file by -o, or --force to overwrite it"}
	}
	if !l.read(data, s) {
		if len(l.records) > 0 && !force {
			return &ExistsError{Path: l.path, Advice: "an evaluation with other settings, models or pictures was interrupted there; repeat that to go on, name another file by -o, or --force to begin anew"}
		}
		l.records, l.ends = nil, nil
	}
	if l.ends == nil {
		if err := l.cut(0); err != nil {
			return err
		}
		l.ends = []int64{int64(len(s)) + 1}
		return l.line([]byte(s))
	}
	return l.cut(l.ends[len(l.ends)-1])
}

// read takes the records, and says whether they are of these settings. What a
// killed process or a power cut left of a line, and what follows, is left out.
func (l *evaluationLog) read(data []byte, settings string) (same bool) {
	at := int64(0)
	for line := range bytes.Lines(data) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		if !whole {
			break
		}
		if l.ends == nil {
			same = string(text) == settings
		} else {
			var record evaluationRecord
			if json.Unmarshal(text, &record) != nil {
				break
			}
			l.records = append(l.records, record)
		}
		at += int64(len(line))
		l.ends = append(l.ends, at)
	}
	return same
}

// begun reports whether there is something to go on from.
func (l *evaluationLog) begun() bool { return l != nil && len(l.records) > 0 }

func (l *evaluationLog) cut(at int64) error {
	err := l.f.Truncate(at)
	if err == nil {
		_, err = l.f.Seek(at, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", l.path, err)
	}
	l.ends = slices.DeleteFunc(l.ends, func(end int64) bool { return end > at })
	return nil
}

// line appends in one write, so that a killed process leaves at most the last
// line in part.
func (l *evaluationLog) line(text []byte) error {
	if _, err := l.f.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing %s: %w", l.path, err)
	}
	return nil
}

// next is the record of the batch or object that comes next, if it was made of
// the files as they are; else it and those behind it are given up.
func (l *evaluationLog) next(files string, fits func(*evaluationRecord) bool) (*evaluationRecord, error) {
	if l == nil || l.used == len(l.records) {
		return nil, nil
	}
	if record := &l.records[l.used]; record.Files == files && fits(record) {
		l.used++
		return record, nil
	}
	l.records = l.records[:l.used]
	return nil, l.cut(l.ends[l.used])
}

// took is how long it took to measure.
func (e *evaluationRecord) took() time.Duration {
	return time.Duration(float64(e.Seconds) * float64(time.Second))
}

// start says from when the next record's time counts.
func (l *evaluationLog) start(now time.Time) {
	if l != nil {
		l.last = now
	}
}

// add keeps what was just measured.
func (l *evaluationLog) add(record *evaluationRecord) error {
	now := time.Now()
	record.Seconds, l.last = Number(now.Sub(l.last).Seconds()), now
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	l.records, l.used = nil, 0
	return l.line(text)
}

// close leaves the file if there is something to go on from, and removes it
// otherwise, or when the evaluation is done.
func (l *evaluationLog) close(done bool) {
	if l == nil {
		return
	}
	if info, err := l.f.Stat(); done || err == nil && len(l.ends) > 0 && info.Size() <= l.ends[0] {
		os.Remove(l.path)
	}
	l.f.Close()
}

// settings says by what is measured.
func (r *evaluating) settings() (string, error) {
	o := r.opt
	s := evaluationSettings{Protocol: o.Protocol, Batch: o.Batch, Measures: o.Measure, Method: r.method(), Steps: o.Steps, Seed: o.Seed, Synthesize: o.Synthesize,
		Samples: o.Samples, Backgrounds: o.Backgrounds, Keep: o.Keep, Strict: o.Strict, Device: o.ORT.Device, Threads: cmp.Or(o.ORT.Threads, runtime.GOMAXPROCS(0))}
	for _, c := range r.contenders {
		sum, err := c.sum(o.Open)
		if err != nil {
			return "", err
		}
		s.Models = append(s.Models, sum)
	}
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.Encode([]any{r.set.Layout, r.set.Classes, r.set.Parts, r.set.PartOf, r.set.Among, r.set.Border})
	if r.set.Read != nil { // all pictures are in one file
		fmt.Fprintln(h, filesOf([]dataset.Sample{{ImagePath: o.Data}}))
	}
	for i, sample := range r.set.Samples {
		class := -1
		if !r.set.Unlabelled {
			class = r.set.ClassOf[i]
		}
		enc.Encode([]any{sample.ID, sample.ImagePath, sample.MaskPath, class})
	}
	if o.changes() { // any picture may be the background of another
		behind := r.set.Samples
		if o.Backgrounds != "" {
			listed, err := dataset.Flat(o.Backgrounds, "")
			if err != nil {
				return "", err
			}
			behind = slices.Concat(behind, listed)
		}
		fmt.Fprintln(h, filesOf(behind))
	}
	s.Pictures = fmt.Sprintf("%x", h.Sum(nil))
	text, err := json.Marshal(s)
	return string(text), err
}

// sum tells a model from others, before it is ready.
func (c *contender) sum(stated ModelOptions) (evaluatedSum, error) {
	s := evaluatedSum{Path: c.path, Start: c.startLayer}
	text, err := json.Marshal([]any{stated.Convert, stated.Find})
	if err != nil {
		return s, err
	}
	s.Open = textSum(string(text))
	if s.SHA256, err = pathSum(c.path); err != nil {
		return s, err
	}
	h := sha256.New()
	for _, p := range c.model.Params {
		fmt.Fprintln(h, p.Name, p.Data.Type, p.Data.Dims)
		h.Write(p.Data.Raw)
	}
	s.Weights = fmt.Sprintf("%x", h.Sum(nil))
	return s, nil
}

// filesOf sums up lengths and times of the files of samples, as far as they are
// there.
func filesOf(samples []dataset.Sample) string {
	h := sha256.New()
	for _, s := range samples {
		for _, path := range []string{s.ImagePath, s.MaskPath} {
			if info, err := os.Stat(path); err == nil {
				fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
			} else {
				fmt.Fprintln(h)
			}
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
