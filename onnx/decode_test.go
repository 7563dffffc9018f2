package onnx

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func decodeFile(t *testing.T, data []byte) (*Model, error) {
	t.Helper()
	d, err := ParseDocument(data, "")
	if err != nil {
		return nil, err
	}
	return d.Model()
}

func varints(v ...int64) string {
	var b []byte
	for _, x := range v {
		b = protowire.AppendVarint(b, uint64(x))
	}
	return string(b)
}

func TestTypedDataBecomesRaw(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		kind  DType
		field protowire.Number
		data  string
		raw   []byte
	}{
		{Float, tensorFloats, "\x00\x00\x80\x3f\x00\x00\x00\x40", le.AppendUint32(le.AppendUint32(nil, math.Float32bits(1)), math.Float32bits(2))},
		{Double, tensorDoubles, "1234567812345678", []byte("1234567812345678")},
		{Int64, tensorInt64s, varints(-5, 7), []byte{251, 255, 255, 255, 255, 255, 255, 255, 7, 0, 0, 0, 0, 0, 0, 0}},
		{Uint64, tensorUint64s, varints(-1, 7), []byte{255, 255, 255, 255, 255, 255, 255, 255, 7, 0, 0, 0, 0, 0, 0, 0}},
		{Uint32, tensorUint64s, varints(1<<32-1, 7), []byte{255, 255, 255, 255, 7, 0, 0, 0}},
		{Int32, tensorInt32s, varints(-5, 7), []byte{251, 255, 255, 255, 7, 0, 0, 0}},
		{Int16, tensorInt32s, varints(-5, 7), []byte{251, 255, 7, 0}},
		{Uint16, tensorInt32s, varints(65535, 7), []byte{255, 255, 7, 0}},
		{Int8, tensorInt32s, varints(-5, 7), []byte{251, 7}},
		{Uint8, tensorInt32s, varints(255, 7), []byte{255, 7}},
		{Bool, tensorInt32s, varints(1, 0), []byte{1, 0}},
		{Float16, tensorInt32s, varints(0x3c00, 0x4000), []byte{0, 0x3c, 0, 0x40}},
		{BFloat16, tensorInt32s, varints(0x3f80, 0x4000), []byte{0x80, 0x3f, 0, 0x40}},
	} {
		m, err := decodeFile(t, file(sub(graphInit, number(tensorDims, 2), number(tensorType, int64(c.kind)),
			text(tensorName, "w"), text(c.field, c.data))))
		if err != nil {
			t.Errorf("%v: %v", c.kind, err)
			continue
		}
		if got := m.Graph.Inits[0].Data.Raw; !slices.Equal(got, c.raw) {
			t.Errorf("%v: got % x, expected % x", c.kind, got, c.raw)
		}
	}
	m, err := decodeFile(t, file(sub(graphInit, number(tensorDims, 2), number(tensorType, int64(String)),
		text(tensorName, "w"), text(tensorStrings, "a"), text(tensorStrings, ""))))
	if err != nil || len(m.Graph.Inits[0].Data.Strings) != 2 {
		t.Errorf("strings: %v", err)
	}
}

func TestRawDataIsNotCopied(t *testing.T) {
	data := file(sub(graphInit, number(tensorDims, 4), number(tensorType, 3), text(tensorName, "w"), text(tensorRaw, "abcd")))
	m, err := decodeFile(t, data)
	if err != nil {
		t.Fatal(err)
	}
	data[slices.Index(data, 'a')+strings.Index(string(data[slices.Index(data, 'a'):]), "abcd")] = 'Z'
	if got := string(m.Graph.Inits[0].Data.Raw); got != "Zbcd" {
		t.Errorf("the tensor holds %q, expected the file's own bytes, Zbcd", got)
	}
}

func TestBrokenModelsNameTheirProblem(t *testing.T) {
	init := func(fill ...func(*parts)) []byte {
		return file(sub(graphInit, append([]func(*parts){text(tensorName, "w")}, fill...)...))
	}
	node := func(in, out string) func(*parts) {
		return sub(graphNode, text(nodeInput, in), text(nodeOutput, out), text(nodeOp, "Neg"))
	}
	float := number(tensorType, 1)
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"no graph", "no ir_version and graph", fields(number(modelIR, 8))},
		{"no opset", "no operator set", fields(number(modelIR, 8), sub(modelGraph))},
		{"negative dim", "a size is negative", init(float, number(tensorDims, -1))},
		{"overflowing dims", "too big", init(float, number(tensorDims, 1<<40), number(tensorDims, 1<<40))},
		{"huge dims, no data", "float_data has 0 bytes", init(float, number(tensorDims, 1<<40))},
		{"huge dims, tiny raw", "raw_data has 4 bytes", init(float, number(tensorDims, 1<<40), text(tensorRaw, "1234"))},
		{"too much data", "raw_data has 8 bytes", init(float, number(tensorDims, 1), text(tensorRaw, "12345678"))},
		{"no type", "type undefined", init(number(tensorDims, 1), text(tensorRaw, "1234"))},
		{"unknown type", "dtype(99)", init(number(tensorType, 99))},
		{"uneven floats", "no list of numbers", init(float, number(tensorDims, 1), text(tensorFloats, "123"))},
		{"broken varints", "no list of numbers", init(number(tensorType, 7), number(tensorDims, 1), text(tensorInt64s, "\xff"))},
		{"missing strings", "string_data has 0 strings", init(number(tensorType, 8), number(tensorDims, 1<<50))},
		{"segment", "segmented", init(float, sub(tensorSegment, number(1, 0)))},
		{"external in memory", "its folder isn't known", init(float, number(tensorDims, 1), number(tensorLocation, 1),
			sub(tensorExternal, text(entryKey, "location"), text(entryValue, "w.bin")))},
		{"external without location", "names no location", init(float, number(tensorLocation, 1))},
		{"sparse", "sparse initializers", file(sub(graphSparse))},
		{"duplicate initializer", "two initializers", file(sub(graphInit, float, text(tensorName, "w"), text(tensorRaw, "1234")),
			sub(graphInit, float, text(tensorName, "w"), text(tensorRaw, "1234")))},
		{"duplicate value", `the name "y" is already`, file(node("x", "y"))},
		{"missing input", `reads "nowhere"`, file(node("nowhere", "z"))},
		{"missing output", `output "nowhere"`, file(sub(graphOutput, text(infoName, "nowhere")))},
		{"cycle", "cycle", file(node("a", "b"), node("b", "a"))},
		{"no operator", "no operator", file(sub(graphNode, text(nodeInput, "x"), text(nodeOutput, "z")))},
		{"twice the same attribute", "two attributes", file(sub(graphNode, text(nodeOutput, "z"), text(nodeOp, "Neg"),
			sub(nodeAttr, text(attrName, "a")), sub(nodeAttr, text(attrName, "a"))))},
		{"tensor attribute without tensor", "there is none", file(sub(graphNode, text(nodeOutput, "z"), text(nodeOp, "Neg"),
			sub(nodeAttr, text(attrName, "a"), number(attrType, attrIsTensor))))},
		{"default of another shape", "the input of that name", file(sub(graphInit, float, number(tensorDims, 3), text(tensorName, "x"), text(tensorRaw, "123412341234")))},
		{"subgraph reads nothing", `subgraph reads "nowhere"`, file(sub(graphNode, text(nodeOutput, "z"), text(nodeOp, "If"),
			sub(nodeAttr, text(attrName, "then_branch"), number(attrType, attrIsGraph), sub(attrG, node("nowhere", "q")))))},
	} {
		_, err := decodeFile(t, c.data)
		var fe *FormatError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, expected a FormatError with %q", c.name, err, c.want)
		}
	}
}

func TestHostileDimsAllocateNothing(t *testing.T) {
	data := file(sub(graphInit, number(tensorDims, 1<<40), number(tensorType, 1), text(tensorName, "w"),
		number(tensorLocation, 1), sub(tensorExternal, text(entryKey, "location"), text(entryValue, "w.bin"))))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := decodeFile(t, data); err == nil {
		t.Error("a tensor of 4 TB without data was read")
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("reading %d bytes allocated %d", len(data), grown)
	}
}

func TestGraphsOutOfOrderAreSorted(t *testing.T) {
	node := func(in, out string) func(*parts) {
		return sub(graphNode, text(nodeInput, in), text(nodeOutput, out), text(nodeOp, "Neg"))
	}
	m, err := decodeFile(t, file(node("c", "d"), node("b", "c"), node("x", "b")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range m.Graph.Nodes {
		got = append(got, n.Outputs[0].Name)
	}
	if want := []string{"y", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("order %v, expected %v", got, want)
	}
	if p := Check(m); len(p) != 0 {
		t.Errorf("Check: %v", p)
	}
}

func TestDimensionsDecode(t *testing.T) {
	dim := func(fill ...func(*parts)) func(*parts) { return sub(shapeDim, fill...) }
	info := sub(graphInput, text(infoName, "in"), sub(infoType, sub(typeTensor, number(tensorTypeElem, 1),
		sub(tensorTypeShape, dim(number(dimValue, 7)), dim(text(dimParam, "batch")), dim(), dim(text(dimParam, "")),
			dim(number(dimValue, -1)), dim(text(dimParam, "3*batch")), dim(text(dimParam, "03*batch")), dim(text(dimParam, "s0*s1"))))))
	m, err := decodeFile(t, file(info, sub(graphInput, text(infoName, "scalar"), sub(infoType, sub(typeTensor,
		number(tensorTypeElem, 1), sub(tensorTypeShape)))), sub(graphInput, text(infoName, "any"), sub(infoType,
		sub(typeTensor, number(tensorTypeElem, 1))))))
	if err != nil {
		t.Fatal(err)
	}
	want := Shape{D(7), {1, "batch"}, Unknown, Unknown, Unknown, {3, "batch"}, {1, "03*batch"}, {1, "s0*s1"}}
	in := m.Graph.Inputs
	if !reflect.DeepEqual(in[1].Shape, want) || in[2].Shape == nil || len(in[2].Shape) != 0 || in[3].Shape != nil {
		t.Errorf("shapes %v, %v, %v; expected %v, (), ?", in[1].Shape, in[2].Shape, in[3].Shape, want)
	}
}

func TestAttributesOfAllKindsDecode(t *testing.T) {
	attr := func(name string, kind int64, fill ...func(*parts)) func(*parts) {
		return sub(nodeAttr, append([]func(*parts){text(attrName, name), number(attrType, kind)}, fill...)...)
	}
	data := file(sub(graphNode, text(nodeOutput, "z"), text(nodeOp, "Op"), text(nodeDomain, "ai.onnx"),
		attr("f", 1, func(w *parts) { w.float(attrF, 1.5) }), attr("f0", 1), attr("i", 2, number(attrI, -3)),
		attr("s", 3, text(attrS, "hi")), attr("t", 4, sub(attrT, number(tensorType, 3), text(tensorRaw, "\x05"))),
		attr("fs", 6, text(attrFloats, "\x00\x00\x80\x3f\x00\x00\x00\x40")), attr("is", 7, number(attrInts, 1), number(attrInts, -2)),
		attr("none", 7), attr("ss", 8, text(attrStrings, "a"), text(attrStrings, "b")),
		sub(nodeAttr, text(attrName, "old"), number(attrI, 4)), attr("tp", 13, sub(14))))
	m, err := decodeFile(t, data)
	if err != nil {
		t.Fatal(err)
	}
	n := m.Graph.Nodes[1]
	if n.Domain != "" {
		t.Errorf("domain %q, expected ai.onnx to be the default one", n.Domain)
	}
	for name, want := range map[string]any{"f": float32(1.5), "f0": float32(0), "i": int64(-3), "s": "hi",
		"t": &Tensor{Type: Int8, Dims: []int64{}, Raw: []byte{5}}, "fs": []float32{1, 2}, "is": []int64{1, -2},
		"none": []int64{}, "ss": []string{"a", "b"}, "old": int64(4)} {
		if got := n.Attr(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, expected %#v", name, got, want)
		}
	}
	if _, ok := n.Attr("tp").(Opaque); !ok {
		t.Errorf("tp: got %T, expected Opaque", n.Attr("tp"))
	}
}

func TestSubgraphsCaptureOuterValues(t *testing.T) {
	node := func(in, out string, more ...func(*parts)) func(*parts) {
		return sub(graphNode, append([]func(*parts){text(nodeInput, in), text(nodeOutput, out), text(nodeOp, "Neg")}, more...)...)
	}
	inner := sub(nodeAttr, text(attrName, "body"), number(attrType, attrIsGraph), sub(attrG, node("late", "r"), node("q", "s")))
	data := file(sub(graphNode, text(nodeInput, "y"), text(nodeOutput, "z"), text(nodeOp, "If"), sub(nodeAttr,
		text(attrName, "then_branch"), number(attrType, attrIsGraph), sub(attrG, node("x", "q", inner), node("q", "u"),
			sub(graphOutput, text(infoName, "u"))))), node("x", "late"))
	m, err := decodeFile(t, data)
	if err != nil {
		t.Fatal(err)
	}
	g := m.Graph
	if got := g.Nodes[2]; got.Op != "If" || len(got.Captures) != 2 {
		t.Fatalf("node 2 is %v with captures %v, expected If after what it captures, x and late", got, got.Captures)
	}
	if fresh := g.Fresh("q"); fresh == "q" {
		t.Error("a subgraph's name was handed out again")
	}
	if _, err := m.Encode(); err != nil {
		t.Error(err)
	}
	g.Rename(g.Find("late"), "renamed")
	if _, err := m.Encode(); err == nil || !strings.Contains(err.Error(), `reads "late"`) {
		t.Errorf("encoding with a captured value renamed: %v", err)
	}
}

func TestInitializersMayBeInputsToo(t *testing.T) {
	m, err := decodeFile(t, file(sub(graphInit, number(tensorType, 1), number(tensorDims, 4), number(tensorDims, 2),
		text(tensorName, "x"), text(tensorRaw, strings.Repeat("1234", 8)))))
	if err != nil {
		t.Fatal(err)
	}
	if x := m.Graph.Inputs[0]; x.Data == nil || m.Graph.Inits[0] != x || x.Shape.String() != "(batch,2)" {
		t.Errorf("x is %v, data %v; expected the input itself with a default", x, x.Data != nil)
	}
}

func TestFunctionsAreNamed(t *testing.T) {
	m, err := decodeFile(t, append(file(), fields(sub(modelFunctions, text(functionName, "f"), text(functionDomain, "d")))...))
	if err != nil || !slices.Equal(m.Functions, []string{"d.f"}) {
		t.Errorf("functions %v (%v), expected d.f", m.Functions, err)
	}
}
