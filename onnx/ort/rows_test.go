package ort_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// Numbers of rows.h.
var rowOps = map[string]int64{"Sqrt": 5, "Exp": 6, "Erf": 7, "HardSigmoid": 8, "Clip": 9, "AtLeast": 13, "Above": 14}

// rowsModel is a model of one program with an input x (n) and an output y (n).
func rowsModel(t *testing.T, n int64, code []int64, constants []float32) []byte {
	t.Helper()
	g := onnx.NewGraph("program")
	x := g.AddInput("x", onnx.Float, onnx.ShapeOf(n))
	y := &onnx.Value{Name: "y", Type: onnx.Float, Shape: onnx.ShapeOf(n)}
	y.Node = &onnx.Node{Name: "rows", Domain: "relevit", Op: "Rows", Inputs: []*onnx.Value{x}, Outputs: []*onnx.Value{y},
		Attrs: []onnx.Attr{{Name: "code", Value: code}, {Name: "constants", Value: constants}, {Name: "shape", Value: []int64{n}}}}
	g.Nodes, g.Outputs = []*onnx.Node{y.Node}, []*onnx.Value{y}
	data, err := (&onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rowPath runs a program of one input and one output of the same size.
type rowPath func(code []int64, constants, x []float32) []float32

// rowPaths are that of a session, and those that this processor can go.
func rowPaths(t *testing.T) map[string]rowPath {
	t.Helper()
	orttest.Need(t)
	paths := map[string]rowPath{"session": func(code []int64, constants, x []float32) []float32 {
		n := int64(len(x))
		s := open(t, rowsModel(t, n, code, constants), ort.Options{Rows: true, Threads: 1})
		in, out := buffer(t, x, n), buffer(t, make([]float32, n), n)
		bind(t, s, map[string]*ort.Buffer{"x": in, "y": out})
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		return out.Float32s()
	}}
	program := rowsProgram(t)
	for _, name := range []string{"any", "avx2", "avx512"} {
		run := func(code []int64, constants, x []float32) (y []float32, err error) {
			var in, out bytes.Buffer
			for _, v := range []any{int64(len(code)), code, int64(len(constants)), constants, x} {
				binary.Write(&in, binary.NativeEndian, v)
			}
			cmd := exec.Command(program, name)
			cmd.Stdin, cmd.Stdout = &in, &out
			if err := cmd.Run(); err != nil {
				return nil, err
			}
			y = make([]float32, len(x))
			return y, binary.Read(&out, binary.NativeEndian, y)
		}
		_, err := run(oneStep("Exp", 1), make([]float32, 2), make([]float32, 1))
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
			t.Logf("this processor can't go the path %s", name)
			continue
		}
		paths[name] = func(code []int64, constants, x []float32) []float32 {
			y, err := run(code, constants, x)
			if err != nil {
				t.Fatal(err)
			}
			return y
		}
	}
	return paths
}

// rowsProgram compiles a program that goes the path it is told.
func rowsProgram(t *testing.T) string {
	t.Helper()
	cc := cmp.Or(os.Getenv("CC"), "cc")
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("needs a C compiler: %v", err)
	}
	out := filepath.Join(t.TempDir(), "rows")
	said, err := exec.Command(cc, "-O2", "-Wno-psabi", "-o", out, "testdata/rows_path.c", "rows.c", "rows_any.c", "rows_avx2.c", "rows_avx512.c", "-lm").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return out
}

// oneStep is a program of one operator on n elements.
func oneStep(op string, n int) []int64 {
	return []int64{1, int64(n), 1, 1, 1, 0, 1, 1, 0, 4, rowOps[op], 1, 0, 0, 1}
}

// TestFunctionsOfRowsAreRoundedWell compares exp and erf with float64's, in units of
// the last place, where results are no subnormal numbers.
func TestFunctionsOfRowsAreRoundedWell(t *testing.T) {
	paths := rowPaths(t)
	for _, f := range []struct {
		name  string
		want  func(float64) float64
		reach float64
		ulps  float64
	}{{"Exp", math.Exp, 87, 2}, {"Erf", math.Erf, 6, 4}, {"Sqrt", math.Sqrt, 100, 0.5}} {
		var x []float32
		for i := -20000; i <= 20000; i++ {
			v := f.reach * float64(i) / 20000
			if f.name == "Sqrt" {
				v = math.Abs(v)
			}
			x = append(x, float32(v))
		}
		for path, run := range paths {
			worst, at := 0.0, float32(0)
			for i, got := range run(oneStep(f.name, len(x)), make([]float32, 2), x) {
				want := f.want(float64(x[i]))
				ulp := math.Abs(float64(math.Nextafter32(float32(want), 2e38)) - float64(float32(want)))
				if e := math.Abs(float64(got)-want) / ulp; e > worst || math.IsNaN(e) {
					worst, at = e, x[i]
				}
			}
			t.Logf("%s %s: %.2f ulp at %v", f.name, path, worst, at)
			if !(worst <= f.ulps) {
				t.Errorf("%s %s is off by %.2f ulp at %v, more than %v", f.name, path, worst, at, f.ulps)
			}
		}
	}
}

// TestFunctionsOfRowsKnowTheirEnds holds them where float32 ends.
func TestFunctionsOfRowsKnowTheirEnds(t *testing.T) {
	paths := rowPaths(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{inf, 1e4, -1e4, 0, nan, -inf}
	for _, f := range []struct {
		name string
		p, q float32
		want []float32
	}{
		{"Exp", 0, 0, []float32{inf, inf, 0, 1, nan, 0}},
		{"Erf", 0, 0, []float32{1, 1, -1, 0, nan, -1}},
		{"Clip", -1, 2, []float32{2, 2, -1, 0, nan, -1}},
		{"HardSigmoid", 0.2, 0.5, []float32{1, 1, 0, 0.5, nan, 0}},
		{"AtLeast", 0, 0, []float32{1, 1, 0, 1, 0, 0}},
		{"Above", 0, 0, []float32{1, 1, 0, 0, 0, 0}},
	} {
		for path, run := range paths {
			y := run(oneStep(f.name, len(x)), []float32{f.p, f.q}, x)
			for i, got := range y {
				if want := f.want[i]; !(got == want || math.Abs(float64(got-want)) < 2e-38 || got != got && want != want) {
					t.Errorf("%s of %v %s: %v, expected %v", f.name, x, path, y, f.want)
					break
				}
			}
		}
	}
}

// TestRowsAreReducedAndSpread compares a program of all that goes along and across
// rows with float64, within a float32 error of the largest number.
func TestRowsAreReducedAndSpread(t *testing.T) {
	const rows, length = 7, 37
	code := []int64{rows, length, 0, 1, 2, 2, 9, 1, 0, 4,
		11, 3, 0, 0, // mean
		1, 1, 0, 3, // less it
		2, 2, 1, 1, // squared
		10, 4, 2, 0, // sum
		12, 4, 4, 4, // 1/sqrt(sum + epsilon)
		2, 1, 1, 4, // scaled
		0, 2, 1, 0, // plus x
		4, 2, 2, 2, // negative
		3, 2, 2, 4, // by the scale
		2}
	constants := make([]float32, 18)
	constants[8] = 0.25
	x := make([]float32, rows*length)
	for i := range x {
		x[i] = float32(math.Sin(float64(i*i)) * 3)
	}
	want, largest := make([]float64, len(x)), 0.0
	for r := range rows {
		row := x[r*length:][:length]
		mean, sum := 0.0, 0.25
		for _, v := range row {
			mean += float64(v) / length
		}
		for _, v := range row {
			sum += (float64(v) - mean) * (float64(v) - mean)
		}
		for i, v := range row {
			y := -((float64(v)-mean)/math.Sqrt(sum) + float64(v)) * math.Sqrt(sum)
			want[r*length+i], largest = y, max(largest, math.Abs(y))
		}
	}
	for path, run := range rowPaths(t) {
		worst := 0.0
		for i, got := range run(code, constants, x) {
			worst = max(worst, math.Abs(float64(got)-want[i])/largest)
		}
		if t.Logf("%s: %.2g of the largest", path, worst); !(worst <= 16*0x1p-24) {
			t.Errorf("%s: off by %.2g of the largest number", path, worst)
		}
	}
}

// TestPathsOfRowsGiveTheSameBits compares those with fused multiplications.
func TestPathsOfRowsGiveTheSameBits(t *testing.T) {
	paths := rowPaths(t)
	avx2, avx512 := paths["avx2"], paths["avx512"]
	if avx2 == nil || avx512 == nil {
		t.Skip("needs a processor with AVX-512")
	}
	x := make([]float32, 3*1021)
	for i := range x {
		x[i] = float32(math.Sin(float64(i*i))) * 8
	}
	each := func(op int64) []int64 { return []int64{3, 1021, 1, 1, 1, 0, 1, 1, 0, 4, op, 1, 0, 0, 1} }
	for op := range int64(15) {
		if op == 10 || op == 11 { // of whole rows
			continue
		}
		code := each(op)
		if !slices.Equal(bitsOf(avx2(code, []float32{0.3, 0.4}, x)), bitsOf(avx512(code, []float32{0.3, 0.4}, x))) {
			t.Errorf("operator %d differs", op)
		}
	}
	mean := []int64{3, 1021, 0, 1, 1, 1, 2, 1, 0, 4, 11, 2, 0, 0, 1, 1, 0, 2, 1} // x less its mean
	if !slices.Equal(bitsOf(avx2(mean, make([]float32, 4), x)), bitsOf(avx512(mean, make([]float32, 4), x))) {
		t.Error("the mean differs")
	}
}

func bitsOf(x []float32) []uint32 {
	bits := make([]uint32, len(x))
	for i, v := range x {
		bits[i] = math.Float32bits(v)
	}
	return bits
}

// TestDamagedProgramsAreRefused changes the numbers of a program, and its length.
func TestDamagedProgramsAreRefused(t *testing.T) {
	orttest.Need(t)
	good, constants := []int64{1, 16, 0, 1, 1, 1, 2, 1, 0, 4, 11, 2, 0, 0, 2, 1, 0, 2, 1}, make([]float32, 4)
	opens := func(code []int64, constants []float32, rows bool) bool {
		s, err := ort.NewSession(rowsModel(t, 16, code, constants), ort.Options{Rows: rows, Threads: 1})
		if err == nil {
			s.Close()
		}
		return err == nil
	}
	if !opens(good, constants, true) {
		t.Fatal("the program isn't taken")
	}
	if opens(good, constants, false) {
		t.Error("a session that isn't to have programs took one")
	}
	for i := range good {
		for _, v := range []int64{-1, 97, 1 << 40, math.MaxInt64, math.MinInt64} {
			bad := slices.Clone(good)
			bad[i] = v
			if i < 2 && v == 97 { // rows and their length may be anything
				continue
			}
			if opens(bad, constants, true) {
				t.Errorf("number %d as %d was taken", i, v)
			}
		}
	}
	for n := range good {
		if opens(good[:n], constants, true) {
			t.Errorf("%d of %d numbers were taken", n, len(good))
		}
	}
	again := []int64{6, 16, 0, 1, 1, 0, 1, 1, 0, 3, 4, 1, 0, 0, 1, 1, 2} // negates rows of which each serves twice
	if !opens(again, constants[:2], true) {
		t.Fatal("a program whose rows serve again isn't taken")
	}
	for i := len(again) - 2; i < len(again); i++ {
		for _, v := range []int64{-1, 0, 4, 7, 1 << 40, math.MaxInt64} {
			bad := slices.Clone(again)
			if bad[i] = v; opens(bad, constants[:2], true) {
				t.Errorf("number %d as %d was taken", i, v)
			}
		}
		if opens(again[:i], constants[:2], true) {
			t.Errorf("%d of %d numbers were taken", i, len(again))
		}
	}
	if opens(good, constants[:3], true) || opens(append(slices.Clone(good), 0), constants, true) {
		t.Error("lists that are too short or too long were taken")
	}
}

// opensLayout reports whether a session takes a node of an operator of our own.
func opensLayout(t *testing.T, op string, layout, shape []int64, inputs ...onnx.Shape) bool {
	t.Helper()
	g := onnx.NewGraph("layout")
	y := &onnx.Value{Name: "y", Type: onnx.Float}
	y.Node = &onnx.Node{Name: "node", Domain: "relevit", Op: op, Outputs: []*onnx.Value{y},
		Attrs: []onnx.Attr{{Name: "layout", Value: layout}, {Name: "shape", Value: shape}}}
	for i, s := range inputs {
		y.Node.Inputs = append(y.Node.Inputs, g.AddInput(fmt.Sprint("x", i), onnx.Float, s))
	}
	g.Nodes, g.Outputs = []*onnx.Node{y.Node}, []*onnx.Value{y}
	data, err := (&onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(data, ort.Options{Rows: true, Threads: 1})
	if err == nil {
		s.Close()
	}
	return err == nil
}

// refusesDamage holds that a layout and a shape are taken, and not with another number,
// fewer of them, or another shape.
func refusesDamage(t *testing.T, opens func(layout, shape []int64) bool, good, shape, numbers []int64, shapes [][]int64) {
	t.Helper()
	if !opens(good, shape) {
		t.Fatal("the layout isn't taken")
	}
	for i := range good {
		for _, v := range numbers {
			bad := slices.Clone(good)
			bad[i] = v
			if opens(bad, shape) {
				t.Errorf("number %d as %d was taken", i, v)
			}
		}
		if opens(good[:i], shape) {
			t.Errorf("%d of %d numbers were taken", i, len(good))
		}
	}
	for _, bad := range shapes {
		if opens(good, bad) {
			t.Errorf("shape %v was taken", bad)
		}
	}
}

// TestDamagedLayoutsOfHeadsAreRefused changes the numbers of a layout, and its length.
func TestDamagedLayoutsOfHeadsAreRefused(t *testing.T) {
	orttest.Need(t)
	opens := func(layout, shape []int64) bool {
		return opensLayout(t, "Heads", layout, shape, onnx.ShapeOf(2, 3, 5, 16))
	}
	good, shape := []int64{2, 3, 5, 16, 1, 0, 0}, []int64{2, 5, 3, 16}
	refusesDamage(t, opens, good, shape, []int64{-1, 7, 1 << 40, math.MaxInt64, math.MinInt64},
		[][]int64{{2, 5, 3, 15}, {-2, -5, 3, 16}, {480, 0}, {math.MaxInt64, 2}})
	if opens([]int64{2, 3, 5, 16, 1, 1, 1}, []int64{2, 3, 5, 16}) {
		t.Error("columns of split rows were taken")
	}
}

// TestDamagedLayoutsOfProductsAreRefused changes the numbers of a layout, and its
// length.
func TestDamagedLayoutsOfProductsAreRefused(t *testing.T) {
	orttest.Need(t)
	if !ort.Products() {
		t.Skip("this processor has no AVX-512")
	}
	opens := func(layout, shape []int64) bool {
		return opensLayout(t, "Product", layout, shape, onnx.ShapeOf(2, 40, 300), onnx.ShapeOf(2, 300, 50))
	}
	good, shape := []int64{2, 40, 50, 300, 0, 0, 0, 0, 0, 2}, []int64{2, 40, 50}
	refusesDamage(t, opens, good, shape, []int64{-1, 1 << 40, math.MaxInt64, math.MinInt64},
		[][]int64{{2, 40, 49}, {-2, -40, 50}, {4000, 0}, {math.MaxInt64, 2}})
}

// TestCustomOpIsLaidOutAsTheHeaderHasIt compares the members of our copy of
// OrtCustomOp with the header that comes with the Go binding.
func TestCustomOpIsLaidOutAsTheHeaderHasIt(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	members := func(path, from, to string) (names []string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(text), from)
		body, _, _ = strings.Cut(body, to)
		body = regexp.MustCompile(`//[^\n]*`).ReplaceAllString(body, "")
		for _, m := range regexp.MustCompile(`\(\s*(?:ORT_API_CALL)?\s*\*\s*(\w+)\s*\)\s*\(`).FindAllStringSubmatch(body, -1) {
			names = append(names, m[1])
		}
		return names
	}
	ours := members("custom_op.h", "typedef struct custom_op {", "} custom_op;")
	theirs := members(filepath.Join(strings.TrimSpace(string(out)), "onnxruntime_c_api.h"), "\nstruct OrtCustomOp {", "\n};")
	if len(ours) != 25 || fmt.Sprint(ours) != fmt.Sprint(theirs) {
		t.Errorf("ours  %v\ntheirs %v", ours, theirs)
	}
}
