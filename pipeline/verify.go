package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// VerifyOptions say how two models are compared. The zero value is sensible.
type VerifyOptions struct {
	ORT       ort.Options
	Images    []string // pictures to give to both models, besides random inputs
	Batch     int      // of random inputs where the model leaves it open; 0: 2
	Seed      uint64   // of the random inputs
	Tolerance float64  // largest drift that still counts as equal; 0: 1e-5
}

// Verification is what the comparison of two models found.
type Verification struct {
	Verdict string `json:"verdict"` // one of the constants below
	// Faults are what must not be in any model: a broken structure, a second
	// reader that reads something else, outputs that are no numbers.
	Faults []string `json:"faults"`

	Models       [2]VerifiedModel `json:"models"`
	Structure    []string         `json:"structure_differences"` // nodes, inputs, outputs, operator sets, names
	Metadata     []string         `json:"metadata_differences"`
	Initializers int              `json:"initializers"` // in both
	Changed      []ChangedTensor  `json:"changed_initializers"`
	Outputs      []OutputDrift    `json:"outputs"`
}

// What a Verification can come to.
const (
	VerdictIdentical  = "identical"        // the same graph with the same numbers
	VerdictEquivalent = "equivalent"       // another graph or other numbers, the same outputs
	VerdictRetrained  = "other parameters" // the same graph, with other numbers and outputs
	VerdictDifferent  = "different"        // another graph and other outputs
	VerdictFaulty     = "faulty"           // see Faults
	defaultTolerance  = 1e-5               // of the largest output value
	verifiedBatch     = 2                  // pictures, where the model leaves it open
)

// VerifiedModel is what one file was found to be.
type VerifiedModel struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	// ReadTwice counts the initializers that an independent reader read to the
	// same bits; Unread says which it could not read, and why.
	ReadTwice int      `json:"read_twice"`
	Unread    []string `json:"unread"`

	model *onnx.Model
}

// ChangedTensor is an initializer whose numbers differ.
type ChangedTensor struct {
	Name     string `json:"name"`
	Elements int64  `json:"elements"` // that differ
	MaxAbs   Number `json:"max_abs"`
	MaxRel   Number `json:"max_rel"` // MaxAbs over the largest absolute value of the first
}

// OutputDrift is how far an output of the second model is from the first's.
type OutputDrift struct {
	Output   string `json:"output"`
	Inputs   string `json:"inputs"` // "random" or "images"
	MaxAbs   Number `json:"max_abs"`
	MaxRel   Number `json:"max_rel"` // MaxAbs over the largest absolute value of the first
	SameTop1 *int   `json:"same_top1,omitempty"`
	Rows     int    `json:"rows,omitempty"` // of which SameTop1 have their maximum in the same column
}

// Verify gives the same inputs to two models and compares their outputs, their
// graphs and their numbers, and has each file read by a second reader. It only
// fails where a file can't be read or run; what it finds is in the result.
func Verify(ctx context.Context, a, b string, opt VerifyOptions) (*Verification, error) {
	v := &Verification{Faults: []string{}, Structure: []string{}, Metadata: []string{}, Changed: []ChangedTensor{}, Outputs: []OutputDrift{}}
	for i, path := range []string{a, b} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := v.read(i, path); err != nil {
			return nil, fmt.Errorf("verifying %s: %w", path, err)
		}
	}
	first, second := v.Models[0].model, v.Models[1].model
	v.Structure = append(v.Structure, structureDifferences(first, second)...)
	v.Metadata = append(v.Metadata, metadataDifferences(first, second)...)
	if err := v.compareInitializers(first.Graph, second.Graph); err != nil {
		return nil, err
	}
	if err := v.run(ctx, a, b, opt); err != nil {
		return nil, fmt.Errorf("comparing %s with %s: %w", a, b, err)
	}
	v.judge(opt.Tolerance)
	return v, nil
}

// Err is an error if the verdict is that one of the models is faulty.
func (v *Verification) Err() error {
	if len(v.Faults) == 0 {
		return nil
	}
	return fmt.Errorf("verification found %d faults, the first: %s", len(v.Faults), v.Faults[0])
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

func (v *Verification) fault(path, format string, args ...any) {
	v.Faults = append(v.Faults, path+": "+fmt.Sprintf(format, args...))
}

// read reads a model by both readers and checks its structure.
func (v *Verification) read(i int, path string) error {
	m := &v.Models[i]
	m.Path, m.Unread = path, []string{}
	if models.IsCheckpoint(path) {
		return &models.Error{Path: path, Problem: "this is a checkpoint, and ONNX models are compared", Advice: "convert it first"}
	}
	var err error
	if m.model, _, err = onnx.ReadModel(path); err != nil {
		return err
	}
	if m.SHA256, m.Bytes, err = fileSum(path); err != nil {
		return err
	}
	for _, p := range onnx.Check(m.model) {
		v.fault(path, "%v", p)
	}
	read, err := readAgain(path)
	if err != nil {
		return err
	}
	for _, init := range m.model.Graph.Inits {
		again := read[init.Name]
		switch {
		case again == nil:
			v.fault(path, "a second reader finds no initializer %s", init.Name)
		case again.skipped != "":
			m.Unread = append(m.Unread, init.Name+": "+again.skipped)
		case again.differs(init.Data):
			v.fault(path, "a second reader finds other numbers in initializer %s", init.Name)
		default:
			m.ReadTwice++
		}
		delete(read, init.Name)
	}
	for name := range read {
		v.fault(path, "only a second reader finds initializer %s", name)
	}
	return nil
}

// fileSum returns a file's SHA-256 and length.
func fileSum(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

func (v *Verification) compareInitializers(a, b *onnx.Graph) error {
	second := map[string]*onnx.Tensor{}
	for _, init := range b.Inits {
		second[init.Name] = init.Data
	}
	for _, init := range a.Inits {
		x, y := init.Data, second[init.Name]
		if y == nil || x.Type != y.Type || !slices.Equal(x.Dims, y.Dims) {
			continue // a difference of structure
		}
		v.Initializers++
		if string(x.Raw) == string(y.Raw) {
			continue
		}
		p, err := x.Float64s()
		if err != nil {
			return fmt.Errorf("comparing initializer %s: %w", init.Name, err)
		}
		q, err := y.Float64s()
		if err != nil {
			return fmt.Errorf("comparing initializer %s: %w", init.Name, err)
		}
		c := ChangedTensor{Name: init.Name}
		for i := range p {
			if p[i] != q[i] {
				c.Elements++
			}
		}
		abs, rel := drift(p, q)
		c.MaxAbs, c.MaxRel = Number(abs), Number(rel)
		v.Changed = append(v.Changed, c)
	}
	return nil
}

// drift is the largest |q-p|, and that over the largest |p|. It is NaN where
// only one of them is no number.
func drift(p, q []float64) (abs, rel float64) {
	largest := 0.0
	for i := range p {
		d := math.Abs(q[i] - p[i])
		if p[i] == q[i] || math.IsNaN(p[i]) && math.IsNaN(q[i]) {
			d = 0 // equal infinities too
		}
		if math.IsNaN(d) {
			return d, d
		}
		abs, largest = max(abs, d), max(largest, math.Abs(p[i]))
	}
	if abs == 0 {
		return 0, 0
	}
	return abs, abs / largest
}
