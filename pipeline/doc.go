// Package pipeline does what the commands are for: it converts checkpoints,
// trains models on pictures with masks in run folders that survive any
// interruption, evaluates, exports, verifies and traces them.
//
// A run executes graphs alone (graphs.go): a Stepper holds the parameters in
// memory that ONNX Runtime updates in place, and the trainer (train.go) feeds it
// batches, logs, validates and saves. Run (runfolder.go) is the folder on disk.
package pipeline
