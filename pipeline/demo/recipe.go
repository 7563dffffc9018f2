package demo

import (
	"fmt"
	"path/filepath"

	"github.com/relevit/relevit/configs"
)

// recipe is how the demo finetunes, as a configuration that a user can copy.
// The numbers were chosen on other seeds and test pictures than those that a
// demo reports.
func recipe(model, data string, seed uint64, epochs int) string {
	return fmt.Sprintf(`# How relevit demo finetunes its model: relevit finetune -c config.yaml -o RUN
# does it again. relevit finetune --help tells of the other keys.
model: %q
data:
  root: %q
  images: images
  masks: masks
  labels: classes-file
  classes_file: %s
  classes: 0 # all
  samples: 0 # all
  validation: {split: fraction, fraction: 0.1}

lambda_seg: 5 # 0: without the masks
lambda_background: 3
lambda_foreground: 3
lambda_acc: 1
confidence: label
lr: 2e-3
lr_schedule: {factor: 0.9, every: 2}
epochs: %d
batch: 16
seed: %d
workers: 1
sheet_images: 6
checkpoint: {every_epochs: 0}
`, model, data, classesFile, epochs, seed)
}

// withoutMasks is the same finetuning on the classification loss alone.
func withoutMasks(c configs.Config) *configs.Config {
	c.LambdaSeg = 0
	return &c
}

// paths are where a demo's parts lie in its folder.
type paths struct{ dir string }

func (p paths) data(name string) string { return filepath.Join(p.dir, "data", name) }
func (p paths) train(seed uint64) string {
	return p.data(fmt.Sprintf("finetuning-%d", seed))
}
func (p paths) run(seed uint64, masks bool) string {
	if masks {
		return filepath.Join(p.dir, "runs", fmt.Sprintf("masks-%d", seed))
	}
	return filepath.Join(p.dir, "runs", fmt.Sprintf("no-masks-%d", seed))
}
func (p paths) weights() string  { return filepath.Join(p.dir, "model.safetensors") }
func (p paths) model() string    { return filepath.Join(p.dir, "model.onnx") }
func (p paths) robust() string   { return filepath.Join(p.dir, "robust.onnx") }
func (p paths) config() string   { return filepath.Join(p.dir, "config.yaml") }
func (p paths) overview() string { return filepath.Join(p.dir, "overview.png") }
func (p paths) report() string   { return filepath.Join(p.dir, "report.html") }
