package models

import "github.com/relevit/relevit/models/safetensors"

func openSafetensors(path string) (*Checkpoint, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: path, Format: FormatSafetensors, Metadata: f.Metadata}
	return c, c.fill(f.Names(), f.Tensor)
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
