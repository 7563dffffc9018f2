package picture

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// sharedDir is the folder of reference data beside the project's root, which a
// fresh clone does not have.
func sharedDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the package")
		}
		dir = parent
	}
	shared := filepath.Join(dir, "..", "shared")
	if _, err := os.Stat(shared); err != nil {
		t.Skipf("no reference data at %s", shared)
	}
	return shared
}

// array is one tensor of a safetensors file, as stored.
type array struct {
	Dtype string
	Shape []int
	bytes []byte
}

func (a array) float32s() []float32 {
	switch a.Dtype {
	case "F32":
		out := make([]float32, len(a.bytes)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(a.bytes[4*i:]))
		}
		return out
	case "F16":
		out := make([]float32, len(a.bytes)/2)
		for i := range out {
			out[i] = halfToFloat(binary.LittleEndian.Uint16(a.bytes[2*i:]))
		}
		return out
	}
	panic("dtype " + a.Dtype)
}

func halfToFloat(h uint16) float32 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	if exponent == 0 {
		return float32(sign * math.Ldexp(fraction, -24))
	}
	return float32(sign * math.Ldexp(1024+fraction, exponent-25))
}

func readArrays(t testing.TB, path string) map[string]array {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	arrays := map[string]array{}
	for name, raw := range header {
		if name == "__metadata__" {
			continue
		}
		var entry struct {
			Dtype   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &entry); err != nil {
			t.Fatal(err)
		}
		body := data[8+n:]
		arrays[name] = array{entry.Dtype, entry.Shape, body[entry.Offsets[0]:entry.Offsets[1]]}
	}
	return arrays
}
