package picture

import (
	"fmt"
	"math"
	"strings"
)

// Filter names a resampling filter of PIL; the zero value is Bilinear.
type Filter int

// The filters; all but Nearest are antialiased: their support grows with the
// factor by which a picture shrinks.
const (
	Bilinear Filter = iota
	Bicubic         // Keys' cubic with a = -0.5
	Lanczos         // three lobes
	Box
	Hamming
	Nearest
)

var filterNames = [...]string{"bilinear", "bicubic", "lanczos", "box", "hamming", "nearest"}

func (f Filter) String() string {
	if f < 0 || int(f) >= len(filterNames) {
		return fmt.Sprintf("Filter(%d)", int(f))
	}
	return filterNames[f]
}

// ParseFilter reads a filter's name as timm writes it.
func ParseFilter(name string) (Filter, error) {
	for i, n := range filterNames {
		if n == name {
			return Filter(i), nil
		}
	}
	return 0, fmt.Errorf("interpolation %q is unknown: use one of %s", name, strings.Join(filterNames[:], ", "))
}

// MarshalText writes the name.
func (f Filter) MarshalText() ([]byte, error) {
	if f < 0 || int(f) >= len(filterNames) {
		return nil, fmt.Errorf("interpolation %v is unknown", f)
	}
	return []byte(f.String()), nil
}

// UnmarshalText reads the name.
func (f *Filter) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFilter(string(text))
	return err
}

// support is the filter's radius at unit scale.
func (f Filter) support() float64 {
	switch f {
	case Bicubic:
		return 2
	case Lanczos:
		return 3
	case Box:
		return 0.5
	}
	return 1
}

// at is the filter's value. Explicit conversions keep compilers from fusing
// multiplications and additions, so that every machine rounds alike.
func (f Filter) at(x float64) float64 {
	switch f {
	case Bicubic:
		return cubic(math.Abs(x))
	case Lanczos:
		if x >= -3 && x < 3 {
			return float64(sinc(x) * sinc(x/3))
		}
	case Box:
		if x > -0.5 && x <= 0.5 {
			return 1
		}
	case Hamming:
		x = math.Abs(x)
		if x == 0 {
			return 1
		}
		if x < 1 {
			x *= math.Pi
			return float64(math.Sin(x) / x * (0.54 + float64(0.46*math.Cos(x))))
		}
	default:
		if x = math.Abs(x); x < 1 {
			return 1 - x
		}
	}
	return 0
}

func cubic(x float64) float64 {
	const a = -0.5
	switch {
	case x < 1:
		return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return float64((float64((float64((x-5)*x)+8)*x) - 4) * a)
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}
