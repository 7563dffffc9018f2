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
	e, err := extentOf(t)
	if err != nil {
		return nil, err
	}
	if e.length >= 0 && e.length != size {
		return nil, fmt.Errorf("external_data says %d bytes, type and dims need %d", e.length, size)
	}
	all, err := d.load(e.location)
	if err != nil {
		return nil, err
	}
	if e.offset > int64(len(all)) || size > int64(len(all))-e.offset {
		return nil, fmt.Errorf("external data at %d+%d lies beyond the end of %s, which has %d bytes: is its download incomplete?",
			e.offset, size, e.location, len(all))
	}
	return all[e.offset : e.offset+size : e.offset+size], nil
}

// load reads a file of external data, once. It never leaves the model's folder.
func (d *Document) load(location string) ([]byte, error) {
	if all, ok := d.loaded[location]; ok {
		return all, nil
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
	all := make([]byte, info.Size())
	if _, err := io.ReadFull(f, all); err != nil {
		return nil, fmt.Errorf("external data %s: %w", location, err)
	}
	d.loaded[location] = all
	return all, nil
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
