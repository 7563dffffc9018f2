package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/models/torchfile"
	"github.com/relevit/relevit/onnx"
)

// family is a published checkpoint: what testdata/recipes/families.py knows of
// its files, but for the numbers.
type family struct {
	Path       string
	Format     string
	Files      map[string]json.RawMessage // beside the weights; nil: Path is a file
	Depth      int
	Parameters int64
	Tensors    map[string][]int64 // # stands for the number of a block
}

// names lists the tensors, blocks expanded.
func (f *family) names() map[string][]int64 {
	out := map[string][]int64{}
	for name, dims := range f.Tensors {
		for i := range f.Depth {
			out[strings.Replace(name, "#", fmt.Sprint(i), 1)] = dims
		}
	}
	return out
}

// write writes the checkpoint in a folder, of zeros.
func (f *family) write(t *testing.T, folder string) {
	path := filepath.Join(folder, f.Path)
	if f.Files != nil {
		if err := os.MkdirAll(path, 0o777); err != nil {
			t.Fatal(err)
		}
		for name, text := range f.Files {
			if bytes.Contains(text, []byte(`"id2label": "imagenet"`)) {
				text = bytes.Replace(text, []byte(`"id2label": "imagenet"`), fmt.Appendf(nil, `"id2label": %s`, imagenet(t)), 1)
			}
			if err := os.WriteFile(filepath.Join(path, name), text, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		path = filepath.Join(path, "model.safetensors")
	}
	var err error
	switch f.Format {
	case "safetensors":
		err = writeZeros(path, f.names())
	case "pth":
		var list []safetensors.Named
		for name, dims := range f.names() {
			list = append(list, safetensors.Named{Name: name, Tensor: onnx.FloatTensor(make([]float32, onnx.ShapeOf(dims...).Count().N), dims...)})
		}
		slices.SortFunc(list, func(a, b safetensors.Named) int { return strings.Compare(a.Name, b.Name) })
		err = torchfile.Write(path, list)
	case "npz":
		err = writeNPZ(path, f.names())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// imagenet maps the numbers of ImageNet's classes to their names.
func imagenet(t *testing.T) []byte {
	text, err := os.ReadFile("testdata/families/imagenet.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		names[fmt.Sprint(i)] = line
	}
	out, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// writeZeros writes a safetensors file whose tensors are a hole in it.
func writeZeros(path string, tensors map[string][]int64) error {
	type entry struct {
		DType   string   `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header, at := map[string]entry{}, int64(0)
	for name, dims := range tensors {
		end := at + 4*onnx.ShapeOf(dims...).Count().N
		header[name] = entry{"F32", dims, [2]int64{at, end}}
		at = end
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	text = append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.WriteFile(path, text, 0o666); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(text))+at)
}

// writeNPZ writes NumPy arrays of zeros.
func writeNPZ(path string, tensors map[string][]int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for name, dims := range tensors {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		shape := strings.NewReplacer("[", "(", "]", ",)", " ", ", ").Replace(fmt.Sprint(dims))
		header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape)
		header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
		start := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
		if _, err := w.Write(append(start, header...)); err != nil {
			return err
		}
		if _, err := w.Write(make([]byte, 4*onnx.ShapeOf(dims...).Count().N)); err != nil {
			return err
		}
	}
	return z.Close()
}

// large is from how many parameters on a family's page is only made in the e2e
// tier.
const large = 50_000_000

// TestPagesOfInspectAreTrue compares every block of docs/inspect.md that begins
// with a command line with what the command prints. -update rewrites them.
func TestPagesOfInspectAreTrue(t *testing.T) {
	const fence = "```\n"
	docs, err := filepath.Abs(filepath.Join("..", "..", "docs", "inspect.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/families/families.json")
	if err != nil {
		t.Fatal(err)
	}
	var families []*family
	if err := json.Unmarshal(text, &families); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	parts := strings.Split(string(page), fence)
	for i := 1; i < len(parts); i += 2 {
		command, want, _ := strings.Cut(parts[i], "\n")
		line, ok := strings.CutPrefix(command, "$ ")
		if !ok {
			continue
		}
		args := strings.Fields(line)
		name := strings.TrimSuffix(args[2], "/")
		shown[name] = true
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			made := false
			for _, f := range families {
				if f.Path != name {
					continue
				}
				if f.Parameters > large && !e2e {
					t.Skip("its checkpoint is made in the e2e tier")
				}
				f.write(t, folder)
				made = true
			}
			for _, source := range []string{filepath.Join(here, "testdata", "families", name),
				filepath.Join(here, "..", "..", "pipeline", "testdata", "zoo", strings.TrimSuffix(name, ".onnx"), "model.onnx")} {
				if data, err := os.ReadFile(source); err == nil && !made {
					if err := os.WriteFile(filepath.Join(folder, name), data, 0o666); err != nil {
						t.Fatal(err)
					}
					made = true
				}
			}
			if !made {
				t.Fatalf("nothing is known of %s", name)
			}
			t.Chdir(folder)
			var out, said bytes.Buffer
			if code := run(args, &out, &said); code != done {
				t.Fatalf("%s: exit code %d: %s", line, code, said.String())
			}
			got := out.String()
			if got != want && !*update {
				t.Errorf("%s prints\n%s\ndocs/inspect.md has\n%s", line, got, want)
			}
			parts[i] = command + "\n" + got
		})
	}
	for _, f := range families {
		if !shown[f.Path] {
			t.Errorf("docs/inspect.md doesn't show %s", f.Path)
		}
	}
	if *update {
		if err := os.WriteFile(docs, []byte(strings.Join(parts, fence)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
