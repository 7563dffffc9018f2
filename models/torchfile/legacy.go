package torchfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"

	"github.com/relevit/relevit/models/pickle"
)

// magic is the number in the first pickle of the older format.
var magic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// IsLegacy reports whether a file that begins so is in the older format.
func IsLegacy(head []byte) bool {
	p, err := pickle.Decode(pickle.NewReader(bytes.NewReader(head), int64(len(head))))
	return err == nil && isMagic(p.Value)
}

func isMagic(v any) bool {
	n, ok := v.(*big.Int)
	return ok && n.Cmp(magic) == 0
}

// legacy reads the older format: the pickles of the magic number, the version,
// the machine, the object, and the storages' keys; then, for each key, the
// number of elements in eight bytes, and the elements.
func (f *File) legacy(file io.ReaderAt, size int64) error {
	r := pickle.NewReader(io.NewSectionReader(file, 0, size), size)
	p, err := pickle.Decode(r)
	if err != nil || !isMagic(p.Value) {
		return &Error{Path: f.Path, Problem: "this is no file of torch.save", Err: err}
	}
	if p, err = f.unpickle(r); err != nil {
		return err
	}
	if p.Value != int64(1001) {
		return &Error{Path: f.Path, Problem: "it has another version of PyTorch's older format than 1001, the only one known"}
	}
	if p, err = f.unpickle(r); err != nil {
		return err
	}
	if machine, ok := p.Value.(*pickle.Dict); ok {
		f.big = find(machine, "little_endian") == false
	}
	object, err := f.unpickle(r)
	if err != nil {
		return err
	}
	keys, err := f.unpickle(r)
	if err != nil {
		return err
	}
	storages, err := f.stored(file, size, r.Offset(), object.Persistent, keys.Value)
	if err != nil {
		return err
	}
	return f.choose(object.Value, size, func(key string) (*storage, error) {
		if s := storages[key]; s != nil {
			return s, nil
		}
		return nil, fmt.Errorf("the file has no storage %q", key)
	})
}

// stored finds the storages behind the pickles, by their keys.
func (f *File) stored(file io.ReaderAt, size, at int64, known []*pickle.Persistent, keys any) (map[string]*storage, error) {
	widths := map[string]int64{}
	for _, p := range known {
		id, err := parseID(p)
		if err != nil {
			return nil, &Error{Path: f.Path, Problem: "a storage can't be understood", Err: err}
		}
		if w, ok := widths[id.key]; ok && w != id.width {
			return nil, &Error{Path: f.Path, Problem: fmt.Sprintf("storage %q has elements of %d bytes and of %d", id.key, w, id.width)}
		}
		widths[id.key] = id.width
	}
	list, ok := keys.(*pickle.List)
	if !ok {
		return nil, &Error{Path: f.Path, Problem: "the list of its storages is missing"}
	}
	var order binary.ByteOrder = binary.LittleEndian
	if f.big {
		order = binary.BigEndian
	}
	out := map[string]*storage{}
	for _, k := range list.Items {
		key, _ := k.(string)
		width, ok := widths[key]
		if !ok || out[key] != nil {
			return nil, &Error{Path: f.Path, Problem: fmt.Sprintf("the list of its storages is wrong at %.40q", key)}
		}
		var count [8]byte
		if n, _ := file.ReadAt(count[:], at); n < len(count) {
			return nil, &Error{Path: f.Path, Problem: fmt.Sprintf("the file ends before storage %q (an incomplete download?)", key)}
		}
		at += int64(len(count))
		n := order.Uint64(count[:])
		if n > uint64((size-at)/width) {
			return nil, &Error{Path: f.Path, Problem: fmt.Sprintf("the file ends inside of storage %q (an incomplete download?): it has %d bytes, and %d elements of %d are announced", key, size-at, n, width)}
		}
		out[key] = &storage{file: file, at: at, size: int64(n) * width}
		at += out[key].size
	}
	return out, nil
}
