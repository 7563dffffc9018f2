package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Pieces of an ONNX file, by the numbers of its fields.

func field(num protowire.Number, parts ...string) string {
	body := strings.Join(parts, "")
	return string(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.BytesType), uint64(len(body)))) + body
}

func number(num protowire.Number, v int64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v)))
}

// announced is a field that says how long it is, and isn't.
func announced(num protowire.Number, length uint64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.BytesType), length))
}

// modelOf is a file around a graph's fields, modelIn one of other opsets.
func modelOf(graph ...string) string { return modelIn(field(8, number(2, 17)), graph...) }

func modelIn(opsets string, graph ...string) string {
	return number(1, 9) + field(7, append(graph, field(2, "g"))...) + opsets
}

func input(name string, dims ...int64) string {
	var shape string
	for _, d := range dims {
		shape += field(1, number(1, d))
	}
	return field(11, field(1, name), field(2, field(1, number(1, 1), field(2, shape))))
}

func output(name string) string { return field(12, field(1, name)) }

func node(op, in, out string, more ...string) string {
	var s string
	for name := range strings.FieldsSeq(in) {
		s += field(1, name)
	}
	for name := range strings.FieldsSeq(out) {
		s += field(2, name)
	}
	return field(1, s, field(4, op), strings.Join(more, ""))
}

// tensor is an initializer, of floats unless more says otherwise.
func tensor(name string, dims []int64, more ...string) string {
	return field(5, tensorProto(name, dims, more...))
}

func tensorProto(name string, dims []int64, more ...string) string {
	var s string
	for _, d := range dims {
		s += number(1, d)
	}
	return s + number(2, 1) + field(8, name) + strings.Join(more, "")
}

func raw(data string) string { return field(9, data) }

func external(entries ...string) string {
	s := number(14, 1)
	for i := 0; i < len(entries); i += 2 {
		s += field(13, field(1, entries[i]), field(2, entries[i+1]))
	}
	return s
}

// hostileModels are ONNX files, some of which are none.
func hostileModels() []hostile {
	var out []hostile
	add := func(name, says string, make func(string) error) {
		commands := readingModels
		if len(out)%6 > 0 {
			commands = commands[:1]
		}
		out = append(out, hostile{name: "onnx/" + name, file: "bad.onnx", says: says, make: make, commands: commands})
	}
	for name, m := range sorted(brokenModels()) {
		add(name, m.says, func(dir string) error { return write("bad.onnx", m.data())(dir) })
	}
	for name, m := range sorted(largeModels()) {
		add(name+" beside 1 GB", m.says, sparse("bad.onnx", m.data()))
	}
	for name, e := range sorted(externalModels()) {
		add("data "+name, "initializer w|"+e.says, both(write("bad.onnx", modelOf(input("x", 1), node("Add", "x w", "y"), output("y"), tensor("w", e.dims, external(e.entries...)))), e.make))
	}
	for name, m := range sorted(hostileFunctions()) {
		add("function "+name, "function", write("bad.onnx", m))
	}
	for name, change := range sorted(hostileGraphs()) {
		out = append(out, hostile{name: "graph/" + name, file: "bad.onnx", make: graphFile(change), commands: []string{"inspect BAD"}, harmless: true})
	}
	for name, change := range sorted(endlessGraphs()) {
		commands := []string{"inspect BAD", "verify BAD model.onnx", "trace -m BAD --inputs batch.safetensors -o x.safetensors", "export BAD --batch 1 -o x.onnx"}
		if len(out)%6 > 0 {
			commands = commands[:1]
		}
		out = append(out, hostile{name: "endless/" + name, file: "bad.onnx", make: graphFile(change), says: "Vision Transformer", commands: commands})
	}
	out = append(out, hostile{name: "endless/a loop", file: "bad.onnx", make: graphFile(loop), says: "Loop", commands: []string{"verify BAD model.onnx",
		"trace -m BAD --inputs batch.safetensors -o x.safetensors", "export BAD --batch 1 -o x.onnx"}})
	for percent := range 10 {
		add(fmt.Sprintf("cut at %d0 %%", percent), "bad.onnx", func(dir string) error {
			data, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "bad.onnx"), data[:len(data)*percent/10], 0o666))
		})
	}
	return out
}

func brokenModels() map[string]made {
	identity := node("Identity", "x", "y")
	whole := func(graph ...string) func() string {
		return text(modelOf(append(graph, input("x", 1), output("y"))...))
	}
	nested := func(depth int) string {
		graph := field(2, "g")
		for range depth {
			graph = field(1, field(4, "If"), field(5, field(1, "then_branch"), number(20, 5), field(6, graph)))
		}
		return graph
	}
	return map[string]made{
		"empty":                    {"bad.onnx", text("")},
		"zeros":                    {"not protobuf", text(strings.Repeat("\x00", 1<<20))},
		"ones":                     {"not protobuf", text(strings.Repeat("\xff", 1<<20))},
		"a field of 2^63":          {"9223372036854775808", text(number(1, 9) + announced(2, 1<<63) + "x")},
		"a field of 2^64-1":        {"18446744073709551615", text(number(1, 9) + announced(2, 1<<64-1) + "x")},
		"a graph of 2^64-1":        {"truncated", text(number(1, 9) + announced(7, 1<<64-1) + "x")},
		"a node beyond its graph":  {"says 100 bytes", text(number(1, 9) + field(7, announced(1, 100)) + field(8, number(2, 17)) + strings.Repeat("x", 200))},
		"a cycle":                  {"", whole(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b", "y"))},
		"a node of itself":         {"", whole(node("Neg", "y", "y"))},
		"a value twice":            {"already that of another value", whole(node("Neg", "x", "y"), node("Abs", "x", "y"))},
		"a value and an input":     {"already that of another value", whole(node("Neg", "x", "x"), identity)},
		"an initializer twice":     {"two initializers", whole(identity, tensor("w", []int64{1}, raw("1234")), tensor("w", []int64{1}, raw("1234")))},
		"an input twice":           {"already that of another value", whole(identity, input("x", 1))},
		"an attribute twice":       {"two attributes", whole(node("Neg", "x", "y", field(5, field(1, "a"), number(20, 2), number(3, 1)), field(5, field(1, "a"), number(20, 2), number(3, 2))))},
		"a value from nowhere":     {`reads "z"`, whole(node("Neg", "z", "y"))},
		"an output from nowhere":   {`output "y"`, whole()},
		"no operator":              {"no operator", whole(node("", "x", "y"))},
		"2^64 elements":            {"too big", whole(identity, tensor("w", []int64{1 << 32, 1 << 32}, raw("1234")))},
		"2^63 elements":            {"too big", whole(identity, tensor("w", []int64{1 << 21, 1 << 21, 1 << 21}, raw("1234")))},
		"2^62 elements":            {"too big", whole(identity, tensor("w", []int64{1 << 31, 1 << 31}, raw("1234")))},
		"2^56 elements":            {"raw_data has 4 bytes", whole(identity, tensor("w", []int64{1 << 28, 1 << 28}, raw("1234")))},
		"a negative size":          {"negative", whole(identity, tensor("w", []int64{-1}, raw("1234")))},
		"-2^63 by -2^63":           {"negative", whole(identity, tensor("w", []int64{math.MinInt64, math.MinInt64}, raw("1234")))},
		"too little data":          {"raw_data has 4 bytes", whole(identity, tensor("w", []int64{2}, raw("1234")))},
		"too much data":            {"raw_data has 4 bytes", whole(identity, tensor("w", []int64{0}, raw("1234")))},
		"no data":                  {"float_data has 0 bytes", whole(identity, tensor("w", []int64{1 << 40}))},
		"an unknown type":          {"can't be read", whole(identity, tensor("w", []int64{1}, number(2, 999), raw("1234")))},
		"strings without count":    {"string_data has 0 strings", whole(identity, tensor("w", []int64{1 << 40}, number(2, 8)))},
		"a sparse initializer":     {"sparse", whole(identity, field(15, field(1, tensorProto("w", []int64{1}, raw("1234")))))},
		"a tensor in an attribute": {"attribute value", whole(node("Constant", "", "y", field(5, field(1, "value"), number(20, 4), field(5, tensorProto("", []int64{1 << 62})))))},
		"an attribute of nothing":  {"attribute value", whole(node("Constant", "", "y", field(5, field(1, "value"), number(20, 4))))},
		"no graph":                 {"graph", text(number(1, 9) + field(8, number(2, 17)))},
		"no opset":                 {"opset", text(modelIn("", input("x", 1), identity, output("y")))},
		"deep subgraphs":           {"deeper than", whole(identity, nested(200))},
		"a subgraph of nowhere":    {`reads "z"`, whole(identity, field(1, field(4, "If"), field(5, field(1, "then_branch"), number(20, 5), field(6, node("Neg", "z", "q")))))},
		"10^6 empty nodes":         {"", func() string { return modelOf(strings.Repeat(field(1), 1_000_000)) }},
		"10^6 nodes":               {"fields", func() string { return modelOf(strings.Repeat(node("Neg", "x", "y"), 1_000_000)) }},
		"10^5 nodes of one value":  {"more than 65536 nodes", func() string { return modelOf(strings.Repeat(node("Neg", "x", "y"), 100_000)) }},
		"10^7 empty fields":        {"fields", func() string { return strings.Repeat(field(14), 10_000_000) }},
		"10^7 fields in a field":   {"fields", func() string { return modelOf(strings.Repeat(field(16), 10_000_000)) }},
		"nested groups":            {"bad.onnx", text(strings.Repeat(string(protowire.AppendTag(nil, 99, protowire.StartGroupType)), 1<<20))},
		"a name of 20 MB":          {"a name of 20971520 bytes", func() string { return modelOf(node("Neg", strings.Repeat("a", 20<<20), "y")) }},
		"names that escape":        {"reads", text(modelOf(field(1, field(1, "\x1b[2J\r\nrelevit: all is well"), field(2, "y\xff\xfe"), field(3, "n\x07\u202e"), field(4, "O\np"))))},
		"a function of nothing":    {"gives its output", text(modelOf(input("x", 1), identity, output("y")) + field(25, field(1, "f"), field(10, "d"), field(5, "q")))},
		"a packed field of noise":  {"damaged", whole(identity, field(5, number(1, 1), number(2, 7), field(8, "w"), field(7, "\xff\xff\xff")))},
	}
}

// largeModels are the heads of graphs with faults, whose last tensor has 1 GB.
func largeModels() map[string]made {
	before := func(graph ...string) func() string {
		head := strings.Join(graph, "") + input("x", 1) + output("y") + field(2, "g")
		large := tensorProto("large", []int64{1 << 28}) + announced(9, 1<<30)
		head += announced(5, uint64(len(large)+1<<30)) + large
		return text(number(1, 9) + field(8, number(2, 17)) + announced(7, uint64(len(head)+1<<30)) + head)
	}
	return map[string]made{
		"a cycle":              {"", before(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b", "y"))},
		"a value twice":        {"already that of another value", before(node("Neg", "x", "y"), node("Abs", "x", "y"))},
		"an initializer twice": {"two initializers", before(node("Neg", "x", "y"), tensor("large", []int64{1}, raw("1234")))},
		"a value from nowhere": {`reads "z"`, before(node("Neg", "z", "y"))},
		"too little data":      {"raw_data has 4 bytes", before(node("Neg", "x", "y"), tensor("w", []int64{2}, raw("1234")))},
	}
}

// sparse is a file of 1 GB of zeros behind its head, which takes no space.
func sparse(name, head string) func(dir string) error {
	return both(write(name, head), func(dir string) error { return os.Truncate(filepath.Join(dir, name), int64(len(head)+1<<30)) })
}

// dataOf is a model whose data lie outside.
type dataOf struct {
	says    string
	dims    []int64
	entries []string
	make    func(dir string) error
}

func externalModels() map[string]dataOf {
	nothing := func(string) error { return nil }
	one := []int64{1}
	at := func(location string) []string { return []string{"location", location} }
	empty := func(size int64) func(string) error {
		return both(write("w.bin", ""), func(dir string) error { return os.Truncate(filepath.Join(dir, "w.bin"), size) })
	}
	return map[string]dataOf{
		"by ../":             {"inside the model's folder", one, at("../w.bin"), nothing},
		"by a/../../":        {"inside the model's folder", one, at("a/../../w.bin"), nothing},
		"by path":            {"inside the model's folder", one, at("/etc/passwd"), nothing},
		"by a link":          {"", one, at("w.bin"), symlink("/etc/passwd", "w.bin")},
		"by a link upwards":  {"", one, at("w.bin"), symlink("../../w.bin", "w.bin")},
		"by a linked folder": {"", one, at("a/passwd"), symlink("/etc", "a")},
		"in a circle":        {"", one, at("w.bin"), symlink("w.bin", "w.bin")},
		"in a folder":        {"no regular file", one, at("a"), folder("a")},
		"in the folder":      {"", one, at("."), nothing},
		"in a pipe":          {"no regular file", one, at("w.bin"), fifo("w.bin")},
		"in a device":        {"", one, at("w.bin"), symlink("/dev/zero", "w.bin")},
		"in proc":            {"", one, at("w.bin"), symlink("/proc/self/mem", "w.bin")},
		"with a zero byte":   {"", one, at("w\x00.bin"), nothing},
		"nowhere":            {"missing", one, at("w.bin"), nothing},
		"without a location": {"no location", one, nil, nothing},
		"from beyond":        {"beyond the end", one, append(at("w.bin"), "offset", "4"), write("w.bin", "1234")},
		"from 2^63-1":        {"beyond the end", one, append(at("w.bin"), "offset", "9223372036854775807"), write("w.bin", "1234")},
		"from 2^63":          {"expected a number of bytes", one, append(at("w.bin"), "offset", "9223372036854775808"), write("w.bin", "1234")},
		"from -4":            {"expected a number of bytes", one, append(at("w.bin"), "offset", "-4"), write("w.bin", "1234")},
		"of 2^63-1 bytes":    {"need 4", one, append(at("w.bin"), "length", "9223372036854775807"), write("w.bin", "1234")},
		"of -1 bytes":        {"expected a number of bytes", one, append(at("w.bin"), "length", "-1"), write("w.bin", "1234")},
		"of 2^60 elements":   {"too big", []int64{1 << 60}, at("w.bin"), write("w.bin", "1234")},
		"that is short":      {"beyond the end", []int64{2}, at("w.bin"), write("w.bin", "1234")},
		"of 1 TB of nothing": {"", []int64{1 << 38}, at("w.bin"), empty(1 << 40)},
		"beyond 1 TB":        {"beyond the end", []int64{1 << 39}, at("w.bin"), empty(1 << 40)},
	}
}
