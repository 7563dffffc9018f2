package models

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
