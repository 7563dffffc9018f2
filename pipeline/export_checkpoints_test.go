package pipeline

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// zooCheckpoints are the zoo's cases that are checkpoints.
func zooCheckpoints(t *testing.T) []zooCase {
	t.Helper()
	out := slices.DeleteFunc(zoo(t), func(c zooCase) bool { return strings.HasSuffix(c.source, ".onnx") })
	if len(out) == 0 {
		t.Fatal("the zoo has no checkpoints")
	}
	return out
}

// TestZooCheckpointsComeBack converts checkpoints of every library and writes
// them as weights again: all that the model uses has the checkpoint's names,
// layouts, types and bits. Where the checkpoint is at hand, its other tensors
// come along, in its order; otherwise a note counts those that are missing.
func TestZooCheckpointsComeBack(t *testing.T) {
	for _, c := range zooCheckpoints(t) {
		t.Run(c.name, func(t *testing.T) {
			source, err := models.OpenCheckpoint(c.source)
			if err != nil {
				t.Fatal(err)
			}
			model := onlyModel(t, c.source)
			onlyItsTensorsTrain(t, source, model)
			whole := weightsIn(t, export(t, c.source, "whole.pth", ExportOptions{}).Path)
			sameBits(t, source, whole)
			if !slices.Equal(whole.Names(), source.Names()) {
				t.Errorf("the order of tensors became %v", whole.Names())
			}
			e := export(t, model, "alone.safetensors", ExportOptions{})
			alone := weightsIn(t, e.Path)
			sameBits(t, source, alone)
			missing := len(source.Names()) - len(alone.Names())
			said := slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, "left out") })
			if said != (missing > 0) {
				t.Errorf("%d tensors are missing, and the notes are %q", missing, e.Notes)
			}
			if !bytes.Contains(source.Config, []byte(`"model_type"`)) && !bytes.Contains(source.Config, []byte(`"architecture"`)) {
				return // neither transformers' nor timm's
			}
			hub := export(t, model, "hub", ExportOptions{Format: FormatHub}).Path
			sameBits(t, source, weightsIn(t, hub))
			for name, want := range map[string][]byte{hubConfig: source.Config, hubPreprocessor: source.Preprocessor} {
				if got, err := os.ReadFile(filepath.Join(hub, name)); want != nil && (err != nil || !bytes.Equal(got, want)) {
					t.Errorf("%s became %s (%v)", name, got, err)
				}
			}
		})
	}
}

// onlyItsTensorsTrain fails if a model trains something that the checkpoint
// doesn't have, such as a bias that is zero by definition.
func onlyItsTensorsTrain(t *testing.T, source *models.Checkpoint, path string) {
	t.Helper()
	m, err := OpenModel(path, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params {
		if source.Tensor(p.Name) == nil {
			t.Errorf("%s is trained, and is none of the checkpoint's tensors", p.Name)
		}
	}
}

// TestConversionSaysWhichWeightsItTakes converts files with several towers.
func TestConversionSaysWhichWeightsItTakes(t *testing.T) {
	several := map[string]string{
		"release-dino":      "the weights are those under teacher; the file has others under student, which have to be saved alone to be taken",
		"release-moco":      "the weights are those under module.base_encoder; the file has others under module.momentum_encoder, which have to be saved alone to be taken",
		"wrapped-ema":       "the weights are those under state_dict_ema; the file has others under state_dict, which have to be saved alone to be taken",
		"wrapped-model-ema": "the weights are those under model_ema; the file has others under model, which have to be saved alone to be taken",
	}
	for _, c := range zooCheckpoints(t) {
		r, err := Convert(context.Background(), c.source, filepath.Join(t.TempDir(), "model.onnx"), ConvertOptions{})
		if err != nil {
			t.Fatal(err)
		}
		said := slices.DeleteFunc(r.Warnings, func(w string) bool { return !strings.HasPrefix(w, "the weights are those") })
		if want := several[c.name]; strings.Join(said, "\n") != want {
			t.Errorf("%s: warnings %q, want %q", c.name, said, want)
		}
	}
}

func weightsIn(t *testing.T, path string) *models.Checkpoint {
	t.Helper()
	c, err := models.OpenCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sameBits fails unless every tensor is the source's.
func sameBits(t *testing.T, source, got *models.Checkpoint) {
	t.Helper()
	if len(got.Names()) == 0 {
		t.Errorf("%s has no tensors", got.Path)
	}
	for _, name := range got.Names() {
		x, y := source.Tensor(name), got.Tensor(name)
		if x == nil || x.Type != y.Type || !slices.Equal(x.Dims, y.Dims) || !bytes.Equal(x.Raw, y.Raw) {
			t.Errorf("%s: %s is %v, and was %v, or has other bits", got.Path, name, y, x)
		}
	}
}

// TestPublishedCheckpointsRoundTrip takes timm's ViT-Ti and DeiT-Ti to ONNX and
// back, as safetensors and as pth: the same tensors in the same order, bit by
// bit.
func TestPublishedCheckpointsRoundTrip(t *testing.T) {
	for _, name := range []string{"vit_tiny_patch16_224.safetensors", "deit_tiny_patch16_224.safetensors"} {
		path := shared(t, "data", "models", name)
		source, model := weightsIn(t, path), onlyModel(t, path)
		for _, suffix := range []string{"safetensors", "pth"} {
			got := weightsIn(t, export(t, model, "back."+suffix, ExportOptions{}).Path)
			sameBits(t, source, got)
			if !slices.Equal(slices.Sorted(slices.Values(got.Names())), slices.Sorted(slices.Values(source.Names()))) {
				t.Errorf("%s as %s has tensors %v", name, suffix, got.Names())
			}
		}
	}
}

// TestFinetunedCheckpointsComeBackWithTheirNewValues changes every parameter as
// a run does, and finds the change in the tensors that are written, rounded to
// their own types.
func TestFinetunedCheckpointsComeBackWithTheirNewValues(t *testing.T) {
	for _, c := range zooCheckpoints(t) {
		t.Run(c.name, func(t *testing.T) {
			run := newRun(t)
			if _, err := Convert(context.Background(), c.source, run.Artifact(sourceArtifact), ConvertOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			m, _, err := onnx.ReadModel(run.Artifact(sourceArtifact))
			if err != nil {
				t.Fatal(err)
			}
			source := weightsIn(t, c.source)
			want := map[string]*onnx.Tensor{}
			saved := &Checkpoint{}
			for _, v := range m.Graph.Inits {
				before := source.Tensor(v.Name)
				if before == nil {
					continue
				}
				values, err := v.Data.Float32s()
				if err != nil {
					t.Fatal(err)
				}
				for i := range values {
					values[i] += 0.125 * float32(1+i%3)
				}
				now := onnx.FloatTensor(values, v.Data.Dims...)
				saved.Parameters = append(saved.Parameters, safetensors.Named{Name: v.Name, Tensor: now})
				if want[v.Name], err = now.As(before.Type); err != nil {
					t.Fatal(err)
				}
			}
			if err := run.SaveCheckpoint(Best, saved); err != nil {
				t.Fatal(err)
			}
			got := weightsIn(t, export(t, run.Dir, "out.pth", ExportOptions{}).Path)
			for name, w := range want {
				if g := got.Tensor(name); g == nil || g.Type != w.Type || !bytes.Equal(g.Raw, w.Raw) {
					t.Errorf("%s is %v, want %v, or has other numbers", name, g, w)
				}
			}
		})
	}
}
