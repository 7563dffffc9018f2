package ref_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/onnx/ref"
)

// safetensor reads a tensor of a safetensors file: a length, a header of that
// length, the data.
func safetensor(t *testing.T, path, name string) *ref.Array {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]struct {
		DType   string
		Shape   []int64
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	h, ok := header[name]
	types := map[string]onnx.DType{"F32": onnx.Float, "F64": onnx.Double}
	if !ok || types[h.DType] == onnx.Undefined {
		t.Fatalf("%s: there is no float tensor %s", path, name)
	}
	body := data[8+n:]
	x, err := ref.FromTensor(&onnx.Tensor{Type: types[h.DType], Dims: h.Shape, Raw: body[h.Offsets[0]:h.Offsets[1]]})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// The expectations of micro are float64, those of the others rounded to float32.
func TestForeignModelsGivePyTorchsLogits(t *testing.T) {
	for _, c := range []struct {
		name string
		tol  float64
	}{{"micro", 1e-12}, {"micro-rect", 1e-7}, {"micro-deep", 1e-7}} {
		dir := filepath.Join("..", "..", "..", "shared", "oracle", c.name)
		if _, err := os.Stat(dir); err != nil {
			t.Skipf("the reference vectors (../shared/oracle/%s) aren't there", c.name)
		}
		m, _, err := onnx.ReadModel(filepath.Join(dir, "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		g, err := passes.Prepare(m)
		if err != nil {
			t.Fatal(err)
		}
		image := safetensor(t, filepath.Join(dir, "inputs.safetensors"), "image")
		out, err := ref.Run(g, map[string]*ref.Array{"image": image})
		if err != nil {
			t.Fatal(err)
		}
		want := safetensor(t, filepath.Join(dir, "expected.safetensors"), "logits")
		worst, largest := 0.0, 0.0
		for i, x := range want.F {
			worst = max(worst, math.Abs(x-out["logits"].F[i]))
			largest = max(largest, math.Abs(x))
		}
		if !(worst <= c.tol*largest) {
			t.Errorf("%s: logits differ from PyTorch's by %.3g of the largest, expected at most %g", c.name, worst/largest, c.tol)
		}
	}
}
