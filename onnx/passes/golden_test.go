package passes

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestLoweredTransformerReadsAsExpected(t *testing.T) {
	g := attend(t, "B")
	must(t, Fold(g))
	must(t, Linear(g))
	must(t, Patchify(g))
	must(t, Tidy(g))
	must(t, Specialize(g, 2))
	const path = "testdata/lowered.txt"
	if *update {
		must(t, os.WriteFile(path, []byte(g.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got := g.String(); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s\n(-update accepts it)", got, want)
	}
}
