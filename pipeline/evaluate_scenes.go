package pipeline

import (
	"cmp"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/relevit/relevit/pipeline/background"
	"github.com/relevit/relevit/pipeline/benchmark"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// scenes draws backgrounds: other pictures of a data set without their objects.
// Which one a picture gets follows from the seed and its place in the list.
type scenes struct {
	samples []dataset.Sample
	read    func(s *dataset.Sample, image *picture.RGB, mask *picture.Gray) error
	seed    uint64
	order   []int // samples, class by class
	place   []int // of each sample in order
	from    []int // of each sample: where its class begins in order
	size    []int // and how many it has
	classes int
}

// drawTries is how many pictures are tried for a background before there is
// none: those without an object, or that can't be read, have none.
const drawTries = 16

func newScenes(set *benchmark.Set, seed uint64) *scenes {
	n := len(set.Samples)
	s := &scenes{samples: set.Samples, read: set.Read, seed: seed, order: make([]int, n), place: make([]int, n), from: make([]int, n), size: make([]int, n)}
	for i := range s.order {
		s.order[i] = i
	}
	if s.read == nil {
		s.read = readMasked
	}
	class := set.ClassOf
	if set.Unlabelled {
		class = make([]int, n)
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return cmp.Compare(class[a], class[b]) })
	for from := 0; from < n; s.classes++ {
		to := from
		for to < n && class[s.order[to]] == class[s.order[from]] {
			to++
		}
		for at := from; at < to; at++ {
			sample := s.order[at]
			s.place[sample], s.from[sample], s.size[sample] = at, from, to-from
		}
		from = to
	}
	return s
}

// ofAnother draws the background of another class's picture or, where there is
// one class alone, of another picture; nil where there is none.
func (s *scenes) ofAnother(sample int) *picture.RGB {
	first, count := s.from[sample], s.size[sample]
	if s.classes == 1 {
		first, count = s.place[sample], 1
	}
	return s.draw("another background", sample, len(s.order)-count, func(k int) int {
		if k >= first {
			k += count
		}
		return s.order[k]
	})
}

// ofItsClass draws the background of another picture of the same class; nil where
// there is none, or no other class.
func (s *scenes) ofItsClass(sample int) *picture.RGB {
	if s.classes == 1 {
		return nil
	}
	return s.draw("background of its class", sample, s.size[sample]-1, func(k int) int {
		if k += s.from[sample]; k >= s.place[sample] {
			k++
		}
		return s.order[k]
	})
}

// draw takes one of n candidates.
func (s *scenes) draw(purpose string, sample, n int, candidate func(k int) int) *picture.RGB {
	if n <= 0 {
		return nil
	}
	random := dataset.Random(s.seed, purpose, uint64(sample), 0)
	for range drawTries {
		if p := s.scene(candidate(below(random, n))); p != nil {
			return p
		}
	}
	return nil
}

// scene is a picture without its object; nil where it can't be had.
func (s *scenes) scene(sample int) *picture.RGB {
	p, m := new(picture.RGB), new(picture.Gray)
	if of := &s.samples[sample]; of.MaskPath == "" || s.read(of, p, m) != nil {
		return nil
	}
	c, err := background.New(p, m, background.Edge)
	if err != nil {
		return nil
	}
	return c.BlurRemoved()
}

// readMasked reads a picture and its mask from their files.
func readMasked(s *dataset.Sample, image *picture.RGB, mask *picture.Gray) error {
	if err := image.ReadFile(s.ImagePath); err != nil {
		return err
	}
	if err := mask.ReadMask(s.MaskPath, picture.MaskOptions{}); err != nil {
		return err
	}
	return picture.CheckMaskSize(mask, s.MaskPath, image, s.ImagePath)
}

// below draws from 0..n-1.
func below(random rand.Source, n int) int {
	high, _ := bits.Mul64(random.Uint64(), uint64(n))
	return int(high)
}
