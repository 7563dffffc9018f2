package pipeline

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/dataset"
)

const (
	maskLogName   = "masks.jsonl"
	maskSheetName = "masks.html"
	maskTableName = "masks.csv"
)

// maskSettings is the first line of masks.jsonl: what all masks of a folder
// have in common.
type maskSettings struct {
	Method        string   `json:"method"`
	Model         string   `json:"model_sha256,omitempty"`
	Annotations   string   `json:"annotations_sha256,omitempty"`
	Features      string   `json:"features,omitempty"`
	Blocks        []int    `json:"blocks,omitempty"`
	Tau           float64  `json:"tau,omitempty"`
	ImageSize     [2]int   `json:"image_size,omitzero"`
	Grid          [2]int64 `json:"grid,omitzero"`
	PrefixTokens  *int64   `json:"prefix_tokens,omitempty"`
	Attention     []string `json:"attention,omitempty"`
	Arch          string   `json:"arch,omitempty"`
	MinConfidence float64  `json:"min_confidence"`
}

// settings are what other options would make other masks by.
func (o *MaskOptions) settings() (maskSettings, error) {
	s := maskSettings{Method: o.Method, Features: o.Features, Blocks: o.Blocks, Tau: o.Tau, ImageSize: o.Open.Convert.ImageSize,
		Grid: o.Open.Find.Grid, PrefixTokens: o.Open.Find.PrefixTokens, Attention: o.Open.Find.Attention, Arch: o.Open.Convert.Arch,
		MinConfidence: DefaultConfidence[o.Method]}
	if o.MinConfidence != nil {
		s.MinConfidence = *o.MinConfidence
	}
	var err error
	if s.Model, err = pathSum(o.Model); err != nil {
		return s, err
	}
	s.Annotations, err = pathSum(o.Annotations)
	return s, err
}

// pathSum is a file's checksum, or that of a folder's file names and sizes;
// empty for no path.
func pathSum(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", &dataset.Error{Kind: dataset.ErrMissing, Path: path, Found: "there is no such file or folder"}
	}
	if !info.IsDir() {
		sum, _, err := fileSum(path)
		return sum, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(&list, e.Name(), info.Size())
		}
	}
	return textSum(list.String()), nil
}

// MaskRecord is what masks.jsonl says of one picture.
type MaskRecord struct {
	File       string    `json:"file"`           // below the folder of pictures, with slashes
	Mask       string    `json:"mask,omitempty"` // below the folder of masks; empty where it is dropped
	Confidence Number    `json:"confidence"`     // 0 to 1
	Eigengap   Number    `json:"eigengap"`       // relative, between the second and the third eigenvalue; NaN where nothing was cut
	Area       float64   `json:"area"`           // the foreground's share of the picture
	Flipped    bool      `json:"flipped"`        // inverted, since the refined mask was the other side
	Dropped    string    `json:"dropped,omitempty"`
	Coarse     *gridMask `json:"coarse,omitempty"` // before refinement
}

// gridMask is a mask of a few tokens, for the contact sheet.
type gridMask struct {
	Rows    int    `json:"rows"`
	Columns int    `json:"columns"`
	Bits    string `json:"bits"` // base64, row by row, the first token in the lowest bit
}

func newGridMask(mask []bool, rows, columns int) *gridMask {
	bits := make([]byte, (len(mask)+7)/8)
	for i, in := range mask {
		if in {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return &gridMask{rows, columns, base64.StdEncoding.EncodeToString(bits)}
}

// mask unpacks the tokens; a record that was edited by hand may have too few.
func (g *gridMask) mask() []bool {
	bits, err := base64.StdEncoding.DecodeString(g.Bits)
	if err != nil || g.Rows < 1 || g.Columns < 1 || g.Rows > 1<<12 || g.Columns > 1<<12 || len(bits) != (g.Rows*g.Columns+7)/8 {
		return nil
	}
	out := make([]bool, g.Rows*g.Columns)
	for i := range out {
		out[i] = bits[i/8]>>(i%8)&1 == 1
	}
	return out
}

// maskLog is masks.jsonl, to which records are appended as masks appear.
type maskLog struct {
	dir  string
	made bool // the folder, by this process
	lock *folderLock

	mu      sync.Mutex
	f       *os.File
	records map[string]MaskRecord // by File
}

// openMaskLog opens a folder of masks, and locks it: an empty one, or one that
// was begun with the same settings, or, with force, any.
func openMaskLog(dir string, s maskSettings, force bool) (*maskLog, error) {
	_, missing := os.Lstat(dir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("writing to %s: %w", dir, err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	l, err := readMaskLog(dir, s, force)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	l.lock, l.made = lock, missing != nil
	return l, nil
}

func readMaskLog(dir string, s maskSettings, force bool) (*maskLog, error) {
	l := &maskLog{dir: dir, records: map[string]MaskRecord{}}
	path := filepath.Join(dir, maskLogName)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := l.vacant(force); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	whole, same, err := l.read(data, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !same {
		if len(l.records) > 0 && !force {
			return nil, &ExistsError{Path: path, Advice: "its masks were made with other settings; repeat those to go on, name another folder, or --force to make all anew"}
		}
		if err := l.clear(); err != nil {
			return nil, err
		}
		whole = 0
	}
	if err := l.sweep(); err != nil {
		return nil, err
	}
	if l.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	err = l.f.Truncate(int64(whole))
	if err == nil {
		_, err = l.f.Seek(int64(whole), io.SeekStart)
	}
	if err == nil && whole == 0 {
		err = l.line(s)
	}
	if err != nil {
		l.f.Close()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return l, nil
}

// vacant refuses a folder in which something else lies.
func (l *maskLog) vacant(force bool) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !force && !strings.HasPrefix(e.Name(), ".") {
			return &ExistsError{Path: filepath.Join(l.dir, e.Name()), Advice: "the folder holds something other than masks; name another, or --force to write into it"}
		}
	}
	return nil
}

// read takes the records, and says how many bytes of them are whole: a process
// that was killed may have left half a line. same is whether they were made
// with these settings.
func (l *maskLog) read(data []byte, s maskSettings) (whole int, same bool, err error) {
	for n := 0; ; n++ {
		end := bytes.IndexByte(data[whole:], '\n')
		if end < 0 {
			return whole, same, nil
		}
		line := data[whole : whole+end]
		if n == 0 {
			var found maskSettings
			if err := json.Unmarshal(line, &found); err != nil {
				return 0, false, fmt.Errorf("line 1 isn't what relevit masks writes there: %w", err)
			}
			same = found.normal() == s.normal()
		} else {
			var r MaskRecord
			if err := json.Unmarshal(line, &r); err != nil {
				return 0, false, &dataset.Error{Kind: dataset.ErrTable, Path: maskLogName, Line: n + 1, Found: err.Error(), Advice: "remove the line, and the picture's mask is made anew"}
			}
			for _, name := range []string{r.File, r.Mask} {
				if name != "" && !filepath.IsLocal(filepath.FromSlash(name)) {
					return 0, false, &dataset.Error{Kind: dataset.ErrTable, Path: maskLogName, Line: n + 1, Found: fmt.Sprintf("%q leads out of its folder", name), Advice: "remove the line, and the picture's mask is made anew"}
				}
			}
			l.records[r.File] = r
		}
		whole += end + 1
	}
}

// normal makes settings comparable that were read and that weren't.
func (s maskSettings) normal() string {
	text, _ := json.Marshal(s) // numbers, strings and lists of them
	return string(text)
}

// clear removes the masks that are listed, and nothing outside of the folder,
// whatever links are in it.
func (l *maskLog) clear() error {
	folder, err := os.OpenRoot(l.dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	for _, r := range l.records {
		if r.Mask == "" {
			continue
		}
		if err := folder.Remove(filepath.FromSlash(r.Mask)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the old mask %s: %w; remove it or name another folder", filepath.Join(l.dir, r.Mask), err)
		}
	}
	l.records = map[string]MaskRecord{}
	return nil
}

// leftOver matches the temporary files that a killed process leaves.
var leftOver = regexp.MustCompile(`^\..+\.png\.tmp$`)

// sweep removes temporary files.
func (l *maskLog) sweep() error {
	return filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !leftOver.MatchString(d.Name()) {
			return err
		}
		return os.Remove(path)
	})
}

// finished reports whether a picture's mask is there, or is known to be none.
func (l *maskLog) finished(file string) bool {
	r, ok := l.records[file]
	if !ok || r.Mask == "" {
		return ok
	}
	_, err := os.Stat(filepath.Join(l.dir, filepath.FromSlash(r.Mask)))
	return err == nil
}

// add appends a record.
func (l *maskLog) add(r MaskRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[r.File] = r
	if err := l.line(r); err != nil {
		return fmt.Errorf("writing %s: %w", l.f.Name(), err)
	}
	return nil
}

// line appends in one write, so that a killed process leaves at most the last
// line in part.
func (l *maskLog) line(record any) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = l.f.Write(append(text, '\n'))
	return err
}

// writeTable writes masks.csv, the pictures that have a mask, with paths from
// its folder, and the folders that they lie in as labels: data.layout csv.
func (l *maskLog) writeTable(sitters []sitter) error {
	from, err := filepath.Abs(l.dir)
	if err != nil {
		return err
	}
	return atomic.Write(filepath.Join(l.dir, maskTableName), func(w io.Writer) error {
		out := csv.NewWriter(w)
		out.Write([]string{"image", "mask", "label"})
		for _, s := range sitters {
			r := l.records[s.relative()]
			if r.Mask == "" {
				continue
			}
			picture, err := filepath.Abs(s.path)
			if err != nil {
				return err
			}
			if rel, err := filepath.Rel(from, picture); err == nil {
				picture = filepath.ToSlash(rel)
			}
			label, _, ok := strings.Cut(r.File, "/")
			if !ok {
				label = ""
			}
			out.Write([]string{picture, r.Mask, label})
		}
		out.Flush()
		return out.Error()
	})
}

// Close closes masks.jsonl and lets other processes have the folder. Where no mask
// came to be it leaves no log, and no folder that it made.
func (l *maskLog) Close() error {
	err := l.f.Close()
	entries, listing := os.ReadDir(l.dir)
	empty := listing == nil && len(l.records) == 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() != maskLogName && e.Name() != lockName
	})
	if empty {
		err = errors.Join(err, os.Remove(filepath.Join(l.dir, maskLogName)))
	}
	err = errors.Join(err, l.lock.release())
	if empty && l.made {
		os.Remove(l.dir) // unless another process has come
	}
	return err
}
