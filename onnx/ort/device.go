package ort

import (
	"errors"
	"fmt"
	"sync"

	"github.com/relevit/relevit/onnx"
)

// automatic is the device that is a GPU where one works, and otherwise the CPU.
const automatic = "auto"

// Device is what sessions run on.
type Device struct {
	Name string `json:"device"`            // as --device takes it: cpu, cuda:0
	GPU  string `json:"gpu,omitempty"`     // the GPU's own name
	Why  string `json:"why_cpu,omitempty"` // why automatic choice took the CPU
}

// CUDA reports whether d is a GPU.
func (d Device) CUDA() bool { return d.Name != "cpu" }

func (d Device) String() string {
	switch {
	case d.GPU != "":
		return fmt.Sprintf("%s (%s)", d.Name, d.GPU)
	case d.Why != "":
		return "the CPU: " + d.Why
	}
	return "the CPU"
}

// Find says what these options run on. The GPU that it names has run a graph.
func (o Options) Find() (Device, error) {
	ordinal, cuda, err := o.cuda()
	if err != nil {
		return Device{}, err
	}
	if !cuda {
		d := Device{Name: "cpu"}
		if o.Device == automatic {
			if _, missing := (&gpu{}).probe(); missing != nil {
				d.Why = reason(missing)
			} else {
				d.Why = reason(try(0))
			}
		}
		return d, nil
	}
	if err := try(ordinal); err != nil {
		return Device{}, err
	}
	g, err := openGPU(ordinal)
	if err != nil {
		return Device{}, err
	}
	return Device{Name: fmt.Sprintf("cuda:%d", ordinal), GPU: g.name}, nil
}

// reason says why a GPU can't be used, without advice that nobody asked for.
func reason(err error) string {
	var m *MissingError
	if !errors.As(err, &m) {
		return err.Error()
	}
	if m.Err != nil {
		return m.Found + ": " + m.Err.Error()
	}
	return m.Found
}

// cuda returns the GPU that the options ask for, if any.
func (o Options) cuda() (ordinal int, cuda bool, err error) {
	ordinal, cuda, err = parseDevice(o.Device)
	if o.Device == automatic {
		if _, err := Current(); err != nil {
			return 0, false, err
		}
		cuda = try(0) == nil
	}
	return ordinal, cuda, err
}

// tried remembers what came of running a graph on each GPU.
var tried struct {
	sync.Mutex
	results map[int]error
}

// try runs a small product on a GPU, once: a driver, libraries and a GPU that
// are all there may still not fit together.
func try(ordinal int) error {
	tried.Lock()
	defer tried.Unlock()
	if err, done := tried.results[ordinal]; done {
		return err
	}
	err := runProduct(ordinal)
	if tried.results == nil {
		tried.results = map[int]error{}
	}
	tried.results[ordinal] = err
	return err
}

func runProduct(ordinal int) error {
	if _, err := openGPU(ordinal); err != nil {
		return err
	}
	g := &onnx.Graph{Name: "trial"}
	x := g.AddInput("x", onnx.Float, onnx.ShapeOf(2, 2))
	b := onnx.NewBuilder(g)
	y := b.MatMul(x, x)
	b.Named("y", y)
	g.Outputs = []*onnx.Value{y}
	if err := b.Err(); err != nil {
		return err
	}
	m := &onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}
	data, err := m.Encode()
	if err != nil {
		return err
	}
	s, err := NewSession(data, Options{Device: fmt.Sprintf("cuda:%d", ordinal), Name: "the trial graph"})
	if err != nil && !IsMissing(err) {
		err = noCUDA(ordinal, err)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := BufferOf([]float32{1, 2, 3, 4}, 2, 2)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := s.Call(map[string]*Buffer{"x": in})
	if err != nil {
		return noCUDA(ordinal, err)
	}
	defer out["y"].Close()
	if got := out["y"].Float32s(); len(got) != 4 || got[3] != 22 {
		return noCUDA(ordinal, fmt.Errorf("a product gave %v", got))
	}
	return nil
}
