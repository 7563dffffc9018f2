package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// constantModel is a model of one large initializer.
func constantModel(value float32) *onnx.Model {
	g := onnx.NewGraph("constant")
	w := g.AddInit("w", onnx.FloatTensor(slices.Repeat([]float32{value}, 1000), 1000))
	b := onnx.NewBuilder(g)
	g.Outputs = []*onnx.Value{b.Named("y", b.Op("Neg", nil, w))}
	return &onnx.Model{IRVersion: 9, Opsets: []onnx.Opset{{Version: 17}}, Graph: g}
}

func constantOf(t *testing.T, path string) float32 {
	t.Helper()
	m, _, err := onnx.ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Graph.Find("w").Data.Float32s()
	if err != nil || len(v) != 1000 {
		t.Fatalf("%d values (%v)", len(v), err)
	}
	return v[999]
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestAModelIsWholeAtEveryMomentOfItsReplacement overwrites a model with data
// outside again and again, and looks at what lies there between the renames,
// where a kill would leave it.
func TestAModelIsWholeAtEveryMomentOfItsReplacement(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	if err := onnx.WriteModel(path, constantModel(1), onnx.WriteOptions{External: "out.onnx.data"}); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"out.onnx", "out.onnx.2.data"}, {"out.onnx", "out.onnx.data"}, {"out.onnx", "out.onnx.2.data"}} {
		value := float32(i + 1)
		temp := t.TempDir()
		a := arrival{temp: temp, staged: filepath.Join(temp, "out.onnx"), path: path, names: map[string]string{}}
		if err := onnx.WriteModel(a.staged, constantModel(value+1), onnx.WriteOptions{External: "out.onnx.data"}); err != nil {
			t.Fatal(err)
		}
		if err := a.placeData(); err != nil {
			t.Fatal(err)
		}
		if got := constantOf(t, path); got != value {
			t.Errorf("with the new data beside it the model holds %v, want %v", got, value)
		}
		if err := a.placeModel(); err != nil {
			t.Fatal(err)
		}
		if got := constantOf(t, path); got != value+1 {
			t.Errorf("replaced, it holds %v, want %v", got, value+1)
		}
		if got := namesIn(t, dir); !slices.Equal(got, want) {
			t.Errorf("the folder holds %v, want %v", got, want)
		}
	}
}

// TestReplacingAModelLeavesOtherFilesAlone replaces models that say their data
// lie in files of the user's.
func TestReplacingAModelLeavesOtherFilesAlone(t *testing.T) {
	for _, theirs := range []string{"thesis.tex", "folder/out.onnx.data"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out.onnx")
		outside := t.TempDir()
		if err := os.Symlink(outside, filepath.Join(dir, "folder")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(outside, "out.onnx.data"), make([]byte, 4000), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "out.onnx.data"), []byte("mine"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := onnx.WriteModel(path, constantModel(1), onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		d, err := onnx.ReadDocument(path)
		if err == nil {
			err = d.Externalize("out.onnx.3.data", 0)
		}
		if err == nil {
			d.RenameExternal("out.onnx.3.data", theirs)
			err = os.WriteFile(path, d.Bytes(), 0o666)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.FromSlash(theirs)), make([]byte, 4000), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		before := append(namesIn(t, dir), namesIn(t, outside)...)
		if _, err := arrive(path, func(staged string) error {
			return onnx.WriteModel(staged, constantModel(2), onnx.WriteOptions{External: "out.onnx.data"})
		}); err != nil {
			t.Fatal(err)
		}
		after := append(namesIn(t, dir), namesIn(t, outside)...)
		for _, name := range before {
			if !slices.Contains(after, name) {
				t.Errorf("%s is gone", name)
			}
		}
		if got, err := os.ReadFile(filepath.Join(dir, "out.onnx.data")); err != nil || string(got) != "mine" {
			t.Errorf("the user's file holds %q (%v)", got, err)
		}
		if got := constantOf(t, path); got != 2 {
			t.Errorf("the model holds %v", got)
		}
	}
}

// TestLeftoversOfKilledProcessesAreRemoved has temporary folders of a process
// that is no more, of one at work, and of others.
func TestLeftoversOfKilledProcessesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".x.onnx.123.tmp", ".x.onnx.45.tmp", ".x.onnx.67.tmp", ".x.onnx.tmp", ".y.onnx.123.tmp", ".xyonnx.123.tmp"} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o777), os.WriteFile(filepath.Join(dir, name, "x.onnx"), []byte("half"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	working, err := os.Open(filepath.Join(dir, ".x.onnx.67.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer working.Close()
	if err := flock(working); err != nil {
		t.Skipf("needs a file system with locks: %v", err)
	}
	if _, err := arrive(filepath.Join(dir, "x.onnx"), func(staged string) error { return os.WriteFile(staged, []byte("whole"), 0o666) }); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".x.onnx.67.tmp", ".x.onnx.tmp", ".xyonnx.123.tmp", ".y.onnx.123.tmp", "x.onnx"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("there are %v (%v), want %v", names, err, want)
	}
}
