package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/memtest"
)

// file lays out a header and data bytes.
func file(header string, data int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, data)...)
}

// samples has a tensor of every element type, with a scalar, an empty one and
// odd lengths among them.
func samples() []Named {
	var out []Named
	for i, d := range dtypes {
		dims := []int64{3, int64(i%2 + 1)}
		raw := make([]byte, int(dims[0]*dims[1])*d.t.Size())
		for j := range raw {
			raw[j] = byte(j*7+i) % 2
		}
		out = append(out, Named{"tensor " + d.name, &onnx.Tensor{Type: d.t, Dims: dims, Raw: raw}})
	}
	return append(out,
		Named{"scalar", onnx.FloatTensor([]float32{1.5})},
		Named{"empty", onnx.FloatTensor(nil, 0, 4)},
		Named{`odd "name" <é>`, onnx.Int64Tensor([]int64{-1}, 1)})
}

func TestWrittenFilesReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	want := samples()
	metadata := map[string]string{"format": "pt", "b": `quo"te`, "a": "x\ny"}
	if err := Write(path, want, metadata); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Metadata) != 3 || f.Metadata["b"] != `quo"te` || f.Metadata["a"] != "x\ny" {
		t.Errorf("metadata %v", f.Metadata)
	}
	for i, name := range f.Names() {
		got, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		w := want[i]
		if name != w.Name || got.Type != w.Tensor.Type || !slices.Equal(got.Dims, w.Tensor.Dims) || !bytes.Equal(got.Raw, w.Tensor.Raw) {
			t.Errorf("tensor %d is %s %v%v, want %s %v%v", i, name, got.Type, got.Dims, w.Name, w.Tensor.Type, w.Tensor.Dims)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want only the file", entries, err)
	}
}

func TestWrittenBytesAreDeterministicAndAligned(t *testing.T) {
	var a, b bytes.Buffer
	metadata := map[string]string{"z": "1", "y": "2", "x": "3", "w": "4"}
	if err := errors.Join(Encode(&a, "a", samples(), metadata), Encode(&b, "b", samples(), metadata)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two writings differ")
	}
	n := binary.LittleEndian.Uint64(a.Bytes())
	if n%8 != 0 {
		t.Errorf("header of %d bytes, want a multiple of 8", n)
	}
	var header map[string]struct {
		At []int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(a.Bytes()[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	for _, s := range samples() {
		if at := header[s.Name].At; at[0]%int64(s.Tensor.Type.Size()) != 0 {
			t.Errorf("%s lies at %v, want a multiple of its element's size", s.Name, at)
		}
	}
}

func TestEveryFaultIsNamed(t *testing.T) {
	const ok = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	for _, c := range []struct {
		name, header string
		data         int
		want         string
	}{
		{"no object", `[1]`, 0, "no JSON object"},
		{"empty header", ``, 0, "no JSON object"},
		{"bad JSON", `{"a":`, 0, "bad header"},
		{"text after", `{} x`, 0, "expected spaces"},
		{"duplicate name", `{` + ok + `,` + ok + `}`, 8, `"a" appears twice`},
		{"duplicate field", `{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, "appears twice"},
		{"invalid UTF-8", "{\"\xff\":1}", 0, "UTF-8"},
		{"metadata no string", `{"__metadata__":{"k":1}}`, 0, "expected a string"},
		{"metadata null", `{"__metadata__":{"k":null}}`, 0, "expected a string"},
		{"unknown type", `{"a":{"dtype":"F128","shape":[2],"data_offsets":[0,8]}}`, 8, `found "F128"`},
		{"no type", `{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8, "unknown element type"},
		{"no shape", `{"a":{"dtype":"F32","data_offsets":[0,8]}}`, 8, "expected a shape"},
		{"fraction in shape", `{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}`, 8, "shape is"},
		{"negative shape", `{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8, "no negative dimension"},
		{"shape overflow", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0, "too large"},
		{"shape overflow after zero", `{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]}}`, 0, "too large"},
		{"one offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}`, 8, "bad data_offsets"},
		{"negative offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, 8, "bad data_offsets"},
		{"reversed offsets", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8, "bad data_offsets"},
		{"past the end", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 7, "expected data up to byte 8, found 7"},
		{"wrong length", `{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8, "expected 12 bytes for F32[3], found 8"},
		{"overlap", `{` + ok + `,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12, "tensor b: its data overlaps"},
		{"hole", `{"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12, "belong to no tensor"},
		{"trailing bytes", `{` + ok + `}`, 9, "after the last tensor: expected 8 bytes of data, found 9"},
	} {
		_, err := Parse("dir/x.safetensors", file(c.header, c.data))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v, want *Error", c.name, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "dir/x.safetensors: ") || e.ExitCode() != 3 {
			t.Errorf("%s: %q, want it to name the file and %q", c.name, err, c.want)
		}
	}
	if _, err := Parse("x", binary.LittleEndian.AppendUint64(nil, MaxHeader+1)); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("an oversized header gives %v", err)
	}
	if _, err := Parse("x", file(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"extra":1}}  `, 4)); err != nil {
		t.Errorf("padding and unknown fields are allowed: %v", err)
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	var b bytes.Buffer
	if err := Encode(&b, "x", samples(), map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		var e *Error
		if _, err := Parse("x", b.Bytes()[:n]); !errors.As(err, &e) {
			t.Fatalf("the first %d of %d bytes give %v", n, b.Len(), err)
		}
	}
	path := filepath.Join(t.TempDir(), "cut.safetensors")
	for percent := range 100 {
		if err := os.WriteFile(path, b.Bytes()[:b.Len()*percent/100], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Fatalf("%d %% of the file give %v", percent, err)
		}
	}
}

func TestWriteRefusesWhatItCannotKeep(t *testing.T) {
	one := onnx.FloatTensor([]float32{1}, 1)
	for want, tensors := range map[string][]Named{
		"two tensors of this name": {{"a", one}, {"a", one}},
		"no tensor":                {{"a", nil}},
		"doesn't allow this name":  {{metadataKey, one}},
		"no element type string":   {{"a", &onnx.Tensor{Type: onnx.String, Dims: []int64{0}}}},
		"expected 8 bytes":         {{"a", &onnx.Tensor{Type: onnx.Float, Dims: []int64{2}, Raw: one.Raw}}},
	} {
		path := filepath.Join(t.TempDir(), "a.safetensors")
		if err := Write(path, tensors, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%q left a file", want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none", "a.safetensors")
	if err := Write(missing, nil, nil); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing folder gives %v", err)
	}
}

func TestFilesOfOthersRoundTrip(t *testing.T) {
	paths, _ := filepath.Glob("../../../shared/oracle/*/*.safetensors")
	if len(paths) == 0 {
		t.Skip("../shared/oracle is absent: files written by others aren't read")
	}
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var tensors []Named
		for _, n := range f.Names() {
			x, err := f.Tensor(n)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, Named{n, x})
		}
		var b bytes.Buffer
		if err := Encode(&b, path, tensors, f.Metadata); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(path, b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(back.Names(), f.Names()) || fmt.Sprint(back.Metadata) != fmt.Sprint(f.Metadata) {
			t.Errorf("%s: names or metadata changed", path)
		}
	}
}

func FuzzParse(f *testing.F) {
	var b bytes.Buffer
	if err := Encode(&b, "x", samples(), map[string]string{"k": "v"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Add(file(`{"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1))
	f.Add(file(`{"__metadata__":{"k":"v"}}`, 0))
	f.Add(file(`{}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		var file *File
		var err error
		memtest.Within(t, len(data), 64, 1<<20, func() { file, err = Parse("x", data) })
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var tensors []Named
		for _, n := range file.Names() {
			x, err := file.Tensor(n)
			if err != nil {
				t.Fatal(err)
			}
			if x.Count()*int64(x.Type.Size()) != int64(len(x.Raw)) {
				t.Fatalf("%s has %d bytes", n, len(x.Raw))
			}
			tensors = append(tensors, Named{n, x})
		}
		if err := Encode(&bytes.Buffer{}, "x", tensors, file.Metadata); err != nil {
			t.Fatal(err)
		}
	})
}
