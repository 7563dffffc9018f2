package models

// Keys of a model's metadata_props, and of a checkpoint's metadata, that
// relevit writes.
const (
	MetaVersion      = "relevit.version"       // of the tool that wrote the model
	MetaSource       = "relevit.source"        // the checkpoint's file name
	MetaSourceSum    = "relevit.source_sha256" // and its SHA-256
	MetaArchitecture = "relevit.architecture"  // Architecture as JSON
	MetaPreprocess   = "relevit.preprocessing" // Preprocess as JSON
	MetaLabels       = "relevit.class_names"   // list of strings as JSON
)
