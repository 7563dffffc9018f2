package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/relevit/relevit/models/npz"
	"github.com/relevit/relevit/models/torchfile"
	"github.com/relevit/relevit/onnx"
)

func openTorch(path string) (*Checkpoint, error) {
	f, err := torchfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &Checkpoint{Path: path, Format: FormatPyTorch, Nesting: f.Nesting, Others: f.Others, Metadata: map[string]string{}}
	if f.Architecture != "" {
		c.Metadata["architecture"] = f.Architecture
	}
	return c, c.fill(f.Names(), f.Tensor)
}

func openNumPy(path string) (*Checkpoint, error) {
	f, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Check(); err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: path, Format: FormatNumPy, Metadata: map[string]string{}}
	return c, c.fill(f.Names(), f.Tensor)
}

// fill reads the tensors of a file, and the file's checksum.
func (c *Checkpoint) fill(names []string, read func(string) (*onnx.Tensor, error)) (err error) {
	c.names, c.tensors = names, map[string]*onnx.Tensor{}
	for _, name := range names {
		if c.tensors[name], err = read(name); err != nil {
			return err
		}
	}
	c.SHA256, err = sumOf(func(w io.Writer) error { return copyFile(w, c.Path) })
	return err
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening a checkpoint: %w", err)
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// hexSum is the SHA-256 of data, in hexadecimal.
func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
