package ref

import (
	"errors"
	"fmt"
	"slices"
)

// window says how a kernel moves over the spatial dimensions of an input:
// the geometry that convolutions and pools share.
type window struct {
	in, out                  []int
	kernel, stride, dilation []int
	begin, end               []int // padding
}

// window reads the attributes of a convolution or pool over in; kernel is nil
// where the attribute must give it. The sizes of the output are left open.
func (c *call) window(in, kernel []int) (*window, error) {
	rank := len(in)
	if rank == 0 {
		return nil, errors.New("there are no spatial dimensions")
	}
	w := &window{in: in}
	var err error
	if w.kernel, err = c.perAxis("kernel_shape", rank, 1, 1); err != nil {
		return nil, err
	}
	switch {
	case kernel == nil && c.node.Attr("kernel_shape") == nil:
		return nil, errors.New("kernel_shape is missing")
	case kernel != nil && c.node.Attr("kernel_shape") != nil && !slices.Equal(kernel, w.kernel):
		return nil, fmt.Errorf("kernel_shape %v differs from the weight's %v", w.kernel, kernel)
	case kernel != nil:
		w.kernel = kernel
	}
	if w.stride, err = c.perAxis("strides", rank, 1, 1); err != nil {
		return nil, err
	}
	if w.dilation, err = c.perAxis("dilations", rank, 1, 1); err != nil {
		return nil, err
	}
	pads, err := c.perAxis("pads", 2*rank, 0, 0)
	if err != nil {
		return nil, err
	}
	w.begin, w.end = pads[:rank], pads[rank:]
	return w, nil
}

// perAxis reads a list attribute of n numbers that are at least least.
func (c *call) perAxis(name string, n, def, least int) ([]int, error) {
	list := c.node.Ints(name)
	if list == nil {
		return slices.Repeat([]int{def}, n), nil
	}
	out := make([]int, len(list))
	for i, v := range list {
		if v < int64(least) || v > 1<<20 {
			return nil, fmt.Errorf("%s=%v: %d isn't possible", name, list, v)
		}
		out[i] = int(v)
	}
	if len(out) != n {
		return nil, fmt.Errorf("%s=%v has %d numbers, expected %d", name, list, len(out), n)
	}
	return out, nil
}

// span is the extent of the dilated kernel in dimension d.
func (w *window) span(d int) int { return (w.kernel[d]-1)*w.dilation[d] + 1 }

// share splits the padding of dimension d over both ends: the odd one goes to
// the end, or to the beginning.
func (w *window) share(d, total int, oddAtEnd bool) {
	w.begin[d] = total / 2
	if !oddAtEnd {
		w.begin[d] = total - total/2
	}
	w.end[d] = total - w.begin[d]
}

// fit works out the output's sizes, and the padding where auto_pad asks for it.
func (w *window) fit(autoPad string, ceil bool) error {
	w.out = make([]int, len(w.in))
	for d, n := range w.in {
		s := w.stride[d]
		switch autoPad {
		case "SAME_UPPER", "SAME_LOWER":
			w.out[d] = (n + s - 1) / s
			w.share(d, max(0, (w.out[d]-1)*s+w.span(d)-n), autoPad == "SAME_UPPER")
			continue
		case "VALID":
			w.begin[d], w.end[d] = 0, 0
		case "NOTSET", "":
		default:
			return fmt.Errorf("auto_pad=%q is unknown", autoPad)
		}
		room := n + w.begin[d] + w.end[d] - w.span(d)
		if room < 0 {
			return fmt.Errorf("a kernel over %d elements doesn't fit %d in dimension %d", w.span(d), room+w.span(d), d)
		}
		w.out[d] = room/s + 1
		if ceil && room%s != 0 && w.out[d]*s < n+w.begin[d] { // the last window begins inside
			w.out[d]++
		}
	}
	_, err := count(slices.Concat(w.kernel, w.out))
	return err
}

// index lists, for every tap of the kernel and every position of the output,
// the position in the input, or -1 in the padding. reach counts, for every
// position of the output, the taps that lie within input and padding.
func (w *window) index() (index, reach []int) {
	taps, outs := product(w.kernel), product(w.out)
	index, reach = make([]int, taps*outs), make([]int, outs)
	tapSteps, outSteps := strides(w.kernel), strides(w.out)
	for t := range taps {
		for o := range outs {
			at, padded := 0, true
			for d, n := range w.in {
				p := o/outSteps[d]%w.out[d]*w.stride[d] + t/tapSteps[d]%w.kernel[d]*w.dilation[d] - w.begin[d]
				padded = padded && p < n+w.end[d]
				if p < 0 || p >= n {
					at = -1
				}
				if at >= 0 {
					at = at*n + p
				}
			}
			index[t*outs+o] = at
			if padded {
				reach[o]++
			}
		}
	}
	return index, reach
}
