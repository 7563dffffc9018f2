package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// externalModel writes a model whose tensors v, w (4 float32 each) lie in
// weights.bin at 0 and 64, and one byte behind them, and returns its path.
func externalModel(t *testing.T, dir string) string {
	t.Helper()
	data := bytes.Repeat([]byte{0xaa}, 81)
	for i := range 4 {
		copy(data[4*i:], FloatTensor([]float32{float32(i)}).Raw)
		copy(data[64+4*i:], FloatTensor([]float32{float32(10 + i)}).Raw)
	}
	model := file(externalTensor("v", "weights.bin", "0", "16"), externalTensor("w", "weights.bin", "64", "16"))
	for name, b := range map[string][]byte{"model.onnx": model, "weights.bin": data} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "model.onnx")
}

func externalTensor(name, location, offset, length string) func(*parts) {
	entry := func(k, v string) func(*parts) {
		return sub(tensorExternal, text(entryKey, k), text(entryValue, v))
	}
	return sub(graphInit, number(tensorDims, 4), number(tensorType, 1), text(tensorName, name), entry("location", location),
		entry("offset", offset), entry("length", length), number(tensorLocation, 1))
}

func TestExternalDataLoads(t *testing.T) {
	m, _, err := ReadModel(externalModel(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Graph.Inits[1].Data.Float64s(); err != nil || got[3] != 13 {
		t.Errorf("w is %v (%v), expected 10 11 12 13", got, err)
	}
}

func TestExternalDataStaysInTheModelsFolder(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), make([]byte, 64), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(outside, "model")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": filepath.Join(outside, "secret"), "up": "../secret", "folder": outside, "inside": "real.bin"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skip("this system has no symbolic links: ", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "real.bin"), make([]byte, 16), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ location, offset, length, want string }{
		{filepath.Join(outside, "secret"), "0", "16", "inside the model's folder"},
		{"../secret", "0", "16", "inside the model's folder"},
		{"a/../../secret", "0", "16", "inside the model's folder"},
		{"link", "0", "16", "inside the model's folder"},
		{"up", "0", "16", "inside the model's folder"},
		{"folder/secret", "0", "16", "inside the model's folder"},
		{"gone.bin", "0", "16", "is missing from"},
		{".", "0", "16", "no regular file"},
		{"", "0", "16", "names no location"},
		{"real.bin", "4", "16", "beyond the end"},
		{"real.bin", "9223372036854775807", "16", "beyond the end"},
		{"real.bin", "-1", "16", "expected a number of bytes"},
		{"real.bin", "0", "-16", "expected a number of bytes"},
		{"real.bin", "x", "16", "expected a number of bytes"},
		{"real.bin", "0", "12", "type and dims need 16"},
		{"inside", "0", "16", ""},
	} {
		d, err := ParseDocument(file(externalTensor("w", c.location, c.offset, c.length)), dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Model()
		var fe *FormatError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.location, err)
		case c.want != "" && (!errors.As(err, &fe) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %s %s: got %v, expected a FormatError with %q", c.location, c.offset, c.length, err, c.want)
		}
	}
}

func TestEditedExternalDataKeepsItsLayout(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	_, d, err := ReadModel(externalModel(t, src))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetInitializer("w", FloatTensor([]float32{7, 8, 9, 10}, 4)); err != nil {
		t.Fatal(err)
	}
	if m, err := d.Model(); err != nil {
		t.Error(err)
	} else if got, _ := m.Graph.Inits[1].Data.Float64s(); got[0] != 7 {
		t.Errorf("the edited document decodes to %v, expected the new values", got)
	}
	out := filepath.Join(dst, "model.onnx")
	if err := d.WriteFile(out); err != nil {
		t.Fatal(err)
	}
	read := func(path ...string) []byte {
		b, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read(out), read(src, "model.onnx")) {
		t.Error("the model file itself changed")
	}
	want := read(src, "weights.bin")
	copy(want[64:], FloatTensor([]float32{7, 8, 9, 10}).Raw)
	if !bytes.Equal(read(dst, "weights.bin"), want) {
		t.Error("the data file differs in more than w's bytes")
	}
	if err := d.WriteFile(out); err != nil {
		t.Errorf("writing the same again: %v", err)
	}
	beside := filepath.Join(src, "other.onnx")
	if err := d.WriteFile(beside); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("overwriting the source's data under another model's name: %v", err)
	}
	if err := d.WriteFile(filepath.Join(src, "model.onnx")); err != nil {
		t.Errorf("writing over the source itself: %v", err)
	}
	if !bytes.Equal(read(src, "weights.bin"), want) {
		t.Error("writing over the source didn't give the new data")
	}
	if entries, _ := os.ReadDir(src); len(entries) != 2 {
		t.Errorf("a refused write left %v", entries)
	}
}

func TestUneditedExternalDataGoesAlong(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	d, err := ReadDocument(externalModel(t, src))
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{filepath.Join(dst, "copy.onnx"), filepath.Join(src, "beside.onnx")} {
		if err := d.WriteFile(out); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ReadModel(out); err != nil {
			t.Error(err)
		}
	}
}

func TestTensorsThatShareBytesNeedTheSameData(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), make([]byte, 24), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		offset string
		v, w   []float32
		ok     bool
	}{
		{"0", []float32{1, 2, 3, 4}, []float32{1, 2, 3, 4}, true},
		{"0", []float32{1, 2, 3, 4}, []float32{1, 2, 3, 5}, false},
		{"0", []float32{1, 2, 3, 4}, nil, false},
		{"0", nil, []float32{1, 2, 3, 4}, false},
		{"8", []float32{1, 2, 3, 4}, nil, false},
		{"0", nil, nil, true},
	} {
		d, err := ParseDocument(file(externalTensor("v", "w.bin", "0", "16"), externalTensor("w", "w.bin", c.offset, "16")), dir)
		if err != nil {
			t.Fatal(err)
		}
		for name, x := range map[string][]float32{"v": c.v, "w": c.w} {
			if x == nil {
				continue
			}
			if err := d.SetInitializer(name, FloatTensor(x, 4)); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.WriteFile(filepath.Join(t.TempDir(), "m.onnx")); (err == nil) != c.ok {
			t.Errorf("w at %s, v=%v w=%v: %v", c.offset, c.v, c.w, err)
		}
	}
}

func TestBigModelsMoveTheirWeightsOut(t *testing.T) {
	g := NewGraph("big")
	x := g.AddInput("x", Float, Shape{{1, "batch"}, D(1000)})
	b := NewBuilder(g)
	for _, name := range []string{"v", "w"} {
		data := make([]float32, 1000)
		for i := range data {
			data[i] = float32(i) + float32(name[0])
		}
		x = b.Add(x, g.AddInit(name, FloatTensor(data, 1000)))
	}
	x = b.Add(x, b.Scalar(1, x))
	g.Outputs = []*Value{b.Named("y", x)}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	m := &Model{Opsets: []Opset{{"", Dialect}}, Graph: g}
	dir := t.TempDir()
	path := filepath.Join(dir, "big.onnx")
	if err := writeModel(path, m, WriteOptions{}, 4000); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 4000 {
		t.Errorf("the model file is over its limit: %v, %v", info.Size(), err)
	}
	if info, err := os.Stat(path + ".data"); err != nil || info.Size() != 4096+4000 {
		t.Errorf("the data file has %v bytes (%v), expected 8096: two tensors on pages", info.Size(), err)
	}
	got, _, err := ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	m.IRVersion = got.IRVersion
	sameModel(t, got, m)
	if got.IRVersion != 10 {
		t.Errorf("opset 21 was written with IR version %d, expected 10", got.IRVersion)
	}
	if err := writeModel(path, m, WriteOptions{}, 100); err == nil || !strings.Contains(err.Error(), "the limit is 100") {
		t.Errorf("a graph over the limit: %v", err)
	}
	other := filepath.Join(dir, "other.onnx")
	if err := WriteModel(other, m, WriteOptions{External: "big.onnx.data"}); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("overwriting another model's data: %v", err)
	}
	if err := WriteModel(other, m, WriteOptions{External: "../up.data"}); err == nil {
		t.Error("a data file outside the model's folder was accepted")
	}
}
