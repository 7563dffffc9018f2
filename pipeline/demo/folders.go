package demo

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
)

// WriteFolders writes pictures as a data set of class folders:
// dir/images/CLASS/00000.png and dir/masks/CLASS/00000.png, numbered by their
// place in the list. Masks are 8-bit grey, 0 background, 255 shape.
func WriteFolders(dir string, pictures []Picture) error {
	for i, p := range pictures {
		name := filepath.Join(Classes[p.Label], fmt.Sprintf("%05d.png", i))
		if err := writePNG(filepath.Join(dir, "images", name), p.Image()); err != nil {
			return fmt.Errorf("writing the generated picture %d: %w", i, err)
		}
		if err := writePNG(filepath.Join(dir, "masks", name), p.MaskImage()); err != nil {
			return fmt.Errorf("writing the mask of the generated picture %d: %w", i, err)
		}
	}
	return nil
}

// Image returns the picture in the standard library's form.
func (p Picture) Image() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, p.Size, p.Size))
	for i := range p.Size * p.Size {
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = p.RGB[3*i], p.RGB[3*i+1], p.RGB[3*i+2], 255
	}
	return img
}

// MaskImage returns the mask in 8 bits, 255 where the shape is.
func (p Picture) MaskImage() *image.Gray {
	img := image.NewGray(image.Rect(0, 0, p.Size, p.Size))
	for i, m := range p.Mask {
		img.SetGray(i%p.Size, i/p.Size, color.Gray{Y: uint8(math.Round(255 * float64(m)))})
	}
	return img
}

func writePNG(name string, img image.Image) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return png.Encode(f, img)
}
