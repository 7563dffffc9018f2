package onnx

import (
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
		return nil, fmt.Errorf("external data must be inside the model's folder: %w", err)
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
	patches := map[string][]*patch{}
	for _, t := range d.root.externals() {
		e, err := extentOf(t)
		if err != nil {
			return d.fail(err)
		}
		list := patches[e.location]
		if p := d.patches[t]; p != nil {
			list = append(list, p)
		}
		patches[e.location] = list
	}
	for location, list := range patches {
		if err := d.stageData(s, path, location, list); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) stageData(s *staging, path, location string, list []*patch) error {
	source, err := d.openExternal(location)
	if err != nil {
		return d.fail(err)
	}
	defer source.Close()
	target := filepath.Join(filepath.Dir(path), filepath.FromSlash(location))
	if there, err := os.Stat(target); err == nil {
		info, err := source.Stat()
		if err != nil {
			return err
		}
		same := os.SameFile(info, there)
		if same && len(list) == 0 {
			return nil
		}
		if model, err := os.Stat(path); err != nil || same && !d.isSource(model) {
			return fmt.Errorf("its data file %s exists and belongs to another model: write into another folder", target)
		}
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b *patch) int { return int(a.offset - b.offset) })
	return s.open(target, func(f *os.File) error {
		if _, err := io.Copy(f, source); err != nil {
			return err
		}
		for _, p := range list {
			if _, err := f.WriteAt(p.data, p.offset); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *Document) isSource(model os.FileInfo) bool {
	info, err := os.Stat(d.path)
	return err == nil && os.SameFile(info, model)
}
