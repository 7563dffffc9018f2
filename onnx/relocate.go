package onnx

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// HasExternalData reports whether tensors of the document lie in data files.
func (d *Document) HasExternalData() bool { return len(d.root.externals()) > 0 }

// ExternalFiles lists the data files, by their names in the document, sorted.
func (d *Document) ExternalFiles() []string {
	var out []string
	for _, t := range d.root.externals() {
		if e, err := extentOf(t); err == nil && !slices.Contains(out, e.location) {
			out = append(out, e.location)
		}
	}
	slices.Sort(out)
	return out
}

// RenameExternal says that a data file, which nothing has been read of, has
// another name.
func (d *Document) RenameExternal(from, to string) {
	for _, t := range d.root.externals() {
		for _, entry := range t.subs(tensorExternal) {
			if entry.text(entryKey) == "location" && path.Clean(entry.text(entryValue)) == from {
				entry.setText(entryValue, to)
			}
		}
	}
}

// Externalize moves initializers of at least threshold bytes (0: 1024) from
// where they are into one data file of that name, which WriteFile writes beside
// the model. Nothing else changes.
func (d *Document) Externalize(location string, threshold int64) error {
	if !filepath.IsLocal(location) {
		return fmt.Errorf("data file %q must be a name inside the model's folder", location)
	}
	if threshold == 0 {
		threshold = defaultThreshold
	}
	end := int64(0)
	for _, g := range d.root.subs(modelGraph) {
		for _, t := range g.subs(graphInit) {
			data, err := d.tensor(t)
			if err != nil {
				return d.fail(faultAt(t, "initializer "+t.text(tensorName), "%v", err))
			}
			if data.Type == String || int64(len(data.Raw)) < threshold {
				if isExternal(t) {
					d.embed(t, data)
				}
				continue
			}
			offset := (end + dataAlign - 1) / dataAlign * dataAlign
			end = offset + int64(len(data.Raw))
			t.drop(tensorRaw, tensorFloats, tensorInt32s, tensorInt64s, tensorDoubles, tensorUint64s, tensorExternal, tensorLocation)
			t.placeExternally(filepath.ToSlash(location), offset, int64(len(data.Raw)))
			d.patches[t] = &patch{extent: extent{location: filepath.ToSlash(location), offset: offset, length: int64(len(data.Raw))}, data: data.Raw}
		}
	}
	d.created = filepath.ToSlash(location)
	return nil
}

// Embed takes external data into the document. It fails where that makes it
// bigger than protobuf allows.
func (d *Document) Embed() error {
	for _, t := range d.root.externals() {
		data, err := d.tensor(t)
		if err != nil {
			return d.fail(faultAt(t, "tensor "+t.text(tensorName), "%v", err))
		}
		d.embed(t, data)
	}
	if n := d.root.size(); n > fileLimits.bytes {
		return fmt.Errorf("with its weights inside the model takes %d bytes, protobuf ends at %d: keep them in a data file", n, fileLimits.bytes)
	}
	return nil
}

func (d *Document) embed(t *message, data *Tensor) {
	t.drop(tensorExternal, tensorLocation)
	t.setBytes(tensorRaw, data.Raw)
	delete(d.patches, t)
}

// drop removes all fields of these numbers.
func (m *message) drop(nums ...protowire.Number) {
	m.fields = slices.DeleteFunc(m.fields, func(f field) bool { return slices.Contains(nums, f.num) })
}

// setBytes adds a bytes field that the message doesn't have.
func (m *message) setBytes(num protowire.Number, b []byte) {
	head := protowire.AppendTag(nil, num, protowire.BytesType)
	m.fields = append(m.fields, field{num: num, wire: protowire.BytesType, head: protowire.AppendVarint(head, uint64(len(b))), body: b})
}

// placeExternally says of a TensorProto where its data lies.
func (m *message) placeExternally(location string, offset, length int64) {
	for _, kv := range []KV{{"location", location}, {"offset", fmt.Sprint(offset)}, {"length", fmt.Sprint(length)}} {
		entry := &message{kind: "StringStringEntryProto"}
		entry.setText(entryKey, kv.Key)
		entry.setText(entryValue, kv.Value)
		head := protowire.AppendTag(nil, tensorExternal, protowire.BytesType)
		m.fields = append(m.fields, field{num: tensorExternal, wire: protowire.BytesType, sub: entry,
			head: protowire.AppendVarint(head, uint64(entry.size())), body: make([]byte, entry.size())})
	}
	m.fields = append(m.fields, field{num: tensorLocation, wire: protowire.VarintType,
		head: protowire.AppendTag(nil, tensorLocation, protowire.VarintType), body: []byte{1}})
}

// stageCreated writes the data file that Externalize laid out.
func (d *Document) stageCreated(s *staging, path string, patches []*patch) error {
	target := filepath.Join(filepath.Dir(path), filepath.FromSlash(d.created))
	if exists(target) && !exists(path) {
		return belongsToAnother(target)
	}
	return s.open(target, func(f *os.File) error { return writePatches(f, patches) })
}

// writePatches writes patches in order of their offsets, zeros between them.
func writePatches(w io.Writer, patches []*patch) error {
	end := int64(0)
	for _, p := range patches {
		if _, err := w.Write(make([]byte, p.offset-end)); err != nil {
			return err
		}
		if _, err := w.Write(p.data); err != nil {
			return err
		}
		end = p.offset + int64(len(p.data))
	}
	return nil
}
