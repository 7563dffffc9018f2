package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// hostilePickles are programs for pickle's machine in the archive of a
// checkpoint, and what the refusal names.
func hostilePickles() map[string][2]string {
	wide := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	tensor := func(view string) string { return "}S'w'\n" + view + "s." }
	return map[string][2]string{
		"GLOBAL":          {"cos\nsystem\n(S'touch pwned'\ntR.", "GLOBAL|os.system|nothing in the file was run"},
		"GLOBAL eval":     {"c__builtin__\neval\n(S'open(\"pwned\", \"w\")'\ntR.", "__builtin__.eval"},
		"GLOBAL nt":       {"cnt\nsystem\n(S'touch pwned'\ntR.", "nt.system"},
		"GLOBAL getattr":  {"cbuiltins\ngetattr\n(cos\nS'system'\ntR.", "builtins.getattr"},
		"GLOBAL import":   {"cimportlib\nimport_module\n(S'os'\ntR.", "importlib.import_module"},
		"GLOBAL load":     {"ctorch\nload\n(S'x'\ntR.", "torch.load"},
		"GLOBAL dotted":   {"\x80\x04\x8c\x05torch\x8c\x17serialization.os.system\x93.", "torch.serialization.os.system"},
		"STACK_GLOBAL":    {"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch pwned\x85R.", "STACK_GLOBAL|posix.system"},
		"INST":            {"(S'touch pwned'\nios\nsystem\n.", "INST|os.system"},
		"OBJ":             {"(csubprocess\nPopen\nS'touch pwned'\no.", "subprocess.Popen"},
		"OBJ of a value":  {"(ctorch\nfloat32\no.", "torch.float32"},
		"NEWOBJ":          {"\x80\x02csubprocess\nPopen\nS'touch pwned'\n\x85\x81.", "subprocess.Popen"},
		"NEWOBJ_EX":       {"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93\x8c\x0btouch pwned\x85}\x92.", "subprocess.Popen"},
		"BUILD":           {"\x80\x02cos\nenviron\n}S'PATH'\nS'.'\nsb.", "os.environ"},
		"REDUCE of text":  {"S'os.system'\n(S'touch pwned'\ntR.", "a text is called"},
		"EXT1":            {"\x80\x02\x82\x01.", "EXT1|refused"},
		"EXT2":            {"\x80\x02\x83\x01\x00.", "EXT2|refused"},
		"EXT4":            {"\x80\x02\x84\x01\x00\x00\x00.", "EXT4|refused"},
		"NEXT_BUFFER":     {"\x80\x05\x97.", "NEXT_BUFFER|refused"},
		"unknown opcode":  {"\x80\x02\xff.", "0xff"},
		"protocol":        {"\x80\x63.", "protocol 99"},
		"a name in lines": {"cos\x1b[2J\nsys\rtem\n.", "GLOBAL"},
		"a long name":     {"c" + strings.Repeat("a", 1<<19) + "\n" + strings.Repeat("b", 1<<19) + "\n.", "GLOBAL"},

		"a text of 2^63":      {"\x80\x04\x8d" + wide(1<<63) + "x.", "BINUNICODE8"},
		"bytes of 2^63-1":     {"\x80\x04\x8e" + wide(1<<63-1) + "x.", "BINBYTES8"},
		"bytes of 4 GB":       {"\x80\x04B\xff\xff\xff\xffx.", "BINBYTES"},
		"bytearray of 2^64-1": {"\x80\x05\x96" + wide(1<<64-1) + "x.", "BYTEARRAY8"},
		"a frame of 2^63":     {"\x80\x04\x95" + wide(1<<63) + "N.", "no dict of tensors"},
		"a long of 2 GB":      {"\x80\x02\x8b\xff\xff\xff\x7fx.", "LONG4"},
		"a long of digits":    {"L" + strings.Repeat("9", 1<<20) + "L\n.", "LONG"},
		"deep lists":          {strings.Repeat("]", 1<<20) + strings.Repeat("a", 1<<20-1) + ".", "MB"},
		"deep tuples":         {"N" + strings.Repeat("\x85", 1<<21) + ".", "MB"},
		"many marks":          {strings.Repeat("(", 1<<22) + ".", "MB"},
		"a large memo":        {"N" + memos(1<<20) + ".", "MB"},
		"laughs by memo":      {laughs(40), "no dict of tensors"},
		"dicts of dicts":      {doublings(40), "MB"},
		"a list in itself":    {"]q\x00h\x00a.", "no dict of tensors"},
		"a dict in itself":    {"}q\x00S'model'\nh\x00s.", "no weights"},
		"no value":            {".", "STOP"},
		"no end":              {"}", "ends too early"},

		"a view beyond":             {tensor(viewOf("(F'", 0, "(I100\nt", "(I1\nt")), "w"},
		"a missing storage":         {tensor(viewOf("9", 0, "(I4\nt", "(I1\nt")), "data/9"},
		"a storage of another file": {tensor(viewOf("../../x", 0, "(I4\nt", "(I1\nt")), "w"},
		"an offset beyond":          {tensor(viewOf("0", 1<<40, "(I4\nt", "(I1\nt")), "storage of 4"},
		"a negative offset":         {tensor(viewOf("0", -4, "(I4\nt", "(I1\nt")), "make no sense"},
		"a negative size":           {tensor(viewOf("0", 0, "(I-4\nt", "(I1\nt")), "make no sense"},
		"a negative stride":         {tensor(viewOf("0", 3, "(I4\nt", "(I-1\nt")), "make no sense"},
		"a stride beyond":           {tensor(viewOf("0", 0, "(I2\nt", "(L9223372036854775807L\nt")), "leave a storage"},
		"2^60 elements of one":      {tensor(viewOf("0", 0, "(L1152921504606846976L\nt", "(I0\nt")), "too large"},
		"2^40 elements of one":      {tensor(viewOf("0", 0, "(L1048576L\nL1048576L\nt", "(I0\nI0\nt")), "views of the same data"},
		"2^40 by rank":              {tensor(viewOf("0", 0, "("+strings.Repeat("I2\n", 40)+"t", "("+strings.Repeat("I0\n", 40)+"t")), "views of the same data"},
		"many views of one":         {manyViews(2000), "views of the same data"},
		"a tensor twice":            {"}" + strings.Repeat("S'w'\n"+viewOf("0", 0, "(I4\nt", "(I1\nt")+"s", 2) + ".", "two tensors"},
	}
}

// viewOf is a program that pushes a float tensor of a storage.
func viewOf(key string, offset int64, dims, strides string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'" + key + "'\nS'cpu'\nI4\ntQ" +
		fmt.Sprintf("L%dL\n", offset) + dims + strides + "I00\n}tR"
}

func manyViews(n int) string {
	var s strings.Builder
	s.WriteString("}")
	for i := range n {
		fmt.Fprintf(&s, "S'w%d'\n%ss", i, viewOf("0", 0, "(I512\nI512\nt", "(I0\nI0\nt"))
	}
	return s.String() + "."
}

func memos(n int) string {
	var s strings.Builder
	for i := range n {
		s.WriteString("r" + string(binary.LittleEndian.AppendUint32(nil, uint32(i))))
	}
	return s.String()
}

// laughs is a list of ten lists of ten lists, and so on.
func laughs(depth int) string {
	s := "(]q\x00"
	for i := range depth {
		s += fmt.Sprintf("](%se%s", strings.Repeat(fmt.Sprintf("h%c", i), 10), fmt.Sprintf("q%c", i+1))
	}
	return s + "t."
}

// doublings makes each dict of the last one, twice.
func doublings(n int) string {
	s := "}(" + strings.Repeat("NN", 1000) + "uq\x00"
	for range n {
		s += "ccollections\nOrderedDict\n(h\x00tR(" + strings.Repeat("NN", 10000) + "uq\x00"
	}
	return s + "."
}

// torchArchive is a checkpoint of torch.save with that program in it, and four
// floats in storage 0.
func torchArchive(program string) []byte {
	return stored("archive/data.pkl", program, "archive/version", "3\n", "archive/data/0", strings.Repeat("\x00", 16))
}

// stored is an archive of names and contents in turn, as they are.
func stored(entries ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: entries[i]})
		if err == nil {
			_, err = f.Write([]byte(entries[i+1]))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// deflated is an archive whose entries are stated to have the given size and
// hold that packed content.
func deflated(packed []byte, size, crc uint64, names ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		f, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CRC32: uint32(crc),
			CompressedSize64: uint64(len(packed)), UncompressedSize64: size})
		if err == nil {
			_, err = f.Write(packed)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}
