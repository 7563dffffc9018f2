package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// flat lists the leaf fields of a document by path, in the file's order.
func flat(m *message, prefix string, out *[]string) {
	seen := map[protowire.Number]int{}
	for _, f := range m.fields {
		path := fmt.Sprintf("%s.%d[%d]", prefix, f.num, seen[f.num])
		seen[f.num]++
		if f.sub != nil {
			flat(f.sub, path, out)
			continue
		}
		_, tag := protowire.ConsumeVarint(f.head)
		*out = append(*out, fmt.Sprintf("%s tag %x = %x", path, f.head[:tag], f.body))
	}
}

func flatOf(t *testing.T, data []byte) []string {
	t.Helper()
	d, err := ParseDocument(data, "")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	flat(d.root, "", &out)
	return out
}

// changed lists the places where two files of equally many fields differ.
func changed(t *testing.T, before, after []byte) []int {
	t.Helper()
	a, b := flatOf(t, before), flatOf(t, after)
	if len(a) != len(b) {
		t.Fatalf("%d fields became %d", len(a), len(b))
	}
	var out []int
	for i := range a {
		if a[i] != b[i] {
			out = append(out, i)
		}
	}
	return out
}

func TestSetInitializerChangesOneFieldOfForeignFiles(t *testing.T) {
	for _, path := range oracleModels(t) {
		m, d, err := ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		before := d.Bytes()
		edited := 0
		for _, v := range m.Graph.Inits {
			if v.Type != Float || len(v.Data.Raw) == 0 {
				continue
			}
			data := bytes.Repeat([]byte{1, 2, 3, 4}, len(v.Data.Raw)/4)
			if err := d.SetInitializer(v.Name, &Tensor{Type: Float, Dims: v.Data.Dims, Raw: data}); err != nil {
				t.Fatal(err)
			}
			edited++
		}
		after := d.Bytes()
		if n := len(changed(t, before, after)); n != edited || len(after) != len(before) {
			t.Errorf("%s: %d fields changed for %d initializers, %d bytes became %d", path, n, edited, len(before), len(after))
		}
		for _, v := range m.Graph.Inits {
			if v.Type == Float {
				if err := d.SetInitializer(v.Name, v.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !bytes.Equal(d.Bytes(), before) {
			t.Errorf("%s: setting the old values back doesn't give the old file", path)
		}
	}
}

func TestSetInitializerKeepsTheStorageForm(t *testing.T) {
	one := func(x float32) func(*parts) { return func(w *parts) { w.float(tensorFloats, x) } }
	init := func(kind DType, n int64, fill ...func(*parts)) func(*parts) {
		return sub(graphInit, append([]func(*parts){number(tensorDims, n), number(tensorType, int64(kind)), text(tensorName, "w")}, fill...)...)
	}
	constant := sub(graphNode, text(nodeOutput, "w"), text(nodeOp, "Constant"), sub(nodeAttr, text(attrName, "value"),
		sub(attrT, number(tensorDims, 1), number(tensorType, 1), text(tensorRaw, "1234")), number(attrType, attrIsTensor)))
	for _, c := range []struct {
		name  string
		field func(*parts)
		set   *Tensor
		want  int // fields changed
	}{
		{"raw", init(Float, 2, text(tensorRaw, "12341234")), FloatTensor([]float32{3, 4}, 2), 1},
		{"packed floats", init(Float, 2, text(tensorFloats, "12341234")), FloatTensor([]float32{3, 4}, 2), 1},
		{"unpacked floats", init(Float, 2, one(1), one(2)), FloatTensor([]float32{3, 4}, 2), 1},
		{"floats in pieces", init(Float, 4, one(1), text(tensorDoc, "between"), text(tensorFloats, "12341234"), number(99, 1), one(2)),
			FloatTensor([]float32{3, 4, 5, 6}, 4), 3},
		{"doubles", init(Double, 1, text(tensorDoubles, "12345678")), DoubleTensor([]float64{3}, 1), 1},
		{"int64s", init(Int64, 2, text(tensorInt64s, varints(1, 2))), Int64Tensor([]int64{-1, 300}, 2), 1},
		{"unpacked int64s", init(Int64, 2, number(tensorInt64s, 1), number(tensorInt64s, 2)), Int64Tensor([]int64{-1, 300}, 2), 1},
		{"bools", init(Bool, 2, text(tensorInt32s, varints(1, 0))), BoolTensor([]bool{false, true}, 2), 1},
		{"int16s", init(Int16, 1, text(tensorInt32s, varints(1))), &Tensor{Type: Int16, Dims: []int64{1}, Raw: []byte{0xfe, 0xff}}, 1},
		{"half in int32s", init(Float16, 2, text(tensorInt32s, varints(1, 2))), FloatTensor([]float32{1, -2}, 2), 1},
		{"half in raw", init(Float16, 2, text(tensorRaw, "1234")), FloatTensor([]float32{1, -2}, 2), 1},
		{"bfloat16", init(BFloat16, 2, text(tensorRaw, "1234")), FloatTensor([]float32{1, -2}, 2), 1},
		{"empty", init(Float, 0), FloatTensor(nil, 0), 0},
		{"constant", constant, FloatTensor([]float32{7}, 1), 1},
	} {
		before := append(file(c.field), fields(text(4242, "unknown"))...)
		d, err := ParseDocument(before, "")
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := d.SetInitializer("w", c.set); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		after := d.Bytes()
		if n := len(changed(t, before, after)); n != c.want {
			t.Errorf("%s: %d fields changed, expected %d", c.name, n, c.want)
		}
		m, err := decodeFile(t, after)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := m.Graph.Find("w").Data
		if got == nil {
			got = m.Graph.Find("w").Node.Attr("value").(*Tensor)
		}
		a, errA := got.Float64s()
		b, errB := c.set.Float64s()
		if errA != nil || errB != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s: reads back as %v, expected %v (%v, %v)", c.name, a, b, errA, errB)
		}
	}
}

const tensorDoc = 12

func TestSetInitializerRefusesWhatDoesNotFit(t *testing.T) {
	d, err := ParseDocument(file(sub(graphInit, number(tensorDims, 2), number(tensorType, 1), text(tensorName, "w"), text(tensorRaw, "12341234")),
		sub(graphInit, number(tensorDims, 1), number(tensorType, 10), text(tensorName, "h"), text(tensorRaw, "12"))), "")
	if err != nil {
		t.Fatal(err)
	}
	before := d.Bytes()
	for _, c := range []struct {
		name, want string
		set        *Tensor
	}{
		{"v", "no initializer", FloatTensor([]float32{1, 2}, 2)},
		{"w", "has shape (1,2)", FloatTensor([]float32{1, 2}, 1, 2)},
		{"w", "is float64", DoubleTensor([]float64{1, 2}, 2)},
		{"w", "has 4 bytes", FloatTensor([]float32{1}, 2)},
		{"h", "too big for float16", FloatTensor([]float32{70000}, 1)},
		{"y", "no initializer", FloatTensor([]float32{1}, 1)},
	} {
		if err := d.SetInitializer(c.name, c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, expected %q", c.name, err, c.want)
		}
	}
	if !bytes.Equal(d.Bytes(), before) {
		t.Error("a refused edit changed the document")
	}
}

func TestSetMetadataReplacesOrAppends(t *testing.T) {
	tail := fields(text(4242, "unknown"))
	entry := func(k, v string) []byte {
		return fields(sub(modelMetadata, text(entryKey, k), text(entryValue, v), number(7, 7)))
	}
	plain := func(k, v string) []byte {
		return fields(sub(modelMetadata, text(entryKey, k), text(entryValue, v)))
	}
	join := func(b ...[]byte) []byte { return bytes.Join(b, nil) }
	for _, c := range []struct{ before, want []byte }{
		{join(file(), tail), join(file(), tail, plain("k", "new"))},
		{join(entry("a", "b"), file(), tail), join(entry("a", "b"), plain("k", "new"), file(), tail)},
		{join(entry("k", "old"), file(), entry("b", "")), join(entry("k", "new"), file(), entry("b", ""))},
		{join(entry("k", "a longer one"), tail), join(entry("k", "new"), tail)},
	} {
		d, err := ParseDocument(c.before, "")
		if err != nil {
			t.Fatal(err)
		}
		d.SetMetadata("k", "new")
		if got := d.Bytes(); !bytes.Equal(got, c.want) {
			t.Errorf("got\n%q, expected\n%q", got, c.want)
		}
	}
}

func TestFloatsRoundToHalfAsIEEESays(t *testing.T) {
	for h := range 1 << 16 { // every half comes back as itself, bfloat16 too
		for _, kind := range []DType{Float16, BFloat16} {
			in := &Tensor{Type: kind, Dims: []int64{1}, Raw: []byte{byte(h), byte(h >> 8)}}
			wide, err := in.As(Float)
			if err != nil {
				t.Fatal(err)
			}
			back, err := wide.As(kind)
			if err != nil {
				t.Fatal(err)
			}
			f, _ := wide.Float64s()
			if math.IsNaN(f[0]) {
				g, _ := back.Float64s()
				if !math.IsNaN(g[0]) {
					t.Fatalf("%v %04x: NaN became %v", kind, h, g[0])
				}
			} else if !bytes.Equal(back.Raw, in.Raw) {
				t.Fatalf("%v %04x: %v came back as % x", kind, h, f[0], back.Raw)
			}
		}
	}
	for _, c := range []struct {
		x    float64
		kind DType
		want uint16
	}{
		{1 + 1.0/2048, Float16, 0x3c00}, {1 + 3.0/2048, Float16, 0x3c02}, {1 + 1.1/2048, Float16, 0x3c01},
		{65504, Float16, 0x7bff}, {65519, Float16, 0x7bff}, {math.Ldexp(1, -25), Float16, 0}, {math.Ldexp(1.1, -25), Float16, 1},
		{math.Ldexp(1023.5, -24), Float16, 0x400}, {1 + 1.0/256, BFloat16, 0x3f80}, {1 + 3.0/256, BFloat16, 0x3f82},
	} {
		got, err := DoubleTensor([]float64{c.x}, 1).As(c.kind)
		if err != nil || uint16(got.Raw[0])|uint16(got.Raw[1])<<8 != c.want {
			t.Errorf("%g as %v: % x, expected %04x (%v)", c.x, c.kind, got.Raw, c.want, err)
		}
	}
	for _, x := range []float64{65520, -70000} {
		if _, err := DoubleTensor([]float64{x}, 1).As(Float16); err == nil {
			t.Errorf("%g became a float16", x)
		}
	}
}

func TestNothingHalfWrittenStaysAfterAFailure(t *testing.T) {
	dir := t.TempDir()
	var s staging
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err := s.open(path, func(f *os.File) error {
		if _, err := f.WriteString("half"); err != nil {
			return err
		}
		return full
	})
	s.abandon()
	if !errors.Is(err, full) {
		t.Errorf("got %v, expected the write's own error", err)
	}
	entries, _ := os.ReadDir(dir)
	if got, _ := os.ReadFile(path); string(got) != "old" || len(entries) != 1 {
		t.Errorf("after a failed write the folder holds %v and the file %q", entries, got)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("/dev/full is absent: no full disk to write to")
	}
	w, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var p parts
	p.add(make([]byte, 1<<20))
	if err := p.writeTo(w); err == nil {
		t.Error("writing to a full disk gave no error")
	}
}
