package models

import (
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// Keys of a model's metadata_props, and of a checkpoint's metadata, that
// relevit writes.
const (
	MetaVersion      = "relevit.version"             // of the tool that wrote the model
	MetaSource       = "relevit.source"              // the checkpoint's file name
	MetaSourceSum    = "relevit.source_sha256"       // and its SHA-256
	MetaSourceTypes  = "relevit.source_dtypes"       // types of its tensors by name, where not float32, as safetensors call them
	MetaSourceUnused = "relevit.source_unused"       // list of its tensors that the model doesn't use
	MetaConfig       = "relevit.source_config"       // its config.json
	MetaProcessor    = "relevit.source_preprocessor" // its preprocessor_config.json
	MetaArchitecture = "relevit.architecture"        // Architecture as JSON
	MetaPreprocess   = "relevit.preprocessing"       // Preprocess as JSON
	MetaLabels       = "relevit.class_names"         // list of strings as JSON
)

// rest is what a graph doesn't keep of a checkpoint: the types of tensors that
// it has as float32, and the names of those that it hasn't.
func (c *Checkpoint) rest(g *onnx.Graph) (types map[string]string, unused []string) {
	kept := map[string]bool{}
	for _, v := range g.Inits {
		kept[v.Name] = true
	}
	types = map[string]string{}
	for _, name := range c.names {
		switch t := c.tensors[name].Type; {
		case !kept[name]:
			unused = append(unused, name)
		case t != onnx.Float:
			types[name], _ = safetensors.NameOf(t)
		}
	}
	return types, unused
}
