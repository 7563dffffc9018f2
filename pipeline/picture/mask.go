package picture

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"strings"
)

// Encoding says what the levels of a mask file mean.
type Encoding int

// The encodings. Auto looks at a file's content, by these rules in order:
//
//  1. a colour file whose pixels are not all grey: with blue always 0 it is
//     ImageNetS, otherwise an error;
//  2. levels all among 1, 2, 3: Trimap;
//  3. levels all among 0, 1: Binary, 1 being foreground;
//  4. a largest level of 2 to 8 looks like class numbers: an error;
//  5. anything else: Binary, level/255.
//
// A mask of ones alone is foreground under rule 2 and 3 alike.
const (
	Auto      Encoding = iota
	Binary             // 0 background, 255 (or 1) foreground, fractions on the edge
	ImageNetS          // class number R + 256 G; 0 background, 1000 ignore
	Trimap             // 1 foreground, 2 background, 3 edge
)

var encodingNames = [...]string{"auto", "binary", "imagenet-s", "trimap"}

func (e Encoding) String() string {
	if e < 0 || int(e) >= len(encodingNames) {
		return fmt.Sprintf("Encoding(%d)", int(e))
	}
	return encodingNames[e]
}

// ParseEncoding reads an encoding's name; empty means auto.
func ParseEncoding(name string) (Encoding, error) {
	for i, n := range encodingNames {
		if n == name || name == "" && i == 0 {
			return Encoding(i), nil
		}
	}
	return 0, fmt.Errorf("mask encoding %q is unknown: use one of %s", name, strings.Join(encodingNames[:], ", "))
}

// MaskOptions says how to read a mask; the zero value detects the encoding,
// counts a trimap's edge as foreground, and takes every ImageNet-S class.
type MaskOptions struct {
	Encoding       Encoding
	EdgeBackground bool // a trimap's edge is background
	Class          int  // the only ImageNet-S class that is foreground; 0 for all
}

var errJPEGMask = errors.New("a JPEG file cannot be a mask, its edges are not exact: use PNG")

const imageNetSIgnore = 1000

// ErrMaskSize is wrapped where a mask is not of its picture's size.
var ErrMaskSize = errors.New("mask and image differ in size")

// ReadMask reads a mask file as foreground shares in [0,1].
func ReadMask(path string, o MaskOptions) (*Gray, error) {
	m := new(Gray)
	if err := m.ReadMask(path, o); err != nil {
		return nil, err
	}
	return m, nil
}

// ReadMask is like the function, but reuses m's memory.
func (m *Gray) ReadMask(path string, o MaskOptions) error {
	return use(path, "read mask", func(data []byte) error { return m.DecodeMask(data, o) })
}

// ReadLevels reads a label file, (h,w) row by row: the indices of a palette, or
// grey levels.
func ReadLevels(path string) (levels []uint8, w, h int, err error) {
	err = use(path, "read mask", func(data []byte) (err error) {
		defer recovered(&err)
		if isJPEG(data) {
			return errJPEGMask
		}
		img, err := decodeStandard(data)
		if err != nil {
			return err
		}
		var colours *RGB
		if levels, colours = maskLevels(img); colours != nil && !colours.grey() {
			return errors.New("a colour picture: a file of labels has a palette or grey levels")
		}
		w, h = img.Bounds().Dx(), img.Bounds().Dy()
		return nil
	})
	return levels, w, h, err
}

// CheckMaskSize compares a mask with the picture that it belongs to.
func CheckMaskSize(m *Gray, maskPath string, p *RGB, imagePath string) error {
	if m.W == p.W && m.H == p.H {
		return nil
	}
	return &Error{Path: maskPath, Doing: "read mask", Content: true, Err: fmt.Errorf(
		"%w: the mask is %dx%d, image %s is %dx%d; make the mask at the image's size",
		ErrMaskSize, m.W, m.H, imagePath, p.W, p.H)}
}

// DecodeMask decodes a mask file's content into m, reusing its memory.
func (m *Gray) DecodeMask(data []byte, o MaskOptions) (err error) {
	defer recovered(&err)
	if isJPEG(data) {
		return errJPEGMask
	}
	img, err := decodeStandard(data)
	if err != nil {
		return err
	}
	levels, colours := maskLevels(img)
	encoding := o.Encoding
	if encoding == Auto {
		if encoding, err = detect(levels, colours); err != nil {
			return err
		}
	}
	if colours == nil && encoding == ImageNetS || colours != nil && encoding != ImageNetS && !colours.grey() {
		return fmt.Errorf("it is not in encoding %v: found %s levels", encoding, kind(colours))
	}
	m.reset(img.Bounds().Dx(), img.Bounds().Dy())
	switch encoding {
	case ImageNetS:
		return m.fromImageNetS(colours, o.Class)
	case Trimap:
		return m.fromTrimap(levels, o.EdgeBackground)
	}
	m.fromBinary(levels)
	return nil
}

func kind(colours *RGB) string {
	if colours == nil {
		return "grey"
	}
	return "colour"
}

// maskLevels gives a file's grey levels, and its colours if it has any. A
// palette with colours stands for its indices, as label files use it.
func maskLevels(img image.Image) (levels []uint8, colours *RGB) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	levels = make([]uint8, w*h)
	if p, ok := img.(*image.Paletted); ok && !greyPalette(p.Palette) {
		for y := range h {
			copy(levels[y*w:][:w], p.Pix[y*p.Stride:])
		}
		return levels, nil
	}
	if g, ok := img.(*image.Gray16); ok {
		return levels16(g), nil
	}
	c := new(RGB)
	c.convert(img)
	for i := range levels {
		levels[i] = c.Pix[3*i]
	}
	switch img.(type) {
	case *image.Gray, *image.Paletted:
		return levels, nil
	}
	return levels, c
}

// levels16 brings 16-bit levels to 8: as they are if they fit, as labels do, or
// else their high bytes.
func levels16(m *image.Gray16) []uint8 {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	high, low := make([]uint8, w*h), make([]uint8, w*h)
	fit := true
	for i := range high {
		high[i], low[i] = m.Pix[2*i], m.Pix[2*i+1]
		fit = fit && high[i] == 0
	}
	if fit {
		return low
	}
	return high
}

func greyPalette(palette color.Palette) bool {
	for _, c := range palette {
		if n := color.NRGBAModel.Convert(c).(color.NRGBA); n.R != n.G || n.G != n.B {
			return false
		}
	}
	return true
}

func (p *RGB) grey() bool {
	for i := 0; i < len(p.Pix); i += 3 {
		if p.Pix[i] != p.Pix[i+1] || p.Pix[i] != p.Pix[i+2] {
			return false
		}
	}
	return true
}

func detect(levels []uint8, colours *RGB) (Encoding, error) {
	if colours != nil && !colours.grey() {
		for i := 2; i < len(colours.Pix); i += 3 {
			if colours.Pix[i] != 0 {
				return 0, errors.New("a colour picture, but not an ImageNet-S mask (blue must be 0 there): is it a photograph? " +
					"Masks are grey PNG, 0 background and 255 foreground")
			}
		}
		return ImageNetS, nil
	}
	lowest, highest := uint8(255), uint8(0)
	for _, v := range levels {
		lowest, highest = min(lowest, v), max(highest, v)
	}
	switch {
	case lowest >= 1 && highest <= 3:
		return Trimap, nil
	case highest >= 2 && highest <= 8:
		return 0, fmt.Errorf("levels %d to %d are neither a 0/255 or 0/1 mask nor a trimap of 1, 2, 3: "+
			"name the encoding (binary, imagenet-s, trimap)", lowest, highest)
	}
	return Binary, nil
}

func (m *Gray) fromBinary(levels []uint8) {
	scale := float32(1)
	for _, v := range levels {
		if v > 1 {
			scale = 255
			break
		}
	}
	for i, v := range levels {
		m.Pix[i] = float32(v) / scale
	}
}

func (m *Gray) fromTrimap(levels []uint8, edgeBackground bool) error {
	value := [4]float32{0, 1, 0, 1}
	if edgeBackground {
		value[3] = 0
	}
	for i, v := range levels {
		if v < 1 || v > 3 {
			return fmt.Errorf("level %d at column %d, row %d is not of a trimap (1 foreground, 2 background, 3 edge)", v, i%m.W, i/m.W)
		}
		m.Pix[i] = value[v]
	}
	return nil
}

func (m *Gray) fromImageNetS(c *RGB, class int) error {
	for i := range m.Pix {
		id := int(c.Pix[3*i]) + 256*int(c.Pix[3*i+1])
		if id > imageNetSIgnore || c.Pix[3*i+2] != 0 {
			return fmt.Errorf("colour (%d,%d,%d) at column %d, row %d is not of ImageNet-S (class number R + 256 G up to %d, blue 0)",
				c.Pix[3*i], c.Pix[3*i+1], c.Pix[3*i+2], i%m.W, i/m.W, imageNetSIgnore)
		}
		m.Pix[i] = 0
		if id != 0 && id != imageNetSIgnore && (class == 0 || id == class) {
			m.Pix[i] = 1
		}
	}
	return nil
}
