package pipeline

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/memtest"
	"github.com/relevit/relevit/pipeline/report"
)

// FuzzInspect changes bytes of what exporters wrote and looks for a panic, an
// error that doesn't know whose fault it is, and for more time or memory than
// such small files deserve, anywhere from reading to differentiating. Three
// bytes make a change: where, and what to.
func FuzzInspect(f *testing.F) {
	paths, err := filepath.Glob("testdata/zoo/*/model.onnx")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no models in testdata/zoo (%v)", err)
	}
	var files [][]byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, data)
		f.Add(uint8(len(files)-1), []byte{})
		f.Add(uint8(len(files)-1), binary.BigEndian.AppendUint32(nil, uint32(len(data)/2)<<8|0x7f))
	}
	bad := filepath.Join(f.TempDir(), "bad.onnx")
	f.Fuzz(func(t *testing.T, which uint8, changes []byte) {
		data := slices.Clone(files[int(which)%len(files)])
		for ; len(changes) >= 3; changes = changes[3:] {
			data[int(binary.BigEndian.Uint16(changes))%len(data)] = changes[2]
		}
		if err := os.WriteFile(bad, data, 0o666); err != nil {
			t.Fatal(err)
		}
		var err error
		// These models are of many nodes and few weights; deriving the training graph
		// of a whole one takes 90 to 210 times its size.
		memtest.Within(t, len(data), 200, 8<<20, func() { _, err = Inspect(bad, ModelOptions{}) })
		if err != nil && !errors.As(err, new(*onnx.FormatError)) && !errors.As(err, new(*models.Error)) { // of what begins like a checkpoint
			t.Errorf("%v is no FormatError", err)
		}
	})
}

// FuzzSecondReader looks for a file that the other reader's library panics on
// or allocates beyond measure for.
func FuzzSecondReader(f *testing.F) {
	for _, name := range []string{"timm-eager-9", "vit-pytorch-17"} {
		data, err := os.ReadFile(filepath.Join("testdata/zoo", name, "model.onnx"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	checked, err := filepath.Glob("testdata/checked/initializer*.onnx")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range checked {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var read map[string]*rereading
		var err error
		memtest.Within(t, len(data), 128, 4<<20, func() { read, err = readAgain(data) })
		if err != nil {
			return
		}
		for name, r := range read {
			if r.skipped == "" && r.value.Check() != nil {
				t.Errorf("initializer %q: %v", name, r.value.Check())
			}
		}
	})
}

// FuzzState reads a checkpoint whose state.json somebody else wrote.
func FuzzState(f *testing.F) {
	f.Add(`{"epoch":1,"step_in_epoch":2,"global_step":3,"best_loss":"Infinity","best_epoch":-1,"log_offset":100,"sha256":{"parameters.safetensors":"00"}}`)
	f.Add(`{"best_loss":1e999}`)
	f.Add(`{"sha256":null}`)
	f.Add(strings.Repeat("[", 20_000))
	dir := f.TempDir()
	w := onnx.FloatTensor([]float32{1}, 1)
	if err := safetensors.Write(filepath.Join(dir, parametersName), []safetensors.Named{{Name: "w", Tensor: w}}, nil); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(dir, stateName), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		var err error
		memtest.Within(t, len(text), 64, 1<<20, func() { _, err = readCheckpoint(dir, true) })
		if e := (*CheckpointError)(nil); !errors.As(err, &e) {
			t.Fatalf("%v is no CheckpointError", err)
		}
	})
}

// FuzzLog reads lines of a log that somebody else wrote.
func FuzzLog(f *testing.F) {
	f.Add(`{"kind":"start","validation":{"pictures":3,"loss":"NaN"}}`)
	f.Add(`{"kind":"step","epoch":1,"loss":0.5,"seconds":1}`)
	f.Add(`{"kind":"epoch","epoch":1,"loss":-1e300,"best":true}`)
	f.Add(`{"kind":"later","x":[]}`)
	f.Fuzz(func(t *testing.T, line string) {
		var h History
		var err error
		memtest.Within(t, len(line), 64, 1<<16, func() { err = h.read([]byte(line)) })
		if err != nil {
			return
		}
		if _, err := json.Marshal(h); err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
	})
}

// FuzzMaskLog reads a masks.jsonl that somebody else wrote.
func FuzzMaskLog(f *testing.F) {
	f.Add([]byte("{\"method\":\"tokencut\",\"min_confidence\":0.3}\n" +
		"{\"file\":\"a/b.jpg\",\"mask\":\"a/b.png\",\"confidence\":0.5,\"eigengap\":\"NaN\",\"coarse\":{\"rows\":2,\"columns\":2,\"bits\":\"DQ==\"}}\n{\"file"))
	f.Add([]byte("{}\n{\"file\":\"a\",\"mask\":\"../../x.png\"}\n"))
	f.Add([]byte("{}\n{\"file\":\"a\",\"coarse\":{\"rows\":4096,\"columns\":4096,\"bits\":\"\"}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &maskLog{dir: "masks", records: map[string]MaskRecord{}}
		var whole int
		var err error
		memtest.Within(t, len(data), 64, 1<<20, func() {
			whole, _, err = l.read(data, maskSettings{})
			for _, r := range l.records {
				if r.Coarse != nil {
					r.Coarse.mask()
				}
			}
		})
		if err != nil {
			return
		}
		if whole > len(data) || whole > 0 && data[whole-1] != '\n' {
			t.Fatalf("%d bytes are whole", whole)
		}
		for _, r := range l.records {
			if r.Mask != "" && !filepath.IsLocal(r.Mask) || r.File != "" && !filepath.IsLocal(r.File) {
				t.Errorf("the log names %q and %q", r.File, r.Mask)
			}
		}
	})
}

// FuzzEvaluation makes a page of an evaluation that somebody else wrote.
func FuzzEvaluation(f *testing.F) {
	f.Add([]byte(`{"data":"d","images":3,"models":[{"model":"a.onnx","top1":0.5,"images":3,"right1":1,"intervals":{"top1":{"low":0.1,"high":"NaN"}},"iou":{"mean":0.5}}]}`))
	f.Add([]byte(`{"models":[{"model":"a","calibration":{"ece":0.1,"bins":[{"low":0,"high":1,"count":1,"confidence":0.5,"accuracy":"Infinity"}]},"per_class":[{}]},{"model":"b"}],"pairs":[{"a":0,"b":9}]}`))
	for _, path := range []string{"testdata/report/evaluation.json"} {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data)
		}
	}
	path := filepath.Join(f.TempDir(), "e.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		memtest.Within(t, len(data), 256, 8<<20, func() {
			p, closing, err := reportOn(path)
			if e := (*ReportSourceError)(nil); err != nil && !errors.As(err, &e) {
				t.Errorf("%v is no ReportSourceError", err)
			}
			if err != nil {
				return
			}
			p.Sections = append(p.Sections, closing...)
			if err := report.Write(io.Discard, p); err != nil {
				t.Error(err)
			}
		})
	})
}

// FuzzBatch reads a batch.yaml that somebody else wrote.
func FuzzBatch(f *testing.F) {
	f.Add([]byte("runs:\n- name: a\n  config: {lr: 1}\n- name: b\n  config: {lr: 2}\n"))
	f.Add([]byte("runs:\n- name: ../a\n  config: {}\n"))
	f.Add([]byte("runs: &a [*a]\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, batchName), data, 0o666); err != nil {
			t.Fatal(err)
		}
		var b *Batch
		var err error
		memtest.Within(t, len(data), 4096, 4<<20, func() { b, err = ReadBatch(dir) }) // each run resolves the defaults
		if err != nil {
			return
		}
		for _, r := range b.Runs {
			if filepath.Base(r.Name) != r.Name || !filepath.IsLocal(r.Name) {
				t.Errorf("a run is called %q", r.Name)
			}
		}
	})
}

// FuzzResults reads results.json, before.json and a lock file that somebody
// else wrote.
func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"best_epoch":0,"before":{"loss":1},"pictures":[{"picture":"a","before":{"probability":"NaN"}}],"classes":{"0":"a"},"sheets":[{}]}`))
	f.Add([]byte(`{"pid":1,"host":"h","since":"2026-01-01T00:00:00Z"}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, resultsName), data, 0o666); err != nil {
			t.Fatal(err)
		}
		memtest.Within(t, len(data), 64, 1<<20, func() {
			_, err := (&Run{Dir: dir}).Results()
			if e := (*ReportSourceError)(nil); err != nil && !errors.As(err, &e) {
				t.Errorf("%v is no ReportSourceError", err)
			}
		})
		in, err := os.Open(filepath.Join(dir, resultsName))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if h := holderIn(in); h != nil && h.PID <= 0 {
			t.Errorf("process %d", h.PID)
		}
	})
}
