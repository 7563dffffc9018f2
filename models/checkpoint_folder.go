package models

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hubFiles are the names of weights in folders of Hugging Face, the preferred
// ones first.
var hubFiles = []string{"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
	"open_clip_model.safetensors", "open_clip_pytorch_model.bin"}

// sideFiles hold a training's state, not weights.
var sideFiles = []string{"training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.bin", "scheduler.pt", "scaler.pt", "rng_state.pth"}

// openFolder opens the weights in a folder: those under a name of Hugging
// Face's, or else the only ones there.
func openFolder(dir string) (*Checkpoint, error) {
	name, err := weightsIn(dir)
	if err != nil {
		return nil, err
	}
	if err := confined(dir, name); err != nil {
		return nil, err
	}
	c, err := openFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	c.Path = dir
	return c, c.describe(dir)
}

// weightsIn tells the name of the weights in a folder.
func weightsIn(dir string) (string, error) {
	all, weights, err := filesIn(dir)
	if err != nil {
		return "", unreadable(dir, err)
	}
	for _, name := range hubFiles {
		if slices.Contains(all, name) {
			return name, nil
		}
	}
	if len(weights) == 1 {
		return weights[0], nil
	}
	return "", noWeights(dir, all, weights)
}

// filesIn lists a folder: everything that isn't hidden, and what may be weights.
func filesIn(dir string) (all, weights []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	var foreign []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		all = append(all, e.Name())
		suffix := strings.ToLower(filepath.Ext(e.Name()))
		switch {
		case slices.Contains(sideFiles, e.Name()):
		case slices.Contains(readSuffixes, suffix):
			weights = append(weights, e.Name())
		case slices.Contains(foreignSuffixes, suffix):
			foreign = append(foreign, e.Name())
		}
	}
	if len(weights) == 0 {
		weights = foreign
	}
	return all, weights, nil
}

// HoldsWeights reports whether a folder has files of weights, one or several.
func HoldsWeights(dir string) bool {
	all, weights, err := filesIn(dir)
	return err != nil || len(weights) > 0 || slices.ContainsFunc(hubFiles, func(name string) bool { return slices.Contains(all, name) })
}

// noWeights tells why a folder isn't a checkpoint.
func noWeights(dir string, all, weights []string) error {
	list := func(names []string) string {
		const most = 12
		s := strings.Join(names[:min(most, len(names))], ", ")
		if len(names) > most {
			s += fmt.Sprintf(" and %d more", len(names)-most)
		}
		return s
	}
	e := &Error{Path: dir}
	i := slices.IndexFunc(all, func(name string) bool { return strings.HasSuffix(name, ".onnx") })
	switch {
	case len(weights) > 1:
		e.Problem, e.Advice = "the folder has several files of weights: "+list(weights), "give one of them"
	case len(all) == 0:
		e.Problem, e.Advice = "the folder is empty", "give a folder with model.safetensors or pytorch_model.bin, or a file of weights"
	case slices.Contains(all, "config.yaml") && slices.Contains(all, "checkpoints"):
		e.Problem, e.Advice = "this is the folder of a run, not of weights", "export its model first: relevit export RUN -o MODEL.onnx"
	case i >= 0:
		e.Problem, e.Advice = "the folder has no weights but an ONNX model", "give "+filepath.Join(dir, all[i])
	case slices.Contains(all, "saved_model.pb"):
		e.Problem, e.Advice = "this is a SavedModel of TensorFlow", "export it to ONNX with tf2onnx"
	default:
		e.Problem, e.Advice = "the folder has no file of weights; it holds "+list(all), "give a folder with model.safetensors or pytorch_model.bin, or a file of weights"
	}
	return e
}

// confined checks that a name in a folder doesn't lead out of it. Links into
// the blobs of the same cache of Hugging Face do no harm: there, a folder
// ROOT/snapshots/REVISION links into ROOT/blobs.
func confined(dir, name string) error {
	folder, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return unreadable(dir, err)
	}
	file, err := filepath.EvalSymlinks(filepath.Join(dir, name))
	if err != nil {
		return unreadable(filepath.Join(dir, name), err)
	}
	if folder, err = filepath.Abs(folder); err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return unreadable(dir, err)
	}
	at := filepath.Dir(file)
	if at == folder {
		return nil
	}
	const snapshots = string(filepath.Separator) + "snapshots" + string(filepath.Separator)
	if i := strings.LastIndex(folder, snapshots); i >= 0 && at == filepath.Join(folder[:i], "blobs") {
		return nil
	}
	return &Error{Path: filepath.Join(dir, name), Problem: fmt.Sprintf("it is a link out of its folder, to %s", file), Advice: "give that file itself"}
}

// describe reads the descriptions that lie beside the weights.
func (c *Checkpoint) describe(dir string) (err error) {
	if c.Config, err = description(dir, "config.json"); err == nil {
		c.Preprocessor, err = description(dir, "preprocessor_config.json")
	}
	return err
}

// description reads a small file of a folder, nil if there is none.
func description(dir, name string) ([]byte, error) {
	const most = 4 << 20
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, &Error{Path: path, Problem: fmt.Sprintf("this is no description of a model: it has %d bytes", info.Size()), Advice: "take the file away"}
	}
	if err := confined(dir, name); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return text, nil
}
