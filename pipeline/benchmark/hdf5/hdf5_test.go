package hdf5

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/onnx"
)

const miniature = "testdata/gtsegs.mat"

func open(t *testing.T) *File {
	t.Helper()
	f, err := Open(miniature)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestArraysEqualH5py reads arrays that are stored in one piece, in deflated
// chunks, shuffled, with checksums, and in more chunks than a node holds.
func TestArraysEqualH5py(t *testing.T) {
	var want []struct {
		Rows, Columns int
		Image, Mask   string
	}
	data, err := os.ReadFile("testdata/gtsegs.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	f := open(t)
	references := func(path string) []uint64 {
		a, err := f.Array(path)
		if err != nil {
			t.Fatal(err)
		}
		refs, err := a.Refs()
		if err != nil || !slices.Equal(a.Dims, []int{len(want), 1}) {
			t.Fatalf("%s: %v (%v)", path, a.Dims, err)
		}
		return refs
	}
	array := func(ref uint64) *Array {
		a, err := f.At(ref)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	images, masks := references("/value/img"), references("value/gt")
	for i, w := range want {
		image := array(images[i])
		if !slices.Equal(image.Dims, []int{3, w.Columns, w.Rows}) {
			t.Errorf("picture %d is %v", i, image.Dims)
		}
		cell, err := array(masks[i]).Refs()
		if err != nil || len(cell) != 1 {
			t.Fatalf("%v (%v)", cell, err)
		}
		mask := array(cell[0])
		if got := digest(t, image); got != w.Image {
			t.Errorf("picture %d has digest %s", i, got)
		}
		if got := digest(t, mask); got != w.Mask {
			t.Errorf("mask %d has digest %s", i, got)
		}
	}
}

// digest is that of an array with its dimensions reversed, as MATLAB has them.
func digest(t *testing.T, a *Array) string {
	t.Helper()
	data, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := a.Dims
	if len(d) == 2 {
		d = append([]int{1}, d...)
	}
	var turned []byte
	for z := range d[2] {
		for y := range d[1] {
			for x := range d[0] {
				turned = append(turned, data[(x*d[1]+y)*d[2]+z])
			}
		}
	}
	sum := sha256.Sum256(turned)
	return hex.EncodeToString(sum[:])
}

func TestWhatIsntThereOrUnknownIsAnError(t *testing.T) {
	f := open(t)
	for path, part := range map[string]string{
		"/value/mask":    "there is no /value/mask",
		"/value/img/x":   "is no group",
		"/odd/scalar":    "no dimensions",
		"/odd/text":      "no dimensions",
		"/value/im":      "there is no /value/im",
		"/value/img\x00": "there is no",
	} {
		_, err := f.Array(path)
		formatError(t, path, err, part)
	}
	if a, err := f.Array("/odd/empty"); err != nil || a.Len() != 0 {
		t.Errorf("%v (%v)", a, err)
	}
	a, err := f.Array("/value/img")
	if err != nil {
		t.Fatal(err)
	}
	refs, err := a.Refs()
	if err != nil {
		t.Fatal(err)
	}
	image, err := f.At(refs[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = image.Refs()
	formatError(t, "numbers as references", err, "expected references")
	_, err = f.At(0)
	formatError(t, "the null reference", err, "a reference to nothing")
}

func formatError(t *testing.T, what string, err error, part string) {
	t.Helper()
	if e := (*onnx.FormatError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v, expected one line with %q", what, err, part)
	}
}

func TestFilesOfOtherKindsAreRefused(t *testing.T) {
	data, err := os.ReadFile(miniature)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, b byte) []byte {
		out := slices.Clone(data)
		out[at] = b
		return out
	}
	for name, c := range map[string]struct {
		data []byte
		part string
	}{
		"empty":         {nil, "no HDF5 file"},
		"MATLAB 5":      {append([]byte("MATLAB 5.0 MAT-file, Platform: GLNXA64"), make([]byte, 4000)...), "-v7.3"},
		"newer":         {changed(512+8, 2), "superblock of version 2"},
		"short offsets": {changed(512+13, 4), "addresses of 4"},
		"other base":    {changed(512+24, 7), "base address"},
		"cut":           {data[:2000], "exceed the file's"},
	} {
		path := filepath.Join(t.TempDir(), "x.mat")
		if err := os.WriteFile(path, c.data, 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err == nil {
			_, err = f.Array("/value/img")
			f.Close()
		}
		formatError(t, name, err, c.part)
	}
}

// TestWhatIsStoredLimitsWhatIsClaimed makes an array of 256 MB of a few hundred
// bytes.
func TestWhatIsStoredLimitsWhatIsClaimed(t *testing.T) {
	data, err := os.ReadFile(miniature)
	if err != nil {
		t.Fatal(err)
	}
	// the dataspace and the chunks of the second picture, (3,12,17)
	old := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 3), 12), 17)
	at := bytes.Index(data, old)
	if at < 0 {
		t.Fatal("no such dimensions in the miniature")
	}
	binary.LittleEndian.PutUint64(data[at+8:], 1<<12)
	binary.LittleEndian.PutUint64(data[at+16:], 1<<14)
	f, err := read("x.mat", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Array("/value/img")
	if err != nil {
		t.Fatal(err)
	}
	refs, err := a.Refs()
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	image, err := f.At(refs[1])
	if err == nil {
		_, err = image.Bytes()
	}
	runtime.ReadMemStats(&after)
	formatError(t, "an array of 200 MB", err, "chunks")
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 2 {
		t.Errorf("%d MB were allocated", mb)
	}
}

// FuzzRead changes bytes of the miniature and reads all that can be reached.
// Four bytes make a change: where, and what to.
func FuzzRead(f *testing.F) {
	data, err := os.ReadFile(miniature)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	for at := 512; at < len(data); at += 997 {
		f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(at))[1:], 0xff))
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		changed := slices.Clone(data)
		for ; len(changes) >= 4; changes = changes[4:] {
			at := int(changes[0])<<16 | int(changes[1])<<8 | int(changes[2])
			changed[at%len(changed)] = changes[3]
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		err := readAll(changed)
		runtime.ReadMemStats(&after)
		if e := (*onnx.FormatError)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%v is no FormatError", err)
		}
		if took, mb := time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>20; took > 10*time.Second || mb > 300 {
			t.Errorf("it took %v and %d MB", took, mb)
		}
	})
}

// readAll reads what the published reader would, up to the first fault.
func readAll(data []byte) error {
	f, err := read("x.mat", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, path := range []string{"/value/img", "/value/gt"} {
		a, err := f.Array(path)
		if err != nil {
			return err
		}
		refs, err := a.Refs()
		if err != nil {
			return err
		}
		for _, ref := range refs[:min(len(refs), 10)] {
			a, err := f.At(ref)
			if err != nil {
				return err
			}
			if a.References {
				inner, err := a.Refs()
				if err != nil {
					return err
				}
				if len(inner) == 0 {
					continue
				}
				if a, err = f.At(inner[0]); err != nil {
					return err
				}
			}
			if _, err := a.Bytes(); err != nil {
				return err
			}
		}
	}
	return nil
}
