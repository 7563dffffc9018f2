package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// every lists a tensor of every type that PyTorch knows, in an order that isn't
// the alphabet's.
func every() []safetensors.Named {
	var out []safetensors.Named
	for _, t := range []onnx.DType{onnx.Float, onnx.Uint16, 17, onnx.Double, onnx.Float16, onnx.BFloat16, onnx.Int8, onnx.Int16, onnx.Int32,
		onnx.Int64, onnx.Uint8, onnx.Bool, onnx.Complex64, onnx.Uint32, onnx.Uint64} {
		raw := make([]byte, 6*t.Size())
		for i := range raw {
			raw[i] = byte(i*5+int(t)) % 2
		}
		out = append(out, safetensors.Named{Name: "blocks.0 of " + t.String(), Tensor: &onnx.Tensor{Type: t, Dims: []int64{3, 2}, Raw: raw}})
	}
	return append(out, safetensors.Named{Name: "scalar", Tensor: onnx.FloatTensor([]float32{1.5}, []int64{}...)},
		safetensors.Named{Name: "empty", Tensor: onnx.FloatTensor([]float32{}, 0, 3)},
		safetensors.Named{Name: "a longer vector", Tensor: onnx.FloatTensor(make([]float32, 70000), 70000)})
}

func TestWrittenFilesReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pth")
	want := every()
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := readAll(f)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d tensors, %v, want %d", len(got), err, len(want))
	}
	for i, w := range want {
		if g := got[i]; g.Name != w.Name || g.Tensor.Type != w.Tensor.Type || !reflect.DeepEqual(append([]int64{}, g.Tensor.Dims...), append([]int64{}, w.Tensor.Dims...)) || !bytes.Equal(g.Tensor.Raw, w.Tensor.Raw) {
			t.Errorf("%s came back as %s %v%v", w.Name, g.Name, g.Tensor.Type, g.Tensor.Dims)
		}
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(path); err != nil || !bytes.Equal(first, second) {
		t.Errorf("writing again gave other bytes (%v)", err)
	}
}

// TestRecordsCanBeMapped checks what torch.load(mmap=True) needs: records that
// are stored as they are and begin at multiples of 64.
func TestRecordsCanBeMapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pth")
	if err := Write(path, every()); err != nil {
		t.Fatal(err)
	}
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, f := range r.File {
		at, err := f.DataOffset()
		if err != nil || at%alignment != 0 || f.Method != zip.Store || !strings.HasPrefix(f.Name, "archive/") {
			t.Errorf("%s lies at byte %d, method %d, %v", f.Name, at, f.Method, err)
		}
	}
}

func TestWhatPyTorchCannotHoldIsNotWritten(t *testing.T) {
	one := onnx.FloatTensor([]float32{1}, 1)
	for want, tensors := range map[string][]safetensors.Named{
		"two tensors":     {{Name: "a", Tensor: one}, {Name: "a", Tensor: one}},
		"no tensor":       {{Name: "a"}},
		"faulty":          {{Name: "a", Tensor: &onnx.Tensor{Type: onnx.Float, Dims: []int64{2}, Raw: one.Raw}}},
		"no UTF-8":        {{Name: "\xff", Tensor: one}},
		"no element type": {{Name: "a", Tensor: &onnx.Tensor{Type: 22, Dims: []int64{2}, Raw: []byte{1}}}},
	} {
		path := filepath.Join(t.TempDir(), "x.pth")
		var e *Error
		if err := Write(path, tensors); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file was written", want)
		}
	}
}
