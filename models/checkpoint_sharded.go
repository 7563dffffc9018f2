package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/models/torchfile"
	"github.com/relevit/relevit/onnx"
)

// maxIndex is the size of an index in bytes; real ones have less than a
// thousandth.
const maxIndex = 4 << 20

// index tells in which file each tensor lies.
type index struct {
	names  []string            // of tensors
	shards map[string][]string // the tensors of each file
}

// openIndex opens the weights to which an index leads. Their SHA-256 is that of
// what sha256sum prints for the index and then for its files in the order of
// their names, all named without folder.
func openIndex(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if info.Size() > maxIndex {
		return nil, &Error{Path: path, Problem: fmt.Sprintf("this is a JSON text of %d bytes, too long for an index of weights", info.Size()), Advice: "give a file of weights"}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	x, err := parseIndex(path, text)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := x.check(path); err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: path, tensors: map[string]*onnx.Tensor{}}
	var sums strings.Builder
	fmt.Fprintf(&sums, "%s  %s\n", hexSum(text), filepath.Base(path))
	for _, shard := range slices.Sorted(maps.Keys(x.shards)) {
		part, err := openShard(dir, shard)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&sums, "%s  %s\n", part.SHA256, shard)
		if c.Format == "" {
			c.Format, c.Nesting, c.Metadata = part.Format, part.Nesting, part.Metadata
		}
		for _, name := range x.shards[shard] {
			c.tensors[name] = part.tensors[name]
		}
	}
	c.names, c.SHA256 = x.names, hexSum([]byte(sums.String()))
	return c, nil
}

// check checks that all files are there and describe the tensors that the index
// says, before the data of any are read.
func (x *index) check(path string) error {
	for _, shard := range slices.Sorted(maps.Keys(x.shards)) {
		names, err := namesInShard(filepath.Dir(path), shard)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, name := range names {
			there[name] = true
		}
		for _, name := range x.shards[shard] {
			if !there[name] {
				return &Error{Path: path, Problem: fmt.Sprintf("it says that tensor %s lies in %s, and it isn't there", name, shard), Advice: "download both files again"}
			}
		}
	}
	return nil
}

func namesInShard(dir, name string) ([]string, error) {
	k, err := sniffShard(dir, name)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if k == kindSafetensors {
		f, err := safetensors.Describe(path)
		if err != nil {
			return nil, err
		}
		return f.Names(), nil
	}
	f, err := torchfile.Open(path)
	if err != nil {
		return nil, err
	}
	return f.Names(), f.Close()
}

func openShard(dir, name string) (*Checkpoint, error) {
	k, err := sniffShard(dir, name)
	if err != nil {
		return nil, err
	}
	if k == kindSafetensors {
		return openSafetensors(filepath.Join(dir, name))
	}
	return openTorch(filepath.Join(dir, name))
}

// sniffShard tells the kind of a file in a folder to which an index leads.
func sniffShard(dir, name string) (kind, error) {
	if err := confined(dir, name); err != nil {
		return kindUnknown, err
	}
	path := filepath.Join(dir, name)
	k, err := sniff(path)
	if err == nil && k != kindSafetensors && k != kindTorch {
		err = &Error{Path: path, Problem: "this is no file of weights, and an index leads to it", Advice: "download it again"}
	}
	return k, err
}

// parseIndex reads {"metadata": {...}, "weight_map": {tensor: file, ...}}.
func parseIndex(path string, text []byte) (*index, error) {
	x := &index{shards: map[string][]string{}}
	found := false
	err := safetensors.Members(text, func(key string, value json.RawMessage) error {
		if key != "weight_map" {
			return nil
		}
		found = true
		return safetensors.Members(value, func(name string, value json.RawMessage) error {
			var shard *string
			if err := json.Unmarshal(value, &shard); err != nil || shard == nil {
				return fmt.Errorf("tensor %q lies in no file", name)
			}
			if !plainName(*shard) {
				return fmt.Errorf("tensor %q lies in %q, which isn't the name of a file beside the index", name, *shard)
			}
			x.names = append(x.names, name)
			x.shards[*shard] = append(x.shards[*shard], name)
			return nil
		})
	})
	switch {
	case err != nil:
		return nil, &Error{Path: path, Problem: "this is no index of weights", Err: err}
	case !found:
		return nil, &Error{Path: path, Problem: "this is a JSON text without a weight_map, so no index of weights", Advice: "give a file of weights"}
	case len(x.names) == 0:
		return nil, &Error{Path: path, Problem: "the index lists no tensor"}
	}
	return x, nil
}

// plainName reports whether a name stays in its folder on every system.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) < 256 && !strings.ContainsAny(name, "/\\:\x00")
}
