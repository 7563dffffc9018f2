package models

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/models/torchfile"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/memtest"
)

// put writes a file below dir and returns its path.
func put(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
		t.Fatal(err)
	}
	return path
}

// weightsOf are two tensors, and their files in the formats that are written
// here.
func weightsOf(t testing.TB, dir string) (tensors []safetensors.Named, safe, torch string) {
	t.Helper()
	tensors = []safetensors.Named{{Name: "b.weight", Tensor: onnx.FloatTensor([]float32{1, 2, 3, 4, 5, 6}, 2, 3)},
		{Name: "a.bias", Tensor: &onnx.Tensor{Type: onnx.BFloat16, Dims: []int64{2}, Raw: []byte{1, 2, 3, 4}}}}
	safe, torch = filepath.Join(dir, "w.safetensors"), filepath.Join(dir, "w.pth")
	if err := errors.Join(safetensors.Write(safe, tensors, map[string]string{"format": "pt"}), torchfile.Write(torch, tensors)); err != nil {
		t.Fatal(err)
	}
	return tensors, safe, torch
}

func sameTensors(t *testing.T, what string, c *Checkpoint, want []safetensors.Named) {
	t.Helper()
	var names []string
	for _, w := range want {
		names = append(names, w.Name)
		if got := c.Tensor(w.Name); got == nil || got.Type != w.Tensor.Type || !slices.Equal(got.Dims, w.Tensor.Dims) || !bytes.Equal(got.Raw, w.Tensor.Raw) {
			t.Errorf("%s: %s is %v, want %v", what, w.Name, got, w.Tensor)
		}
	}
	if !slices.Equal(c.Names(), names) {
		t.Errorf("%s has %v, want %v", what, c.Names(), names)
	}
	if len(c.SHA256) != 64 {
		t.Errorf("%s has the checksum %q", what, c.SHA256)
	}
}

func copyTo(t testing.TB, from, to string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, filepath.Dir(to), filepath.Base(to), string(data))
}

func TestContentDecidesAndNotTheSuffix(t *testing.T) {
	dir := t.TempDir()
	want, safe, torch := weightsOf(t, dir)
	for from, names := range map[string][]string{safe: {"x.safetensors", "x.bin", "x.onnx", "x"}, torch: {"x.pth", "x.pt", "x.bin", "x.ckpt", "x.pth.tar", "x.safetensors", "noSuffix"}} {
		for _, name := range names {
			path := copyTo(t, from, filepath.Join(dir, "copies", name))
			c, err := OpenCheckpoint(path)
			if err != nil {
				t.Error(err)
				continue
			}
			if !IsCheckpoint(path) {
				t.Errorf("%s of %s isn't held for a checkpoint", name, from)
			}
			sameTensors(t, name, c, want)
			if f := map[string]string{safe: FormatSafetensors, torch: FormatPyTorch}[from]; c.Format != f || c.Path != path {
				t.Errorf("%s: format %q, path %q, want %q, %q", name, c.Format, c.Path, f, path)
			}
		}
	}
}

// TestEveryFormatReads opens files that PyTorch and NumPy wrote.
func TestEveryFormatReads(t *testing.T) {
	for path, want := range map[string][3]string{
		"torchfile/testdata/deit.pth":             {FormatPyTorch, "model", "vit_tiny_patch16_224"},
		"torchfile/testdata/robustvit-legacy.pth": {FormatPyTorch, "state_dict", "vit_base_patch16_224"},
		"torchfile/testdata/types.pth":            {FormatPyTorch, "", ""},
		"npz/testdata/deflated.npz":               {FormatNumPy, "", ""},
	} {
		c, err := OpenCheckpoint(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := [3]string{c.Format, c.Nesting, c.Metadata["architecture"]}; got != want || len(c.Names()) == 0 {
			t.Errorf("%s is %q with %d tensors, want %q", path, got, len(c.Names()), want)
		}
		data, err := os.ReadFile(path)
		if err != nil || c.SHA256 != hexSum(data) {
			t.Errorf("%s: the checksum %s isn't the file's (%v)", path, c.SHA256, err)
		}
	}
}

// shardedFolder makes a folder of Hugging Face's with one tensor in each file.
func shardedFolder(t testing.TB, dir string, want []safetensors.Named) string {
	t.Helper()
	put(t, dir, "config.json", `{"model_type":"vit"}`)
	for i, w := range want {
		if err := safetensors.Write(filepath.Join(dir, fmt.Sprintf("model-%d.safetensors", i)), []safetensors.Named{w}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return put(t, dir, "model.safetensors.index.json",
		`{"metadata":{"total_size":28},"weight_map":{"b.weight":"model-0.safetensors","a.bias":"model-1.safetensors"}}`)
}

func TestFoldersAndIndicesRead(t *testing.T) {
	dir := t.TempDir()
	want, safe, torch := weightsOf(t, dir)
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	put(t, at("sharded"), "preprocessor_config.json", "{}")
	index := shardedFolder(t, at("sharded"), want)
	copyTo(t, safe, at("hub", "model.safetensors"))
	put(t, at("hub"), "pytorch_model.bin", "not looked at")
	put(t, at("hub"), "config.json", "{}")
	copyTo(t, torch, at("old", "pytorch_model.bin"))
	put(t, at("old"), "training_args.bin", "x")
	put(t, at("old"), "tf_model.h5", "x")
	copyTo(t, torch, at("single", "dino_small.pth"))
	copyTo(t, torch, at("single", "optimizer.pt"))
	put(t, at("single"), "README.md", "x")
	if err := errors.Join(os.MkdirAll(at("cache", "snapshots", "0123"), 0o777), os.MkdirAll(at("cache", "blobs"), 0o777)); err != nil {
		t.Fatal(err)
	}
	copyTo(t, safe, at("cache", "blobs", "abc"))
	if err := os.Symlink("../../blobs/abc", at("cache", "snapshots", "0123", "model.safetensors")); err != nil {
		t.Skip(err)
	}
	for path, config := range map[string]string{at("sharded"): `{"model_type":"vit"}`, index: `{"model_type":"vit"}`, at("hub"): "{}", at("hub", "model.safetensors"): "{}",
		at("old"): "", at("single"): "", at("single", "dino_small.pth"): "", at("cache", "snapshots", "0123"): ""} {
		c, err := OpenCheckpoint(path)
		if err != nil {
			t.Error(err)
			continue
		}
		sameTensors(t, path, c, want)
		if c.Path != path || string(c.Config) != config || (c.Preprocessor != nil) != strings.Contains(path, "sharded") || !IsCheckpoint(path) {
			t.Errorf("%s: path %s, config %q, preprocessor %q", path, c.Path, c.Config, c.Preprocessor)
		}
	}
}

func TestLinksAndNamesDontLeadOutOfAFolder(t *testing.T) {
	dir := t.TempDir()
	want, safe, _ := weightsOf(t, dir)
	_ = shardedFolder(t, filepath.Join(dir, "ok"), want)
	index := func(tensor, file string) func(string) {
		return func(d string) {
			put(t, d, "model.safetensors.index.json", fmt.Sprintf(`{"weight_map":{%q:%q}}`, tensor, file))
		}
	}
	link := func(to, name string) func(string) {
		return func(d string) {
			if err := errors.Join(os.MkdirAll(d, 0o777), os.Symlink(to, filepath.Join(d, name))); err != nil {
				t.Skip(err)
			}
		}
	}
	both := func(a, b func(string)) func(string) { return func(d string) { a(d); b(d) } }
	for i, c := range []struct {
		make func(string)
		want string
	}{
		{index("b.weight", "../ok/model-0.safetensors"), "isn't the name of a file beside"},
		{index("b.weight", "/etc/passwd"), "isn't the name of a file beside"},
		{index("b.weight", `..\ok\model-0.safetensors`), "isn't the name of a file beside"},
		{index("b.weight", ".."), "isn't the name of a file beside"},
		{index("b.weight", ""), "isn't the name of a file beside"},
		{index("b.weight", "C:x"), "isn't the name of a file beside"},
		{both(index("b.weight", "x.safetensors"), link(safe, "x.safetensors")), "a link out of its folder"},
		{both(index("b.weight", "x.safetensors"), link("../w.safetensors", "x.safetensors")), "a link out of its folder"},
		{link(safe, "model.safetensors"), "a link out of its folder"},
		{both(link("/etc/hostname", "config.json"), func(d string) { copyTo(t, safe, filepath.Join(d, "model.safetensors")) }), "a link out of its folder"},
		{link("model.safetensors", "model.safetensors"), "too many"},
		{both(index("none", "x.safetensors"), func(d string) { copyTo(t, safe, filepath.Join(d, "x.safetensors")) }), "isn't there"},
		{both(index("x", "x.safetensors"), func(d string) { put(t, d, "x.safetensors", "hello") }), "an index leads to it"},
		{index("x", "x.safetensors"), "no such file"},
		{both(index("x", "model.safetensors.index.json"), func(string) {}), "an index leads to it"},
	} {
		d := filepath.Join(dir, fmt.Sprint("case", i))
		c.make(d)
		_, err := OpenCheckpoint(d)
		var e *Error
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &e) && !errors.Is(err, fs.ErrNotExist) && c.want != "too many" {
			t.Errorf("case %d: %v, want %q", i, err, c.want)
		}
	}
}

func TestFaultyIndicesAreRefused(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		`{"weight_map":{"a":"x","a":"y"}}`: "twice",
		`{"weight_map":{"a":3}}`:           "lies in no file",
		`{"weight_map":{"a":null}}`:        "lies in no file",
		`{"weight_map":[]}`:                "no index",
		`{"weight_map":{}}`:                "lists no tensor",
		`{"error":"Not Found"}`:            "without a weight_map",
		`{"weight_map":`:                   "no index",
		`{"weight_map":{"a":"x"}} more`:    "no index",
		`{"a":` + strings.Repeat("[", 50000) + strings.Repeat("]", 50000) + "}": "no index",
	} {
		path := put(t, dir, "model.safetensors.index.json", text)
		_, err := OpenCheckpoint(path)
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

func TestWhatIsSomethingElseIsNamed(t *testing.T) {
	dir := t.TempDir()
	tar := make([]byte, 512)
	copy(tar[257:], "ustar")
	for text, want := range map[string]string{
		"":                      "an empty file",
		"<!DOCTYPE html><html>": "a web page",
		"\n<HTML><body>404":     "a web page",
		"<?xml version='1.0'?><Error><Code>AccessDenied":                            "an XML text",
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "git lfs pull",
		`{"error":"Repository not found"}`:                                          "without a weight_map",
		"\x89HDF\r\n\x1a\n\x00":                                                     "tf2onnx",
		"GGUF\x03\x00\x00\x00":                                                      "GGUF",
		"\x93NUMPY\x01\x00":                                                         "a single NumPy array",
		"\x1f\x8b\x08\x00":                                                          "gzip",
		string(tar):                                                                 "tar archive",
		"\x80\x04\x95\x10":                                                          "a Python pickle that torch.save didn't write",
		"\x08\x08\x12\x07pytorch":                                                   "an ONNX model",
		"PK\x03\x04 and then nothing":                                               "no directory",
		"hello":                                                                     "no known format",
	} {
		path := put(t, dir, "x.pth", text)
		_, err := OpenCheckpoint(path)
		var e interface{ ExitCode() int }
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
	for name, want := range map[string]string{"a.index": "TensorFlow", "a.data-00000-of-00001": "TensorFlow", "a.msgpack": "Flax", "a.h5": `".h5"`} {
		if _, err := OpenCheckpoint(put(t, dir, name, "\x81\xa5hello world")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	far := "\x00\x00\x00\x00\x00\x00\x00\x80{}"
	if _, err := OpenCheckpoint(put(t, dir, "far.safetensors", far)); err == nil || !strings.Contains(err.Error(), "header would be too long") {
		t.Errorf("a header of 2^63 bytes gives %v", err)
	}
}

func TestFoldersWithoutWeightsSayWhatTheyHold(t *testing.T) {
	for want, files := range map[string][]string{
		"is empty":                      {},
		"it holds README.md, notes.txt": {"README.md", "notes.txt"},
		"give one of them":              {"a.pth", "b.safetensors"},
		"model.onnx":                    {"model.onnx", "config.json"},
		"folder of a run":               {"config.yaml", "checkpoints/last/state.json"},
		"SavedModel":                    {"saved_model.pb", "variables/x"},
		"and 8 more":                    strings.Fields("a b c d e f g h i j k l m n o p q r s t"),
	} {
		dir := t.TempDir()
		for _, f := range files {
			put(t, dir, f, "x")
		}
		_, err := OpenCheckpoint(dir)
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", files, err, want)
		}
	}
}

func TestIsCheckpoint(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]bool{
		filepath.Join(dir, "none.onnx"):                     false,
		filepath.Join(dir, "none.safetensors"):              true,
		filepath.Join(dir, "none.pth"):                      true,
		filepath.Join(dir, "none"):                          false,
		dir:                                                 true,
		put(t, dir, "broken.onnx", "hello"):                 false,
		put(t, dir, "empty.onnx", ""):                       false,
		put(t, dir, "model.bin", "\x08\x08\x12\x07pytorch"): false,
		put(t, dir, "broken.safetensors", "hello"):          true,
		put(t, dir, "pointer.onnx", "version https://git-lfs.github.com/spec/v1\n"): true,
		put(t, dir, "image.jpg", "hello"):                                           false,
	} {
		if got := IsCheckpoint(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// TestCutCheckpointsFailQuickly cuts files of every format at every percent.
func TestCutCheckpointsFailQuickly(t *testing.T) {
	dir := t.TempDir()
	_, safe, torch := weightsOf(t, dir)
	for _, from := range []string{safe, torch, "torchfile/testdata/deit-legacy.pth", "npz/testdata/deflated.npz"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		for percent := range 100 {
			path := put(t, dir, "cut"+filepath.Ext(from), string(data[:len(data)*percent/100]))
			_, err := OpenCheckpoint(path)
			var e interface{ ExitCode() int }
			if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), path) {
				t.Errorf("%d %% of %s: %v", percent, from, err)
			}
		}
		runtime.ReadMemStats(&after)
		if took, mb := time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20; took > time.Minute || mb > 200 {
			t.Errorf("100 cuts of %s took %v and %d MB", from, took, mb)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(`{"metadata":{"total_size":28},"weight_map":{"b.weight":"model-0.safetensors","a.bias":"model-1.safetensors"}}`)
	f.Add(`{"weight_map":{"a":"../x"}}`)
	f.Add(`{"weight_map":{"a":"x","a":"y"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var x *index
		var err error
		memtest.Within(t, len(text), 64, 1<<20, func() { x, err = parseIndex("x.index.json", []byte(text)) })
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no *Error", err)
		}
		if err != nil {
			return
		}
		for shard := range x.shards {
			if filepath.Join("/a", shard) != "/a/"+shard || filepath.Dir(filepath.Join("/a", shard)) != "/a" {
				t.Fatalf("%q leads out of its folder", shard)
			}
		}
	})
}

func FuzzKind(f *testing.F) {
	f.Add([]byte("PK\x03\x04"))
	f.Add([]byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, head []byte) {
		kindOf(head)
		foreign(head)
	})
}
