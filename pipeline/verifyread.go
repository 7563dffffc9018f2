package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
)

// subject is a model that is being verified.
type subject struct {
	path    string // as given, for messages
	file    string // the ONNX file, "" for a checkpoint
	folder  string // a temporary one, to be removed
	doc     *onnx.Document
	model   *onnx.Model
	graph   *onnx.Graph // a copy in the working dialect, nil where it can't be raised
	session *ort.Session
}

func (s *subject) close() {
	if s.session != nil {
		s.session.Close()
	}
	if s.folder != "" {
		os.RemoveAll(s.folder)
	}
}

// open opens the session. A checkpoint's model was never written.
func (s *subject) open(opt ort.Options) (err error) {
	if s.file != "" {
		s.session, err = ort.Open(s.file, opt)
	} else {
		opt.Name = s.path
		s.session, err = ort.NewSession(s.doc.Bytes(), opt)
	}
	if withoutKernels(s.model, err) {
		return fmt.Errorf("%w; the model computes in bfloat16, which ONNX Runtime does in few operators: export it with --precision %s to run it", err, Float32)
	}
	return err
}

// withoutKernels reports whether err is ONNX Runtime's refusal of a model in
// bfloat16, which says nothing against the model.
func withoutKernels(m *onnx.Model, err error) bool {
	var refused *ort.LoadError
	if !errors.As(err, &refused) {
		return false
	}
	brain := false
	m.Graph.Each(func(v *onnx.Value) { brain = brain || v.Type == onnx.BFloat16 })
	return brain
}

// Kinds of sources that are verified.
const (
	kindONNX       = "onnx"
	kindCheckpoint = "checkpoint"
	kindRun        = "run"
)

// read reads a model by both readers and checks its structure.
func (v *Verification) read(ctx context.Context, i int, path string, opt VerifyOptions) error {
	m := &v.Models[i]
	m.Path, m.Kind, m.Unread, m.Remarks, m.Reference = path, kindONNX, []string{}, []string{}, []OutputDrift{}
	m.subject = &subject{path: path, file: path}
	s := m.subject
	var err error
	switch {
	case IsRun(path):
		m.Kind = kindRun
		err = v.readRun(ctx, m, opt)
	case models.IsCheckpoint(path):
		m.Kind, s.file = kindCheckpoint, ""
		err = s.convert(opt.Open)
	default:
		s.model, s.doc, err = onnx.ReadModel(path)
	}
	if err != nil {
		return err
	}
	if m.SHA256, m.Bytes, err = s.sum(); err != nil {
		return err
	}
	faults, remarks, graph, err := soundness(s.model, s.doc)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, f := range faults {
		v.fault(path, "%s", f)
	}
	m.Remarks = append(m.Remarks, remarks...)
	s.graph, m.Initializers = graph, len(s.model.Graph.Inits)
	faults, m.Unread, m.ReadTwice, err = s.secondReading()
	for _, f := range faults {
		v.fault(path, "%s", f)
	}
	return err
}

// convert makes a checkpoint's model in memory.
func (s *subject) convert(opt ModelOptions) error {
	m, err := OpenModel(s.path, opt)
	if err != nil {
		return err
	}
	s.doc, s.model = m.Document, m.Source
	return nil
}

// readRun exports a run into a temporary folder, and checks the graphs that the
// run keeps. The export's graph must be the one that the run started from.
func (v *Verification) readRun(ctx context.Context, m *VerifiedModel, opt VerifyOptions) error {
	s := m.subject
	var err error
	if s.folder, err = os.MkdirTemp("", "relevit-verify-"); err != nil {
		return err
	}
	s.file = filepath.Join(s.folder, "model.onnx")
	made, err := Export(ctx, s.path, s.file, ExportOptions{Version: opt.Open.Version})
	if err != nil {
		return err
	}
	m.Remarks = append(m.Remarks, made.Notes...)
	if s.model, s.doc, err = onnx.ReadModel(s.file); err != nil {
		return err
	}
	kept, err := filepath.Glob(filepath.Join(s.path, artifactsName, "*.onnx"))
	if err != nil {
		return err
	}
	for _, path := range kept {
		model, doc, err := onnx.ReadModel(path)
		if err != nil {
			return err
		}
		faults, _, _, err := soundness(model, doc)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, f := range faults {
			v.fault(path, "%s", f)
		}
		if filepath.Base(path) != sourceArtifact {
			continue
		}
		for _, d := range structureDifferences(model, s.model) {
			v.fault(s.path, "exporting it would change the graph: %s", d)
		}
	}
	return nil
}

// sum returns the SHA-256 and length of what was given, or of the model that
// was made of a folder.
func (s *subject) sum() (string, int64, error) {
	path := s.path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if s.file == "" {
			data := s.doc.Bytes()
			sum := sha256.Sum256(data)
			return hex.EncodeToString(sum[:]), int64(len(data)), nil
		}
		path = s.file
	}
	return fileSum(path)
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

// soundness applies the rules of ONNX's checker to a model as it is decoded and
// as it lies in its file, and infers types and shapes on a copy that is raised
// to the working dialect. It returns the copy, nil where it can't be raised. A
// model that must not be run, as that might have no end, is an *onnx.FormatError.
func soundness(m *onnx.Model, d *onnx.Document) (faults, remarks []string, raised *onnx.Graph, err error) {
	if err := d.Endless(); err != nil {
		return nil, nil, nil, err
	}
	raised, refusal := inWorkingDialect(m)
	if beyond := (*onnx.FormatError)(nil); errors.As(refusal, &beyond) {
		return nil, nil, nil, refusal
	}
	for _, p := range append(onnx.Check(m), d.Check()...) {
		faults = append(faults, p.String())
	}
	if n := len(faults); n > mostFaults {
		faults = append(faults[:mostFaults], fmt.Sprintf("and %d more", n-mostFaults))
	}
	for _, p := range onnx.Oddities(m) {
		remarks = append(remarks, p.String())
	}
	var refused *passes.RaiseError
	switch {
	case len(faults) > 0:
		return faults, remarks, nil, nil
	case errors.As(refusal, &refused):
		return faults, append(remarks, "types and shapes were not inferred: "+refusal.Error()), nil, nil
	case refusal != nil:
		return append(faults, "types and shapes: "+refusal.Error()), remarks, nil, nil
	}
	return faults, remarks, raised, nil
}

// runnable refuses a model whose run might have no end or take all memory, by
// an *onnx.FormatError.
func runnable(m *onnx.Model, d *onnx.Document) error {
	if err := d.Endless(); err != nil {
		return err
	}
	_, err := inWorkingDialect(m)
	if beyond := (*onnx.FormatError)(nil); errors.As(err, &beyond) {
		return err
	}
	return nil
}

// inWorkingDialect raises and infers a copy of a model's graph.
func inWorkingDialect(m *onnx.Model) (*onnx.Graph, error) {
	g, _ := m.Graph.Clone()
	opset := m.OpsetVersion("")
	if err := passes.Inline(g, m.Bodies, opset); err != nil {
		return nil, err
	}
	if err := g.Sort(); err != nil {
		return nil, err
	}
	if err := passes.Raise(g, opset); err != nil {
		return nil, err
	}
	return g, passes.Measure(g)
}

// secondReading compares every initializer with what another reader reads.
func (s *subject) secondReading() (faults, unread []string, twice int, err error) {
	data := []byte(nil)
	if s.file == "" {
		data = s.doc.Bytes()
	} else if data, err = os.ReadFile(s.file); err != nil {
		return nil, nil, 0, err
	}
	read, err := readAgain(data)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("a second reader can't read %s: %w", s.path, err)
	}
	unread = []string{}
	for _, init := range s.model.Graph.Inits {
		again := read[init.Name]
		switch {
		case again == nil:
			faults = append(faults, "a second reader finds no initializer "+init.Name)
		case again.skipped != "":
			unread = append(unread, init.Name+": "+again.skipped)
		case again.differs(init.Data):
			faults = append(faults, "a second reader finds other numbers in initializer "+init.Name)
		default:
			twice++
		}
		delete(read, init.Name)
	}
	for name := range read {
		faults = append(faults, "only a second reader finds initializer "+name)
	}
	return faults, unread, twice, nil
}
