// Package models knows Vision Transformers: it reads checkpoints, tells their
// architecture from the tensors, writes them as ONNX graphs, and finds
// attention, patches and classifier in any ONNX graph.
package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// Checkpoint is the content of a file or folder of weights. Names are the
// source's own, below the key that Nesting tells; tensors keep their types.
type Checkpoint struct {
	Path         string // the file or folder, empty for one made in memory
	SHA256       string // of the file, in hexadecimal; of the index where weights are in several
	Format       string // safetensors, pth or npz
	Metadata     map[string]string
	Nesting      string   // key of the dict that held the weights, such as model; empty for none
	Others       []string // keys beside it that lead to other weights
	Config       []byte   // config.json in or beside the source, nil for none
	Preprocessor []byte   // preprocessor_config.json likewise

	names   []string
	tensors map[string]*onnx.Tensor
}

// Formats of checkpoints.
const (
	FormatSafetensors = "safetensors"
	FormatPyTorch     = "pth"
	FormatNumPy       = "npz"
)

// Names lists the tensors in the file's order.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Tensor returns the tensor of that name, nil if there is none. Don't write
// into it.
func (c *Checkpoint) Tensor(name string) *onnx.Tensor { return c.tensors[name] }

// Parameters is the number of elements of all tensors.
func (c *Checkpoint) Parameters() int64 {
	n := int64(0)
	for _, t := range c.tensors {
		n += t.Count()
	}
	return n
}

// OpenCheckpoint reads weights: a safetensors file, a file of torch.save's, an
// archive of NumPy arrays, the index of weights in several files, or a folder
// with one of these, as Hugging Face has them. Content decides, not the suffix.
// Faults in the files have exit code 3.
func OpenCheckpoint(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, unreadable(path, err)
	case info.IsDir():
		return openFolder(path)
	}
	c, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if slices.Contains(hubFiles, filepath.Base(path)) {
		return c, c.describe(filepath.Dir(path))
	}
	return c, nil
}

func openFile(path string) (*Checkpoint, error) {
	suffix := strings.ToLower(filepath.Ext(path))
	k, err := sniff(path)
	if err != nil {
		return nil, err
	}
	switch {
	case k == kindSafetensors, k == kindUnknown && suffix == ".safetensors":
		return openSafetensors(path)
	case k == kindTorch:
		return openTorch(path)
	case k == kindNumPy:
		return openNumPy(path)
	case k == kindJSON:
		return openIndex(path)
	case k == kindONNX, suffix == ".onnx":
		return nil, &Error{Path: path, Problem: "this is no checkpoint but an ONNX model already", Advice: "use the model as it is, or give a file of weights"}
	case suffix == ".index", strings.HasPrefix(suffix, ".data-"):
		return nil, &Error{Path: path, Problem: "this is no file of weights that can be read; it may be a part of a TensorFlow checkpoint", Advice: "export the model to ONNX with tf2onnx"}
	case suffix == ".msgpack":
		return nil, &Error{Path: path, Problem: "weights of Flax in msgpack aren't read", Advice: "take the model's safetensors or PyTorch file, or export it to ONNX"}
	}
	return nil, &Error{Path: path, Problem: fmt.Sprintf("the file's content is of no known format of weights (its suffix is %q)", suffix),
		Advice: "give a .safetensors, .pth, .pt, .bin or .npz file, or a folder of Hugging Face"}
}

// sumOf is the SHA-256 of what write writes.
func sumOf(write func(io.Writer) error) (string, error) {
	h := sha256.New()
	if err := write(h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
