package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mixedModel is a file with an external, a raw, a typed and a small tensor.
func mixedModel(t *testing.T) *Document {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "weights.bin"), bytes.Repeat([]byte{1, 2, 3, 4}, 600), 0o666); err != nil {
		t.Fatal(err)
	}
	floats := make([]float32, 512)
	for i := range floats {
		floats[i] = float32(i)
	}
	raw := FloatTensor(floats, 512).Raw
	init := func(name string, n int64, rest ...func(*parts)) func(*parts) {
		return sub(graphInit, append([]func(*parts){number(tensorDims, n), number(tensorType, 1), text(tensorName, name)}, rest...)...)
	}
	entry := func(k, v string) func(*parts) {
		return sub(tensorExternal, text(entryKey, k), text(entryValue, v))
	}
	data := file(
		init("outside", 600, entry("location", "weights.bin"), entry("checksum", "abc"), number(tensorLocation, 1)),
		init("raw", 512, text(tensorRaw, string(raw))),
		init("typed", 512, text(tensorFloats, string(raw))),
		init("small", 1, text(tensorRaw, string(raw[:4]))))
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	d, err := ReadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sameTensors fails unless two models have the same initializers.
func sameTensors(t *testing.T, want, got *Model) {
	t.Helper()
	for i, v := range want.Graph.Inits {
		w := got.Graph.Inits[i]
		if v.Name != w.Name || !bytes.Equal(v.Data.Raw, w.Data.Raw) || v.Data.Type != w.Data.Type || !v.Data.Shape().Same(w.Data.Shape()) {
			t.Errorf("initializer %v became %v, or has other numbers", v, w)
		}
	}
}

func TestWeightsMoveIntoOneDataFileAndBack(t *testing.T) {
	d := mixedModel(t)
	before, err := d.Model()
	if err != nil {
		t.Fatal(err)
	}
	if !d.HasExternalData() {
		t.Error("external data aren't seen")
	}
	if err := d.Externalize("out.onnx.data", 0); err != nil {
		t.Fatal(err)
	}
	doubled := FloatTensor(make([]float32, 512), 512)
	if err := d.SetInitializer("raw", doubled); err != nil {
		t.Fatal(err)
	}
	before.Graph.Inits[1].Data = doubled
	path := filepath.Join(t.TempDir(), "out.onnx")
	if err := d.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	after, written, err := ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	sameTensors(t, before, after)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 || entries[1].Name() != "out.onnx.data" {
		t.Errorf("the folder holds %v (%v)", entries, err)
	}
	if files := written.ExternalFiles(); len(files) != 1 || files[0] != "out.onnx.data" {
		t.Errorf("the weights are said to lie in %v", files)
	}
	if model, err := os.ReadFile(path); err != nil || len(model) > 700 {
		t.Errorf("the model without its weights takes %d bytes (%v)", len(model), err)
	}

	if err := written.Embed(); err != nil {
		t.Fatal(err)
	}
	alone, err := ParseDocument(written.Bytes(), "")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := alone.Model()
	if err != nil || alone.HasExternalData() {
		t.Fatalf("external data are left, or %v", err)
	}
	sameTensors(t, before, whole)
}

func TestMovedWeightsOverwriteOnlyTheirOwnDataFile(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out.data")
	if err := os.WriteFile(target, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	d := mixedModel(t)
	if err := d.Externalize("out.data", 0); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteFile(filepath.Join(dir, "out.onnx")); err == nil || !strings.Contains(err.Error(), "belongs to another model") {
		t.Errorf("error %v", err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "mine" {
		t.Errorf("the file holds %q (%v)", got, err)
	}
	if err := d.Externalize("../out.data", 0); err == nil || !strings.Contains(err.Error(), "inside the model's folder") {
		t.Errorf("error %v", err)
	}
}
