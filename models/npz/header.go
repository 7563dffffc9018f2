package npz

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// header is an array's description.
type header struct {
	descr   string
	fortran bool
	shape   []int64
}

// types are NumPy's element types without their byte order. |V2 is what NumPy
// writes for the bfloat16 of ml_dtypes.
var types = map[string]onnx.DType{
	"f2": onnx.Float16, "f4": onnx.Float, "f8": onnx.Double, "V2": onnx.BFloat16,
	"i1": onnx.Int8, "i2": onnx.Int16, "i4": onnx.Int32, "i8": onnx.Int64,
	"u1": onnx.Uint8, "u2": onnx.Uint16, "u4": onnx.Uint32, "u8": onnx.Uint64,
	"b1": onnx.Bool, "c8": onnx.Complex64, "c16": onnx.Complex128,
}

func elementType(descr string) (t onnx.DType, big bool, err error) {
	if len(descr) > 1 {
		switch descr[1] {
		case 'O':
			return 0, false, errors.New("it holds Python objects (a pickle), which aren't read: save it as numbers")
		case 'U', 'S', 'a':
			return 0, false, errors.New("it holds texts, not numbers")
		}
		if t, ok := types[descr[1:]]; ok && strings.ContainsRune("<>|=", rune(descr[0])) {
			return t, descr[0] == '>', nil
		}
	}
	return 0, false, fmt.Errorf("its element type %.40q is unknown", descr)
}

// parseHeader reads a Python dict of the form
//
//	{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
func parseHeader(text string) (*header, error) {
	p := &parser{rest: text}
	h := &header{}
	seen := map[string]bool{}
	p.want("{")
	for p.err == nil && !p.take("}") {
		key := p.text()
		p.want(":")
		if seen[key] {
			p.fail()
		}
		seen[key] = true
		switch key {
		case "descr":
			if p.peek("[") {
				return nil, errors.New("it has elements of several fields, not numbers")
			}
			h.descr = p.text()
		case "fortran_order":
			h.fortran = p.take("True")
			if !h.fortran {
				p.want("False")
			}
		case "shape":
			h.shape = p.shape()
		default:
			p.fail()
		}
		if !p.take(",") && !p.peek("}") {
			p.fail()
		}
	}
	if p.skip(); p.rest != "" || len(seen) != 3 {
		p.fail()
	}
	return h, p.err
}

// parser reads Python's literals; its error is sticky.
type parser struct {
	rest string
	err  error
}

func (p *parser) fail() {
	if p.err == nil {
		p.err = fmt.Errorf("its header can't be understood at %.40q", p.rest)
	}
}

func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " \n\t\r") }

func (p *parser) peek(s string) bool {
	p.skip()
	return strings.HasPrefix(p.rest, s)
}

func (p *parser) take(s string) bool {
	if p.err != nil || !p.peek(s) {
		return false
	}
	p.rest = p.rest[len(s):]
	return true
}

func (p *parser) want(s string) {
	if !p.take(s) {
		p.fail()
	}
}

func (p *parser) text() string {
	quote := "'"
	if !p.take(quote) {
		quote = `"`
		p.want(quote)
	}
	s, rest, ok := strings.Cut(p.rest, quote)
	if !ok || strings.ContainsAny(s, "\\\n") {
		p.fail()
		return ""
	}
	p.rest = rest
	return s
}

// shape reads (), (3,) or (3, 4); Python 2 wrote 3L.
func (p *parser) shape() []int64 {
	out := []int64{}
	p.want("(")
	for p.err == nil && !p.take(")") {
		p.skip()
		n := strings.IndexFunc(p.rest, func(r rune) bool { return r < '0' || r > '9' })
		d, err := strconv.ParseInt(p.rest[:max(n, 0)], 10, 64)
		if err != nil || len(out) == 64 {
			p.fail()
			break
		}
		out = append(out, d)
		p.rest = strings.TrimPrefix(p.rest[n:], "L")
		if !p.take(",") && !p.peek(")") {
			p.fail()
		}
	}
	return out
}
