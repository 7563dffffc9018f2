package torchfile

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestWeightsThatWerentChosenAreNamed lists the keys beside the chosen ones that
// hold weights too; optimizers' states are none.
func TestWeightsThatWerentChosenAreNamed(t *testing.T) {
	for name, want := range map[string][]string{
		"views": nil, "deit": nil, "robustvit": nil, "options": nil, "dino": {"student"}, "dino-legacy": {"student"}, "ema": {"state_dict"},
	} {
		f, err := Open(filepath.Join("testdata", name+".pth"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !slices.Equal(f.Others, want) {
			t.Errorf("%s: others are %q, want %q", name, f.Others, want)
		}
	}
}
