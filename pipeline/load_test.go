//go:build bench && linux

package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/picture"
)

const (
	loadSteps  = "RELEVIT_LOAD_STEPS"  // of finetuning; 2000
	loadImages = "RELEVIT_LOAD_IMAGES" // of evaluation; 50000
	// loadModel is tiny, for ViT-Ti on photographs where ../shared has them
	// (the default), or small, for a model and pictures of 64x64.
	loadModel = "RELEVIT_LOAD_MODEL"
)

// What a long run may differ by, from its first twentieth, or its second
// tenth, to its end.
const (
	mayGrow = 0.02    // resident memory,
	varies  = 4 << 20 // or what Go's heap varies by, of processes as small as that
	maySlow = 0.05    // time of a step or a picture, beyond that of the same product
)

func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 40 {
		t.Fatalf("%s=%s: expected a number of 40 or more", name, s)
	}
	return n
}

// reading is what a process holds at some point.
type reading struct {
	done              int
	resident          int64
	goroutines, files int
	held              ort.Counts
}

// meter watches work of a known size.
type meter struct {
	what     string
	total    int
	done     int
	last     time.Time
	spent    time.Duration   // by all threads, up to last
	took     []time.Duration // by unit
	worked   []time.Duration // all threads, by unit
	product  func() error    // on one thread, to know the machine's own pace by
	pace     []time.Duration // of the product's thread, by reading
	readings []reading       // 40 of them
}

func newMeter(t *testing.T, what string) *meter {
	m := &meter{what: what}
	m.product, _ = largeProduct(t, ort.Options{Threads: 1})
	return m
}

// tick is called when more is done.
func (m *meter) tick(t *testing.T, done int) {
	now, spent := time.Now(), processorTime(t, unix.RUSAGE_SELF)
	if !m.last.IsZero() && done > m.done {
		each := now.Sub(m.last) / time.Duration(done-m.done)
		work := (spent - m.spent) / time.Duration(done-m.done)
		for range done - m.done {
			m.took, m.worked = append(m.took, each), append(m.worked, work)
		}
	}
	m.done = done
	if len(m.readings) < 40*done/m.total {
		m.readings = append(m.readings, read(t, done))
		for range 3 {
			m.pace = append(m.pace, m.timeProduct(t))
		}
	}
	m.last, m.spent = time.Now(), processorTime(t, unix.RUSAGE_SELF)
}

// timeProduct leaves out the time in which others have the processor.
func (m *meter) timeProduct(t *testing.T) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := processorTime(t, unix.RUSAGE_THREAD)
	if err := m.product(); err != nil {
		t.Fatal(err)
	}
	return processorTime(t, unix.RUSAGE_THREAD) - start
}

func processorTime(t *testing.T, whose int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(whose, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// read counts what is held once garbage is given back.
func read(t *testing.T, done int) reading {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	var size, resident int64
	if err == nil {
		_, err = fmt.Fscan(bytes.NewReader(text), &size, &resident)
	}
	files, e := os.ReadDir("/proc/self/fd")
	if err != nil || e != nil {
		t.Fatal(err, e)
	}
	return reading{done, resident * int64(os.Getpagesize()), runtime.NumGoroutine(), len(files), ort.Held()}
}

// between is the median time of a unit in a part of the work.
func between(times []time.Duration, from, to float64) time.Duration {
	n := float64(len(times))
	part := slices.Sorted(slices.Values(times[int(from*n):int(to*n)]))
	return part[len(part)/2]
}

// slowed is by how much more time a unit takes in the last tenth than in the second.
func slowed(times []time.Duration) float64 {
	return float64(between(times, 0.9, 1))/float64(between(times, 0.1, 0.2)) - 1
}

// judge prints what was read, and fails the test where something grew, or slowed.
func (m *meter) judge(t *testing.T) {
	t.Helper()
	if len(m.readings) < 20 || len(m.took) < 20 {
		t.Fatalf("%s: only %d of %d are done, in %d readings", m.what, m.done, m.total, len(m.readings))
	}
	fmt.Printf("\n%s\n\n", m.what)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "done\tresident MB\tgoroutines\tfiles\tsessions\tbuffers\tMB of buffers\tper second\t")
	for i, r := range m.readings {
		if i != 1 && i%4 != 3 {
			continue
		}
		rate := between(m.took, max(0, float64(i-3)/40), float64(i+1)/40)
		fmt.Fprintf(w, "%d\t%.1f\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t\n", r.done, float64(r.resident)/1e6, r.goroutines, r.files,
			r.held.Sessions, r.held.Buffers, float64(r.held.Bytes)/1e6, float64(time.Second)/float64(rate))
	}
	w.Flush()
	first, last := m.readings[1], m.readings[len(m.readings)-1] // at 5 %
	grew := float64(last.resident)/float64(first.resident) - 1
	machine := slowed(m.pace)
	ours := (1+min(slowed(m.took), slowed(m.worked)))/(1+machine) - 1
	fmt.Printf("resident memory after 5 %%: %+.2f %%; the last tenth against the second: time %+.2f %%, processor time %+.2f %%, that of the same product %+.2f %%\n",
		100*grew, 100*slowed(m.took), 100*slowed(m.worked), 100*machine)
	if grew > mayGrow && last.resident-first.resident > varies {
		t.Errorf("%s: resident memory grew by %.2f %%, from %d to %d bytes", m.what, 100*grew, first.resident, last.resident)
	}
	// Where others take the machine, or its clock, time alone says nothing.
	if ours > maySlow {
		t.Errorf("%s: the last tenth takes %.2f %% more time than the second, in times of the same product", m.what, 100*ours)
	}
	begin, end := most(m.readings[:4]), most(m.readings[len(m.readings)-4:])
	if end.goroutines > begin.goroutines || end.files > begin.files || end.held.Sessions > begin.held.Sessions ||
		end.held.Buffers > begin.held.Buffers || end.held.Bytes > begin.held.Bytes {
		t.Errorf("%s: it held %d goroutines, %d files, %v, and at the end %d, %d, %v", m.what,
			begin.goroutines, begin.files, begin.held, end.goroutines, end.files, end.held)
	}
}

// most is the largest of each.
func most(list []reading) (r reading) {
	for _, x := range list {
		r.goroutines, r.files = max(r.goroutines, x.goroutines), max(r.files, x.files)
		r.held = ort.Counts{Sessions: max(r.held.Sessions, x.held.Sessions), Buffers: max(r.held.Buffers, x.held.Buffers), Bytes: max(r.held.Bytes, x.held.Bytes)}
	}
	return r
}

// loadSetup makes a model, and pictures with masks in folders of classes.
func loadSetup(t *testing.T) (model, images, masks string, each []string) {
	t.Helper()
	dir := t.TempDir()
	images, masks = filepath.Join(dir, "images"), filepath.Join(dir, "masks")
	samples, _ := filepath.Glob("../../shared/data/imagenet-samples/*/*")
	small := os.Getenv(loadModel) == "small"
	if small || len(samples) == 0 {
		samples = nil
		for i := range 500 {
			path := filepath.Join(dir, "made", fmt.Sprintf("class%d", i%6), fmt.Sprintf("%d.png", i))
			side := 224
			if small {
				side = 64
			}
			savePicture(t, path, uint64(i), side, side)
			samples = append(samples, path)
		}
	}
	if small {
		a, err := models.NewArchitecture(`{"img_size":64,"patch_size":8,"embed_dim":64,"depth":1,"num_heads":4,"num_classes":6}`)
		if err != nil {
			t.Fatal(err)
		}
		c, err := models.RandomCheckpoint(a, 1)
		if err != nil {
			t.Fatal(err)
		}
		model = filepath.Join(dir, "small.safetensors")
		if err := c.Save(model); err != nil {
			t.Fatal(err)
		}
	} else {
		model, _, _ = benchModel(t, "tiny")
	}
	for i, path := range samples {
		samples[i], _ = filepath.Abs(path)
		name := filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
		link(t, samples[i], filepath.Join(images, name))
		p, err := picture.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		mask := picture.NewGray(p.W, p.H)
		for k := range mask.Pix {
			if x, y := float64(k%p.W)/float64(p.W)-0.5, float64(k/p.W)/float64(p.H)-0.5; x*x+y*y < 0.1 {
				mask.Pix[k] = 1
			}
		}
		at := filepath.Join(masks, name[:len(name)-len(filepath.Ext(name))]+".png")
		if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := mask.SavePNG(at); err != nil {
			t.Fatal(err)
		}
	}
	return model, images, masks, samples
}

func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestLoad finetunes for thousands of steps, with validation and checkpoints,
// and evaluates tens of thousands of pictures: neither may take more memory, or
// time, as it goes on.
func TestLoad(t *testing.T) {
	orttest.Need(t)
	model, images, masks, samples := loadSetup(t)
	steps, pictures := fromEnv(t, loadSteps, 2000), fromEnv(t, loadImages, 50_000)

	t.Run("finetune", func(t *testing.T) {
		const batch, validated = 8, 0.2
		every := int(float64(len(samples))*(1-validated)) / batch
		cfg, err := configs.Load(nil, []string{"model=" + model, "data.images=" + images, "data.masks=" + masks, "data.labels=top1", "data.classes=0", "data.samples=0",
			fmt.Sprint("data.validation.fraction=", validated), "data.validation.split=fraction", fmt.Sprint("batch=", batch), "lr=1e-6", fmt.Sprint("epochs=", max(1, steps/every))})
		if err != nil {
			t.Fatal(err)
		}
		m := newMeter(t, "")
		dir := filepath.Join(t.TempDir(), "run")
		_, err = Finetune(context.Background(), FinetuneOptions{Config: cfg, Dir: dir, Hooks: Hooks{
			OnStart: func(p Plan) {
				m.total = p.Epochs * p.Steps
				m.what = fmt.Sprintf("finetune %s: %d steps of %d pictures, %d epochs with validation on %d", filepath.Base(model), m.total, batch, p.Epochs, p.Validation)
			},
			OnStep: func(r StepRecord) { m.tick(t, m.done+1) },
		}})
		if err != nil {
			t.Fatal(err)
		}
		m.judge(t)
	})

	t.Run("evaluate", func(t *testing.T) {
		data := filepath.Join(t.TempDir(), "pictures")
		for i := range pictures {
			s := samples[i%len(samples)]
			link(t, s, filepath.Join(data, filepath.Base(filepath.Dir(s)), fmt.Sprintf("%d-%s", i/len(samples), filepath.Base(s))))
		}
		m := newMeter(t, fmt.Sprintf("evaluate %s on %d pictures", filepath.Base(model), pictures))
		e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{model}, Data: data,
			OnProgress: func(done, total int) {
				m.total = total
				m.tick(t, done)
			}})
		if err != nil {
			t.Fatal(err)
		}
		if e.Images != pictures {
			t.Errorf("%d pictures were evaluated, expected %d", e.Images, pictures)
		}
		m.judge(t)
	})
	if left := ort.Held(); left != (ort.Counts{}) {
		t.Errorf("%v are left", left)
	}
}
