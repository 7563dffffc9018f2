package models

import (
	"fmt"
	"os"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

func openSafetensors(path string) (*Checkpoint, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening a checkpoint: %w", err)
	}
	f, err := safetensors.Parse(path, data)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: path, SHA256: hexSum(data), Format: FormatSafetensors, Metadata: f.Metadata, names: f.Names(), tensors: map[string]*onnx.Tensor{}}
	for _, name := range c.names {
		if c.tensors[name], err = f.Tensor(name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Save writes the checkpoint as a safetensors file, complete or not at all.
func (c *Checkpoint) Save(path string) error {
	return safetensors.Write(path, c.named(), c.Metadata)
}

func (c *Checkpoint) named() []safetensors.Named {
	out := make([]safetensors.Named, len(c.names))
	for i, name := range c.names {
		out[i] = safetensors.Named{Name: name, Tensor: c.tensors[name]}
	}
	return out
}
