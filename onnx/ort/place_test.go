package ort_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// eachPlace runs a test with buffers that Go sees, with those of the CPU that it
// doesn't, and with those of a GPU, if there is one.
func eachPlace(t *testing.T, test func(t *testing.T, opt ort.Options, p ort.Place)) {
	run := func(name string, options func(t *testing.T) ort.Options) {
		t.Run(name, func(t *testing.T) {
			opt := options(t)
			p, err := opt.Place()
			if err != nil {
				t.Fatal(err)
			}
			test(t, opt, p)
		})
	}
	for name, opt := range map[string]ort.Options{"cpu": {}, "apart": {Apart: true}} {
		run(name, func(t *testing.T) ort.Options { orttest.Need(t); return opt })
	}
	run("cuda", func(t *testing.T) ort.Options { return orttest.NeedCUDA(t) })
}

func TestBuffersHoldWhatIsWrittenWhereverTheyLive(t *testing.T) {
	eachPlace(t, func(t *testing.T, _ ort.Options, p ort.Place) {
		want := []float32{1, 2, 3, 4, 5, 6}
		there, err := p.NewBuffer(onnx.Float, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		values, err := ort.Values[float32](there)
		if err != nil || !slices.Equal(values, make([]float32, 6)) {
			t.Errorf("a new buffer holds %v, %v", values, err)
		}
		if got := there.Float32s(); (got == nil) != p.Apart() || (there.Bytes() == nil) != p.Apart() {
			t.Errorf("Go sees %v of a buffer of %v", got, p)
		}
		stage, err := p.NewStage(onnx.Float, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer stage.Close()
		copy(stage.Float32s(), want)
		second, err := p.NewBuffer(onnx.Float, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		for _, step := range []struct {
			what     string
			to, from *ort.Buffer
		}{{"up", there, stage}, {"within", second, there}} {
			if err := step.to.Copy(step.from); err != nil {
				t.Fatalf("copying %s: %v", step.what, err)
			}
		}
		clear(stage.Float32s())
		if err := stage.Copy(second); err != nil || !slices.Equal(stage.Float32s(), want) {
			t.Errorf("came back as %v, %v", stage.Float32s(), err)
		}
		if p.Apart() {
			if sent, back := p.Moved(); sent != 24 || back != 48 {
				t.Errorf("%d bytes went up and %d came down, expected 24 and 48", sent, back)
			}
		}
		if err := ort.Set(there, []float32{6, 5, 4, 3, 2, 1}); err != nil {
			t.Fatal(err)
		}
		raw, err := there.Read()
		if err != nil || !bytes.Equal(raw, onnx.FloatTensor([]float32{6, 5, 4, 3, 2, 1}, 6).Raw) {
			t.Errorf("read %v, %v", raw, err)
		}

		other, err := p.NewBuffer(onnx.Float, 3, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if there.Write(raw[:20]) == nil || ort.Set(there, []float64{1, 2, 3, 4, 5, 6}) == nil || there.Copy(other) == nil {
			t.Error("a buffer took what it isn't made for")
		}
		if _, err := ort.Values[float64](there); err == nil {
			t.Error("float32 was read as float64")
		}
		other.Close()
		if _, err := other.Read(); err == nil || other.Write(raw) == nil || there.Copy(other) == nil {
			t.Error("a closed buffer was used")
		}
		empty, err := p.NewBuffer(onnx.Float, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer empty.Close()
		if raw, err := empty.Read(); err != nil || len(raw) != 0 || empty.Write(nil) != nil {
			t.Errorf("an empty buffer: %v, %v", raw, err)
		}
	})
}

// TestAGraphUpdatesBuffersInPlaceWhereverTheyLive runs momentum on buffers that
// are inputs and outputs at once.
func TestAGraphUpdatesBuffersInPlaceWhereverTheyLive(t *testing.T) {
	eachPlace(t, func(t *testing.T, opt ort.Options, p ort.Place) {
		const n = 1000
		s := open(t, momentumModel(n), opt)
		place := func(value float32, shape ...int64) *ort.Buffer {
			b, err := p.NewBuffer(onnx.Float, shape...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			values := make([]float32, b.Len())
			for i := range values {
				values[i] = value
			}
			if err := ort.Set(b, values); err != nil {
				t.Fatal(err)
			}
			return b
		}
		weights, momentum, sum := place(1, n), place(0, n), place(0)
		bind(t, s, map[string]*ort.Buffer{"p": weights, "p.new": weights, "m": momentum, "m.new": momentum, "g": place(1, n), "sum": sum, "beta": place(0.5), "lr": place(0.25)})
		for range 3 {
			if err := s.Run(); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			what string
			b    *ort.Buffer
			want float32
		}{{"momentum", momentum, 1.75}, {"weights", weights, 1 - 0.25*(1+1.5+1.75)}, {"their sum", sum, n * (1 - 0.25*4.25)}} {
			got, err := ort.Values[float32](c.b)
			if err != nil {
				t.Fatal(err)
			}
			if got[0] != c.want || got[len(got)-1] != c.want {
				t.Errorf("%s: %v, expected %v", c.what, got[0], c.want)
			}
		}
	})
}

// TestRunsReadWhatBoundBuffersHoldWhereverTheyLive binds buffers once and fills
// them anew for each run, those that Go sees and those of the place.
func TestRunsReadWhatBoundBuffersHoldWhereverTheyLive(t *testing.T) {
	eachPlace(t, func(t *testing.T, opt ort.Options, p ort.Place) {
		model := modelBytes([]testPort{{"x", onnx.Float, []any{3}}}, []testPort{{"y", onnx.Float, []any{3}}},
			testNode{op: "Add", in: []string{"x", "x"}, out: []string{"y"}})
		for name, make := range map[string]func(onnx.DType, ...int64) (*ort.Buffer, error){"Go's": ort.NewBuffer, "the place's": p.NewBuffer} {
			s := open(t, model, opt)
			var x, y *ort.Buffer
			for _, b := range []**ort.Buffer{&x, &y} {
				var err error
				if *b, err = make(onnx.Float, 3); err != nil {
					t.Fatal(err)
				}
				t.Cleanup((*b).Close)
			}
			bind(t, s, map[string]*ort.Buffer{"x": x, "y": y})
			for run := range 4 {
				v := float32(run + 1)
				if err := ort.Set(x, []float32{v, -v, 0}); err != nil {
					t.Fatal(err)
				}
				if err := s.Run(); err != nil {
					t.Fatal(err)
				}
				if got, err := ort.Values[float32](y); err != nil || !slices.Equal(got, []float32{2 * v, -2 * v, 0}) {
					t.Errorf("run %d of %s buffers: %v, %v", run, name, got, err)
				}
			}
		}
	})
}
