package onnx

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteOptions says where WriteModel puts initializers. The zero value keeps
// them in the model as long as it stays below protobuf's 2 GB.
type WriteOptions struct {
	External          string // name of a data file beside the model that takes the initializers, "" for none
	ExternalThreshold int64  // smallest tensor in bytes that goes there; 0 means 1024
}

// defaultThreshold is the smallest tensor, in bytes, that goes to a data file.
const defaultThreshold = 1024

// dataAlign is the alignment of tensors in a data file: a page, so that readers
// can map them.
const dataAlign = 4096

// WriteModel encodes the model into a file, which appears complete or not at
// all. A model too big for protobuf gets a data file even without the option,
// named like the model with .data behind it. A data file that is there already
// is overwritten only together with the model that it belongs to.
func WriteModel(path string, m *Model, o WriteOptions) error {
	if err := writeModel(path, m, o, fileLimits.bytes); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeModel(path string, m *Model, o WriteOptions, limit int64) error {
	location := o.External
	var model *parts
	var err error
	if location == "" {
		if model, err = m.encode(nil); err != nil {
			return err
		}
		if model.size > limit {
			location = filepath.Base(path) + ".data"
		}
	}
	var s staging
	defer s.abandon()
	if location != "" {
		if !filepath.IsLocal(location) {
			return fmt.Errorf("data file %q must be a name inside the model's folder", location)
		}
		values, places := m.place(filepath.ToSlash(location), cmp.Or(o.ExternalThreshold, defaultThreshold))
		if model, err = m.encode(places); err != nil {
			return err
		}
		if model.size > limit {
			return fmt.Errorf("without its initializers the model still takes %d bytes, the limit is %d", model.size, limit)
		}
		if len(values) > 0 {
			target := filepath.Join(filepath.Dir(path), location)
			if exists(target) && !exists(path) {
				return belongsToAnother(target)
			}
			if err := s.file(target, func(w io.Writer) error { return writeData(w, values, places) }); err != nil {
				return err
			}
		}
	}
	if err := s.file(path, model.writeTo); err != nil {
		return err
	}
	return s.commit()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// place lays the initializers of at least threshold bytes out in a data file.
func (m *Model) place(location string, threshold int64) ([]*Value, map[*Value]placed) {
	var values []*Value
	places := map[*Value]placed{}
	end := int64(0)
	if m.Graph == nil {
		return nil, nil
	}
	for _, v := range m.Graph.Inits {
		if v.Data == nil || v.Data.Type == String || int64(len(v.Data.Raw)) < threshold {
			continue
		}
		offset := (end + dataAlign - 1) / dataAlign * dataAlign
		places[v] = placed{location, offset}
		values = append(values, v)
		end = offset + int64(len(v.Data.Raw))
	}
	return values, places
}

func writeData(w io.Writer, values []*Value, places map[*Value]placed) error {
	end := int64(0)
	for _, v := range values {
		if _, err := w.Write(make([]byte, places[v].offset-end)); err != nil {
			return err
		}
		if _, err := w.Write(v.Data.Raw); err != nil {
			return err
		}
		end = places[v].offset + int64(len(v.Data.Raw))
	}
	return nil
}
