package torchfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/memtest"
)

// readAll reads every tensor of a file.
func readAll(f *File) ([]safetensors.Named, error) {
	var out []safetensors.Named
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		out = append(out, safetensors.Named{Name: name, Tensor: t})
	}
	return out, nil
}

func parseAll(data []byte) ([]safetensors.Named, error) {
	f, err := Parse("x.pth", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return readAll(f)
}

func samples(t testing.TB, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(out) == 0 {
		t.Fatalf("no %s in testdata (%v)", pattern, err)
	}
	return out
}

// TestTensorsEqualPyTorchs reads files of both formats, with every type,
// views, parameters and optimizers' states.
func TestTensorsEqualPyTorchs(t *testing.T) {
	read := 0
	for _, path := range samples(t, "*.pth") {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".pth"), "-legacy")
		if strings.HasPrefix(name, "refused-") {
			continue
		}
		read++
		want, err := safetensors.Open(filepath.Join("testdata", name+".expected.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, want := slices.Sorted(slices.Values(f.Names())), slices.Sorted(slices.Values(want.Names())); !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", path, got, want)
		}
		for _, n := range f.Names() {
			got, err := f.Tensor(n)
			if err != nil {
				t.Fatal(err)
			}
			w, err := want.Tensor(n)
			if err != nil {
				t.Fatal(err)
			}
			if got.Type != w.Type || !slices.Equal(got.Dims, w.Dims) || !bytes.Equal(got.Raw, w.Raw) {
				t.Errorf("%s: %s is %v%v, want %v%v, or differs in value", path, n, got.Type, got.Dims, w.Type, w.Dims)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if read < 14 {
		t.Errorf("only %d files were read", read)
	}
}

func TestTheWeightsThatWerePublishedAreChosen(t *testing.T) {
	for name, want := range map[string][2]string{
		"views": {"", ""}, "deit": {"model", "vit_tiny_patch16_224"}, "deit-legacy": {"model", "vit_tiny_patch16_224"},
		"robustvit": {"state_dict", "vit_base_patch16_224"}, "dino": {"teacher", ""}, "ema": {"state_dict_ema", ""},
	} {
		f, err := Open(filepath.Join("testdata", name+".pth"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Nesting != want[0] || f.Architecture != want[1] {
			t.Errorf("%s: nesting %q, architecture %q, want %q", name, f.Nesting, f.Architecture, want)
		}
	}
}

func TestWhatIsNoStateDictIsRefusedByName(t *testing.T) {
	for name, want := range map[string]string{
		"module": "torch.nn.modules.container.Sequential", "single": "a single tensor", "quantised": "tensor q: it can't be read: quantised weights",
		"sparse": "tensor s: it can't be read: sparse weights", "meta": "from the device meta", "several": "several of its keys hold weights: a, b",
		"none": "no weights were found in its 2 keys: epoch, lr", "torchscript": "TorchScript",
	} {
		_, err := Open(filepath.Join("testdata", "refused-"+name+".pth"))
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if name == "module" && !strings.Contains(err.Error(), "state_dict()") {
			t.Errorf("%s: %v gives no advice", name, err)
		}
	}
}

func TestFilesThatAreCutFail(t *testing.T) {
	for _, path := range samples(t, "*.pth") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for percent := range 100 {
			n := len(data) * percent / 100
			if _, err := parseAll(data[:n]); err == nil {
				t.Errorf("%s was read from its first %d of %d bytes", path, n, len(data))
			}
		}
	}
}

// legacyFile is a file in the older format, of an object's pickle and keys.
func legacyFile(object, keys string, data ...byte) []byte {
	const head = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."
	return append([]byte(head+object+keys), data...)
}

// oneTensor pickles {name: tensor} with a view of storage 0, and of the class.
func oneTensor(class, offset, dims, strides string) string {
	return "}U\x01x" + "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n" + class + "\nU\x010U\x03cpuI4\nNtQI" +
		offset + "\n(" + dims + "t(" + strides + "t\x89ccollections\nOrderedDict\n)RtRs."
}

func TestHostileFilesAreRefused(t *testing.T) {
	four := append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16)...)
	const keys = "]U\x010a."
	float := func(offset, dims, strides string) []byte {
		return legacyFile(oneTensor("FloatStorage", offset, dims, strides), keys, four...)
	}
	if got, err := parseAll(float("1", "I3\n", "I1\n")); err != nil || len(got) != 1 {
		t.Fatalf("the harmless file gives %v, %v", got, err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"call":             {legacyFile("cos\nsystem\n(U\x02idtR.", keys), "os.system"},
		"module":           {legacyFile("ctimm.models.vision_transformer\nVisionTransformer\n)\x81}b.", keys), "timm.models.vision_transformer.VisionTransformer"},
		"offset":           {float("5", "I1\n", "I1\n"), "begins at element 5"},
		"last":             {float("2", "I3\n", "I1\n"), "leave a storage of 4"},
		"stride":           {float("0", "I2\n", "I9223372036854775807\n"), "leave a storage of 4"},
		"huge":             {float("0", "I9223372036854775807\nI9223372036854775807\n", "I0\nI0\n"), "too large"},
		"expanded":         {float("0", "I1000000\nI1000\n", "I0\nI0\n"), "views of the same data"},
		"negative stride":  {float("3", "I4\n", "I-1\n"), "make no sense"},
		"negative offset":  {float("-1", "I4\n", "I1\n"), "make no sense"},
		"ranks":            {float("0", "I4\n", ""), "make no sense"},
		"beyond empty":     {float("9", "I0\n", "I1\n"), "begins at element 9"},
		"storage too long": {legacyFile(oneTensor("FloatStorage", "0", "I1\n", "I1\n"), keys, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "ends inside of storage"},
		"no storage":       {legacyFile(oneTensor("FloatStorage", "0", "I1\n", "I1\n"), "]."), `no storage "0"`},
		"storage twice":    {legacyFile(oneTensor("FloatStorage", "0", "I1\n", "I1\n"), "]U\x010aU\x010a.", append(four, four...)...), "wrong at"},
		"unknown key":      {legacyFile(oneTensor("FloatStorage", "0", "I1\n", "I1\n"), "]U\x019a.", four...), `wrong at "9"`},
		"keys no list":     {legacyFile(oneTensor("FloatStorage", "0", "I1\n", "I1\n"), "N."), "list of its storages"},
		"name twice":       {legacyFile(strings.Replace(oneTensor("FloatStorage", "0", "I1\n", "I1\n"), "s.", "q\x01sU\x01xh\x01s.", 1), keys, four...), "two tensors have this name"},
		"version":          {[]byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.M\xe8\x03."), "1001"},
		"no magic":         {[]byte("\x80\x02}."), "no file of torch.save"},
		"own item":         {legacyFile("}q\x00U\x05modelh\x00s.", "]."), "no weights"},
		"own key":          {legacyFile("}q\x00](h\x00eq\x01\x85U\x01vs.", "]."), "no weights"},
		"list":             {legacyFile("].", "]."), "no dict of tensors"},
		"empty":            {nil, "no file of torch.save"},
	} {
		_, err := parseAll(c.data)
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestSearchingSharedDictsTakesNoTime feeds dicts that hold one another many
// times.
func TestSearchingSharedDictsTakesNoTime(t *testing.T) {
	var b strings.Builder
	b.WriteString("}(")
	for range 60_000 {
		b.WriteString("NN")
	}
	b.WriteString("uq\x000}q\x01(")
	for range 60_000 {
		b.WriteString("Nh\x00")
	}
	for _, key := range nestings {
		b.WriteString("U" + string(rune(len(key))) + key + "h\x01")
	}
	b.WriteString("u.")
	data := legacyFile(b.String(), "].")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	_, err := parseAll(data)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "no weights") {
		t.Errorf("it gives %v", err)
	}
	if took, mb := time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20; took > 10*time.Second || mb > 200 {
		t.Errorf("it took %v and %d MB", took, mb)
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range samples(f, "*.pth") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var tensors []safetensors.Named
		var err error
		memtest.Within(t, len(data), 128, 1<<20, func() { tensors, err = parseAll(data) })
		if e := (interface{ ExitCode() int })(nil); err != nil && (!errors.As(err, &e) || e.ExitCode() != 3) {
			t.Fatalf("%v has no exit code 3", err)
		}
		for _, n := range tensors {
			if err := n.Tensor.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzLegacyObject(f *testing.F) {
	f.Add([]byte(oneTensor("FloatStorage", "0", "I2\nI2\n", "I1\nI2\n")))
	f.Add([]byte(oneTensor("HalfStorage", "1", "I3\n", "I0\n")))
	f.Fuzz(func(t *testing.T, object []byte) {
		var tensors []safetensors.Named
		memtest.Within(t, len(object), 256, 1<<20, func() {
			tensors, _ = parseAll(legacyFile(string(object), "]U\x010a.", append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16)...)...))
		})
		for _, n := range tensors {
			if err := n.Tensor.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
