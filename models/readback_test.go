package models

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchitectureWithoutDescriptionIsRightOrWarnedAbout reads timm's
// checkpoints of every kind without the config.json beside them. Only the number
// of heads and the size of pictures are stated.
func TestArchitectureWithoutDescriptionIsRightOrWarnedAbout(t *testing.T) {
	paths, err := filepath.Glob("../pipeline/testdata/zoo/ckpt-*/model.safetensors")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no checkpoints (%v)", err)
	}
	for _, path := range paths {
		c, err := OpenCheckpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ReadArchitecture(c, Options{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if len(want.Warnings) > 0 {
			t.Errorf("%s: warnings in spite of its description: %q", path, want.Warnings)
		}
		c.Path = "elsewhere/x.safetensors"
		got, err := ReadArchitecture(c, Options{Arch: fmt.Sprintf(`{"num_heads":%d,"img_size":[%d,%d]}`, want.Heads, want.ImageSize[0], want.ImageSize[1])})
		if err != nil {
			if !strings.Contains(err.Error(), "--arch") {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		warnings := strings.Join(got.Warnings, "\n")
		for key, text := range unlike(got, want) {
			switch key {
			case "architecture", "family", "Preprocess", "Warnings":
			default:
				if !strings.Contains(warnings, key) {
					t.Errorf("%s: %s, warnings: %s", path, text, warnings)
				}
			}
		}
	}
}
