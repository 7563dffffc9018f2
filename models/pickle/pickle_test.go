package pickle

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx/memtest"
)

func decode(data string) (*Pickle, error) {
	return Decode(NewReader(strings.NewReader(data), int64(len(data))))
}

// show prints a value as Python would, more or less.
func show(v any, depth int) string {
	if depth == 0 {
		return "..."
	}
	list := func(items []any) string {
		var out []string
		for _, item := range items {
			out = append(out, show(item, depth-1))
		}
		return strings.Join(out, ", ")
	}
	switch v := v.(type) {
	case Bytes:
		return fmt.Sprintf("b%q", []byte(v))
	case string:
		return fmt.Sprintf("%q", v)
	case Tuple:
		return "(" + list(v) + ")"
	case *List:
		return "[" + list(v.Items) + "]"
	case *Set:
		return "set(" + list(v.Items) + ")"
	case *Dict:
		var out []string
		for i := range v.Keys {
			out = append(out, show(v.Keys[i], depth-1)+": "+show(v.Values[i], depth-1))
		}
		return "{" + strings.Join(out, ", ") + "}"
	case *Call:
		s := v.Func.Name + "(" + list(v.Args) + ")"
		if v.State != nil {
			s += " with " + show(v.State, depth-1)
		}
		return s
	case *Persistent:
		return "stored " + show(v.ID, depth-1)
	}
	return fmt.Sprint(v)
}

// python lists pickles that Python wrote: name, protocol, bytes.
func python(t testing.TB) [][3]string {
	text, err := os.ReadFile("testdata/python.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out [][3]string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		raw, err := base64.StdEncoding.DecodeString(f[2])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, [3]string{f[0], f[1], string(raw)})
	}
	return out
}

func TestPicklesOfAllProtocolsReadAsPythonWroteThem(t *testing.T) {
	const plain = `{"a": [1, -2, 1099511627776, 1180591620717411303424, -1180591620717411303424, 255, -129], ` +
		`"f": [1.5, +Inf], "n": <nil>, "b": (true, false), "s": "é世😀\n\\", "by": b"\x00\xff", "set": set(1), "fs": set(2), "e": (), "t4": (1, 2, 3, 4)}`
	want := map[string][]string{
		"plain":     {plain, strings.Replace(plain, `b"\x00\xff"`, `encode("\x00ÿ", "latin1")`, 1)},
		"namespace": {`Namespace() with {"lr": 0.1, "model": "vit_base", "path": PurePosixPath("/", "x", "y")}`, `_reconstructor(argparse.Namespace, builtins.object, <nil>) with {"lr": 0.1, "model": "vit_base", "path": PurePosixPath("/", "x", "y")}`},
		"ordered":   {`{"a": 1, "b": 2}`},
		"default":   {`{"a": [1]}`},
		"torch":     {`{"size": Size((1, 2)), "dtype": torch.float16, "device": device("cpu")}`},
	}
	for _, p := range python(t) {
		got, err := decode(p[2])
		if err != nil {
			t.Errorf("%s in protocol %s: %v", p[0], p[1], err)
			continue
		}
		text := strings.ReplaceAll(show(got.Value, 9), "__builtin__", "builtins")
		ok := want[p[0]] == nil
		for _, w := range want[p[0]] {
			ok = ok || text == w
		}
		if !ok {
			t.Errorf("%s in protocol %s is\n%s, want one of\n%s", p[0], p[1], text, strings.Join(want[p[0]], "\n"))
		}
	}
}

func TestBytesAfterAPickleStayUnread(t *testing.T) {
	data := "K\x01.\x80\x02K\x02.rest"
	r := NewReader(strings.NewReader(data), int64(len(data)))
	for want := range int64(2) {
		p, err := Decode(r)
		if err != nil || p.Value != want+1 {
			t.Fatalf("pickle %d is %v, %v", want, p, err)
		}
	}
	if r.Offset() != 8 {
		t.Errorf("%d bytes were read, want 8", r.Offset())
	}
}

func TestPythonTwoTextsRead(t *testing.T) {
	for data, want := range map[string]string{
		"S'a\\x41\\'\\n'\n.": "aA'\n", "S\"b\"\n.": "b", "U\x02hi.": "hi", "T\x02\x00\x00\x00ho.": "ho", "V\\u4e16\xe9\n.": "世é",
	} {
		if p, err := decode(data); err != nil || p.Value != want {
			t.Errorf("%q reads as %v, %v, want %q", data, p, err, want)
		}
	}
}

// TestCallsAndBrokenPicklesAreErrors feeds the ways in which a pickle runs code
// in Python, and pickles that are none.
func TestCallsAndBrokenPicklesAreErrors(t *testing.T) {
	for data, want := range map[string]string{
		"cos\nsystem\n(S'id'\ntR.":                                   "GLOBAL): it names os.system",
		"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.":    "STACK_GLOBAL): it names posix.system",
		"(S'id'\nios\nsystem\n.":                                     "INST): it names os.system",
		"(cos\nsystem\nS'id'\no.":                                    "GLOBAL): it names os.system",
		"c__builtin__\neval\n(S'1'\ntR.":                             "__builtin__.eval",
		"cbuiltins\ngetattr\n.":                                      "builtins.getattr",
		"ctorch.storage\n_load_from_bytes\n(C\x01x\x85R.":            "torch.storage._load_from_bytes",
		"ctimm.models.vision_transformer\nVisionTransformer\n)\x81.": "timm.models.vision_transformer.VisionTransformer",
		"ctorch\nfloat32\n)R.":                                       "REDUCE): it calls torch.float32",
		"ctorch\nFloatStorage\n)\x81.":                               "NEWOBJ): it calls torch.FloatStorage",
		"cos\nsystem\x00\n.":                                         `os."system\x00"`,
		"ctorch\nhub.load\n.":                                        "torch.hub.load",
		"\x82\x01.":                                                  "EXT1): this opcode reaches outside",
		"\x97.":                                                      "NEXT_BUFFER): this opcode reaches outside",
		"S'id'\n)R.":                                                 "a text is called",
		"ctorch\nSize\n]b.":                                          "a state is set on torch.Size",
		"c" + strings.Repeat("x", 500) + "\ny\n.":                    "xxx...",
		"cargparse\nNamespace\n)}S'a'\nS'b'\ns\x92.":                 "named arguments",
		"ccollections\nOrderedDict\n(](I1\nI2\nI3\nlatR.":            "instead of a pair",
		"\x80\x09.":                                                  "protocol 9",
		"\xff":                                                       "no opcode 0xff",
		"":                                                           "ends too early",
		"N":                                                          "ends too early",
		"NN.":                                                        "ends with 2 values",
		"(N.":                                                        "is broken",
		".":                                                          "ends with 0 values",
		"h\x05.":                                                     "never memorised",
		"X\xff\xff\xff\xffabc":                                       "4294967295",
		"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc":  "18446744073709551615 bytes",
		"\x8d\xff\xff\x00\x00\x00\x00\x00\x00abc":  "65535 bytes are announced, 3 are there",
		"L" + strings.Repeat("9", 100000) + "L\n.": "longer than 4300",
		"\x8b\xff\xff\xff\x7f":                     "2147483647 bytes",
		"Ix\n.":                                    "x is no integer",
		"Fx\n.":                                    "x is no number",
		"Sx\n.":                                    "quotation marks",
		"V\\u12\n.":                                "wrong escape",
		"p-1\n.":                                   "no index",
		"}N\x85N\x85s":                             "ends too early",
		"]Na)e.":                                   "mark is missing",
		"})NNs.":                                   "items are set on a tuple",
		"))a.":                                     "appended to a tuple",
		"}(Nu.":                                    "a key has no value",
	} {
		p, err := decode(data)
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q gives %v, %v, want %q", data, p, err, want)
		}
		if len(fmt.Sprint(err)) > 400 {
			t.Errorf("%.60q gives a message of %d bytes", data, len(err.Error()))
		}
	}
}

func TestPicklesThatAreCutFail(t *testing.T) {
	for _, p := range python(t) {
		for n := range p[2] {
			if _, err := decode(p[2][:n]); err == nil {
				t.Fatalf("the first %d of %d bytes of %s in protocol %s were read", n, len(p[2]), p[0], p[1])
			}
		}
	}
}

// TestGreedyPicklesAreBounded feeds pickles that ask for much: each ends within
// a second and takes at most 200 MB altogether, much of it freed at once.
func TestGreedyPicklesAreBounded(t *testing.T) {
	repeat := strings.Repeat
	for name, data := range map[string]string{
		"dicts":           repeat("}", 8<<20) + ".",
		"sets":            repeat("\x8f0", 8<<20) + ".",
		"marks":           repeat("(", 8<<20) + ".",
		"nested lists":    repeat("]", 4<<20) + repeat("a", 4<<20-1) + ".",
		"nested tuples":   ")" + repeat("\x85", 8<<20) + ".",
		"doubling":        ")" + repeat("2\x86", 8<<20) + ".",
		"memo":            "]" + repeat("\x94", 8<<20) + ".",
		"sparse memo":     "]r\xff\xff\xff\xff" + repeat("r\x00\x00\x00\xfer\x00\x00\x01\xfd", 1<<20) + ".",
		"copied list":     "](" + repeat("N", 1<<18) + "eq\x000" + repeat("cbuiltins\nset\nh\x00\x85R0", 1<<18) + ".",
		"copied dict":     "}(" + repeat("N", 1<<18) + "uq\x000" + repeat("ccollections\nOrderedDict\nh\x00\x85R0", 1<<18) + ".",
		"long text":       "X\xff\xff\xff\x7f" + repeat("x", 1<<20),
		"long line":       "V" + repeat("x", 64<<20),
		"long numbers":    repeat("L"+repeat("9", 4000)+"\n0", 1<<12) + ".",
		"own item":        "]q\x00h\x00a.",
		"frames":          repeat("\x95\x00\x00\x00\x00\x00\x00\x00\x00", 1<<20) + "N.",
		"long global":     "\x8c\xff" + repeat("x", 255) + repeat("\x8c\xff"+repeat("x", 255), 1<<16) + repeat("\x93", 1<<10) + ".",
		"numbers":         repeat("K\x01", 8<<20) + ".",
		"many persistent": repeat("NQ", 4<<20) + ".",
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := Decode(NewReader(strings.NewReader(data), int64(len(data))))
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 200 || took > 10*time.Second {
			t.Errorf("%s: %d MB in %v (%v)", name, mb, took, err)
		}
		if name != "own item" && name != "frames" && err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range python(f) {
		f.Add([]byte(p[2]))
	}
	f.Add([]byte("cos\nsystem\n(S'id'\ntR."))
	f.Add([]byte("(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ."))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p *Pickle
		var err error
		memtest.Within(t, len(data), 128, 1<<20, func() { p, err = Decode(NewReader(bytes.NewReader(data), int64(len(data)))) })
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no *Error", err)
		}
		if err == nil {
			show(p.Value, 5)
		}
	})
}
