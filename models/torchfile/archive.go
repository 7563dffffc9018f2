package torchfile

import (
	"fmt"
	"strings"

	"github.com/relevit/relevit/models/zipfile"
)

// folder finds the archive's one folder with a data.pkl, and tells what an
// archive is that isn't torch.save's.
func (f *File) folder(a *zipfile.Archive) (string, error) {
	var found []string
	var arrays, script, program bool
	for _, e := range a.Entries {
		folder, rest, ok := strings.Cut(e.Name, "/")
		if !ok {
			rest, folder = folder, ""
		} else {
			folder += "/"
		}
		if rest == "data.pkl" {
			found = append(found, folder)
		}
		script = script || rest == "constants.pkl" || rest == "bytecode.pkl" || strings.HasPrefix(rest, "code/")
		program = program || rest == "archive_format" || rest == "serialized_exported_program.json" || strings.HasPrefix(rest, "models/")
		arrays = arrays || strings.HasSuffix(e.Name, ".npy")
	}
	e := &Error{Path: f.Path}
	switch {
	case script:
		e.Problem = "this is a TorchScript archive, which holds a program and not only weights"
		e.Advice = "let PyTorch save the weights alone: torch.save(torch.jit.load(path, map_location=\"cpu\").state_dict(), \"weights.pth\"), or export the model to ONNX"
	case program:
		e.Problem = "this is a program of torch.export, not a file of weights"
		e.Advice = "export the model to ONNX, or let PyTorch save the weights alone: torch.save(torch.export.load(path).state_dict, \"weights.pth\")"
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		e.Problem = fmt.Sprintf("the archive has %d data.pkl, and one is expected", len(found))
	case arrays:
		e.Problem = "this is an archive of NumPy arrays, not torch.save's"
	default:
		e.Problem = fmt.Sprintf("this is a zip archive, but none of torch.save's: it has no data.pkl among its %d entries", len(a.Entries))
		e.Advice = "if the weights are packed in it, unpack them first"
	}
	return "", e
}
