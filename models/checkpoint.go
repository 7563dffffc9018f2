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
	Nesting      string // key of the dict that held the weights, such as model; empty for none
	Config       []byte // config.json in or beside the source, nil for none
	Preprocessor []byte // preprocessor_config.json likewise

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

// OpenCheckpoint reads a file of weights. The format follows from the file's
// suffix. Faults in the file have exit code 3.
func OpenCheckpoint(path string) (*Checkpoint, error) {
	switch suffix := strings.ToLower(filepath.Ext(path)); suffix {
	case ".safetensors":
		return openSafetensors(path)
	default:
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("opening a checkpoint: %w", err)
		}
		if suffix == ".onnx" {
			return nil, &Error{Path: path, Problem: "this is no checkpoint but an ONNX model already", Advice: "give a .safetensors file, or use the model as it is"}
		}
		return nil, &Error{Path: path, Problem: fmt.Sprintf("no known format of checkpoints has the suffix %q", suffix),
			Advice: "give a .safetensors file"}
	}
}

// IsCheckpoint reports whether OpenCheckpoint knows the file's suffix.
func IsCheckpoint(path string) bool {
	return strings.EqualFold(filepath.Ext(path), ".safetensors")
}

// readSum reads a whole file and its SHA-256.
func readSum(path string) ([]byte, string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("opening a checkpoint: %w", err)
	}
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:]), nil
}

// sumOf is the SHA-256 of what write writes.
func sumOf(write func(io.Writer) error) (string, error) {
	h := sha256.New()
	if err := write(h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
