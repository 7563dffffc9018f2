package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// gaps are a file's content with zeros that take no space on disk.
type gaps []gap

// gap is a text, and zeros behind it.
type gap struct {
	text  string
	zeros int64
}

func (g gaps) size() (n int64) {
	for _, p := range g {
		n += int64(len(p.text)) + p.zeros
	}
	return n
}

func says(texts ...string) gaps { return gaps{{text: strings.Join(texts, "")}} }

func join2(all ...gaps) (out gaps) {
	for _, g := range all {
		out = append(out, g...)
	}
	return out
}

// holding is field around content.
func (g gaps) holding(num protowire.Number) gaps {
	return append(gaps{{text: announced(num, uint64(g.size()))}}, g...)
}

// cut is the first part of the content.
func (g gaps) cut(n int64) (out gaps) {
	for _, p := range g {
		p.text = p.text[:min(n, int64(len(p.text)))]
		n -= int64(len(p.text))
		p.zeros = min(n, p.zeros)
		n -= p.zeros
		out = append(out, p)
	}
	return out
}

func (g gaps) write(name string) func(dir string) error {
	return func(dir string) error {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		at := int64(0)
		for _, p := range g {
			_, bad := f.WriteAt([]byte(p.text), at)
			err = errors.Join(err, bad)
			at += int64(len(p.text)) + p.zeros
		}
		return errors.Join(err, f.Truncate(at), f.Close())
	}
}

// bulks are hundreds of megabytes in a graph, in every form that numbers and
// texts come in; short of them are as many, with a number too few.
func bulks() map[string]struct{ whole, short gaps } {
	bulk := func(kind int64, dims int64, data gaps) gaps {
		return join2(says(number(1, dims), number(2, kind), field(8, "bulk")), data).holding(5)
	}
	zeros := func(num protowire.Number, n int64) gaps { return gaps{{zeros: n}}.holding(num) }
	repeated := func(element string, times int) (out gaps) {
		piece := strings.Repeat(element, 1<<16)
		for range times >> 16 {
			out = append(out, gap{text: piece})
		}
		return out
	}
	float, double, long := string(protowire.AppendTag(nil, 4, protowire.Fixed32Type))+"1234", string(protowire.AppendTag(nil, 10, protowire.Fixed64Type))+"12345678",
		string(protowire.AppendTag(nil, 7, protowire.VarintType))+"\x80\x01"
	many := func(n int, size int64) (out gaps) {
		for i := range n {
			out = append(out, join2(says(number(1, size/4), number(2, 1), field(8, "bulk", string(rune('a'+i%26)), strings.Repeat("x", i/26%100), strings.Repeat("y", i/2600))), zeros(9, size)).holding(5)...)
		}
		return out
	}
	constant := func(attr string, value gaps) gaps {
		return join2(says(field(2, "bulk"), field(4, "Constant")), join2(says(field(1, attr)), value).holding(5)).holding(1)
	}
	float32s := string(protowire.AppendTag(nil, 7, protowire.Fixed32Type)) + "1234"
	tensorOf := func(dims int64) gaps { return join2(says(number(1, dims), number(2, 1)), zeros(4, 300<<20)).holding(5) }
	const n = 300 << 20
	return map[string]struct{ whole, short gaps }{
		"float_data":            {bulk(1, n/4, zeros(4, n)), bulk(1, n/4+1, zeros(4, n))},
		"double_data":           {bulk(11, n/8, zeros(10, n)), bulk(11, n/8+1, zeros(10, n))},
		"int32_data":            {bulk(10, n, zeros(5, n)), bulk(10, n+1, zeros(5, n))},
		"int64_data":            {bulk(7, n, zeros(7, n)), bulk(7, n+1, zeros(7, n))},
		"uint64_data":           {bulk(13, n, zeros(11, n)), bulk(13, n+1, zeros(11, n))},
		"single float_data":     {bulk(1, 1<<25, repeated(float, 1<<25)), bulk(1, 1<<25+1, repeated(float, 1<<25))},
		"single double_data":    {bulk(11, 1<<24, repeated(double, 1<<24)), bulk(11, 1<<24+1, repeated(double, 1<<24))},
		"single int64_data":     {bulk(7, 1<<25, repeated(long, 1<<25)), bulk(7, 1<<25+1, repeated(long, 1<<25))},
		"10000 tensors":         {many(10_000, 64<<10), join2(many(10_000, 64<<10), bulk(1, 3, says(raw("1234"))))},
		"40000 tensors":         {many(40_000, 8<<10), join2(many(40_000, 8<<10), bulk(1, 3, says(raw("1234"))))},
		"a Constant":            {constant("value", join2(tensorOf(n/4), says(number(20, 4)))), constant("value", join2(tensorOf(n/4+1), says(number(20, 4))))},
		"a Constant of floats":  {constant("value_floats", join2(repeated(float32s, 1<<25), says(number(20, 6)))), nil},
		"a Constant of ints":    {constant("value_ints", join2(zeros(8, n), says(number(20, 7)))), nil},
		"a Constant of a text":  {constant("value_string", join2(zeros(4, n), says(number(20, 3)))), nil},
		"a Constant of texts":   {constant("value_strings", join2(zeros(9, n), says(number(20, 8)))), nil},
		"a description":         {zeros(10, n), nil},
		"metadata of the graph": {join2(says(field(1, "k")), zeros(2, n)).holding(16), nil},
	}
}

// bulkyModels are faulty graphs with all that.
func bulkyModels() []hostile {
	model := func(graph gaps) gaps {
		return join2(says(number(1, 9), field(8, number(2, 17))), join2(graph, says(input("x", 1), output("y"), field(2, "g"))).holding(7))
	}
	var out []hostile
	add := func(name, says string, file gaps, more ...func(string) error) {
		commands := readingModels
		if len(out)%6 > 0 {
			commands = commands[:1]
		}
		out = append(out, hostile{name: "bulk/" + name, file: "bad.onnx", says: says, make: both(append(more, file.write("bad.onnx"))...), commands: commands})
	}
	cycle := says(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b", "y"))
	faults := map[string][2]string{
		"a cycle":              {"", cycle[0].text},
		"a value twice":        {"already that of another value", node("Neg", "x", "y") + node("Abs", "x", "y")},
		"a value from nowhere": {`reads "z"`, node("Neg", "z", "y")},
		"two initializers":     {"two initializers", node("Neg", "x", "y") + strings.Repeat(tensor("w", []int64{1}, raw("1234")), 2)},
	}
	i := 0
	for name, b := range sorted(bulks()) {
		for fault, f := range sorted(faults) {
			if i++; i%4 == 0 || fault == "a cycle" {
				add(name+" and "+fault, f[0], model(join2(b.whole, says(f[1]))))
			}
		}
		if b.short != nil {
			add(name+", too few", "needs", model(join2(b.short, says(node("Neg", "x", "y")))))
		}
		whole := model(join2(b.whole, says(node("Neg", "x", "y"))))
		add(name+", cut", "truncated", whole.cut(whole.size()*int64(7+i*13%90)/100))
		inner := join2(b.whole[:len(b.whole)-1], b.whole[len(b.whole)-1:].cut(1), cycle)
		inner[0].text = b.whole[0].text
		add(name+", shorter than it says", "bad.onnx", model(inner))
	}
	data := func(name, location string, offset string, dims int64) gaps {
		return says(tensor(name, []int64{dims}, external("location", location, "offset", offset)))
	}
	large := gaps{{zeros: 1 << 30}}.write("large.bin")
	add("data outside and a cycle", "", model(join2(data("w", "large.bin", "0", 1<<28), cycle)), large)
	add("data outside, some beyond", "beyond the end", model(join2(data("w", "large.bin", "0", 1<<27), data("v", "large.bin", "536870916", 1<<27), says(node("Neg", "x", "y")))), large)
	add("data outside, some missing", "missing", model(join2(data("w", "large.bin", "0", 1<<28), data("v", "other.bin", "0", 1), says(node("Neg", "x", "y")))), large)
	add("data outside, some short", "beyond the end", model(join2(data("w", "large.bin", "0", 1<<28), data("v", "w.bin", "0", 2), says(node("Neg", "x", "y")))), large, write("w.bin", "1234"))
	add("10^8 dims", "initializer", model(join2(gaps{{zeros: 100 << 20}}.holding(1), says(node("Neg", "x", "y"))).holding(5)))
	add("a name of 300 MB", "a name of", model(join2(gaps{{zeros: 300 << 20}}.holding(1)).holding(1)))
	names := gaps{}
	for range 6000 {
		names = append(names, join2(gaps{{zeros: 60 << 10}}.holding(3)).holding(1)...)
	}
	add("names of 360 MB", "besides the numbers", model(names))
	add("groups of 300 MB", "bad.onnx", join2(says(string(protowire.AppendTag(nil, 99, protowire.StartGroupType))), gaps{{zeros: 300 << 20}}.holding(1)))
	return out
}
