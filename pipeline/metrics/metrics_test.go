package metrics

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// reference is what testdata/recipes/metrics.py computed by scikit-learn, SciPy
// and NumPy.
type reference struct {
	Maps []struct {
		Map, Mask           []float32
		Correct             int
		Intersection, Union [2]int
		AP                  float64
		Gini                *float64
		Share               *float64
		Rank                *float64
		Pointing            *float64
	}
	Ranked []struct {
		A, B []float32
		Rho  float64
	}
	Calibration struct {
		Confidence []float64
		Right      []bool
		ECE, Mean  float64
	}
	McNemar []struct {
		B, C int
		P    float64
	}
	Blur struct {
		Picture []float32
		Out     []float64
	}
	Percentiles struct {
		Values    []float64
		Low, High float64
	}
}

func read(t *testing.T) (r reference) {
	t.Helper()
	data, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// same fails unless two float64 computations of one thing agree.
func same(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-12*max(1, math.Abs(want))) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestMapsAreMeasuredAsByThePublishedDefinitions(t *testing.T) {
	for i, c := range read(t).Maps {
		order := Order(c.Map)
		s := Segment(c.Map, c.Mask, order)
		if s.Correct != c.Correct || s.Intersection != c.Intersection || s.Union != c.Union || s.Pixels != len(c.Map) {
			t.Errorf("map %d: %+v, want %+v", i, s, c)
		}
		same(t, "average precision", s.AP, c.AP)
		for name, v := range map[string]struct {
			want *float64
			got  float64
		}{
			"Gini":     {c.Gini, Sparseness(c.Map, order)},
			"share":    {c.Share, ForegroundShare(c.Map, c.Mask)},
			"rank":     {c.Rank, RankAccuracy(c.Map, c.Mask, order)},
			"pointing": {c.Pointing, Pointing(c.Map, c.Mask, order)},
		} {
			if v.want != nil {
				same(t, name, v.got, *v.want)
			}
		}
	}
}

// TestMapsOfKnownWorth holds every measure against values computed by hand, on
// 10 pixels of which 4 are foreground.
func TestMapsOfKnownWorth(t *testing.T) {
	mask := []float32{1, 1, 1, 1, 0, 0, 0, 0, 0, 0}
	inverted := make([]float32, len(mask))
	for i, v := range mask {
		inverted[i] = 1 - v
	}
	halfway := []float32{1, 1, 0, 0, 1, 1, 0, 0, 0, 0}
	empty := make([]float32, 10)
	nan := math.NaN()
	for name, c := range map[string]struct {
		relevance, mask             []float32
		pixels, iou, ap             float64
		share, rank, pointing, gini float64
	}{
		"perfect":    {mask, mask, 1, 1, 1, 1, 1, 1, 0.6},
		"inverted":   {inverted, mask, 0, 0, 0.5, 0, 0, 0, 0.4},
		"halfway":    {halfway, mask, 0.6, (4.0/8 + 2.0/6) / 2, 0.6*0.6 + 0.4*0.5, 0.5, 0.5, 0.5, 0.6},
		"constant":   {empty, mask, 0.6, 0.3, 0.5, nan, 0.4, 0.4, 0},
		"empty mask": {mask, empty, 0.6, 0.3, 0.6*0.6 + 0.4*0.5, nan, nan, nan, 0.6},
	} {
		order := Order(c.relevance)
		var total Segmentations
		total.Add(Segment(c.relevance, c.mask, order))
		for measure, v := range map[string][2]float64{
			"pixel accuracy":    {total.PixelAccuracy(), c.pixels},
			"mean IoU":          {total.MeanIoU(), c.iou},
			"average precision": {total.MeanAP(), c.ap},
			"share":             {ForegroundShare(c.relevance, c.mask), c.share},
			"rank accuracy":     {RankAccuracy(c.relevance, c.mask, order), c.rank},
			"pointing":          {Pointing(c.relevance, c.mask, order), c.pointing},
			"Gini":              {Sparseness(c.relevance, order), c.gini},
		} {
			if got, want := v[0], v[1]; !(math.Abs(got-want) < 1e-6 || math.IsNaN(got) && math.IsNaN(want)) {
				t.Errorf("%s: %s is %v, want %v", name, measure, got, want)
			}
		}
	}
}

func TestSegmentationsAddPixelsAndAverageAP(t *testing.T) {
	var total Segmentations
	total.Add(Segmentation{Correct: 1, Pixels: 2, Intersection: [2]int{1, 0}, Union: [2]int{2, 1}, AP: 1})
	total.Add(Segmentation{Correct: 8, Pixels: 8, Intersection: [2]int{4, 4}, Union: [2]int{4, 4}, AP: 0.5})
	same(t, "pixel accuracy", total.PixelAccuracy(), 0.9)
	same(t, "mean IoU", total.MeanIoU(), (5.0/6+4.0/5)/2)
	same(t, "mean AP", total.MeanAP(), 0.75)
}

func TestOrderIsStableAndDescending(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	negative := float32(math.Copysign(0, -1))
	values := []float32{0, negative, 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, math.MaxFloat32}
	for range 5000 {
		values = append(values, float32(random.NormFloat64()), float32(random.IntN(9))/4-1)
	}
	want := make([]int32, len(values))
	for i := range want {
		want[i] = int32(i)
	}
	slices.SortStableFunc(want, func(a, b int32) int {
		switch {
		case values[a] > values[b]:
			return -1
		case values[a] < values[b]:
			return 1
		}
		return 0
	})
	if !slices.Equal(Order(values), want) {
		t.Error("it differs from a stable sort")
	}
}

func TestSpearmanEqualsSciPys(t *testing.T) {
	for _, c := range read(t).Ranked {
		same(t, "rho", Spearman(c.A, c.B), c.Rho)
		same(t, "rho with itself", Spearman(c.A, c.A), 1)
	}
	if rho := Spearman([]float32{1, 1, 1}, []float32{1, 2, 3}); rho != 0 {
		t.Errorf("a map without range correlates by %v", rho)
	}
}

func TestCalibrationEqualsGuosDefinition(t *testing.T) {
	c := read(t).Calibration
	ece, mean, bins := Calibrate(c.Confidence, c.Right)
	same(t, "ECE", ece, c.ECE)
	same(t, "mean confidence", mean, c.Mean)
	n := 0
	for _, b := range bins {
		n += b.Count
	}
	if n != len(c.Confidence) || len(bins) != 15 {
		t.Errorf("%d predictions in %d bins", n, len(bins))
	}
	ece, mean, _ = Calibrate([]float64{0.75, 0.75, 0.75, 0.75, math.NaN()}, []bool{true, true, true, false, true})
	same(t, "ECE of a calibrated model", ece, 0)
	same(t, "its confidence", mean, 0.75)
	if ece, _, _ = Calibrate(nil, nil); !math.IsNaN(ece) {
		t.Errorf("ECE of nothing: %v", ece)
	}
}

func TestMcNemarsPEqualsSciPysBinomialTest(t *testing.T) {
	for _, c := range read(t).McNemar {
		statistic, p := Agreement{OnlyFirst: c.B, OnlySecond: c.C}.McNemar()
		if math.Abs(p-c.P) > 1e-9*c.P {
			t.Errorf("%d and %d: p %v, want %v", c.B, c.C, p, c.P)
		}
		if d := math.Abs(float64(c.B - c.C)); d > 0 {
			same(t, "statistic", statistic, (d-1)*(d-1)/float64(c.B+c.C))
		}
	}
}

func TestPercentilesEqualNumPys(t *testing.T) {
	c := read(t).Percentiles
	got := Percentiles(append(c.Values, math.NaN()))
	same(t, "low", got.Low, c.Low)
	same(t, "high", got.High, c.High)
}

// TestIntervalsHoldWhatTheoryGives compares with the normal approximation of a
// share's and a mean's deviation.
func TestIntervalsHoldWhatTheoryGives(t *testing.T) {
	near := func(what string, got Interval, mean, deviation float64) {
		t.Helper()
		for _, d := range []float64{got.Low - (mean - 1.96*deviation), got.High - (mean + 1.96*deviation)} {
			if math.Abs(d) > 0.15*deviation {
				t.Errorf("%s: [%v, %v], want %v +- %v", what, got.Low, got.High, mean, 1.96*deviation)
			}
		}
	}
	const n = 50000
	share := func(c []int) float64 { return float64(c[0]) / n }
	near("accuracy", Outcomes([]int{40000, 4000, 6000}, 3, share), 0.8, math.Sqrt(0.8*0.2/n))
	d, interval := Agreement{Both: 39000, OnlyFirst: 1000, OnlySecond: 1500, Neither: 8500}.Difference(3)
	same(t, "difference", d, 0.01)
	near("difference", interval, 0.01, math.Sqrt((0.02+0.03-0.01*0.01)/n))

	random := rand.New(rand.NewPCG(5, 6))
	column := make([]float64, 4000)
	for i := range column {
		column[i] = 2 + 3*random.NormFloat64()
	}
	means := Means([][]float64{column}, 3)
	near("mean", means[0], Mean(column), 3/math.Sqrt(4000))
	if again := Means([][]float64{column}, 3); again[0] != means[0] {
		t.Error("the same seed gave another interval")
	}
	if other := Means([][]float64{column}, 4); other[0] == means[0] {
		t.Error("another seed gave the same interval")
	}
	if all := Outcomes([]int{7, 0}, 1, func(c []int) float64 { return float64(c[0]) }); all != (Interval{7, 7}) {
		t.Errorf("where nothing varies: %v", all)
	}
}

// TestCountsAreDrawnAsPicturesWouldBe holds the interval from multinomial counts
// against that from drawing pictures.
func TestCountsAreDrawnAsPicturesWouldBe(t *testing.T) {
	right := make([]float64, 300)
	for i := range 210 {
		right[i] = 1
	}
	drawn := Means([][]float64{right}, 1)[0]
	counted := Outcomes([]int{210, 90}, 1, func(c []int) float64 { return float64(c[0]) / 300 })
	if math.Abs(drawn.Low-counted.Low) > 0.006 || math.Abs(drawn.High-counted.High) > 0.006 {
		t.Errorf("pictures give %v, counts %v", drawn, counted)
	}
}

func TestValuesThatAreNoNumbersAreLeftOutOfMeans(t *testing.T) {
	column := []float64{1, math.NaN(), 3}
	same(t, "mean", Mean(column), 2)
	if i := Means([][]float64{column}, 1)[0]; i.Low != 1 || i.High != 3 {
		t.Errorf("%v", i)
	}
	if i := Means([][]float64{{math.NaN()}}, 1)[0]; !math.IsNaN(i.Low) {
		t.Errorf("%v", i)
	}
}

func TestBlurEqualsRISEs(t *testing.T) {
	c := read(t).Blur
	for i, v := range Blur(c.Picture, 13, 16) {
		// sums of 121 products of numbers below 4 by float32 weights that add up to 1
		if math.Abs(float64(v)-c.Out[i]) > 121*4*0x1p-24 {
			t.Fatalf("value %d is %v, want %v", i, v, c.Out[i])
		}
	}
}

func TestCurves(t *testing.T) {
	same(t, "area under a line", AUC([]float64{0, 0.5, 1}), 0.5)
	same(t, "area", AUC([]float64{1, 1, 0, 0}), 0.5)
	picture, other := []float32{1, 2, 3, 4, 5, 6}, []float32{-1, -2, -3, -4, -5, -6}
	dst := make([]float32, 6)
	Exchange(dst, picture, other, []int32{2, 0, 1}, 2)
	if want := []float32{-1, 2, -3, -4, 5, -6}; !slices.Equal(dst, want) {
		t.Errorf("%v, want %v", dst, want)
	}
}

// made is a map and a mask of 224x224 pixels.
func made() (relevance, mask []float32) {
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 224 * 224 {
		relevance, mask = append(relevance, random.Float32()), append(mask, float32(i/224/150))
	}
	return relevance, mask
}

func BenchmarkOrder(b *testing.B) {
	relevance, _ := made()
	for b.Loop() {
		Order(relevance)
	}
}

func BenchmarkMeasuresOfOneMap(b *testing.B) {
	relevance, mask := made()
	for b.Loop() {
		order := Order(relevance)
		Segment(relevance, mask, order)
		ForegroundShare(relevance, mask)
		RankAccuracy(relevance, mask, order)
		Pointing(relevance, mask, order)
		Sparseness(relevance, order)
	}
}

func BenchmarkBlur(b *testing.B) {
	picture := make([]float32, 3*224*224)
	for b.Loop() {
		Blur(picture, 224, 224)
	}
}

func BenchmarkIntervalsOf50000Pictures(b *testing.B) {
	for b.Loop() {
		Outcomes([]int{40000, 4000, 6000}, 1, func(c []int) float64 { return float64(c[0]) })
	}
}

func BenchmarkMeansOf50000Pictures(b *testing.B) {
	column := make([]float64, 50000)
	for b.Loop() {
		Means([][]float64{column, column, column, column}, 1)
	}
}
