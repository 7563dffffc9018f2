package pipeline

import (
	"context"
	"fmt"

	"github.com/relevit/relevit/onnx/ort"
)

// VerifyOptions say how models are verified. The zero value is sensible.
type VerifyOptions struct {
	ORT       ort.Options
	Open      ModelOptions // what a checkpoint's tensors leave open
	Images    []string     // pictures, or folders of them, to give to the models besides random inputs
	Inputs    []string     // safetensors files of inputs under their names, or of "image" alone
	Batch     int          // of random inputs where the models leave it open; 0: 1 and 3
	Seed      uint64       // of the random inputs
	Tolerance float64      // largest drift that still counts as equal; 0: 1e-5
	Reference Reference

	OnProgress func(done, total int) // after each of the runs; may be nil
}

// Reference says whether ONNX Runtime is held against the float64 evaluator.
type Reference int

// The evaluator takes seconds for each picture where a model has more than
// referenceCost multiplications.
const (
	ReferenceIfSmall Reference = iota
	ReferenceAlways
	ReferenceNever
)

// Verification is what was found of one model, or of two.
type Verification struct {
	Verdict string `json:"verdict"` // one of the constants below
	// Faults are what must not be in any model: a broken structure, a second
	// reader that reads something else, outputs that are no numbers or far
	// from the float64 evaluator's.
	Faults []string `json:"faults"`

	Models       []VerifiedModel `json:"models"`
	Structure    []string        `json:"structure_differences"` // nodes, inputs, outputs, operator sets, names
	Metadata     []string        `json:"metadata_differences"`
	Initializers int             `json:"initializers"` // in both
	Changed      []ChangedTensor `json:"changed_initializers"`
	Outputs      []OutputDrift   `json:"outputs"` // of the second model from the first's
}

// What a Verification can come to.
const (
	VerdictSound      = "sound"            // of one model: nothing is wrong with it
	VerdictIdentical  = "identical"        // the same graph with the same numbers
	VerdictEquivalent = "equivalent"       // another graph or other numbers, the same outputs
	VerdictRetrained  = "other parameters" // the same graph, with other numbers and outputs
	VerdictDifferent  = "different"        // another graph and other outputs
	VerdictFaulty     = "faulty"           // see Faults
	defaultTolerance  = 1e-5               // of the largest output value
)

// VerifiedModel is what one source was found to be.
type VerifiedModel struct {
	Path   string `json:"path"`
	Kind   string `json:"kind"`   // "onnx", "checkpoint" or "run"; the latter two are converted and exported in memory
	SHA256 string `json:"sha256"` // of the file; of a folder, of the model made of it
	Bytes  int64  `json:"bytes"`

	Initializers int `json:"initializers"`
	// ReadTwice counts the initializers that an independent reader read to the
	// same bits; Unread says which it could not read, and why.
	ReadTwice int      `json:"read_twice"`
	Unread    []string `json:"unread"`
	// Remarks are what is unusual without being wrong, and what could not be
	// checked.
	Remarks []string `json:"remarks"`

	// Reference is how far ONNX Runtime lies from the float64 evaluator.
	Reference        []OutputDrift `json:"reference"`
	ReferenceSkipped string        `json:"reference_skipped,omitempty"` // why there is none

	subject *subject
}

// ChangedTensor is an initializer whose numbers differ.
type ChangedTensor struct {
	Name     string `json:"name"`
	Elements int64  `json:"elements"` // that differ
	MaxAbs   Number `json:"max_abs"`
	MaxRel   Number `json:"max_rel"` // MaxAbs over the largest absolute value of the first
}

// OutputDrift is how far one set of an output's values is from another.
type OutputDrift struct {
	Output   string `json:"output"`
	Inputs   string `json:"inputs"` // "random", "images", or the file of inputs
	Batch    int64  `json:"batch"`
	MaxAbs   Number `json:"max_abs"`
	MaxRel   Number `json:"max_rel"` // MaxAbs over the largest absolute value of the first
	MeanAbs  Number `json:"mean_abs"`
	Cosine   Number `json:"cosine"` // of the angle between the two as vectors
	SameTop1 *int   `json:"same_top1,omitempty"`
	Rows     int    `json:"rows,omitempty"` // of which SameTop1 have their maximum in the same column
}

// Verify checks model a, and, unless b is "", model b and how the two differ:
// structure by the rules of ONNX's checker, every number by a second reader,
// outputs on the same inputs in ONNX Runtime and in the float64 evaluator. A
// model is an ONNX file, a checkpoint or a run's folder. It only fails where
// one can't be read or run; what it finds is in the result.
func Verify(ctx context.Context, a, b string, opt VerifyOptions) (*Verification, error) {
	paths := []string{a, b}
	if b == "" {
		paths = paths[:1]
	}
	v := &Verification{Faults: []string{}, Models: make([]VerifiedModel, len(paths)), Structure: []string{}, Metadata: []string{},
		Changed: []ChangedTensor{}, Outputs: []OutputDrift{}}
	defer v.close()
	for i, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := v.read(ctx, i, path, opt); err != nil {
			return nil, fmt.Errorf("verifying %s: %w", path, err)
		}
	}
	if len(paths) == 2 {
		first, second := v.Models[0].subject.model, v.Models[1].subject.model
		v.Structure = append(v.Structure, structureDifferences(first, second)...)
		v.Metadata = append(v.Metadata, metadataDifferences(first, second)...)
		if err := v.compareInitializers(first.Graph, second.Graph); err != nil {
			return nil, err
		}
	}
	if err := v.run(ctx, opt); err != nil {
		if len(v.Faults) == 0 || ctx.Err() != nil || ort.IsMissing(err) {
			return nil, fmt.Errorf("running %s: %w", joined(paths), err)
		}
		v.Faults = append(v.Faults, err.Error()) // of a model that is broken anyway
	}
	v.judge(opt.Tolerance)
	return v, nil
}

func joined(paths []string) string {
	if len(paths) == 2 {
		return paths[0] + " and " + paths[1]
	}
	return paths[0]
}

// Err is an error if the verdict is that one of the models is faulty.
func (v *Verification) Err() error {
	if len(v.Faults) == 0 {
		return nil
	}
	return fmt.Errorf("verification found %d faults, the first: %s", len(v.Faults), v.Faults[0])
}

// Same reports whether nothing is wrong and the outputs are equal within the
// tolerance.
func (v *Verification) Same() bool {
	return v.Verdict == VerdictSound || v.Verdict == VerdictIdentical || v.Verdict == VerdictEquivalent
}

func (v *Verification) judge(tolerance float64) {
	if tolerance == 0 {
		tolerance = defaultTolerance
	}
	same := true
	for _, o := range v.Outputs {
		same = same && float64(o.MaxRel) <= tolerance
	}
	switch {
	case len(v.Faults) > 0:
		v.Verdict = VerdictFaulty
	case len(v.Models) == 1:
		v.Verdict = VerdictSound
	case len(v.Structure) == 0 && len(v.Changed) == 0 && same:
		v.Verdict = VerdictIdentical
	case same:
		v.Verdict = VerdictEquivalent
	case len(v.Structure) == 0:
		v.Verdict = VerdictRetrained
	default:
		v.Verdict = VerdictDifferent
	}
}

// mostFaults bounds the faults that are told of one file.
const mostFaults = 20

func (v *Verification) fault(path, format string, args ...any) {
	v.Faults = append(v.Faults, path+": "+fmt.Sprintf(format, args...))
}

func (v *Verification) close() {
	for i := range v.Models {
		if s := v.Models[i].subject; s != nil {
			s.close()
		}
	}
}
