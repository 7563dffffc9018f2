package ort

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/relevit/relevit/onnx"
)

// Port is an input or an output of a session. Inputs and outputs that aren't
// tensors have no type and no shape.
type Port struct {
	Name  string
	Type  onnx.DType
	Shape onnx.Shape // nil where the model doesn't say
}

// String prints the port as name float32(batch,3,224,224).
func (p Port) String() string { return fmt.Sprintf("%s %v%v", p.Name, p.Type, p.Shape) }

// Session is a model ready to run. Its methods are not for concurrent use: see
// Share.
//
// CUDA replaces the process's signal handlers when its first session opens:
// register handlers for signals after that.
type Session struct {
	model   string
	inner   *binding.DynamicAdvancedSession // nil of one that is shared
	api     capi
	memory  handle
	session handle
	bound   handle  // the standing I/O binding
	thread  *thread // that runs a session of a device; nil on the CPU

	inputs, outputs   []Port
	optional          []Port // inputs with a default value
	boundIn, boundOut map[string]*Buffer
	order             []string // of outputs in the standing binding
	copied            bool     // ONNX Runtime copies inputs to the device when they are bound
	nothing           *Buffer  // in the place of inputs that are unbound
}

// NewSession loads a model from the bytes of an ONNX file without external data.
func NewSession(model []byte, opt Options) (*Session, error) {
	name := opt.Name
	if name == "" {
		name = "the graph"
	}
	return newSession(name, opt, func(so *binding.SessionOptions) (*binding.DynamicAdvancedSession, error) {
		if len(model) == 0 {
			return nil, errors.New("the file is empty")
		}
		return binding.NewDynamicAdvancedSessionWithONNXData(model, nil, nil, so)
	})
}

// Open loads a model from a file, with its external data.
func Open(path string, opt Options) (*Session, error) {
	return newSession(path, opt, func(so *binding.SessionOptions) (*binding.DynamicAdvancedSession, error) {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
		return binding.NewDynamicAdvancedSession(path, nil, nil, so)
	})
}

func newSession(name string, opt Options, load func(*binding.SessionOptions) (*binding.DynamicAdvancedSession, error)) (*Session, error) {
	api, memory, err := current()
	if err != nil {
		return nil, err
	}
	so, err := opt.session()
	if err != nil {
		return nil, fmt.Errorf("opening a session for %s: %w", name, err)
	}
	defer so.Destroy()
	inner, err := load(so)
	if err != nil {
		if ordinal, cuda, _ := opt.cuda(); cuda && strings.Contains(err.Error(), "CUDA") {
			err = noCUDA(ordinal, err)
		}
		if e := noMemory("loading "+name, err); e != nil {
			return nil, e
		}
		return nil, &LoadError{Model: name, Err: err}
	}
	s := &Session{model: name, inner: inner, api: api, memory: memory,
		boundIn: map[string]*Buffer{}, boundOut: map[string]*Buffer{}}
	if _, cuda, _ := opt.cuda(); cuda || opt.Apart {
		s.thread, s.copied = newThread(), cuda
	}
	held.sessions.Add(1)
	if err := s.prepare(); err != nil {
		s.Close()
		return nil, &LoadError{Model: name, Err: err}
	}
	return s, nil
}

func (s *Session) prepare() (err error) {
	if s.session, err = cHandle(s.inner); err != nil {
		return err
	}
	for kind, list := range map[int]*[]Port{portInput: &s.inputs, portOutput: &s.outputs, portOptional: &s.optional} {
		if *list, err = s.api.ports(s.session, kind); err != nil {
			return err
		}
	}
	s.outputs = distinct(s.outputs)
	s.bound, err = s.api.newBinding(s.session)
	return err
}

// distinct leaves out ports whose name came before: a model may name an output
// twice, and a binding gives it once.
func distinct(ports []Port) []Port {
	var kept []Port
	for _, p := range ports {
		if find(kept, p.Name) == nil {
			kept = append(kept, p)
		}
	}
	return kept
}

// Share returns the session once more, with bindings of its own, for a goroutine
// that runs it at the same time. Close it before the session itself.
func (s *Session) Share() (*Session, error) {
	shared := *s
	shared.inner, shared.boundIn, shared.boundOut = nil, map[string]*Buffer{}, map[string]*Buffer{}
	shared.order, shared.nothing = nil, nil
	var err error
	if shared.bound, err = s.api.newBinding(s.session); err != nil {
		return nil, fmt.Errorf("sharing the session of %s: %w", s.model, err)
	}
	return &shared, nil
}

// cHandle reads the C session out of the binding's, which has no accessor for it.
func cHandle(s *binding.DynamicAdvancedSession) (handle, error) {
	inner := reflect.ValueOf(s).Elem().FieldByName("s")
	if inner.Kind() == reflect.Pointer {
		if f := inner.Elem().FieldByName("ortSession"); f.Kind() == reflect.Pointer {
			return f.UnsafePointer(), nil
		}
	}
	return nil, errors.New("this version of the Go binding keeps its sessions elsewhere: use the version in go.mod")
}

// Close releases the session, not the buffers bound to it.
func (s *Session) Close() {
	if s.bound != nil {
		s.api.releaseBinding(s.bound)
		s.bound = nil
	}
	if s.inner != nil {
		s.inner.Destroy()
		held.sessions.Add(-1)
		s.inner = nil
		if s.thread != nil {
			s.thread.close()
		}
	}
	s.session = nil
	s.nothing.Close()
}

// Inputs lists what Run needs.
func (s *Session) Inputs() []Port { return slices.Clone(s.inputs) }

// Optional lists inputs with a default value, which Run takes where they are
// bound.
func (s *Session) Optional() []Port { return slices.Clone(s.optional) }

// Outputs lists what Run can give.
func (s *Session) Outputs() []Port { return slices.Clone(s.outputs) }

// Bind gives the memory of an input, an output, or both. It stays bound, and
// its contents are read and written by every Run, until another takes its place.
//
// One buffer may be an input and an output, so that a graph updates it in
// place. That is right only where every node which reads the input does so no
// later than the node which writes the output, element by element.
func (s *Session) Bind(name string, b *Buffer) error {
	in, out := s.input(name), find(s.outputs, name)
	if in == nil && out == nil {
		return s.bindError(name, b.String(), "an input or output of the graph: "+names(s.inputs)+" -> "+names(s.outputs))
	}
	if in != nil {
		if err := s.bind(s.bound, in, b, s.api.bindInput); err != nil {
			return err
		}
		s.boundIn[name] = b
	}
	if out != nil {
		if err := s.bind(s.bound, out, b, s.api.bindOutput); err != nil {
			return err
		}
		s.placed(name)
		s.boundOut[name] = b
	}
	return nil
}

// placed notes the place of a bound output, which it keeps.
func (s *Session) placed(name string) {
	if !slices.Contains(s.order, name) {
		s.order = append(s.order, name)
	}
}

// Unbind forgets the buffer of an input: from now on nothing of the session
// keeps its memory.
func (s *Session) Unbind(name string) error {
	if s.boundIn[name] == nil {
		return nil
	}
	if s.nothing == nil {
		var err error
		if s.nothing, err = NewBuffer(onnx.Bool); err != nil {
			return err
		}
	}
	delete(s.boundIn, name)
	return s.api.bindInput(s.bound, name, s.nothing.value)
}

func (s *Session) bind(to handle, p *Port, b *Buffer, how func(handle, string, handle) error) error {
	if b == nil || b.value == nil {
		return s.bindError(p.Name, "a closed buffer", p.String())
	}
	if !p.takes(b) {
		return s.bindError(p.Name, b.String(), fmt.Sprintf("%v%v", p.Type, p.Shape))
	}
	if err := how(to, p.Name, b.value); err != nil {
		return fmt.Errorf("binding %q of %s: %w", p.Name, s.model, err)
	}
	return nil
}

func (s *Session) bindError(name, found, want string) error {
	return &BindError{Model: s.model, Name: name, Found: found, Want: want}
}

// takes reports whether a buffer has the port's type and whatever the model
// fixes of its shape.
func (p *Port) takes(b *Buffer) bool {
	if b.dtype != p.Type {
		return false
	}
	if p.Shape == nil {
		return true
	}
	if len(p.Shape) != len(b.shape) {
		return false
	}
	for i, d := range p.Shape {
		if d.Known() && d.N != b.shape[i] {
			return false
		}
	}
	return true
}

// Run computes every bound output from the bound inputs. It blocks one system
// thread only: signals and other goroutines go on.
func (s *Session) Run() error {
	if s.session == nil {
		return fmt.Errorf("running %s: the session is closed", s.model)
	}
	for i := range s.inputs {
		if err := s.usable(s.boundIn, s.inputs[i].Name, "a buffer for this input"); err != nil {
			return err
		}
	}
	for _, p := range s.optional {
		if s.boundIn[p.Name] != nil {
			if err := s.usable(s.boundIn, p.Name, "an open buffer"); err != nil {
				return err
			}
		}
	}
	if len(s.boundOut) == 0 {
		return s.bindError(names(s.outputs), "nothing", "a buffer for at least one output")
	}
	for name := range s.boundOut {
		if err := s.usable(s.boundOut, name, "an open buffer"); err != nil {
			return err
		}
	}
	if err := s.sendInputs(); err != nil {
		return err
	}
	return s.run(s.bound)
}

// sendInputs brings inputs that Go fills to the device: what they held when they
// were bound is there.
func (s *Session) sendInputs() error {
	if !s.copied {
		return nil
	}
	for name, b := range s.boundIn {
		if b.there != nil {
			continue
		}
		if err := s.api.bindInput(s.bound, name, b.value); err != nil {
			return fmt.Errorf("binding %q of %s: %w", name, s.model, err)
		}
	}
	return nil
}

// run computes the outputs of a binding, on the session's thread if it has one.
func (s *Session) run(binding handle) error {
	run := func() error { return s.api.run(s.session, binding) }
	if s.thread != nil {
		alone := run
		run = func() error { return s.thread.do(alone) }
	}
	err := run()
	if err == nil {
		return nil
	}
	if e := noMemory("running "+s.model, err); e != nil {
		return e
	}
	return fmt.Errorf("running %s: %w", s.model, err)
}

// RunFresh is Run, and gives the named outputs besides, in memory that is
// allocated when they are computed and goes back to where sessions take theirs
// from when the caller closes them.
func (s *Session) RunFresh(outputs []string) ([]*Buffer, error) {
	if err := s.allocateAnew(outputs); err != nil {
		return nil, err
	}
	if err := s.Run(); err != nil {
		return nil, err
	}
	values, err := s.api.boundOutputs(s.bound)
	if err != nil {
		return nil, fmt.Errorf("reading the outputs of %s: %w", s.model, err)
	}
	result := make([]*Buffer, len(outputs))
	for i, v := range values {
		at := slices.Index(outputs, s.order[i])
		if at < 0 {
			s.api.releaseValue(v)
			continue
		}
		b, wrapErr := wrap(s.api, v)
		if wrapErr != nil {
			err = errors.Join(err, fmt.Errorf("reading output %q of %s: %w", s.order[i], s.model, wrapErr))
		}
		result[at] = b
	}
	if err = errors.Join(err, s.allocateAnew(outputs)); err != nil { // the binding holds them too
		for _, b := range result {
			b.Close()
		}
		return nil, err
	}
	return result, nil
}

// allocateAnew has the next run allocate outputs.
func (s *Session) allocateAnew(outputs []string) error {
	for _, name := range outputs {
		if find(s.outputs, name) == nil {
			return s.bindError(name, "no such output", "one of "+names(s.outputs))
		}
		if err := s.api.bindOutputAnywhere(s.bound, name, s.memory); err != nil {
			return fmt.Errorf("binding %q of %s: %w", name, s.model, err)
		}
		s.placed(name)
	}
	return nil
}

func (s *Session) usable(bound map[string]*Buffer, name, want string) error {
	switch b := bound[name]; {
	case b == nil:
		return s.bindError(name, "nothing", want)
	case b.value == nil:
		return s.bindError(name, "a closed buffer", want)
	}
	return nil
}

// Call runs the model once with the given inputs, apart from what is bound, and
// returns the named outputs, or all if none are named, in memory that the run
// allocates: the caller closes them. Their shapes may depend on the inputs.
func (s *Session) Call(inputs map[string]*Buffer, outputs ...string) (map[string]*Buffer, error) {
	if s.session == nil {
		return nil, fmt.Errorf("running %s: the session is closed", s.model)
	}
	once, err := s.api.newBinding(s.session)
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", s.model, err)
	}
	defer s.api.releaseBinding(once)
	for name, b := range inputs {
		p := s.input(name)
		if p == nil {
			return nil, s.bindError(name, b.String(), "one of the inputs "+names(slices.Concat(s.inputs, s.optional)))
		}
		if err := s.bind(once, p, b, s.api.bindInput); err != nil {
			return nil, err
		}
	}
	for i := range s.inputs {
		if err := s.usable(inputs, s.inputs[i].Name, "a buffer for this input"); err != nil {
			return nil, err
		}
	}
	if len(outputs) == 0 {
		for _, p := range s.outputs {
			outputs = append(outputs, p.Name)
		}
	}
	for _, name := range outputs {
		if find(s.outputs, name) == nil {
			return nil, s.bindError(name, "no such output", "one of "+names(s.outputs))
		}
		if err := s.api.bindOutputAnywhere(once, name, s.memory); err != nil {
			return nil, fmt.Errorf("binding %q of %s: %w", name, s.model, err)
		}
	}
	if err := s.run(once); err != nil {
		return nil, err
	}
	return s.collect(once, outputs)
}

// collect takes the outputs of a run, in the order in which they were bound.
func (s *Session) collect(from handle, outputs []string) (map[string]*Buffer, error) {
	values, err := s.api.boundOutputs(from)
	if err != nil {
		return nil, fmt.Errorf("reading the outputs of %s: %w", s.model, err)
	}
	result := make(map[string]*Buffer, len(values))
	for i, v := range values {
		b, wrapErr := wrap(s.api, v)
		if wrapErr != nil {
			err = errors.Join(err, fmt.Errorf("reading output %q of %s: %w", outputs[i], s.model, wrapErr))
			continue
		}
		result[outputs[i]] = b
	}
	if err != nil {
		for _, b := range result {
			b.Close()
		}
		return nil, err
	}
	return result, nil
}

// EndProfile writes the profile that Options.Profile asked for and returns its path.
func (s *Session) EndProfile() (string, error) {
	path, err := s.api.endProfile(s.session)
	if err != nil {
		return "", fmt.Errorf("profiling %s: %w", s.model, err)
	}
	return path, nil
}

// input finds an input, optional or not.
func (s *Session) input(name string) *Port {
	if p := find(s.inputs, name); p != nil {
		return p
	}
	return find(s.optional, name)
}

func find(ports []Port, name string) *Port {
	for i := range ports {
		if ports[i].Name == name {
			return &ports[i]
		}
	}
	return nil
}

// names lists the first few ports, for messages.
func names(ports []Port) string {
	const most = 8
	var list []string
	for i, p := range ports {
		if i == most {
			list = append(list, fmt.Sprintf("... (%d in all)", len(ports)))
			break
		}
		list = append(list, p.Name)
	}
	return strings.Join(list, ", ")
}
