package onnx

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// extent is where an external tensor's data lies. Length -1 means as many bytes
// as the tensor needs.
type extent struct {
	location       string
	offset, length int64
	checksum       bool
}

// patch is new data for an external tensor.
type patch struct {
	extent
	data []byte
}

// isExternal reports whether a TensorProto keeps its data in another file.
func isExternal(t *message) bool { return t.number(tensorLocation) == 1 }

func extentOf(t *message) (extent, error) {
	e := extent{length: -1}
	for _, entry := range t.subs(tensorExternal) {
		value := entry.text(entryValue)
		var err error
		switch entry.text(entryKey) {
		case "location":
			e.location = value
		case "offset":
			e.offset, err = strconv.ParseInt(value, 10, 64)
		case "length":
			e.length, err = strconv.ParseInt(value, 10, 64)
			if e.length < 0 && err == nil {
				err = strconv.ErrRange
			}
		case "checksum":
			e.checksum = true
		}
		if err != nil || e.offset < 0 {
			return e, fmt.Errorf("external_data says %s %q, expected a number of bytes", entry.text(entryKey), value)
		}
	}
	switch {
	case e.location == "":
		return e, errors.New("external_data names no location")
	case !filepath.IsLocal(filepath.FromSlash(e.location)):
		return e, fmt.Errorf("external data is said to be at %q, expected a path inside the model's folder", e.location)
	}
	return e, nil
}

// external returns an external tensor's data, which must be size bytes.
func (d *Document) external(t *message, size int64) ([]byte, error) {
	if p := d.patches[t]; p != nil {
		return p.data, nil
	}
	e, err := d.locate(t, size)
	if err != nil {
		return nil, err
	}
	if err := d.load(e.location); err != nil {
		return nil, err
	}
	data, ok := d.loaded[e.location].at(e.offset, size)
	if !ok {
		return nil, errors.New("external_data is given in parts, expected it in one")
	}
	return data, nil
}

// locate is where an external tensor's data lie, size bytes within their file.
func (d *Document) locate(t *message, size int64) (extent, error) {
	e, err := extentOf(t)
	if err != nil {
		return e, err
	}
	if e.length >= 0 && e.length != size {
		return e, fmt.Errorf("external_data says %d bytes, type and dims need %d", e.length, size)
	}
	file, err := d.find(e.location)
	if err != nil {
		return e, err
	}
	if e.offset > file.size || size > file.size-e.offset {
		return e, fmt.Errorf("external data at %d+%d lies beyond the end of %s, which has %d bytes: is its download incomplete?",
			e.offset, size, e.location, file.size)
	}
	return e, nil
}

// maxExternal is how many bytes of external data are read: as much as four
// bytes for each weight of the largest Vision Transformers take.
const maxExternal = 1 << 36

// dataFile holds those bytes of a file of external data that tensors use: a
// file may be far larger, or have holes.
type dataFile struct {
	size   int64
	used   []extent // what is to be read, nil once it is
	pieces []piece  // in order, apart from each other
}

type piece struct {
	offset int64
	data   []byte
}

// at returns bytes that were read for a tensor.
func (f *dataFile) at(offset, size int64) (data []byte, ok bool) {
	if size == 0 {
		return nil, true
	}
	i, _ := slices.BinarySearchFunc(f.pieces, offset+1, func(p piece, next int64) int { return cmp.Compare(p.offset, next) })
	if i == 0 {
		return nil, false
	}
	p := f.pieces[i-1]
	from := offset - p.offset
	if from > int64(len(p.data)) || size > int64(len(p.data))-from {
		return nil, false
	}
	return p.data[from : from+size : from+size], true
}

// find looks at a file of external data, once, and checks how much of it tensors
// use. It never leaves the model's folder.
func (d *Document) find(location string) (*dataFile, error) {
	if file := d.loaded[location]; file != nil {
		return file, nil
	}
	f, err := d.openExternal(location)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	file := &dataFile{size: info.Size()}
	file.used = d.usedOf(location, file.size)
	total := int64(0)
	for _, u := range file.used {
		if total += u.length; total > maxExternal {
			return nil, fmt.Errorf("tensors use more than %d bytes of the external data %s", int64(maxExternal), location)
		}
	}
	d.loaded[location] = file
	return file, nil
}

// load reads what tensors use of a file of external data, once.
func (d *Document) load(location string) error {
	file := d.loaded[location]
	if file.used == nil {
		return nil
	}
	f, err := d.openExternal(location)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, u := range file.used {
		data := make([]byte, u.length)
		if _, err := f.ReadAt(data, u.offset); err != nil {
			return fmt.Errorf("external data %s: %w", location, err)
		}
		file.pieces = append(file.pieces, piece{u.offset, data})
	}
	file.used = nil
	return nil
}

// usedOf lists where tensors' data lie in a file of size bytes, in order, and
// joined where they touch. What lies beyond the file's end is left out.
func (d *Document) usedOf(location string, size int64) []extent {
	if d.used == nil {
		d.used = map[string][]extent{}
		for _, t := range d.root.externals() {
			if e, err := extentOf(t); err == nil {
				if e.length, err = byteSize(DType(t.number(tensorType)), t.integers(tensorDims)); err == nil {
					d.used[e.location] = append(d.used[e.location], e)
				}
			}
		}
	}
	all := slices.DeleteFunc(slices.Clone(d.used[location]), func(e extent) bool { return e.length == 0 || e.offset > size || e.length > size-e.offset })
	slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.offset, b.offset) })
	var out []extent
	for _, e := range all {
		if n := len(out) - 1; n >= 0 && e.offset <= out[n].offset+out[n].length {
			out[n].length = max(out[n].length, e.offset+e.length-out[n].offset)
			continue
		}
		out = append(out, e)
	}
	return out
}

// openExternal opens a regular file in the model's folder, through symbolic
// links only as far as they stay in it.
func (d *Document) openExternal(location string) (*os.File, error) {
	if d.dir == "" {
		return nil, fmt.Errorf("external data %s: the model came from memory, its folder isn't known", location)
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	defer root.Close()
	name := filepath.FromSlash(location)
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("external data %s is missing from %s: it belongs beside the model", location, d.dir)
	case err != nil:
		return nil, fmt.Errorf("external data must be inside the model's folder, copy it there: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("external data %s is no regular file", location)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	return f, nil
}

// externals lists the external tensors of m, of all graphs in it.
func (m *message) externals() []*message {
	if m.kind == "TensorProto" {
		if isExternal(m) {
			return []*message{m}
		}
		return nil
	}
	var out []*message
	for i := range m.fields {
		if sub := m.fields[i].sub; sub != nil {
			out = append(out, sub.externals()...)
		}
	}
	return out
}

// stageExternal copies the external data, with the edits, beside path.
func (d *Document) stageExternal(s *staging, path string) error {
	used := map[string][]usedExtent{}
	for _, t := range d.root.externals() {
		u := usedExtent{tensor: t, patch: d.patches[t]}
		var err error
		if u.extent, err = extentOf(t); err == nil {
			u.length, err = byteSize(DType(t.number(tensorType)), t.integers(tensorDims))
		}
		if err != nil {
			return d.fail(faultAt(t, "tensor "+t.text(tensorName), "%v", err))
		}
		used[u.location] = append(used[u.location], u)
	}
	for location, list := range used {
		slices.SortStableFunc(list, func(a, b usedExtent) int { return cmp.Compare(a.offset, b.offset) })
		patches, err := patchesOf(list)
		if err != nil {
			return fmt.Errorf("external data %s: %w", location, err)
		}
		if location == d.created {
			err = d.stageCreated(s, path, patches)
		} else {
			err = d.stageData(s, path, location, patches)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// usedExtent is an extent with the tensor whose data lies there.
type usedExtent struct {
	extent
	tensor *message
	patch  *patch
}

// patchesOf lists the patches among extents that are sorted by offset. Tensors
// that share bytes must have been given the same data.
func patchesOf(list []usedExtent) ([]*patch, error) {
	var out []*patch
	var last usedExtent // the one that reaches furthest so far
	for i, u := range list {
		if u.patch != nil {
			out = append(out, u.patch)
		}
		if i > 0 && u.offset < last.offset+last.length && (u.patch != nil || last.patch != nil) {
			same := u.offset == last.offset && u.length == last.length && u.patch != nil && last.patch != nil &&
				bytes.Equal(u.patch.data, last.patch.data)
			if !same {
				return nil, fmt.Errorf("%s and %s share their bytes, so both must get the same new data",
					last.tensor.text(tensorName), u.tensor.text(tensorName))
			}
		}
		if i == 0 || u.offset+u.length > last.offset+last.length {
			last = u
		}
	}
	return out, nil
}

// stageData copies one file of external data and overwrites the patches in it.
// A file that is in its place already stays, if nothing in it changes.
func (d *Document) stageData(s *staging, path, location string, patches []*patch) error {
	source, err := d.openExternal(location)
	if err != nil {
		return d.fail(err)
	}
	defer source.Close()
	from, err := source.Stat()
	if err != nil {
		return err
	}
	target := filepath.Join(filepath.Dir(path), filepath.FromSlash(location))
	if to, err := os.Stat(target); err == nil {
		same := os.SameFile(from, to)
		if same && len(patches) == 0 {
			return nil
		}
		model, err := os.Stat(path)
		if err != nil || same && !d.isSource(model) {
			return belongsToAnother(target)
		}
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	return s.open(target, func(f *os.File) error {
		if _, err := io.Copy(f, source); err != nil {
			return err
		}
		for _, p := range patches {
			if _, err := f.WriteAt(p.data, p.offset); err != nil {
				return err
			}
		}
		return nil
	})
}

func belongsToAnother(target string) error {
	return fmt.Errorf("the data file %s is there already and belongs to another model: write into another folder", target)
}

func (d *Document) isSource(model os.FileInfo) bool {
	info, err := os.Stat(d.path)
	return err == nil && os.SameFile(info, model)
}
