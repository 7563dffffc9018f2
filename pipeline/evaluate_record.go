package pipeline

import (
	"encoding/json"
	"fmt"

	"github.com/relevit/relevit/pipeline/metrics"
)

// What a record keeps of a picture is a list of numbers, some of which may be
// none; reading gives back the same bits.

// MarshalJSON implements json.Marshaler.
func (v verdict) MarshalJSON() ([]byte, error) {
	return json.Marshal([]Number{Number(v.sample), Number(v.predicted), Number(v.rank), Number(v.probability)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *verdict) UnmarshalJSON(text []byte) error {
	n, err := numbersIn(text, 4)
	if err == nil {
		*v = verdict{sample: int(n[0]), predicted: int(n[1]), rank: int(n[2]), probability: float64(n[3])}
	}
	return err
}

// MarshalJSON implements json.Marshaler.
func (a appraisal) MarshalJSON() ([]byte, error) {
	constant := Number(0)
	if a.constant {
		constant = 1
	}
	s := a.segmentation
	list := []Number{Number(a.sample), Number(a.class), constant, Number(s.Correct), Number(s.Pixels), Number(s.Intersection[0]), Number(s.Intersection[1]),
		Number(s.Union[0]), Number(s.Union[1]), Number(s.AP)}
	for _, q := range a.qualities {
		list = append(list, Number(q))
	}
	return json.Marshal(list)
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *appraisal) UnmarshalJSON(text []byte) error {
	n, err := numbersIn(text, 10+len(Qualities()))
	if err != nil {
		return err
	}
	*a = appraisal{sample: int(n[0]), class: int(n[1]), constant: n[2] == 1, segmentation: metrics.Segmentation{Correct: int(n[3]), Pixels: int(n[4]),
		Intersection: [2]int{int(n[5]), int(n[6])}, Union: [2]int{int(n[7]), int(n[8])}, AP: float64(n[9])}}
	for _, q := range n[10:] {
		a.qualities = append(a.qualities, float64(q))
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (v varied) MarshalJSON() ([]byte, error) {
	list := []Number{Number(v.original)}
	for _, right := range v.right {
		list = append(list, Number(right))
	}
	return json.Marshal(list)
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *varied) UnmarshalJSON(text []byte) error {
	n, err := numbersIn(text, 1+variants)
	if err != nil {
		return err
	}
	v.original = float64(n[0])
	for i := range v.right {
		v.right[i] = float64(n[1+i])
	}
	return nil
}

func numbersIn(text []byte, count int) (list []Number, err error) {
	if err = json.Unmarshal(text, &list); err == nil && len(list) != count {
		err = fmt.Errorf("found %d numbers, expected %d", len(list), count)
	}
	return list, err
}

// lengths are how much has been measured of each model, to tell what comes next
// from it.
func (r *evaluating) lengths() (n [][3]int) {
	for _, c := range r.contenders {
		n = append(n, [3]int{len(c.verdicts), len(c.appraisals), len(c.varied)})
	}
	return n
}

// since is what was measured after that.
func (r *evaluating) since(n [][3]int) (list []modelEvaluation) {
	for i, c := range r.contenders {
		list = append(list, modelEvaluation{c.verdicts[n[i][0]:], c.appraisals[n[i][1]:], c.varied[n[i][2]:]})
	}
	return list
}

// fits reports whether a record can be of the samples from one on and before
// another, and says nothing that this evaluation couldn't.
func (r *evaluating) fits(record *evaluationRecord, from, to int) bool {
	if len(record.Models) != len(r.contenders) || record.Images < 0 || record.Images > to-from || len(record.Skipped) > to-from {
		return false
	}
	for i, m := range record.Models {
		next := from
		for _, v := range m.Verdicts {
			if v.sample < next || v.sample >= to || !r.contenders[i].says(v) {
				return false
			}
			next = v.sample + 1
		}
		next = from
		for _, a := range m.Appraisals {
			if a.sample < next || a.sample >= to {
				return false
			}
			next = a.sample + 1
		}
		if len(m.Varied) > len(m.Verdicts) {
			return false
		}
	}
	return true
}

// fitsObject is fits for what was made of an object: all its pictures or none.
func (r *evaluating) fitsObject(record *evaluationRecord, object int) bool {
	s := r.synthesis
	if len(record.Models) != len(r.contenders) {
		return false
	}
	for i, m := range record.Models {
		if n := len(m.Verdicts); n != record.Images || n != 0 && n != len(s.placements) {
			return false
		}
		for _, v := range m.Verdicts {
			if v.sample != s.samples[object] || !r.contenders[i].says(v) {
				return false
			}
		}
	}
	return true
}

// says reports whether a model can have said that.
func (c *contender) says(v verdict) bool {
	return v.predicted >= 0 && v.predicted < c.predictor.Classes && v.rank >= 0
}
