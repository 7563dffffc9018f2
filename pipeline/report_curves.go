package pipeline

import "github.com/relevit/relevit/pipeline/report"

// curves draws what the log holds, by epoch; epoch 0 is before training.
func curves(h History) []report.Chart {
	trained := func(name string, f func(EpochRecord) Number) report.Series {
		s := report.Series{Name: name}
		for _, e := range h.Epochs {
			s.X, s.Y = append(s.X, float64(e.Epoch+1)), append(s.Y, float64(f(e)))
		}
		return s
	}
	chart := func(title, axis string, lines ...report.Series) report.Chart {
		c := report.Chart{Title: title, XLabel: "epoch", YLabel: axis}
		for _, s := range lines {
			if len(s.X) > 0 {
				c.Series = append(c.Series, s)
			}
		}
		return c
	}
	parts := []report.Series{
		trained("background", func(e EpochRecord) Number { return e.Background }),
		trained("foreground", func(e EpochRecord) Number { return e.Foreground }),
		trained("classification", func(e EpochRecord) Number { return e.Classification }),
	}
	for _, e := range h.Epochs {
		if e.Mask != 0 { // a baseline
			parts = []report.Series{trained("mask", func(e EpochRecord) Number { return e.Mask }), parts[2]}
			break
		}
	}
	var shares []report.Series
	for _, e := range h.Epochs {
		if e.Share != 0 { // not the log of an earlier version
			shares = append(shares, trained("training", func(e EpochRecord) Number { return e.Share }))
			break
		}
	}
	return []report.Chart{
		chart("Loss", "loss", trained("training", func(e EpochRecord) Number { return e.Loss }), held(h, "held out", func(m *Metrics) Number { return m.Loss })),
		chart("Parts of the loss, training", "loss", parts...),
		chart("Relevance on the foreground", "share", append(shares, held(h, "held out", func(m *Metrics) Number { return m.ForegroundShare }))...),
		chart("Top-1 is the label", "share", trained("training", func(e EpochRecord) Number { return e.Accuracy }), held(h, "held out", func(m *Metrics) Number { return m.Accuracy })),
	}
}

// held is a line of what the held-out pictures say, from before training on.
func held(h History, name string, f func(*Metrics) Number) report.Series {
	s := report.Series{Name: name}
	add := func(epoch int, m *Metrics) {
		if m != nil {
			s.X, s.Y = append(s.X, float64(epoch)), append(s.Y, float64(f(m)))
		}
	}
	if h.Start != nil {
		add(0, h.Start.Validation)
	}
	for _, e := range h.Epochs {
		add(e.Epoch+1, e.Validation)
	}
	return s
}

// Seconds is how long the steps took.
func (h History) Seconds() float64 {
	sum := 0.0
	for _, s := range h.Steps {
		sum += s.Seconds
	}
	return sum
}
