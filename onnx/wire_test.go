package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields builds a message by hand.
func fields(fill ...func(*parts)) []byte {
	var w parts
	for _, f := range fill {
		f(&w)
	}
	return w.join()
}

func sub(num protowire.Number, fill ...func(*parts)) func(*parts) {
	return func(w *parts) { w.bytes(num, fields(fill...)) }
}

func text(num protowire.Number, s string) func(*parts) {
	return func(w *parts) { w.bytes(num, []byte(s)) }
}

func number(num protowire.Number, v int64) func(*parts) {
	return func(w *parts) { w.integer(num, v) }
}

func raw(b ...byte) func(*parts) { return func(w *parts) { w.add(b) } }

// file is a model around the given fields of its graph: an input x and an
// output y = Identity(x) are there already.
func file(fill ...func(*parts)) []byte {
	info := func(name string) func(*parts) {
		return func(w *parts) {
			w.add(fields(text(infoName, name), sub(infoType, sub(typeTensor, number(tensorTypeElem, 1),
				sub(tensorTypeShape, sub(shapeDim, text(dimParam, "batch")), sub(shapeDim, number(dimValue, 2)))))))
		}
	}
	graph := append([]func(*parts){
		sub(graphNode, text(nodeInput, "x"), text(nodeOutput, "y"), text(nodeOp, "Identity")),
		text(graphName, "g"), sub(graphInput, info("x")), sub(graphOutput, info("y")),
	}, fill...)
	return fields(number(modelIR, 8), sub(modelGraph, graph...),
		sub(modelOpsets, text(opsetDomain, ""), number(opsetVersion, 17)))
}

// nasty lists files that parse, but that no serialiser writes.
func nasty() map[string][]byte {
	return map[string][]byte{
		"empty": {},
		"plain": file(),
		"non-minimal varints": append(file(), 0x88, 0x80, 0x00, 0x81, 0x80, 0x80, 0x00, // ir_version in a wide tag
			0xc2, 0x00, 0x84, 0x80, 0x00, 0x10, 0x91, 0x80, 0x00), // opset_import with wide tag, length and value
		"unknown fields":      append(file(), fields(text(9999, "later"), number(777, -1), raw(0x9d, 0x3f, 1, 2, 3, 4))...),
		"group":               append(file(), 0xfb, 0x3e, 0x08, 0x05, 0xfb, 0x3e, 0xfc, 0x3e, 0xfc, 0x3e),
		"fields out of order": fields(sub(modelMetadata, text(entryValue, "v"), text(entryKey, "k")), raw(file()...)),
		"graph in two pieces": append(file(), fields(sub(modelGraph, sub(graphInit, number(tensorDims, 1),
			number(tensorType, 1), text(tensorName, "w"), text(tensorRaw, "1234"))))...),
		"unpacked floats": file(sub(graphInit, number(tensorType, 1), number(tensorDims, 3), text(tensorName, "w"),
			func(w *parts) { w.float(tensorFloats, 1) }, func(w *parts) { w.float(tensorFloats, 2) },
			text(tensorFloats, "\x00\x00\x40\x40"))),
		"packed dims":        file(sub(graphInit, text(tensorDims, "\x02\x01"), number(tensorType, 3), text(tensorRaw, "ab"), text(tensorName, "w"))),
		"alternating fields": file(bytesAlternate),
		"wrong wire type":    append(file(), fields(number(modelGraph, 5), text(modelIR, "x"))...),
		"shape without type": fields(number(modelIR, 8), sub(modelGraph, text(graphName, "g"), sub(graphInput, text(infoName, "x"),
			sub(infoType, sub(typeTensor, sub(tensorTypeShape, sub(shapeDim)))))), sub(modelOpsets, number(opsetVersion, 17))),
		"last one wins": append(file(), fields(number(modelIR, 7), number(modelIR, 9))...),
	}
}

func bytesAlternate(w *parts) {
	for i := range 100 {
		w.integer(500, int64(i))
		w.float(501, float32(i))
	}
}

func TestNastyEncodingsComeBackBitExact(t *testing.T) {
	for name, data := range nasty() {
		d, err := ParseDocument(data, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := d.Bytes(); !bytes.Equal(got, data) {
			t.Errorf("%s: came back as\n%x, expected\n%x", name, got, data)
		}
		m, err := d.Model()
		if name == "empty" {
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Errorf("%s: %v, expected a FormatError", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := m.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d, err = ParseDocument(again, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, err := d.Model()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m.IRVersion = back.IRVersion // raised to that of the opset
		sameModel(t, back, m)
	}
}

func TestParseErrorsNamePlaceAndCause(t *testing.T) {
	whole := file(sub(graphInit, number(tensorDims, 4), number(tensorType, 1), text(tensorName, "w"),
		text(tensorRaw, strings.Repeat("x", 16))))
	at := bytes.Index(whole, []byte("xxxxxxxxxxxxxxxx"))
	deep := []byte{}
	for range 60 { // graph in node in attribute in graph ...
		deep = fields(sub(graphNode, sub(nodeAttr, sub(attrG, raw(deep...)))))
	}
	for _, c := range []struct {
		name string
		data []byte
		want FormatError
		text string
	}{
		{"truncated", whole[:at+3], FormatError{Offset: int64(at), Where: "graph.initializer[0].raw_data"}, "says 16 bytes, 3 are left"},
		{"truncated length", []byte{0x3a, 0x80}, FormatError{Offset: 1, Where: "graph"}, "ends inside a length"},
		{"truncated tag", []byte{0x08, 0x08, 0x80}, FormatError{Offset: 2}, "ends inside a field tag"},
		{"truncated float", []byte{0x3a, 3, 0x0d, 1, 2}, FormatError{Offset: 3, Where: "graph.node[0]"}, "ends inside a value"},
		{"overlong", fields(sub(modelGraph, raw(0x2a, 100)), text(modelProducer, strings.Repeat("p", 200))),
			FormatError{Offset: 4, Where: "graph.initializer[0]"}, "the message around it has only 0 left"},
		{"field number 0", []byte{0x00, 0x00}, FormatError{Offset: 0}, "not protobuf"},
		{"stray end of group", []byte{0x3c}, FormatError{Offset: 1, Where: "graph"}, "not protobuf"},
		{"length past 2^63", append([]byte{0x3a}, protowire.AppendVarint(nil, 1<<64-1)...), FormatError{Offset: 11, Where: "graph"}, "truncated"},
		{"deep", fields(sub(modelGraph, raw(deep...))), FormatError{Offset: -2}, "nested deeper than 100"},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1\n"), FormatError{Offset: -2}, "Git LFS pointer"},
	} {
		_, err := ParseDocument(c.data, "")
		var fe *FormatError
		if !errors.As(err, &fe) {
			t.Errorf("%s: got %v, expected a FormatError", c.name, err)
			continue
		}
		if c.want.Offset != -2 && (fe.Offset != c.want.Offset || fe.Where != c.want.Where) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v at %d %s, expected %q at %d %s", c.name, err, fe.Offset, fe.Where, c.text, c.want.Offset, c.want.Where)
		}
	}
}

func TestLimitsStopHugeFiles(t *testing.T) {
	many := file(bytesAlternate)
	if _, err := parseDocument(many, "", "", limits{depth: 100, fields: 50, name: 100, bytes: 1 << 20}); err == nil ||
		!strings.Contains(err.Error(), "more than 50 fields") {
		t.Errorf("200 fields against a limit of 50: %v", err)
	}
	if _, err := parseDocument(many, "", "", limits{depth: 100, fields: 500, name: 100, bytes: 100}); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf("the file has %d bytes", len(many))) {
		t.Errorf("a file over the size limit: %v", err)
	}
}

// TestCutModelsFailQuickly cuts models at every percent.
func TestCutModelsFailQuickly(t *testing.T) {
	files, err := filepath.Glob("../pipeline/testdata/zoo/*/model.onnx")
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in pipeline/testdata/zoo (%v)", err)
	}
	if large := "../../shared/oracle/vit-tiny/model.onnx"; fileExists(large) {
		files = append(files, large)
	}
	dir := t.TempDir()
	for _, path := range files {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		graph := m.Graph.String()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		cut := filepath.Join(dir, "cut.onnx")
		if err := os.WriteFile(cut, whole, 0o666); err != nil {
			t.Fatal(err)
		}
		for percent := 99; percent >= 0; percent-- {
			if err := os.Truncate(cut, int64(len(whole)*percent/100)); err != nil {
				t.Fatal(err)
			}
			m, _, err := ReadModel(cut)
			if err == nil && m.Graph.String() == graph {
				continue // between the fields behind the graph
			}
			if e := (*FormatError)(nil); !errors.As(err, &e) || e.File != cut {
				t.Errorf("%d %% of %s: %v", percent, path, err)
			}
		}
		runtime.ReadMemStats(&after)
		if took, mb := time.Since(start), int64(after.TotalAlloc-before.TotalAlloc)>>20; took > 2*time.Minute || mb > 200+2*100*int64(len(whole))>>20 {
			t.Errorf("100 cuts of %s took %v and %d MB", path, took, mb)
		}
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestLargeFilesThatAreCutArentRead makes a file that says it has 1 GB more than
// it has.
func TestLargeFilesThatAreCutArentRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cut.onnx")
	head := "\x08\x09" + string(protowire.AppendVarint([]byte{modelGraph<<3 | byte(protowire.BytesType)}, 1<<30))
	if err := errors.Join(os.WriteFile(path, []byte(head), 0o666), os.Truncate(path, 512<<20)); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ReadDocument(path)
	runtime.ReadMemStats(&after)
	if e := (*FormatError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), "truncated") || e.Where != "graph" {
		t.Errorf("it gives %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("reading it took %d bytes", n)
	}
}
