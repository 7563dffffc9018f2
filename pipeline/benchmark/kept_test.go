package benchmark

import (
	"reflect"
	"testing"

	"github.com/relevit/relevit/pipeline/benchmark/benchmarktest"
)

// TestSIScoreOfOtherObjectsIsLabelledByWNIDsOrNumbers lists what evaluate
// --synthesize keeps.
func TestSIScoreOfOtherObjectsIsLabelledByWNIDsOrNumbers(t *testing.T) {
	of := func(a, b string) benchmarktest.Set {
		return benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "area/" + a + "/0.png"}, {Path: "area/" + b + "/1.png"}, {Path: "rotation/" + a + "/2.png"}},
			Texts: map[string]string{"area/metadata.csv": "image_id,area\n"}}
	}
	s, err := Open(written(t, "kept", of("n01440764", "n01751748")), Options{Classes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if s.Layout != SIScore || s.Classed != 1000 || len(s.Classes) != 2 || s.Classes[1].Targets[0] != 65 || !reflect.DeepEqual(s.Parts, []string{"area", "rotation"}) || !reflect.DeepEqual(s.PartOf, []int{0, 0, 1}) {
		t.Errorf("%+v", s)
	}
	if s, err = Open(written(t, "kept", of("0", "5")), Options{Classes: 6}); err != nil {
		t.Fatal(err)
	}
	if s.Layout != SIScore || s.Classed != 0 || len(s.Classes) != 2 || s.Classes[1].Name != "5" || s.Classes[1].Targets != nil || len(s.Samples) != 3 {
		t.Errorf("%+v", s)
	}
	_, err = Open(written(t, "kept", of("0", "n01440764")), Options{Layout: SIScore})
	fails(t, err, ErrLayout, "folder n01440764 is none of its classes")
	_, err = Open(written(t, "kept", of("05", "07")), Options{Layout: SIScore})
	fails(t, err, ErrLayout, "folder 05 is none of its classes")
}
