package pipeline

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
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
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := Inspect(bad, ModelOptions{})
		runtime.ReadMemStats(&after)
		if e := (*onnx.FormatError)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%v is no FormatError", err)
		}
		if took, mb := time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20; took > time.Minute || mb > 1000 {
			t.Errorf("%s took %v and %d MB", paths[int(which)%len(files)], took, mb)
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
		read, err := readAgain(data)
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
		_, err := readCheckpoint(dir, true)
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
		if h.read([]byte(line)) != nil {
			return
		}
		if _, err := json.Marshal(h); err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
	})
}
