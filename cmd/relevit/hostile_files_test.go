package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// hostile is a file that every command refuses, the first with --json too.
type hostile struct {
	name     string
	file     string // in the commands it is called BAD
	make     func(dir string) error
	commands []string
	harmless bool   // it changes nothing, and the command does its work
	leaves   bool   // a run, from which the last command can go on
	runtime  bool   // the commands need ONNX Runtime before they come upon it
	code     int    // that the commands exit with; 0: that of a bad input
	says     string // parts of the message, separated by |
}

// Commands that read a model of any kind.
var (
	readingCheckpoints = []string{"inspect BAD", "convert BAD -o x.onnx", "export BAD -o x.pth", "verify model.onnx BAD", "web BAD -o x",
		"trace -m BAD --inputs batch.safetensors -o x.safetensors", "explain -m BAD 00005.png -o x"}
	readingModels = []string{"inspect BAD", "export BAD -o x.safetensors", "verify BAD model.onnx", "web model.onnx BAD -o x",
		"trace -m BAD --inputs batch.safetensors -o x.safetensors", "explain -m BAD 00005.png -o x"}
)

func hostileFiles() []hostile {
	return slices.Concat(hostileCheckpoints(), hostileModels(), bulkyModels(), bulkyCheckpoints(), bulkyPictures(), hostileTexts(), hostilePictures())
}

// hostileTexts are configurations and tables.
func hostileTexts() []hostile {
	laughs := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Join(slices.Repeat([]string{fmt.Sprintf("*%c", c-1)}, 10), ","))
	}
	var out []hostile
	for name, c := range sorted(map[string][2]string{
		"a thousand million laughs": {laughs, "anchors"},
		"a tag of Python":           {"model: !!python/object/apply:os.system ['touch pwned']\n", "tags"},
		"deep lists":                {"model: " + strings.Repeat("[", 500_000), "bad.yaml"},
		"deep mappings":             {strings.Repeat("{a: ", 250_000), "bad.yaml"},
		"10 MB":                     {"model: " + strings.Repeat("x", 10<<20), "bad.yaml"},
		"many keys":                 {strings.Join(names(100_000, "k%d: 1"), "\n"), "bad.yaml"},
		"a number without an end":   {"batch: " + strings.Repeat("9", 1<<19), "batch"},
		"zero bytes":                {"model: \x00\x00", "bad.yaml"},
	}) {
		out = append(out, hostile{name: "yaml/" + name, file: "bad.yaml", make: write("bad.yaml", c[0]), says: c[1], code: usage,
			commands: []string{"finetune -c BAD -o run"}})
	}
	for name, c := range sorted(map[string][2]string{
		"a field without an end": {"image,mask,label\n\"" + strings.Repeat("x", 1<<20), "bad.csv"},
		"a path without an end":  {"image,mask,label\n" + strings.Repeat("x", 1<<20) + ",y,1\n", "bad.csv"},
		"many columns":           {"image" + strings.Repeat(",", 1<<17) + "\n", "bad.csv"},
		"a path of zero bytes":   {"image,mask,label\n\x00,y,1\n", "bad.csv"},
	}) {
		out = append(out, hostile{name: "csv/" + name, file: "bad.csv", runtime: true, make: write("bad.csv", c[0]), says: c[1],
			commands: []string{"finetune -c c.yaml --set data.layout=csv --set data.labels=csv --set data.csv=BAD -o run"}})
	}
	return out
}

func hostileCheckpoints() []hostile {
	var out []hostile
	add := func(kind, name, file, says string, make func(string) error) {
		commands := readingCheckpoints
		if len(out)%6 > 0 { // the others share their reader
			commands = commands[:1]
		}
		out = append(out, hostile{name: kind + "/" + name, file: file, says: says, make: make, commands: commands})
	}
	for name, p := range sorted(hostilePickles()) {
		add("pickle", name, "bad.pth", p[1], write("bad.pth", string(torchArchive(p[0]))))
	}
	for name, a := range sorted(hostileArchives()) {
		add("archive", name, "bad.pth", a.says, write("bad.pth", string(a.data())))
	}
	for name, a := range sorted(hostileArrays()) {
		add("npz", name, "bad.npz", a[1], write("bad.npz", a[0]))
	}
	for name, s := range sorted(hostileSafetensors()) {
		add("safetensors", name, "bad.safetensors", s.says, write("bad.safetensors", s.data()))
	}
	overlap := `{"v":{"dtype":"U8","shape":[1073741824],"data_offsets":[0,1073741824]},"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`
	add("safetensors", "overlapping tensors of 1 GB", "bad.safetensors", "overlaps",
		sparse("bad.safetensors", string(binary.LittleEndian.AppendUint64(nil, uint64(len(overlap))))+overlap))
	for name, f := range sorted(hostileFolders()) {
		add("folder", name, "bad", f.says, f.make)
	}
	for name, make := range sorted(hostileDescriptions()) {
		out = append(out, hostile{name: "description/" + name, file: "bad", make: make, commands: []string{"convert BAD --force -o x.onnx"}, harmless: true})
	}
	return out
}

// sorted visits a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// made is a file's content, made when it is needed.
type made struct {
	says string
	data func() string
}

func text(s string) func() string { return func() string { return s } }

func hostileArchives() map[string]made {
	whole := string(torchArchive("}."))
	zeros := func(n int64) string {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestCompression)
		if err == nil {
			_, err = io.CopyN(w, zero{}, n)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			panic(err)
		}
		return b.String()
	}
	pkl, storage := "archive/data.pkl", "archive/data/0"
	return map[string]made{
		"a bomb of 10 GB":          {"can't unpack", func() string { return string(deflated([]byte(zeros(1<<20)), 10<<30, 0, pkl)) }},
		"a bomb of 128 MB":         {"zip bomb", func() string { return string(deflated([]byte(zeros(128<<20)), 128<<20, 0, "x.npy")) }},
		"a bomb that says 1 byte":  {"no NumPy array", func() string { return string(deflated([]byte(zeros(128<<20)), 1, 0, "x.npy")) }},
		"many bombs":               {"zip bomb", func() string { return string(deflated([]byte(zeros(1<<20)), 1<<20, 0, names(1000, "%d.npy")...)) }},
		"a deflated pickle":        {"compressed", func() string { return string(deflated([]byte(zeros(1<<20)), 1<<20, 0, pkl)) }},
		"an archive in an archive": {"no data.pkl", text(string(stored("x.zip", whole)))},
		"overlapping entries":      {"a/data.pkm", text(overlapping())},
		"names of ../":             {"no data.pkl", text(string(stored("../../data.pkl", "}.", "/etc/data.pkl", "}.")))},
		"two data.pkl":             {"2 data.pkl", text(string(stored(pkl, "}.", "other/data.pkl", "}.")))},
		"an entry twice":           {"two entries", text(string(stored(pkl, "}.", storage, "x", storage, "y")))},
		"200000 entries":           {"entries", func() string { return manyEntries(200_000) }},
		"2^32 entries":             {"large form", text(whole[:len(whole)-12] + strings.Repeat("\xff", 10) + "\x00\x00")},
		"a directory of 4 GB":      {"directory", text(whole[:len(whole)-10] + "\xff\xff\xff\x7f" + whole[len(whole)-6:])},
		"a directory of 2^63":      {"", text(wideDirectory(1<<63, 1<<63))},
		"a directory at 2^64-1":    {"", text(wideDirectory(100, 1<<64-1))},
		"no data.pkl":              {"no data.pkl", text(string(stored("archive/version", "3\n")))},
		"a program":                {"TorchScript", text(string(stored(pkl, "}.", "archive/code/x.py", "import os", "archive/constants.pkl", ").")))},
		"the tar format":           {"tar archive", func() string { return "sys_info\x00" + strings.Repeat("\x00", 600) }},
		"legacy with a call":       {"posix.system", text(legacyOf("cposix\nsystem\n(S'touch pwned'\ntR."))},
		"legacy of 2^63 elements":  {"inside of storage", text(legacyOf("}S'w'\n"+viewOf("0", 0, "(I4\nt", "(I1\nt")+"s.", "](S'0'\ne.", "\x00\x00\x00\x00\x00\x00\x00\x80"))},
		"legacy of 2^64-1":         {"inside of storage", text(legacyOf("}S'w'\n"+viewOf("0", 0, "(I4\nt", "(I1\nt")+"s.", "](S'0'\ne.", "\xff\xff\xff\xff\xff\xff\xff\xff"))},
		"only a magic number":      {"", text(legacyMagic)},
		"a pickle of nothing":      {"torch.save didn't write", text("\x80\x02cposix\nsystem\n(S'touch pwned'\ntR.")},
	}
}

// zero reads as zeros without end.
type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func names(n int, format string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

// overlapping is an archive whose two entries are the same bytes.
func overlapping() string {
	a := string(stored("a/data.pkl", "}.", "a/data.pkm", "}."))
	at := strings.LastIndex(a, "PK\x01\x02")
	return a[:at+42] + "\x00\x00\x00\x00" + a[at+46:]
}

func manyEntries(n int) string {
	one := string(stored("a/data.pkl", "}."))
	at, end := strings.Index(one, "PK\x01\x02"), strings.Index(one, "PK\x05\x06")
	entry := one[at:end]
	tail := []byte(one[end:])
	binary.LittleEndian.PutUint32(tail[12:], uint32(n*len(entry)))
	return one[:at] + strings.Repeat(entry, n) + string(tail)
}

// wideDirectory is an archive that states its directory in the large form.
func wideDirectory(size, at uint64) string {
	raw := []byte("PK\x03\x04" + strings.Repeat("\x00", 60))
	end64 := len(raw)
	raw = append(raw, "PK\x06\x06"+strings.Repeat("\x00", 36)...)
	raw = binary.LittleEndian.AppendUint64(raw, size)
	raw = binary.LittleEndian.AppendUint64(raw, at)
	raw = append(raw, "PK\x06\x07\x00\x00\x00\x00"...)
	raw = binary.LittleEndian.AppendUint64(raw, uint64(end64))
	raw = append(raw, 1, 0, 0, 0)
	return string(raw) + "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"
}

const legacyMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// legacyOf is a file in PyTorch's older format.
func legacyOf(object string, rest ...string) string {
	return legacyMagic + "\x80\x02M\xe9\x03." + "\x80\x02}." + object + strings.Join(rest, "")
}

func hostileArrays() map[string][2]string {
	array := func(header, data string) string {
		head := "\x93NUMPY\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, uint16(len(header)))) + header
		return string(stored("w.npy", head+data))
	}
	return map[string][2]string{
		"objects":              {array("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", "\x80\x02cposix\nsystem\n(S'touch pwned'\ntR."), "Python objects (a pickle)"},
		"2^40 elements":        {array("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n", "1234"), "needs"},
		"an overflowing shape": {array("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }\n", ""), "too large"},
		"a negative shape":     {array("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }\n", ""), "can't be understood"},
		"a shape of digits":    {array("{'descr': '<f4', 'fortran_order': True, 'shape': ("+strings.Repeat("9", 10000)+",), }\n", ""), "can't be understood"},
		"70 dimensions":        {array("{'descr': '<f4', 'fortran_order': True, 'shape': ("+strings.Repeat("1, ", 70)+"), }\n", "1234"), "can't be understood"},
		"a header of 4 GB":     {string(stored("w.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff{}")), "header of 4294967295 bytes"},
		"fields":               {array("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", "1234"), "several fields"},
		"texts":                {array("{'descr': '<U9999999', 'fortran_order': False, 'shape': (1,), }\n", ""), "texts"},
		"code in the header":   {array("{'descr': __import__('os').system('touch pwned'), 'fortran_order': False, 'shape': (1,), }\n", ""), "can't be understood"},
		"a program beside":     {string(stored("w.npy", "", "x.py", "import os")), "which is no array"},
		"a short array":        {string(stored("w.npy", "\x93NUMPY")), "no NumPy array"},
	}
}

func hostileSafetensors() map[string]made {
	file := func(length uint64, header, data string) func() string {
		return text(string(binary.LittleEndian.AppendUint64(nil, length)) + header + data)
	}
	right := func(header, data string) func() string { return file(uint64(len(header)), header, data) }
	long := func(header func() string) func() string { return func() string { return right(header(), "")() } }
	one := func(entry string) func() string { return right(`{"w":`+entry+`}`, "1234") }
	return map[string]made{
		"a header of 2^63":   {"header would be too long", file(1<<63, "{}", "")},
		"a header of 2^64-1": {"header would be too long", file(1<<64-1, "{}", "")},
		"a header of 2^63-1": {"header would be too long", file(1<<63-1, "{}", "")},
		"a header of 1 GB":   {"header would be too long", file(1<<30, "{}", "")},
		"a header beyond":    {"ends inside its header", file(1<<20, "{}", "")},
		"100 MB of spaces":   {"header", long(func() string { return "{" + strings.Repeat(" ", 100_000_000-2) + "}" })},
		"many tensors":       {"", long(func() string { return "{" + strings.Join(names(400_000, `"%d":{}`), ",") + "}" })},
		"many empty tensors": {"", long(func() string {
			return "{" + strings.Join(names(200_000, `"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`), ",") + "}"
		})},
		"much metadata":        {"", long(func() string { return `{"__metadata__":{` + strings.Join(names(1_000_000, `"%d":""`), ",") + "}}" })},
		"deep JSON":            {"", right(`{"w":`+strings.Repeat("[", 1<<20), "")},
		"deep JSON, closed":    {"", right(`{"w":{"x":`+strings.Repeat("[", 1<<20)+strings.Repeat("]", 1<<20)+"}}", "")},
		"no JSON":              {"no JSON object", right("[]", "")},
		"invalid UTF-8":        {"UTF-8", right("{\"\xff\xfe\":{}}", "")},
		"a name of 30 MB":      {"", long(func() string { return `{"` + strings.Repeat("a", 30<<20) + `":{}}` })},
		"a name that escapes":  {"", one(`{"dtype":"F32\u001b[2J\r\nrelevit: all is well","shape":[1],"data_offsets":[0,4]}`)},
		"overlapping tensors":  {"overlaps", right(`{"v":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"w":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}`, "1234")},
		"the same bytes":       {"overlaps", right(`{"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, "1234")},
		"a gap":                {"belong to no tensor", one(`{"dtype":"U8","shape":[1],"data_offsets":[3,4]}`)},
		"a rest":               {"after the last tensor", one(`{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`)},
		"negative offsets":     {"bad data_offsets", one(`{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}`)},
		"offsets backwards":    {"bad data_offsets", one(`{"dtype":"U8","shape":[4],"data_offsets":[4,0]}`)},
		"offsets of 2^63-1":    {"ends before the tensor does", one(`{"dtype":"U8","shape":[4],"data_offsets":[9223372036854775803,9223372036854775807]}`)},
		"offsets of 2^64":      {"bad description", one(`{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551616]}`)},
		"fractions":            {"bad description", one(`{"dtype":"U8","shape":[4.5],"data_offsets":[0,4]}`)},
		"an overflowing shape": {"too large", one(`{"dtype":"F32","shape":[4294967296,4294967296,1],"data_offsets":[0,4]}`)},
		"a shape to zero":      {"", one(`{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,4]}`)},
		"a negative shape":     {"negative", one(`{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}`)},
		"an unknown type":      {"unknown element type", one(`{"dtype":"F99","shape":[1],"data_offsets":[0,4]}`)},
		"a tensor twice":       {"appears twice", right(`{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, "1234")},
		"null":                 {"bad description", one(`null`)},
	}
}

// hostileFolders are checkpoints of several files.
func hostileFolders() map[string]hostile {
	index := func(shard string) string { return fmt.Sprintf(`{"weight_map":{"cls_token":%q}}`, shard) }
	const name = "bad/model.safetensors.index.json"
	return map[string]hostile{
		"a shard by ../":           {says: "isn't the name of a file beside the index", make: write(name, index("../weights.safetensors"))},
		"a shard by path":          {says: "isn't the name of a file beside the index", make: write(name, index("/etc/passwd"))},
		"a shard by backslashes":   {says: "isn't the name of a file beside the index", make: write(name, index(`..\weights.safetensors`))},
		"a shard by link":          {says: "link out of its folder", make: both(write(name, index("s.safetensors")), symlink("../weights.safetensors", "bad/s.safetensors"))},
		"a shard in a circle":      {says: "bad", make: both(write(name, index("s.safetensors")), symlink("s.safetensors", "bad/s.safetensors"))},
		"a shard that is a pipe":   {says: "bad", make: both(write(name, index("s.safetensors")), fifo("bad/s.safetensors"))},
		"a shard that is a folder": {says: "bad", make: both(write(name, index("s.safetensors")), folder("bad/s.safetensors"))},
		"an index of itself":       {says: "no file of weights", make: write(name, index("model.safetensors.index.json"))},
		"an index of null":         {says: "lies in no file", make: write(name, `{"weight_map":{"a":null}}`)},
		"a long index": {says: "bad", make: func(dir string) error {
			return write(name, `{"weight_map":{`+strings.Join(names(800_000, `"%d":"s"`), ",")+`}}`)(dir)
		}},
		"a missing shard":  {says: "s.safetensors", make: write(name, index("s.safetensors"))},
		"weights by link":  {says: "link out of its folder", make: both(folder("bad"), symlink("../weights.safetensors", "bad/model.safetensors"))},
		"a config by link": {says: "link out of its folder", make: both(folder("bad"), link("weights.safetensors", "bad/model.safetensors"), symlink("../c.yaml", "bad/config.json"))},
		"a large config":   {says: "no description", make: config(strings.Repeat(" ", 5<<20))},
	}
}

// hostileDescriptions lie beside good weights.
func hostileDescriptions() map[string]func(string) error {
	return map[string]func(string) error{
		"10^18 heads":     config(`{"model_type":"vit","num_attention_heads":1000000000000000000}`),
		"10^30 heads":     config(`{"model_type":"vit","num_attention_heads":1e30}`),
		"no heads":        config(`{"model_type":"vit","num_attention_heads":0}`),
		"a negative size": config(`{"model_type":"vit","num_attention_heads":2,"image_size":-32}`),
		"a size of 2^31":  config(`{"model_type":"vit","num_attention_heads":2,"image_size":2147483648}`),
		"a patch of 0":    config(`{"model_type":"vit","num_attention_heads":2,"patch_size":0}`),
		"a depth of 10^9": config(`{"model_type":"vit","num_attention_heads":2,"num_hidden_layers":1000000000}`),
		"class 10^9":      config(`{"model_type":"vit","num_attention_heads":2,"id2label":{"1000000000":"x"}}`),
		"class -1":        config(`{"model_type":"vit","num_attention_heads":2,"id2label":{"-1":"x"}}`),
		"a deep config":   config(strings.Repeat("[", 4<<20)),
		"many labels": func(dir string) error {
			return config(`{"model_type":"vit","num_attention_heads":2,"id2label":{` + strings.Join(names(200_000, `"%d":"x"`), ",") + "}}")(dir)
		},
	}
}

// config lies beside the weights.
func config(text string) func(string) error {
	return both(write("bad/config.json", text), link("weights.safetensors", "bad/model.safetensors"))
}

func link(from, to string) func(string) error {
	return func(dir string) error {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(to)), 0o777); err != nil {
			return err
		}
		return os.Link(filepath.Join(dir, from), filepath.Join(dir, to))
	}
}

// symlink makes to lead to from, as it is written.
func symlink(from, to string) func(string) error {
	return func(dir string) error { return os.Symlink(from, filepath.Join(dir, to)) }
}

func fifo(name string) func(string) error {
	return func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, name), 0o666) }
}
