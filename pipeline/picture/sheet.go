package picture

import (
	"errors"
	"image"
	"image/color"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Panel is one picture of a sheet, with a label above it or none.
type Panel struct {
	Picture *RGB
	Label   string
}

const (
	sheetGap    = 4
	labelHeight = 16
	labelAscent = 12
	glyphWidth  = 7
)

// Sheet sets pictures side by side on white, each under its label. A label
// that is wider than its picture is cut.
func Sheet(panels []Panel) (*RGB, error) {
	if len(panels) == 0 {
		return nil, errors.New("sheet: no pictures")
	}
	width, height, top := -sheetGap, 0, 0
	for _, p := range panels {
		width += p.Picture.W + sheetGap
		height = max(height, p.Picture.H)
		if p.Label != "" {
			top = labelHeight
		}
	}
	if err := checkSize(width, height+top); err != nil {
		return nil, err
	}
	out := NewRGB(width, height+top)
	for i := range out.Pix {
		out.Pix[i] = 255
	}
	left := 0
	for _, p := range panels {
		out.paste(p.Picture, left, top)
		out.label(p.Label, left, p.Picture.W)
		left += p.Picture.W + sheetGap
	}
	return out, nil
}

// Stack sets pictures, such as sheets, under each other on white.
func Stack(rows []*RGB) (*RGB, error) {
	if len(rows) == 0 {
		return nil, errors.New("stack: no pictures")
	}
	width, height := 0, -sheetGap
	for _, p := range rows {
		width, height = max(width, p.W), height+p.H+sheetGap
	}
	if err := checkSize(width, height); err != nil {
		return nil, err
	}
	out := NewRGB(width, height)
	for i := range out.Pix {
		out.Pix[i] = 255
	}
	top := 0
	for _, p := range rows {
		out.paste(p, 0, top)
		top += p.H + sheetGap
	}
	return out, nil
}

// paste puts q into p, as far as it lies inside.
func (p *RGB) paste(q *RGB, left, top int) {
	inside := q.Bounds().Add(image.Pt(left, top)).Intersect(p.Bounds())
	for y := inside.Min.Y; y < inside.Max.Y; y++ {
		copy(p.Pix[3*(y*p.W+inside.Min.X):][:3*inside.Dx()], q.Pix[3*((y-top)*q.W+inside.Min.X-left):])
	}
}

func (p *RGB) label(text string, left, width int) {
	runes := []rune(text)
	runes = runes[:min(len(runes), width/glyphWidth)]
	d := font.Drawer{Dst: p, Src: image.Black, Face: basicfont.Face7x13, Dot: fixed.P(left, labelAscent)}
	d.DrawString(string(runes))
}

// ColorModel is that of opaque 8-bit colours; with Bounds, At and Set an RGB is a
// draw.Image.
func (p *RGB) ColorModel() color.Model { return color.RGBAModel }

// Bounds begins at the origin.
func (p *RGB) Bounds() image.Rectangle { return image.Rect(0, 0, p.W, p.H) }

// At returns the opaque colour of one pixel.
func (p *RGB) At(x, y int) color.Color {
	o := p.Pix[3*(y*p.W+x):]
	return color.RGBA{o[0], o[1], o[2], 255}
}

// Set paints one pixel; outside the picture it does nothing.
func (p *RGB) Set(x, y int, c color.Color) {
	if !(image.Point{X: x, Y: y}).In(p.Bounds()) {
		return
	}
	rgba := color.RGBAModel.Convert(c).(color.RGBA)
	o := p.Pix[3*(y*p.W+x):]
	o[0], o[1], o[2] = rgba.R, rgba.G, rgba.B
}
