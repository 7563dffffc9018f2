package pipeline

import "testing"

func TestAccuracyCountsTheLabelsRank(t *testing.T) {
	logits := []float32{1, 7, 3, 3, 5, 4, 0}
	for _, c := range []struct {
		label int64
		want  Accuracy
	}{
		{1, Accuracy{Pictures: 1, Top1: 1, Top5: 1}},
		{4, Accuracy{Pictures: 1, Top5: 1}},
		{2, Accuracy{Pictures: 1, Top5: 1}},
		{3, Accuracy{Pictures: 1, Top5: 1}}, // fifth, after its equal
		{0, Accuracy{Pictures: 1}},
		{6, Accuracy{Pictures: 1}},
	} {
		var got Accuracy
		if got.add(logits, c.label); got != c.want {
			t.Errorf("label %d: %+v, want %+v", c.label, got, c.want)
		}
	}
}
