package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline"
)

// fault is a command that can't do its work.
type fault struct {
	name   string
	spoil  func(dir string) error // what is wrong with the fixtures; nil: nothing
	args   string                 // separated by spaces
	code   int
	says   string // parts of the message, separated by |
	leaves bool   // a run with a checkpoint, from which it can go on
	user   bool   // root can do it
	plain  bool   // not run with --json, which others of its kind are
}

// TestEveryFaultGivesOneErrorAndLeavesNothing runs commands twice: with --json
// the error is one object on standard output, else it is one line on standard
// error, and no file has come or gone.
func TestEveryFaultGivesOneErrorAndLeavesNothing(t *testing.T) {
	_, err := ort.Locate("")
	if err != nil {
		t.Logf("faults of finetune, verify and trace are skipped: %v", err)
	}
	fixtures := t.TempDir()
	if err := makeFixtures(fixtures); err != nil {
		t.Fatal(err)
	}
	page := &produced{seen: map[string]bool{}}
	all := slices.Concat(modelFaults(), graphFaults, dataFaults, usageFaults)
	tried(t, "damaged, missing and mismatched files, wrong usage", len(all))
	t.Run("all", func(t *testing.T) {
		for _, f := range all {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				command := strings.Fields(f.args)[0]
				if err != nil && (command == "finetune" || command == "verify" || command == "trace") {
					t.Skipf("needs ONNX Runtime: %v", err)
				}
				if f.user && os.Getuid() == 0 {
					t.Skip("root may do it")
				}
				page.is(t, checkFault(t, fixtures, f), f.code)
			})
		}
	})
	if err == nil && !t.Failed() {
		page.all(t)
	}
}

// checkFault returns the command's message.
func checkFault(t *testing.T, fixtures string, f fault) (message string) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixtures)); err != nil {
		t.Fatal(err)
	}
	if f.spoil != nil {
		if err := f.spoil(dir); err != nil {
			t.Fatal(err)
		}
	}
	before := filesIn(t, dir)
	run := func(args ...string) (stdout, stderr []byte) {
		t.Helper()
		var out, said bytes.Buffer
		cmd := relevit(dir, args...)
		cmd.Stdout, cmd.Stderr = &out, &said
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != f.code {
			t.Errorf("%v: exit code %d, want %d\n%s%s", args, code, f.code, &out, &said)
		}
		if after := filesIn(t, dir); !f.leaves && !slices.Equal(before, after) {
			t.Errorf("%v: there were %v, there are %v", args, before, after)
		}
		return out.Bytes(), said.Bytes()
	}
	stdout, stderr := run(strings.Fields(f.args)...)
	for line := range strings.Lines(string(stderr)) {
		if after, ok := strings.CutPrefix(line, "relevit: "); ok {
			message += after
		}
	}
	if len(stdout) > 0 || strings.Count(message, "\n") != 1 {
		t.Errorf("it printed\n%s\nand said\n%s\nwant one line with the error alone", stdout, stderr)
	}
	for part := range strings.SplitSeq(f.says, "|") {
		if !strings.Contains(message, part) {
			t.Errorf("it said\n%swant %q in it", message, part)
		}
	}
	if f.plain {
		return message
	}
	if f.leaves {
		os.RemoveAll(filepath.Join(dir, "run"))
	}
	stdout, stderr = run(append([]string{"--json"}, strings.Fields(f.args)...)...)
	var object struct {
		Error string `json:"error"`
		Code  int    `json:"exit_code"`
	}
	decoder := json.NewDecoder(bytes.NewReader(stdout))
	if err := decoder.Decode(&object); err != nil || decoder.More() || object.Code != f.code || object.Error != strings.TrimSpace(message) {
		t.Errorf("with --json it printed\n%s(%v), want one object with the error and its code", stdout, err)
	}
	if bytes.Contains(stderr, []byte("relevit: ")) {
		t.Errorf("with --json it said\n%s\nand the error belongs on standard output alone", stderr)
	}
	return message
}

// makeFixtures makes whole inputs: data, model.onnx, weights.safetensors,
// batch.safetensors and c.yaml.
func makeFixtures(dir string) error {
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(writeTinyCheckpoint(at("weights.safetensors")), writePictures(at("data"), 24)); err != nil {
		return err
	}
	c, err := models.OpenCheckpoint(at("weights.safetensors"))
	if err != nil {
		return err
	}
	a, err := models.ReadArchitecture(c, models.Options{})
	if err != nil {
		return err
	}
	m, err := models.Build(c, a, models.BuildOptions{})
	if err != nil {
		return err
	}
	config := `model: model.onnx
epochs: 2
batch: 4
data:
  images: data/images
  masks: data/masks
  classes: 0
  samples: 0
  validation: {split: fraction}
`
	batch := []safetensors.Named{
		{Name: "image", Tensor: onnx.FloatTensor(make([]float32, 2*3*32*32), 2, 3, 32, 32)},
		{Name: "mask", Tensor: onnx.FloatTensor(make([]float32, 2*32*32), 2, 1, 32, 32)},
		{Name: "label", Tensor: onnx.Int64Tensor([]int64{0, 1}, 2)},
	}
	return errors.Join(onnx.WriteModel(at("model.onnx"), m, onnx.WriteOptions{}), safetensors.Write(at("batch.safetensors"), batch, nil),
		os.WriteFile(at("c.yaml"), []byte(config), 0o666))
}

// Ways to spoil a file.

func half(name string) func(string) error {
	return func(dir string) error {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return os.Truncate(filepath.Join(dir, name), info.Size()/2)
	}
}

func write(name, text string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666))
	}
}

func remove(name string) func(string) error {
	return func(dir string) error { return os.RemoveAll(filepath.Join(dir, name)) }
}

func folder(name string) func(string) error {
	return func(dir string) error { return os.MkdirAll(filepath.Join(dir, name), 0o777) }
}

func rename(from, to string) func(string) error {
	return func(dir string) error { return os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)) }
}

func forbid(name string) func(string) error {
	return func(dir string) error { return os.Chmod(filepath.Join(dir, name), 0) }
}

// copyOf copies a file to bad and its suffix.
func copyOf(name string) func(string) error {
	return func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, name))
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "bad"+filepath.Ext(name)), data, 0o666))
	}
}

// replaceIn replaces the first occurrence of a text.
func replaceIn(name, from, to string) func(string) error {
	return func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, name))
		return errors.Join(err, os.WriteFile(filepath.Join(dir, name), bytes.Replace(data, []byte(from), []byte(to), 1), 0o666))
	}
}

func both(steps ...func(string) error) func(string) error {
	return func(dir string) error {
		for _, step := range steps {
			if err := step(dir); err != nil {
				return err
			}
		}
		return nil
	}
}

// graph changes what model.onnx says.
func graph(change func(*onnx.Graph)) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, "model.onnx")
		m, _, err := onnx.ReadModel(path)
		if err != nil {
			return err
		}
		change(m.Graph)
		return onnx.WriteModel(path, m, onnx.WriteOptions{})
	}
}

// after puts an operator of one input and output behind a value.
func after(name, op string) func(*onnx.Graph) {
	return func(g *onnx.Graph) {
		v := g.Find(name)
		n := &onnx.Node{Name: "odd", Op: op, Inputs: []*onnx.Value{v}}
		w := &onnx.Value{Name: g.Fresh("odd"), Type: v.Type, Shape: v.Shape, Node: n}
		g.Replace(v, w)
		n.Inputs[0], n.Outputs = v, []*onnx.Value{w}
		g.Nodes = append(g.Nodes, n)
		if err := g.Sort(); err != nil {
			panic(err)
		}
	}
}

func fill(name string, x float64) func(*onnx.Graph) {
	return func(g *onnx.Graph) {
		t := g.Find(name).Data
		v := make([]float32, t.Count())
		for i := range v {
			v[i] = float32(x)
		}
		*t = *onnx.FloatTensor(v, t.Dims...)
	}
}

// modelFaults gives every command that takes a model every file that is none.
func modelFaults() []fault {
	files := []struct {
		what, file string
		spoil      func(string) error
		says       string
	}{
		{"truncated ONNX", "bad.onnx", both(copyOf("model.onnx"), half("bad.onnx")), "truncated"},
		{"truncated safetensors", "bad.safetensors", both(copyOf("weights.safetensors"), half("bad.safetensors")), "incomplete"},
		{"empty file", "bad.onnx", write("bad.onnx", ""), "bad.onnx"},
		{"empty checkpoint", "bad.safetensors", write("bad.safetensors", ""), "bad.safetensors"},
		{"text", "bad.onnx", write("bad.onnx", "a model, they said\n"), "bad.onnx"},
		{"zip", "bad.onnx", write("bad.onnx", "PK\x03\x04\x14\x00\x00\x00"), "bad.onnx"},
		{"folder", "bad.onnx", folder("bad.onnx"), "bad.onnx|folder"},
		{"folder of a checkpoint", "bad.safetensors", folder("bad.safetensors"), "bad.safetensors|folder"},
		{"nothing", "bad.onnx", nil, "bad.onnx|no such file"},
		{"forbidden", "bad.onnx", both(write("bad.onnx", ""), forbid("bad.onnx")), "bad.onnx|permission denied"},
	}
	var out []fault
	for _, f := range files {
		for _, command := range []string{"inspect BAD", "convert BAD -o x.onnx", "export BAD -o x.safetensors", "verify BAD model.onnx", "verify model.onnx BAD",
			"finetune -c c.yaml --set model=BAD -o run", "trace -m BAD --inputs batch.safetensors -o x.safetensors"} {
			says := f.says
			if strings.HasPrefix(command, "convert") && (f.what == "truncated ONNX" || f.what == "text") {
				says = "no checkpoint but an ONNX model"
			}
			if strings.HasPrefix(command, "verify") && f.what == "truncated safetensors" {
				says = "bad.safetensors"
			}
			out = append(out, fault{name: f.what + "/" + command, args: strings.ReplaceAll(command, "BAD", f.file), code: badInput, says: says,
				user: f.what == "forbidden", spoil: f.spoil, plain: !strings.HasPrefix(f.what, "truncated")})
		}
	}
	return out
}

var graphFaults = []fault{
	{name: "an operator without a gradient", spoil: graph(after("blocks.0.mlp/act", "Acosh")), args: "finetune -c c.yaml -o run", code: badInput,
		says: "odd|Acosh|parameter blocks.0.mlp.fc1."},
	{name: "an operator without a gradient, traced", spoil: graph(after("blocks.0.mlp/act", "Acosh")),
		args: "trace -m model.onnx --inputs batch.safetensors -o x.safetensors", code: badInput, says: "odd|Acosh|gradient"},
	{name: "an operator that nobody knows", spoil: graph(after("blocks.0.mlp/act", "Frobnicate")), args: "finetune -c c.yaml -o run", code: badInput,
		says: "odd|Frobnicate"},
	{name: "no attention", spoil: noAttention, args: "finetune -c c.yaml -o run", code: badInput, says: "model.onnx|no attention found"},
	{name: "no attention, traced", spoil: noAttention, args: "trace -m model.onnx --inputs batch.safetensors -o x.safetensors", code: badInput, says: "no attention found"},
	{name: "a value from nowhere", spoil: both(replaceIn("model.onnx", "blocks.0/attended", "blocks.9/attended")), args: "inspect model.onnx", code: badInput,
		says: "model.onnx|blocks."},
	{name: "weights that are no numbers", spoil: graph(fill("head.bias", math.NaN())), args: "finetune -c c.yaml -o run", code: failed,
		says: "loss|NaN|the model itself"},
	{name: "NaN at the last step", args: "finetune -c c.yaml --set lr=1e30 --set steps=1 -o run", code: failed, says: "loss|NaN|lower lr", leaves: true},
	{name: "NaN while training", args: "finetune -c c.yaml --set lr=1e30 -o run", code: failed, says: "loss is NaN|step 1|lower lr", leaves: true},
	{name: "NaN without validation", args: "finetune -c c.yaml --set lr=1e39 --set weight_decay=1 --set checkpoint.every_steps=1 --set data.validation.split=none -o run",
		code: failed, says: "lower lr", leaves: true},
	{name: "constant maps", spoil: graph(fill("head.weight", 0)), args: "finetune -c c.yaml -o run", code: failed, says: "12 of 12 pictures are constant|lambda_seg"},
	{name: "a batch of another size", spoil: nil, args: "trace -m model.onnx --inputs weights.safetensors -o x.safetensors", code: badInput, says: "image"},
}

var dataFaults = []fault{
	{name: "a mask of another size", spoil: write("data/masks/star/00005.png", tinyPNG), args: "finetune -c c.yaml -o run", code: badInput,
		says: "star/00005.png|1x1|40x40", leaves: true},
	{name: "a missing mask", spoil: remove("data/masks/star/00005.png"), args: "finetune -c c.yaml -o run", code: badInput, says: "masks/star/00005.png|no such mask"},
	{name: "a mask too many", spoil: write("data/masks/star/more.png", tinyPNG), args: "finetune -c c.yaml -o run", code: badInput, says: "5 masks for 4 images|more.png"},
	{name: "no masks of a class", spoil: remove("data/masks/star"), args: "finetune -c c.yaml -o run", code: badInput, says: "masks/star"},
	{name: "a mask that is none", spoil: write("data/masks/star/00005.png", "no mask"), args: "finetune -c c.yaml -o run", code: badInput, says: "masks/star/00005.png", leaves: true},
	{name: "a class that the table lacks", spoil: write("classes.tsv", "0\tcircle\n1\tsquare\n"), code: badInput, says: "classes.tsv|cross",
		args: "finetune -c c.yaml --set data.labels=classes-file --set data.classes_file=classes.tsv -o run"},
	{name: "a class that the model lacks", spoil: both(rename("data/images/star", "data/images/zebra"), rename("data/masks/star", "data/masks/zebra"),
		write("data/images/star/a.png", tinyPNG), write("data/masks/star/a.png", tinyPNG)), args: "finetune -c c.yaml -o run", code: badInput, says: "zebra|6 classes"},
	{name: "more classes than there are", args: "finetune -c c.yaml --set data.classes=7 -o run", code: usage, says: "7 classes|has 6"},
	{name: "no class left to validate", args: "finetune -c c.yaml --set data.classes=6 --set data.validation.split=classes -o run", code: usage, says: "validate"},
	{name: "a batch larger than the data", args: "finetune -c c.yaml --set batch=100 -o run", code: usage, says: "batch of 100", leaves: false},
	{name: "a batch larger than memory", args: "finetune -c c.yaml --set batch=1000000 -o run", code: usage, says: "batch: training with batches of 1000000|of memory|or set batch to ", plain: true},
	{name: "a corrupt JPEG where that is strict", spoil: both(remove("data/images/star/00005.png"), write("data/images/star/00005.jpg", "\xff\xd8\xff\xe0 and then nothing")),
		args: "finetune -c c.yaml --strict -o run", code: badInput, says: "00005.jpg", leaves: true},
	{name: "no pictures", spoil: both(remove("data/images"), folder("data/images")), args: "finetune -c c.yaml -o run", code: badInput, says: "data/images|class folders"},
	{name: "no flat pictures", spoil: folder("empty"), args: "finetune -c c.yaml --set data.layout=flat --set data.labels=top1 --set data.images=empty -o run", code: badInput, says: "empty|no image files"},
	{name: "pictures that aren't there", args: "finetune -c c.yaml --set data.images=nowhere -o run", code: badInput, says: "nowhere"},
	{name: "a file for a folder", args: "finetune -c c.yaml --set data.images=c.yaml -o run", code: badInput, says: "c.yaml"},
	{name: "a table without a header", spoil: write("t.csv", "a.png,b.png,3\n"), args: "finetune -c c.yaml --set data.layout=csv --set data.labels=csv --set data.csv=t.csv -o run", code: badInput, says: "t.csv:1|image, mask, label"},
	{name: "an empty table", spoil: write("t.csv", ""), args: "finetune -c c.yaml --set data.layout=csv --set data.labels=csv --set data.csv=t.csv -o run", code: badInput, says: "t.csv:1"},
	{name: "a table of pictures that aren't there", spoil: write("t.csv", "image,mask,label\na.png,b.png,3\n"), args: "finetune -c c.yaml --set data.layout=csv --set data.labels=csv --set data.csv=t.csv -o run",
		code: badInput, says: "t.csv:2|a.png"},
	{name: "a forbidden picture", spoil: forbid("data/images/star/00005.png"), args: "finetune -c c.yaml -o run", code: badInput, says: "00005.png|permission", user: true, leaves: true},
}

var usageFaults = []fault{
	{name: "an unknown key", spoil: write("d.yaml", "model: model.onnx\nlamda_seg: 0.8\n"), args: "finetune -c d.yaml -o run", code: usage, says: "d.yaml:2|lamda_seg|lambda_seg"},
	{name: "an unknown setting", args: "finetune -c c.yaml --set data.imges=x -o run", code: usage, says: "data.imges|data.images"},
	{name: "a setting without a value", args: "finetune -c c.yaml --set lr -o run", code: usage, says: "lr"},
	{name: "a setting of the wrong kind", args: "finetune -c c.yaml --set batch=8.5 -o run", code: usage, says: "batch|8.5"},
	{name: "a setting out of range", args: "finetune -c c.yaml --set lr=-1 -o run", code: usage, says: "lr|-1"},
	{name: "YAML that is none", spoil: write("d.yaml", "model: [\n"), args: "finetune -c d.yaml -o run", code: usage, says: "d.yaml"},
	{name: "a folder for a configuration", spoil: folder("d"), args: "finetune -c d -o run", code: usage, says: "d"},
	{name: "a run folder that holds something", spoil: write("run/thesis.tex", ""), args: "finetune -c c.yaml -o run", code: usage, says: "run exists already|thesis.tex"},
	{name: "a file for a run folder", spoil: write("run", ""), args: "finetune -c c.yaml -o run", code: usage, says: "run"},
	{name: "a run to resume that isn't there", args: "finetune --resume -o run", code: usage, says: "run|no run"},
	{name: "a run that is in use", spoil: runInUse, args: "finetune --resume -o run", code: failed, says: "in use by process"},
	{name: "an output that another process writes", spoil: outputInUse, args: "trace -m model.onnx --inputs batch.safetensors -o x.safetensors", code: failed, says: "x.safetensors: another process is writing it"},
	{name: "a run to export that isn't there", spoil: folder("run"), args: "export run -o x.onnx", code: badInput, says: "run|folder"},
	{name: "an output that exists", spoil: write("x.onnx", ""), args: "convert weights.safetensors -o x.onnx", code: usage, says: "x.onnx exists already|--force"},
	{name: "an output without a folder", args: "convert weights.safetensors -o no/such/x.onnx", code: usage, says: "no/such"},
	{name: "an export without a folder", args: "export model.onnx -o no/such/x.safetensors", code: usage, says: "no/such"},
	{name: "a trace without a folder", args: "trace -m model.onnx --inputs batch.safetensors -o no/such/x.safetensors", code: usage, says: "no/such"},
	{name: "no runtime", spoil: write("lib.so", "no library"), args: "--runtime lib.so finetune -c c.yaml -o run", code: noRuntime, says: "lib.so"},
	{name: "no runtime at all", args: "--runtime no/such.so finetune -c c.yaml -o run", code: noRuntime, says: "no/such.so|runtime install"},
	{name: "no such device", args: "--device cuda:99 finetune -c c.yaml -o run", code: noRuntime, says: "device cuda:99"},
	{name: "no device for several methods", args: "--device cuda:99 explain -m model.onnx data/images/star/00005.png --method relevance,gradcam,legrad -o x", code: noRuntime, says: "device cuda:99"},
	{name: "no device to evaluate on", args: "--device cuda:99 evaluate -m model.onnx --data data/images -o x.json", code: noRuntime, says: "device cuda:99"},
	{name: "no device to make masks on", args: "--device cuda:99 masks -m model.onnx --images data/images -o x", code: noRuntime, says: "device cuda:99"},
	{name: "no device to trace on", args: "--device cuda:99 trace -m model.onnx --inputs batch.safetensors -o x.safetensors", code: noRuntime, says: "device cuda:99"},
	{name: "no such kind of device", args: "--device gpu finetune -c c.yaml -o run", code: usage, says: "gpu"},
}

// tinyPNG is a grey PNG of 1x1 pixel.
const tinyPNG = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU" +
	"\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"

// What the test's own process has locked would be let go as soon as it is garbage:
// collecting a file closes it, and with it goes the kernel's lock.
var (
	runHeld    *pipeline.Run
	outputHeld *os.File
)

// runInUse lets the test's own process have a run.
func runInUse(dir string) error {
	c, err := configs.Load([]string{filepath.Join(dir, "c.yaml")}, nil)
	if err == nil {
		runHeld, err = pipeline.CreateRun(filepath.Join(dir, "run"), c)
	}
	return err
}

// outputInUse lets the test's own process write x.safetensors.
func outputInUse(dir string) (err error) {
	if outputHeld, err = os.Create(atomic.Temporary(filepath.Join(dir, "x.safetensors"))); err != nil {
		return err
	}
	return unix.Flock(int(outputHeld.Fd()), unix.LOCK_EX)
}

// noAttention makes model.onnx a linear classifier.
func noAttention(dir string) error {
	g := onnx.NewGraph("linear")
	image := g.AddInput("image", onnx.Float, onnx.Shape{{N: 1, Sym: "batch"}, onnx.D(3), onnx.D(32), onnx.D(32)})
	weight := g.AddInit("weight", onnx.FloatTensor(make([]float32, 6*3*32*32), 6, 3, 32, 32))
	b := onnx.NewBuilder(g)
	g.Outputs = []*onnx.Value{b.Named("logits", b.Op("Flatten", nil, b.Op("Conv", nil, image, weight)))}
	m := &onnx.Model{IRVersion: 9, Opsets: []onnx.Opset{{Version: 17}}, Graph: g}
	return errors.Join(b.Err(), onnx.WriteModel(filepath.Join(dir, "model.onnx"), m, onnx.WriteOptions{}))
}

// TestInspectTellsOfAnOperatorWithoutAGradient needs no error: the file is good
// for other things.
func TestInspectTellsOfAnOperatorWithoutAGradient(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(makeFixtures(dir), graph(after("blocks.0.mlp/act", "Acosh"))(dir)); err != nil {
		t.Fatal(err)
	}
	out, err := relevit(dir, "inspect", "--json", "model.onnx").Output()
	var report struct{ Problems []string }
	if err := errors.Join(err, json.Unmarshal(out, &report)); err != nil {
		t.Fatal(err)
	}
	if len(report.Problems) != 1 || !strings.Contains(report.Problems[0], "node odd: operator Acosh has no gradient rule") {
		t.Errorf("problems: %q", report.Problems)
	}
}
